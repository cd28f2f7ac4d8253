"""Pages with our tag in them, out of the store and passing by: their bytes, their fields, and who gets them."""

import asyncio
import gzip
import hashlib
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import brotli
import pytest
import zstandard
from aiohttp import web

from edgeproxy.exchange import injection
from edgeproxy.inject.injector import tag
from edgeproxy.telemetry import names
from tests.support import csp_pages
from tests.support.edge import Answer, connected, running_edge, until
from tests.support.http2 import serving2
from tests.support.otlp_receiver import OtlpReceiver
from tests.support.scripted import Fronted, Way, fronted, page, scripted
from tests.support.serving import on_uvloop

ON = '[site.service_worker]\nmode = "on"\n'
TAG = tag()
DOCUMENT = {"Sec-Fetch-Dest": "document", "Accept": "text/html", "Accept-Encoding": "identity"}
FETCHED = {"Sec-Fetch-Dest": "empty", "Accept": "*/*", "Accept-Encoding": "identity"}
KEEP = "max-age=600"
BEFORE = b"<!doctype html><html><head><title>a page</title>"
AFTER = b"</head><body>" + b"<p>All pages are kept as they came.</p>" * 300 + b"</body></html>"
PLAIN, WITH = BEFORE + AFTER, BEFORE + TAG + AFTER
KEPT = page(PLAIN, ETag='"a"', Content_Type="text/html; charset=utf-8", Cache_Control=KEEP, Accept_Ranges="bytes")
PRIVATE = page(PLAIN, ETag='"a"', Content_Type="text/html", Cache_Control="private", Digest="x", Content_MD5="y")


def unzstd(data: bytes) -> bytes:
    whole: bytes = zstandard.ZstdDecompressor().decompressobj().decompress(data)
    return whole


DECODE: dict[str, Callable[[bytes], bytes]] = {"br": brotli.decompress, "zstd": unzstd, "gzip": gzip.decompress}
ENCODE: dict[str, Callable[[bytes], bytes]] = {
    "br": brotli.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "gzip": gzip.compress,
}


def digest(body: bytes) -> str:
    return f"sha-256=:{b64encode(hashlib.sha256(body).digest()).decode()}:"


async def asked(it: Fronted, target: str = "/page", method: str = "GET", **fields: str) -> Answer:
    """As a browser asks that is going to show the page."""
    return await it.client.ask(target, method, headers={**DOCUMENT, **{k.replace("_", "-"): v for k, v in fields.items()}})


def counted(it: Fronted) -> dict[str, int]:
    """Pages sent to be shown, by what became of them."""
    return dict(it.edge.metrics.site("*").injections)


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


# --- passing by


async def test_a_page_that_is_not_stored_gets_the_tag_on_its_way(tmp_path: Path) -> None:
    async with fronted(tmp_path, {"/page": PRIVATE}, site=ON) as it:
        for _ in range(2):
            answer = await asked(it)
            assert (answer.body, answer["Content-Length"], answer["ETag"]) == (WITH, str(len(WITH)), 'W/"a-edge"')
            assert (answer["Digest"], answer["Content-MD5"], answer["Accept-Ranges"]) == ("", "", "none")
        head = await asked(it, method="HEAD")
        assert (head.status, head["ETag"], head["Content-Length"], head["Digest"]) == (200, 'W/"a-edge"', "", "")
        known = await asked(it, If_None_Match='W/"a-edge"')
        assert (known.status, known["ETag"]) == (304, 'W/"a-edge"')
        assert it.origin.last("/page").fields["If-None-Match"] in ('W/"a"', '"a"')
        assert counted(it)["injected"] >= 2


@pytest.mark.parametrize("coding", ENCODE)
@pytest.mark.parametrize("cache_control", ["private", KEEP])
async def test_an_origin_that_compresses(tmp_path: Path, coding: str, cache_control: str) -> None:
    sent = ENCODE[coding](PLAIN)
    way = page(sent, ETag='"a"', Content_Type="text/html", Cache_Control=cache_control, Content_Encoding=coding)
    async with fronted(tmp_path, {"/page": way}, site=ON) as it:
        for _ in range(3):
            answer = await asked(it, Accept_Encoding=coding)
            body = DECODE[coding](answer.body) if answer["Content-Encoding"] else answer.body
            assert body == WITH
            assert answer["ETag"].startswith('W/"a-edge')
            if cache_control == "private":
                assert answer["Content-Encoding"] == coding
                assert len(answer.body) < len(WITH) // 4
        plain = await it.client.ask("/page", headers={**FETCHED, "Accept-Encoding": coding})
        assert (DECODE[coding](plain.body) if plain["Content-Encoding"] else plain.body) == PLAIN


