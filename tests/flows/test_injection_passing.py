"""Our tag in pages that pass by: compressed or not, slow, large, and whole even where there is no place for it."""

import asyncio
import gzip
import hashlib
from collections.abc import Callable
from pathlib import Path

import brotli
import pytest
import zstandard
from aiohttp import web

from tests.support.edge import until
from tests.support.injected import (
    BEFORE,
    DECODE,
    DOCUMENT,
    FETCHED,
    KEEP,
    ON,
    PLAIN,
    PRIVATE,
    TAG,
    WITH,
    asked,
    counted,
)
from tests.support.scripted import Fronted, Way, fronted, page

ENCODE: dict[str, Callable[[bytes], bytes]] = {
    "br": brotli.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "gzip": gzip.compress,
}


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
