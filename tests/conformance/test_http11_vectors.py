"""The public HTTP/1.1 vectors through a whole edge, from a cacheable and from an uncacheable origin, judged as the file says."""

import asyncio
import base64
import contextlib
import json
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.edge import running_edge
from tests.support.raw_origin import answer
from tests.support.serving import PATIENCE, Client, Got, on_uvloop
from tests.support.strict_origin import Recorded, StrictOrigin

VECTORS = json.loads((Path(__file__).parent / "http11-vectors.json").read_text())["vectors"]
LEVELS = {"Must", "Should", "May", "NotApplicable"}

DEVIATIONS: dict[str, str] = {}
"""By id, why our answer is not the expected one. Must stay within the three that the file's `about` names; none is needed."""

DOCUMENTED = {
    # Where the expectation leaves a choice (May and NotApplicable, and some of Should), the edge's own answer.
    "COMP-BASELINE": 200,
    "RFC9112-2.2-BARE-LF-REQUEST-LINE": 400,
    "RFC9112-2.2-BARE-LF-HEADER": 400,
    "RFC9112-3-MULTI-SP-REQUEST-LINE": 400,
    "RFC9112-2.3-INVALID-VERSION": 505,
    "RFC9112-2.3-HTTP09-REQUEST": 400,
    "RFC9112-3.2-FRAGMENT-IN-TARGET": 400,
    "COMP-UNKNOWN-TE-501": 501,
    "COMP-LEADING-CRLF": 200,
    "COMP-ABSOLUTE-FORM": 200,
    "COMP-METHOD-CASE": 501,
    "COMP-METHOD-CONNECT": 501,
    "COMP-METHOD-TRACE": 405,
    "COMP-UNKNOWN-METHOD": 501,
    "COMP-EXPECT-UNKNOWN": 417,
    "COMP-GET-WITH-CL-BODY": 200,
    "COMP-CHUNKED-EXTENSION": 200,
    "COMP-REQUEST-LINE-TAB": 400,
    "COMP-HTTP10-NO-HOST": 200,
    "COMP-HTTP12-VERSION": 200,
    "COMP-TRACE-WITH-BODY": 400,
    "COMP-TRACE-SENSITIVE": 405,
    "COMP-RANGE-INVALID": 200,
    "COMP-DUPLICATE-CT": 200,
    "COMP-ACCEPT-NONSENSE": 200,
    "COMP-POST-UNSUPPORTED-CT": 200,
    "COOK-ECHO": 200,
    "COOK-OVERSIZED": 431,
    "COOK-EMPTY": 200,
    "COOK-NUL": 400,
    "COOK-CONTROL-CHARS": 400,
    "COOK-MANY-PAIRS": 200,
    "COOK-MALFORMED": 200,
    "COOK-MULTI-HEADER": 200,
    "COOK-PARSED-BASIC": 200,
    "COOK-PARSED-MULTI": 200,
    "COOK-PARSED-EMPTY-VAL": 200,
    "COOK-PARSED-SPECIAL": 200,
    "NORM-UNDERSCORE-CL": 400,
    "NORM-SP-BEFORE-COLON-CL": 400,
    "NORM-TAB-IN-NAME": 400,
    "NORM-CASE-TE": 400,
    "NORM-UNDERSCORE-TE": 400,
}

PAGE = b"<!doctype html><title>a page</title>"
ETAG = b'"page"'
MODIFIED = b"Mon, 01 Jan 2024 00:00:00 GMT"
METHODS = b"GET, HEAD, POST, OPTIONS"
IMF_FIXDATE = re.compile(
    r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} \d\d:\d\d:\d\d GMT"
)


def respond(request: Recorded, freshness: bytes) -> bytes:
    """A simple origin without a clock: it sends no Date."""
    match request.method:
        case "GET" | "HEAD":
            whole = _page(request, freshness)
            return whole if request.method == "GET" else whole[: whole.index(b"\r\n\r\n") + 4]
        case "POST":
            return answer(request.body, b"Content-Type: application/octet-stream")
        case "OPTIONS":
            return b"HTTP/1.1 204 No Content\r\nAllow: %b\r\n\r\n" % METHODS
        case "DELETE":
            return answer(b"", b"Allow: " + METHODS, status=b"405 Method Not Allowed")
    return answer(b"", status=b"501 Not Implemented")