async def test_a_compressed_page_without_a_place_goes_byte_for_byte(tmp_path: Path) -> None:
    sent = gzip.compress(b"<!doctype html><p>no head" + b"x" * 5000)
    way = page(sent, ETag='"a"', Content_Type="text/html", Cache_Control="private", Content_Encoding="gzip", Digest="x")
    async with fronted(tmp_path, {"/page": way}, site=ON) as it:
        answer = await asked(it, Accept_Encoding="gzip")
        assert (answer.body, answer["ETag"], answer["Digest"]) == (sent, '"a"', "x")
        assert counted(it) == {"no_place": 1}


def slowly(pieces: list[bytes], gates: list[asyncio.Event], cache_control: str) -> Way:
    """A page in pieces, each behind its gate; without a length."""

    async def way(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/html", "Cache-Control": cache_control, "ETag": '"a"'})
        response.enable_chunked_encoding()
        await response.prepare(request)
        for piece, gate in zip(pieces, gates, strict=True):
            await gate.wait()
            await response.write(piece)
        await response.write_eof()
        return response

    return way


@pytest.mark.parametrize("cache_control", ["private", KEEP])
async def test_a_page_goes_on_while_it_arrives(tmp_path: Path, cache_control: str) -> None:
    pieces = [BEFORE + b"<scr", b"ipt>'</head>'</script></he", b"ad><body>", b"end"]
    gates = [asyncio.Event() for _ in pieces]
    whole = b"".join(pieces)
    async with fronted(tmp_path, {"/page": slowly(pieces, gates, cache_control)}, site=ON) as it:
        gates[0].set()
        async with it.client.session.get(it.client.base + "/page", headers=DOCUMENT) as response:
            assert (response.headers["ETag"], response.headers.get("Content-Length")) == ('W/"a-edge"', None)
            got = await response.content.readexactly(len(BEFORE))
            assert got == BEFORE, "it is here before the rest was sent"
            for gate in gates[1:]:
                gate.set()
            got += await response.content.read()
        place = whole.index(b"</head><body>")
        assert got == whole[:place] + TAG + whole[place:]
        if cache_control == KEEP:
            kept = await it.client.recorded("/page", headers=FETCHED)
            assert kept.body == whole


async def test_a_page_that_has_no_place_after_all_is_still_the_page(tmp_path: Path) -> None:
    pieces = [b"<!doctype html><html><head>", b"<meta http-equiv=content-security-policy content=x></head><body>"]
    gates = [asyncio.Event() for _ in pieces]
    for gate in gates:
        gate.set()
    async with fronted(tmp_path, {"/page": slowly(pieces, gates, "private")}, site=ON) as it:
        assert (await asked(it)).body == b"".join(pieces)
        assert counted(it) == {"meta_csp": 1}


async def test_a_large_page_streams_from_disk_with_its_length(tmp_path: Path) -> None:
    size = 50 << 20
    row = b"<tr><td>a cell</td></tr>\n"

    async def way(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/html", "Cache-Control": KEEP, "ETag": '"big"'})
        response.content_length = len(BEFORE) + len(b"</head><body>") + size // len(row) * len(row)
        await response.prepare(request)
        await response.write(BEFORE + b"</head><body>")
        for _ in range(64):
            await response.write(row * (size // len(row) // 64))
        await response.write(row * (size // len(row) % 64))
        await response.write_eof()
        return response

    async def taken(it: Fronted) -> tuple[int, str, bytes, str, str]:
        """Length announced, validator, first bytes, digest of the page without the tag, and of it all."""
        async with it.client.session.get(it.client.base + "/big", headers=DOCUMENT) as response:
            start = await response.content.readexactly(len(BEFORE) + len(TAG))
            rest = hashlib.sha256(start[: len(BEFORE)])
            total = len(start)
            async for piece in response.content.iter_any():
                rest.update(piece)
                total += len(piece)
            announced = response.headers["Content-Length"]
            assert total == int(announced)
            return total, response.headers["ETag"], start, rest.hexdigest(), response.headers.get("Repr-Digest", "")

    async with fronted(tmp_path, {"/big": way}, site=ON) as it:
        first = await taken(it)
        assert first[1] == 'W/"big-edge"'
        assert first[2] == BEFORE + TAG

        async def kept() -> bool | None:
            return any(entry.versions for entry in it.edge.cache.index.entries()) or None

        await until(kept)
        assert await taken(it) == first
        version = next(it.edge.cache.index.entries()).versions[-1]
        assert version.body.digest.hex() == first[3], "the block names the page as it came"
        resident = it.edge.cache.tier.get(next(it.edge.cache.index.entries()).tier_key)
        assert resident is not None
        assert resident.body is None
        assert (await it.client.ask("/big", "HEAD", headers=DOCUMENT))["Content-Length"] == str(first[0])
    assert it.origin.count("/big") == 1


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


POLICIES = [
    ("script-src 'self'", None, "script-src 'self'"),
    (
        "script-src 'nonce-r4nd'",
        "r4nd",
        "script-src 'nonce-r4nd'; worker-src {0}/.edge/sw.js",
    ),
    ("default-src 'none'", None, "default-src 'none'; script-src {0}/.edge/ui/; worker-src {0}/.edge/sw.js"),
]


@pytest.mark.parametrize(("policy", "nonce", "expected"), POLICIES)
@pytest.mark.parametrize("cache_control", ["private", KEEP])
async def test_the_policy_is_amended_with_the_page_alone(
    tmp_path: Path, policy: str, nonce: str | None, expected: str, cache_control: str
) -> None:
    way = page(PLAIN, ETag='"a"', Content_Type="text/html", Cache_Control=cache_control, Content_Security_Policy=policy)
    async with fronted(tmp_path, {"/page": way}, site=ON) as it:
        for _ in range(3):
            answer = await asked(it)
            assert answer.body == BEFORE + tag(nonce) + AFTER
            assert answer["Content-Security-Policy"] == expected.format(it.client.base)
        plain = await it.client.ask("/page", headers=FETCHED)
        assert (plain.body, plain["Content-Security-Policy"]) == (PLAIN, policy)
        if "none" in policy:
            changes = it.edge.metrics.site("*").csp_changes
            assert set(changes) == {"script-src-added", "worker-src-added"}


SKIPPED = [
    ({"Content_Security_Policy": "worker-src 'none'"}, PLAIN, "csp_worker_none"),
    ({"Content_Security_Policy": "sandbox"}, PLAIN, "csp_sandbox"),
    ({"Content_Disposition": "attachment"}, PLAIN, "attachment"),
    ({"Cache_Control": f"{KEEP}, no-transform"}, PLAIN, "no_transform"),
    ({}, b"<!doctype html><html amp><head></head>", "amp"),
    ({}, WITH, "present"),
    ({}, PLAIN.decode().encode("utf-16"), "charset"),
    ({}, b"<p>only a fragment</p>", "not_a_document"),
]


@pytest.mark.parametrize(("fields", "body", "reason"), SKIPPED, ids=[case[2] for case in SKIPPED])
async def test_what_is_skipped_goes_as_it_came_and_is_counted(
    tmp_path: Path, fields: dict[str, str], body: bytes, reason: str
) -> None:
    way = page(body, **{"ETag": '"a"', "Content_Type": "text/html", "Cache_Control": KEEP, **fields})
    async with fronted(tmp_path, {"/page": way}, site=ON) as it:
        await it.client.recorded("/page", headers=DOCUMENT)
        for _ in range(2):
            answer = await asked(it)
            assert (answer.body, answer["ETag"], answer["Content-Length"]) == (body, '"a"', str(len(body)))
            for name, value in fields.items():
                assert answer[name.replace("_", "-")] == value
        assert set(counted(it)) == {reason}
        assert counted(it)[reason] >= 3
        shown = it.edge.metrics.render()
        assert f'edgeproxy_injections_total{{site="*",outcome="{reason}"}}' in shown


async def test_every_line_of_the_table_of_policies_as_a_browser_would_get_it(tmp_path: Path) -> None:
    async with fronted(tmp_path, csp_pages.ways(), site=ON) as it:
        for row in csp_pages.ROWS:
            for _ in range(2):
                answer = await asked(it, f"/{row.name}")
                assert (b"/.edge/ui/register.js" in answer.body) is row.injected, row.name
                if not row.injected:
                    assert answer.body.decode() == csp_pages.html(row.name)
                    assert answer[csp_pages.POLICY] == ", ".join(value for _, value in row.policies)


async def test_a_304_from_the_origin_brings_the_amended_policy_to_who_has_the_amended_page(tmp_path: Path) -> None:
    policy = "script-src https://cdn.example"
    way = page(PLAIN, ETag='W/"a"', Content_Type="text/html", Cache_Control="private", Content_Security_Policy=policy)
    async with fronted(tmp_path, {"/page": way}, site=ON) as it:
        first = await asked(it)
        again = await asked(it, If_None_Match=first["ETag"])
        assert (again.status, again["ETag"]) == (304, first["ETag"])
        assert again["Content-Security-Policy"] == first["Content-Security-Policy"] != policy
        other = await asked(it, If_None_Match='W/"a"')
        assert (other.status, other["ETag"], other["Content-Security-Policy"]) == (304, 'W/"a"', policy)


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


async def test_a_site_with_a_service_worker_of_its_own_is_left_alone_from_then_on(tmp_path: Path) -> None:
    ways = {"/page": KEPT, "/private": PRIVATE, "/sw.js": page(b"//", Content_Type="text/javascript", Cache_Control=KEEP)}
    async with fronted(tmp_path, ways, site=ON) as it:
        await it.client.recorded("/sw.js")
        await it.client.recorded("/page", headers=DOCUMENT)
        assert (await asked(it)).body == WITH
        await it.client.ask("/sw.js", headers={"Service-Worker": "script", "Sec-Fetch-Dest": "serviceworker"})
        for target in ("/page", "/private"):
            answer = await asked(it, target)
            assert (answer.body, answer["ETag"]) == (PLAIN, '"a"')
        assert it.edge.browsers.workers.is_injected("*", "other.test")


async def test_where_a_password_is_asked_for_the_pages_below_are_left_alone(tmp_path: Path) -> None:
    asks = page(b"who are you", status=401, WWW_Authenticate='Basic realm="a"', Content_Type="text/html")
    api = page(b"no", status=401, WWW_Authenticate="Bearer", Content_Type="text/html")
    async with fronted(tmp_path, {"/in/secret": asks, "/in/page": KEPT, "/page": KEPT, "/api": api}, site=ON) as it:
        await it.client.recorded("/in/page", headers=DOCUMENT)
        assert (await asked(it, "/in/page")).body == WITH
        await asked(it, "/api")
        assert (await asked(it, "/in/page")).body == WITH
        assert (await asked(it, "/in/secret")).status == 401
        assert (await asked(it, "/in/page")).body == PLAIN
        assert (await asked(it, "/page")).body == WITH
        assert counted(it)["challenged"] == 1


async def test_challenges_in_folder_after_folder_do_not_have_the_memory_walked_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(injection, "BETWEEN_SIGHTS", 3_600)
    asks = page(b"who are you", status=401, WWW_Authenticate='Basic realm="a"', Content_Type="text/html")
    ways = {f"/{name}/{number}/secret": asks for name in ("in", "out") for number in range(9)}
    async with fronted(tmp_path, {**ways, "/in/secret": asks, "/out/9/page": KEPT}, site=ON) as it:
        walks = 0
        after = it.edge.injections.on_forget

        def walked() -> None:
            nonlocal walks
            walks += 1
            after()

        it.edge.injections.on_forget = walked
        await asked(it, "/in/secret")
        for target in ways:
            assert (await asked(it, target)).status == 401
        assert walks == 1
        it.edge.injections.forget()
        assert walks == 2, "an operator does not wait"
        assert (await asked(it, "/out/9/page")).body == WITH
