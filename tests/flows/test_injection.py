"""Pages out of the store with our tag in them: their bytes, their fields, and who gets them."""

import hashlib
from base64 import b64encode
from pathlib import Path

import brotli
import pytest

from edgeproxy.telemetry import names
from tests.support.edge import Answer, connected, running_edge, until
from tests.support.http2 import serving2
from tests.support.injected import DECODE, DOCUMENT, FETCHED, KEEP, KEPT, ON, PLAIN, PRIVATE, WITH, asked, counted
from tests.support.otlp_receiver import OtlpReceiver
from tests.support.scripted import fronted, page, scripted
from tests.support.serving import on_uvloop


def digest(body: bytes) -> str:
    return f"sha-256=:{b64encode(hashlib.sha256(body).digest()).decode()}:"


# --- out of the store


async def test_a_stored_page_goes_out_with_the_tag_and_is_kept_without(tmp_path: Path) -> None:
    async with fronted(tmp_path, {"/page": KEPT}, site=ON) as it:
        first = await asked(it)
        assert (first.body, first["Content-Length"], first["ETag"]) == (WITH, str(len(WITH)), 'W/"a-edge"')
        await it.client.recorded("/page", headers=DOCUMENT)
        for _ in range(3):
            hit = await asked(it)
            assert (hit.status, hit.body) == (200, WITH)
            assert hit["Content-Length"] == str(len(WITH))
            assert (hit["ETag"], hit["Accept-Ranges"]) == ('W/"a-edge"', "none")
            assert hit["Repr-Digest"] == digest(WITH)
            assert hit["Cache-Status"].startswith("edgeproxy;hit")
            assert "Sec-Fetch-Dest" in hit["Vary"] or "Sec-Fetch-Dest" in ",".join(hit.headers.getall("Vary"))  # type: ignore[union-attr]
        plain = await it.client.ask("/page", headers=FETCHED)
        assert (plain.body, plain["ETag"], plain["Accept-Ranges"]) == (PLAIN, '"a"', "bytes")
        assert plain["Repr-Digest"] == digest(PLAIN)
        assert "Sec-Fetch-Dest" in ",".join(plain.headers.getall("Vary"))  # type: ignore[union-attr]
        # What the block names is the page as it came.
        version = next(it.edge.cache.index.entries()).versions[-1]
        assert version.body.digest == hashlib.sha256(PLAIN).digest()
        assert counted(it)["injected"] >= 4
    assert it.origin.count("/page") == 1


@pytest.mark.parametrize("coding", DECODE)
async def test_the_coded_forms_have_the_tag_too(tmp_path: Path, coding: str) -> None:
    async with fronted(tmp_path, {"/page": KEPT}, site=ON) as it:
        await it.client.recorded("/page", headers=DOCUMENT)

        async def coded() -> Answer | None:
            answer = await asked(it, Accept_Encoding=coding)
            return answer if answer["Content-Encoding"] == coding else None

        answer = await until(coded)
        assert DECODE[coding](answer.body) == WITH
        assert answer["ETag"] == f'W/"a-edge-{coding}"'
        assert answer["Repr-Digest"] == digest(answer.body)
        again = await asked(it, Accept_Encoding=coding, If_None_Match=answer["ETag"])
        assert (again.status, again.body, again["ETag"]) == (304, b"", answer["ETag"])
        plain = await it.client.ask("/page", headers={**FETCHED, "Accept-Encoding": coding})
        assert DECODE[coding](plain.body) == PLAIN


async def test_page_and_page_with_the_tag_have_validators_of_their_own(tmp_path: Path) -> None:
    async with fronted(tmp_path, {"/page": KEPT}, site=ON) as it:
        await it.client.recorded("/page", headers=DOCUMENT)
        for known in ('W/"a-edge"', '"a-edge"', '"x", W/"a-edge"', "*"):
            assert (await asked(it, If_None_Match=known)).status == 304, known
        assert (await asked(it, If_Modified_Since="Fri, 31 Dec 2100 23:59:59 GMT")).body == WITH
        assert (await asked(it, If_None_Match='"a"')).body == WITH, "who has the page without the tag is to get it"
        assert (await it.client.ask("/page", headers={**FETCHED, "If-None-Match": '"a"'})).status == 304
        assert (await it.client.ask("/page", headers={**FETCHED, "If-None-Match": 'W/"a-edge"'})).body == PLAIN


async def test_head_says_what_get_would(tmp_path: Path) -> None:
    async with fronted(tmp_path, {"/page": KEPT}, site=ON) as it:
        await it.client.recorded("/page", headers=DOCUMENT)
        got, head = await asked(it), await asked(it, method="HEAD")
        assert head.body == b""
        for name in ("Content-Length", "ETag", "Repr-Digest", "Accept-Ranges", "Vary", "Content-Type"):
            assert head[name] == got[name], name


async def test_ranges_are_those_of_the_page_as_it_came(tmp_path: Path) -> None:
    async with fronted(tmp_path, {"/page": KEPT}, site=ON) as it:
        await it.client.recorded("/page", headers=DOCUMENT)
        whole = await asked(it, Range="bytes=0-9")
        assert (whole.status, whole.body) == (200, WITH)
        part = await it.client.ask("/page", headers={**FETCHED, "Range": "bytes=0-9"})
        assert (part.status, part.body) == (206, PLAIN[:10])