def _page(request: Recorded, freshness: bytes) -> bytes:
    if request.target in ("/echo", "/cookie"):
        return answer(request.get("cookie").encode("latin-1"), b"Content-Type: text/plain", b"Cache-Control: no-store")
    fields = (b"Content-Type: text/html", b"Cache-Control: " + freshness, b"ETag: " + ETAG, b"Last-Modified: " + MODIFIED)
    known = request.get("if-none-match")
    if known == "*" or ETAG.decode() in known or request.get("if-modified-since") == MODIFIED.decode():
        return b"HTTP/1.1 304 Not Modified\r\n" + b"\r\n".join(fields) + b"\r\n\r\n"
    return answer(PAGE, *fields)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the last connection of a vector showed."""

    got: Got | None
    interim: tuple[int, ...]
    rest: bytes | None
    """What followed, up to the end of the connection; None while it stays open."""
    sent: bytes

    @property
    def status(self) -> int:
        """0 when the connection ended without an answer."""
        return self.got.status if self.got else 0

    @property
    def body(self) -> bytes:
        return self.got.body if self.got else b""

    @property
    def succeeded(self) -> bool:
        return 200 <= self.status <= 299

    @property
    def closed(self) -> bool:
        return self.rest is not None

    def field(self, name: str) -> str:
        return ", ".join(self.got.all(name)) if self.got else ""

    @property
    def echoes(self) -> bool:
        """Whether a POST got the body back that it had, its framing taken off."""
        head, _, body = self.sent.partition(b"\r\n\r\n")
        if b"chunked" in head:
            body = b"".join(re.findall(rb"[0-9A-F]+(?:;[^\r]*)?\r\n([a-z ]+)\r\n", body))
        return bool(body) and self.body == body


Judge = Callable[[Seen], bool]


def _one_of(*statuses: int, success: bool = False, closing: bool = False) -> Judge:
    return lambda seen: seen.status in statuses or (success and seen.succeeded) or (closing and seen.status == 0)


# An incomplete request is waited for, for as long as `limits.body_timeout` says; what is told then is 408, which is the
# time-out with a word to go with it.
_incomplete = _one_of(400, 408, closing=True)

EXPECTED: dict[str, Judge] = {
    "Exact(400)": _one_of(400),
    "Range2xx": _one_of(success=True),
    "!101": lambda seen: seen.status not in (0, 101),
    "200": _one_of(200),
    "200 or 400": _one_of(200, 400),
    "200 or 416": _one_of(200, 416),
    "200 or 505": _one_of(200, 505),
    "304": _one_of(304),
    "2xx (Range ignored)": lambda seen: seen.succeeded and seen.status != 206 and not seen.field("content-range"),
    "2xx (no crash)": _one_of(success=True),
    "2xx + close": lambda seen: seen.succeeded and seen.closed,
    "2xx + echo": lambda seen: seen.succeeded and seen.echoes,
    "2xx or 400": _one_of(400, success=True),
    "2xx or 400/431": _one_of(400, 431, success=True),
    "2xx preferred; 400 warns": _one_of(success=True),
    "2xx with Allow header": lambda seen: seen.succeeded and bool(seen.field("allow")),
    "2xx with Content-Type": lambda seen: seen.succeeded and bool(seen.field("content-type")),
    "2xx with Cookie in body": lambda seen: seen.succeeded and seen.body == b"foo=bar",
    "2xx with Date header": lambda seen: seen.succeeded and len(seen.got.all("date") if seen.got else ()) == 1,
    "2xx with a=1, b=2, c=3 in body": lambda seen: seen.succeeded and all(one in seen.body for one in (b"a=1", b"b=2", b"c=3")),
    "2xx with both cookies": lambda seen: seen.succeeded and b"a=1" in seen.body and b"b=2" in seen.body,
    "2xx with foo=bar in body": lambda seen: seen.succeeded and b"foo=bar" in seen.body,
    "2xx with no body": lambda seen: seen.succeeded and seen.rest in (None, b""),
    "204 without CL": lambda seen: seen.status == 204 and not seen.field("content-length"),
    "400 (rejected) or 2xx without NUL": lambda seen: seen.status == 400 or (seen.succeeded and b"\0" not in seen.body),
    "400 (rejected) or 2xx without control chars": lambda seen: (
        seen.status == 400 or (seen.succeeded and not re.search(rb"[\x00-\x1f]", seen.body))
    ),
    "400 or 2xx": _one_of(400, success=True),
    "400 or close": _one_of(400, closing=True),
    "400 or close (pass), 2xx (warn)": _one_of(400, closing=True),
    "400/405 or 200": _one_of(200, 400, 405),
    "400/405/501 or 2xx": _one_of(400, 405, 501, success=True),
    "400/405/501 or close": _one_of(400, 405, 501, closing=True),
    "400/431 (rejected) or 2xx (survived)": _one_of(400, 431, success=True),
    "400/501 or close": _one_of(400, 501, closing=True),
    "400/505 or close": _one_of(400, 505, closing=True),
    "400/close/timeout": _incomplete,
    "405 + Allow header": lambda seen: seen.status == 405 and bool(seen.field("allow")),
    "405/501 or 2xx": _one_of(405, 501, success=True),
    "405/501, or 200 without Auth": lambda seen: seen.status in (405, 501) or (seen.status == 200 and b"secret" not in seen.body),
    "406 or 2xx": _one_of(406, success=True),
    "415 or 2xx": _one_of(415, success=True),
    "417 or 2xx": _one_of(417, success=True),
    "501/405/400 or close": _one_of(400, 405, 501, closing=True),
    "IMF-fixdate format": lambda seen: seen.succeeded and IMF_FIXDATE.fullmatch(seen.field("date")) is not None,
    "Reject/drop (pass), normalize (fail), preserve (warn)": _one_of(400),
    "Reject/drop (pass), normalize casing (fail), preserve (warn)": _one_of(400),
    "non-101 (426 preferred)": lambda seen: seen.status not in (0, 101),
    "non-1xx response": lambda seen: seen.status >= 200 and not seen.interim,
    "not 414": lambda seen: seen.status not in (0, 414),
}
"""The file's expectations, as judges. Where it says "pass" beside "warn", only the pass will do."""


