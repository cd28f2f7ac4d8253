"""The table of broken answers through the whole edge: never stored, never part of anybody else's answer, never taken for whole by
the client; and where a good copy is there, that goes out, verified."""

import asyncio
import base64
import hashlib
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from edgeproxy.app import Edge
from tests.support.broken_origins import BROKEN, EVIL, BrokenAnswer
from tests.support.broken_server import BrokenOrigin
from tests.support.edge import running_edge
from tests.support.raw_origin import answer
from tests.support.serving import PATIENCE, Client, Got, on_uvloop

GOOD = b"the good copy"
MENDED = b"the origin is well again"
CLEAN = {
    # The answer itself is whole and plain; what is wrong comes after it was taken, or is not wrong for a cache.
    "two equal content-lengths",
    "a content-length list of equals",
    "connection: close, kept open",
    *(case.name for case in BROKEN if case.late),
}
READ_AS_ERROR = {
    # Understood by the connection, but no answer to what was asked: nothing was conditional.
    "304 with a body",
    "304 with a length only",
}
QUICK = '[site.origin]\nhead_timeout = "300ms"\nbody_timeout = "300ms"\nmax_connections = 1'
_STATUS_LINE = re.compile(rb"(HTTP/[12]\.[0-9] +[2-9][0-9]{2} [^\r\n]*)(\r?\n)")


def storable(case: BrokenAnswer) -> BrokenAnswer:
    """The case with everything in it made cacheable: what is not kept then is not kept because it is broken."""
    raw, late = (_STATUS_LINE.sub(rb"\1\2Cache-Control: max-age=600\2", text) for text in (case.raw, case.late))
    return replace(case, raw=raw, late=late)


@dataclass
class Scene:
    """An edge in front of an origin that has one case to play."""

    case: BrokenAnswer
    origin: BrokenOrigin
    edge: Edge

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        port = int(self.edge.listener.addresses[0].rpartition(":")[2])
        client = Client(*await asyncio.open_connection("127.0.0.1", port, limit=2**20))
        try:
            yield client
        finally:
            await client.close()

    async def ask(self, target: str, method: str = "GET") -> Got | None:
        """The answer on a connection of its own; None when it is visibly not whole."""
        async with self.client() as client:
            client.send(b"%b %b HTTP/1.1\r\nHost: a.test\r\n\r\n" % (method.encode(), target.encode()))
            try:
                return await client.response(method)
            except (asyncio.IncompleteReadError, ConnectionError):
                return None

    async def victim(self, number: int) -> None:
        """Another client, another URL, the same pool: its own answer."""
        got = await self.ask(f"/victim-{number}")
        assert got is not None
        assert (got.status, got.body.split(b" ")[0]) == (200, b"/victim-%d" % number)
        assert "X-Evil" not in dict(got.fields)

    async def late(self) -> None:
        """Let the origin send what nobody asked for."""
        self.origin.taken.set()
        if self.case.late:
            await asyncio.wait_for(self.origin.late_sent.wait(), PATIENCE)

    def asked(self) -> int:
        """How often the origin was asked for the broken page."""
        return sum(b" /broken " in head for head in self.origin.heads)

    async def blocks(self) -> int:
        """Blocks in the ledger beside the first."""
        await self.edge.sequencer.flush()
        return self.edge.sequencer.head().size - 1


@asynccontextmanager
async def scene(case: BrokenAnswer, folder: Path) -> AsyncIterator[Scene]:
    case = storable(case)
    async with BrokenOrigin(case) as origin, running_edge(folder, origin.url, site=QUICK) as (edge, _):
        yield Scene(case, origin, edge)


def judge(case: BrokenAnswer, got: Got | None) -> None:
    """What the client of a broken answer sees: a page of ours, or a visible truncation, or the one reading there is."""
    if case.expect == "truncated" and got is None:
        return
    assert got is not None
    assert b"EVIL" not in got.body
    if case.expect == "ok" and case.name not in READ_AS_ERROR:
        assert got.status in (200, 204)
        assert got.body == case.body
        return
    assert got.status in (502, 504), got
    assert got.all("proxy-status")
    assert b"edgeproxy" in got.body
    assert b"hello" not in got.body


@pytest.mark.parametrize("case", BROKEN, ids=lambda case: case.name)
@on_uvloop
async def test_a_broken_answer_is_not_stored_and_reaches_nobody_else(case: BrokenAnswer, tmp_path: Path) -> None:
    async with scene(case, tmp_path) as stage:
        await stage.victim(0)  # most answers come over a pooled connection
        judge(case, await stage.ask("/broken", case.method))
        await stage.late()
        await stage.victim(1)
        keeps = case.name in CLEAN and case.method == "GET"
        assert await stage.blocks() == (1 if keeps else 0)
        before = stage.asked()
        again, _ = await asyncio.gather(stage.ask("/broken", case.method), stage.victim(2))
        judge(case, again)
        assert (stage.asked() > before) is not keeps
        await stage.victim(3)
        assert await stage.blocks() == (1 if keeps else 0)


UNUSABLE = [case for case in BROKEN if case.method == "GET" and (case.expect != "ok" or case.name in READ_AS_ERROR)]


def is_verified(got: Got | None, body: bytes, *, blocks: Sequence[str] = ("1",)) -> bool:
    """Whether an answer is `body` whole, with the digest and the block that say so; one that is new has none yet."""
    assert got is not None
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    assert got.all("repr-digest") == [f"sha-256=:{digest}:"]
    return got.status == 200 and got.body == body and got.all("edge-block") == list(blocks)