async def test_nothing_changes_where_it_is_off(tmp_path: Path) -> None:
    ways = {"/page": KEPT, "/private": PRIVATE}
    async with fronted(tmp_path, ways) as it:
        await it.client.recorded("/page", headers=DOCUMENT)
        for target in ("/page", "/private"):
            answer = await asked(it, target)
            assert (answer.body, answer["ETag"], answer["Vary"].lower().find("sec-fetch")) == (PLAIN, '"a"', -1)
        assert (await asked(it, "/private"))["Digest"] == "x"
        assert counted(it) == {}


async def test_observe_gets_the_tag_too(tmp_path: Path) -> None:
    async with fronted(tmp_path, {"/page": KEPT}, site=ON.replace('"on"', '"observe"')) as it:
        assert (await asked(it)).body == WITH


NOT_FOR = [
    {"Sec-Fetch-Dest": "iframe"},
    {"HX-Request": "true"},
    {"Turbo-Frame": "a"},
    {"X-Requested-With": "XMLHttpRequest"},
    {"Host": "www.example.org"},
]


async def test_others_get_the_page_as_it_came(tmp_path: Path) -> None:
    async with fronted(tmp_path, {"/page": KEPT, "/private": PRIVATE}, site=ON) as it:
        await it.client.recorded("/page", headers=DOCUMENT)
        for target in ("/page", "/private"):
            for fields in NOT_FOR:
                for _ in range(2):
                    answer = await it.client.ask(target, headers={**DOCUMENT, **fields})
                    assert (answer.body, answer["ETag"]) == (PLAIN, '"a"'), (target, fields)
            assert (await asked(it, target)).body == WITH


async def test_heads_that_differ_in_nothing_but_who_asks_are_told_apart_on_the_hot_path(tmp_path: Path) -> None:
    async with fronted(tmp_path, {f"/{n}": KEPT for n in range(8)}, site=ON) as it:
        for n in range(8):
            await it.client.recorded(f"/{n}", headers=FETCHED)
        async with connected(it.edge) as client:
            for turn in range(3):
                for n in range(8):
                    for lines, body in (
                        ("Sec-Fetch-Dest: document\r\nAccept: text/html", WITH),
                        ("Sec-Fetch-Dest: empty\r\nAccept: text/html", PLAIN),
                        ("Accept: text/html", WITH),
                        ("Accept: */*", PLAIN),
                    ):
                        host = it.edge.listener.addresses[0]
                        client.send(f"GET /{n} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n\r\n".encode())
                        assert (await client.response()).body == body, (turn, n, lines)


# --- refresh, stale, and what speaks against it


async def test_a_confirmed_page_keeps_its_forms_with_the_tag(tmp_path: Path) -> None:
    stale = page(PLAIN, ETag='"a"', Content_Type="text/html", Cache_Control="max-age=60", Age="100")
    async with fronted(tmp_path, {"/page": stale}, site=ON) as it:
        await asked(it)

        async def coded() -> Answer | None:
            answer = await asked(it, Accept_Encoding="br")
            return answer if answer["Content-Encoding"] == "br" else None

        await until(coded)
        for _ in range(3):
            answer = await asked(it, Accept_Encoding="br")
            assert "fwd-status=304" in answer["Cache-Status"]
            assert (answer["Content-Encoding"], brotli.decompress(answer.body)) == ("br", WITH)


async def test_a_stale_page_that_stands_in_for_a_dead_origin_has_the_tag(tmp_path: Path) -> None:
    stale = page(PLAIN, ETag='"a"', Content_Type="text/html", Cache_Control="max-age=1", Age="100")
    async with scripted({"/page": stale}) as origin, running_edge(tmp_path, origin.url, site=ON) as (_, client):
        await client.ask("/page", headers=FETCHED)
        origin.ways["/page"] = page(b"broken", status=503)
        answer = await client.ask("/page", headers=DOCUMENT)
        assert (answer.status, answer.body) == (200, WITH)


async def test_what_was_done_stands_in_the_span(tmp_path: Path) -> None:
    policy = "script-src 'nonce-r4nd'"
    way = page(PLAIN, ETag='"a"', Content_Type="text/html", Cache_Control=KEEP, Content_Security_Policy=policy)
    ways = {"/page": way, "/amp": page("<!doctype html><html amp><head></head>", Content_Type="text/html"), "/image": page("x")}
    async with OtlpReceiver() as receiver:
        async with fronted(tmp_path, ways, site=ON, more=f'otlp_endpoint = "{receiver.endpoint}"') as it:
            await it.client.recorded("/page", headers=DOCUMENT)
            await asked(it)
            await it.client.ask("/page", headers=FETCHED)
            await asked(it, "/amp")
            await asked(it, "/image")
        spans = [span.attributes for span in receiver.spans if span.name == "GET *"]
        told = [(span["url.path"], span.get(names.INJECTION), span.get(names.CSP_CHANGES)) for span in spans]
    assert ("/page", "injected", "nonce,worker-src-added") in told
    assert ("/page", "destination", None) in told
    assert ("/amp", "amp", None) in told
    assert ("/image", None, None) in told
    assert len([each for each in told if each[0] == "/page" and each[1] == "injected"]) >= 2


@on_uvloop
async def test_http_2_gets_the_same(tmp_path: Path) -> None:
    async with fronted(tmp_path, {"/page": KEPT}, site=ON) as it, serving2(it.edge.handler) as served, served.client() as client:
        document = ((b"sec-fetch-dest", b"document"), (b"accept", b"text/html"))
        fetched = ((b"sec-fetch-dest", b"empty"),)
        for _ in range(12):
            assert (await client.ask("/page", *document)).body == WITH
            assert (await client.ask("/page", *fetched)).body == PLAIN
    assert it.origin.count("/page") == 1