async def send(port: int, steps: list[dict[str, Any]]) -> Seen:
    """One connection of a vector: its bytes, and what comes back."""
    sent = b"".join(base64.b64decode(step["b64"]) for step in steps)
    client = Client(*await asyncio.open_connection("127.0.0.1", port, limit=2**20))
    try:
        client.send(sent)
        interim: list[int] = []
        got: Got | None = None
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                got = await client.response(sent.partition(b" ")[0].decode("latin-1"), interim=True)
                if got.status >= 200 or got.status == 101:
                    break
                interim.append(got.status)
        ends = got is None or got.all("connection") == ["close"]
        return Seen(got, tuple(interim), await client.rest() if ends else await at_once(client, got), sent)
    finally:
        await client.close()


async def at_once(client: Client, got: Got | None) -> None:
    """On a connection that stays open the next answer is that of the next request: nothing was left over."""
    client.send(b"GET /echo HTTP/1.1\r\nHost: a.test\r\nCookie: next\r\nConnection: close\r\n\r\n")
    following = await asyncio.wait_for(client.response(), PATIENCE)
    assert (following.status, following.body) == (200, b"next"), got


def judge(vector: dict[str, Any], seen: Seen) -> None:
    expected = vector["expect"] or vector["expect_status"]
    allowed = EXPECTED[expected](seen) or (vector["allow_close"] and seen.status == 0)
    assert allowed is (vector["id"] not in DEVIATIONS), (vector["desc"], expected, seen)
    if vector["id"] in DOCUMENTED:
        assert seen.status == DOCUMENTED[vector["id"]]


@contextlib.asynccontextmanager
async def edge(folder: Path, freshness: bytes) -> AsyncIterator[tuple[int, StrictOrigin]]:
    more = '[limits]\nhead_timeout = "300ms"\nbody_timeout = "300ms"'
    async with (
        StrictOrigin(lambda request: respond(request, freshness), upgrades=True) as origin,
        running_edge(folder, origin.url, more=more) as (running, _),
    ):
        yield int(running.listener.addresses[0].rpartition(":")[2]), origin


@pytest.mark.parametrize("freshness", [b"max-age=60", b"no-store"], ids=["cacheable", "uncacheable"])
@pytest.mark.parametrize("vector", VECTORS, ids=[vector["id"] for vector in VECTORS])
@on_uvloop
async def test_vector(vector: dict[str, Any], freshness: bytes, tmp_path: Path) -> None:
    async with edge(tmp_path, freshness) as (port, origin):
        for steps in vector["steps"]:
            seen = await send(port, steps)
        judge(vector, seen)
        assert origin.faults == []


def test_the_file_is_whole_and_the_tables_are_about_it() -> None:
    ids = [vector["id"] for vector in VECTORS]
    assert len(ids) == len(set(ids)) == 96
    assert {vector["level"] for vector in VECTORS} <= LEVELS
    assert set(DOCUMENTED) <= set(ids)
    loose = {vector["id"] for vector in VECTORS if vector["level"] in ("May", "NotApplicable")}
    assert loose <= set(DOCUMENTED), "what is not demanded is documented"
    assert set(DEVIATIONS) <= {"RFC9112-5.1-OBS-FOLD", "SMUG-CHUNK-SIZE-TRAILING-OWS", "MAL-URL-OVERLONG-UTF8"}