@pytest.mark.parametrize("case", [case for case in UNUSABLE if case.name not in READ_AS_ERROR], ids=lambda case: case.name)
@on_uvloop
async def test_where_a_good_copy_is_there_it_goes_out_verified_and_stays(case: BrokenAnswer, tmp_path: Path) -> None:
    async with scene(case, tmp_path) as stage:
        stage.origin.good = answer(GOOD, b"Cache-Control: max-age=0", b'ETag: "good"')
        await stage.ask("/broken")
        assert await stage.blocks() == 1
        stage.origin.good = b""
        for _ in range(2):
            got = await stage.ask("/broken")
            assert is_verified(got, GOOD)
            assert got is not None
            assert "fwd=stale" in got.all("cache-status")[0]
            assert got.all("proxy-status")
        await stage.victim(1)
        assert await stage.blocks() == 1
        stage.origin.good = answer(MENDED, b"Cache-Control: max-age=600")
        mended = await stage.ask("/broken")
        assert mended is not None
        assert mended.body == MENDED
        assert await stage.blocks() == 2


@pytest.mark.parametrize("name", sorted(READ_AS_ERROR))
@on_uvloop
async def test_a_confirmation_with_bytes_behind_it_is_used_but_not_written_down(name: str, tmp_path: Path) -> None:
    """RFC 9111 section 4.3.4: the head of the 304 has one reading. With nothing behind it, it is written down as ever."""
    case = next(case for case in BROKEN if case.name == name)
    async with scene(case, tmp_path) as stage:
        stage.origin.good = answer(GOOD, b"Cache-Control: max-age=0", b'ETag: "good"')
        await stage.ask("/broken")
        assert await stage.blocks() == 1
        stage.origin.good = b""
        assert is_verified(await stage.ask("/broken"), GOOD, blocks=[] if case.reusable else ["1"])
        await stage.victim(1)
        assert await stage.blocks() == (2 if case.reusable else 1)


@on_uvloop
async def test_a_head_with_bytes_behind_it_changes_nothing_that_is_stored(tmp_path: Path) -> None:
    """RFC 9111 section 4.3.5 would let it freshen the stored response, or show that it is out of date."""
    case = next(case for case in BROKEN if case.name == "HEAD with a body")
    async with scene(case, tmp_path) as stage:
        stage.origin.good = answer(GOOD, b"Cache-Control: max-age=0")
        await stage.ask("/broken")
        assert await stage.blocks() == 1
        stage.origin.good = b""
        await stage.ask("/broken", "HEAD")
        assert await stage.blocks() == 1
        stage.origin.case = replace(case, raw=b"", after="close")
        assert is_verified(await stage.ask("/broken"), GOOD)


@on_uvloop
async def test_the_good_copy_stands_in_for_a_truncated_answer_that_would_not_have_been_stored(tmp_path: Path) -> None:
    raw = b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nSet-Cookie: a=b\r\nContent-Length: 10\r\n\r\nhello"
    async with scene(BrokenAnswer("unstorable", "RFC 9112 8", raw, "close", "truncated"), tmp_path) as stage:
        stage.origin.good = answer(GOOD, b"Cache-Control: max-age=0", b'ETag: "good"')
        await stage.ask("/broken")
        assert await stage.blocks() == 1
        stage.origin.good = b""
        for _ in range(2):  # the second time the page is known not to be cacheable
            assert is_verified(await stage.ask("/broken"), GOOD)
        assert await stage.blocks() == 1


@on_uvloop
async def test_what_cannot_be_stored_streams_on_when_it_is_slow_to_end(tmp_path: Path) -> None:
    """A page that became a stream: it may never end, and is no failure."""
    raw = b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
    case = BrokenAnswer("slow", "", raw, "keep", "ok", body=b"hello", late=b"6\r\n world\r\n0\r\n\r\n")
    site = '[site.origin]\nmax_connections = 1\n[site.recovery]\nstale_after = "50ms"'
    async with BrokenOrigin(case) as origin, running_edge(tmp_path, origin.url, site=site) as (edge, _):
        stage = Scene(case, origin, edge)
        origin.good = answer(GOOD, b"Cache-Control: max-age=0")
        await stage.ask("/broken")
        origin.good = b""
        async with stage.client() as client:
            client.send(b"GET /broken HTTP/1.1\r\nHost: a.test\r\n\r\n")
            assert await asyncio.wait_for(client.reader.readuntil(b"5\r\nhello\r\n"), PATIENCE)
            await stage.late()
            assert await asyncio.wait_for(client.reader.readuntil(b"0\r\n\r\n"), PATIENCE) == b"6\r\n world\r\n0\r\n\r\n"


TRUNCATED = [case for case in BROKEN if case.expect == "truncated"]


@pytest.mark.parametrize("case", TRUNCATED, ids=lambda case: case.name)
@on_uvloop
async def test_a_truncated_answer_shows_even_to_a_client_that_knows_no_chunks(case: BrokenAnswer, tmp_path: Path) -> None:
    """RFC 9112 section 8: an end that only closes would look like a whole message to HTTP/1.0."""
    async with scene(case, tmp_path) as stage, stage.client() as client:
        client.send(b"GET /broken HTTP/1.0\r\nHost: a.test\r\n\r\n")
        try:
            got = await client.response()
        except (asyncio.IncompleteReadError, ConnectionResetError):
            return
        judge(case, got)
        assert got.status in (502, 504), "it came to a whole answer"


def test_the_table_is_broad_and_cacheable_but_for_its_faults() -> None:
    assert len(BROKEN) >= 40
    assert b"max-age" in storable(BROKEN[0]).raw
    assert {case.name for case in BROKEN} >= CLEAN | READ_AS_ERROR
    assert EVIL in b"".join(case.raw + case.late for case in BROKEN)
