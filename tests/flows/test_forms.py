"""Bodies are kept in identity coding; br, zstd and gzip forms are made beside it, each with a validator of its own (RFC 9110
section 8.8.3.3)."""

import gzip
import hashlib
import zlib
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import aiohttp
import brotli
import pytest
import zstandard

from tests.support.edge import Answer, until
from tests.support.scripted import Fronted, Way, fronted, page

TEXT = b"All bodies are kept as they are, and sent as small as they can be. " * 300
KEEP = "max-age=600"
PAGE = page(TEXT, ETag='"a"', Content_Type="text/html; charset=utf-8", Cache_Control=KEEP)


def unzstd(data: bytes) -> bytes:
    whole: bytes = zstandard.ZstdDecompressor().decompressobj().decompress(data)
    return whole


DECODE: dict[str, Callable[[bytes], bytes]] = {"br": brotli.decompress, "zstd": unzstd, "gzip": gzip.decompress}
ENCODE: dict[str, Callable[[bytes], bytes]] = {
    "br": brotli.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
}


async def coded(it: Fronted, accept: str, coding: str, host: str | None = None) -> Answer:
    """Ask until the answer comes in `coding`: the forms are made behind the first answer."""
    fields = {"Accept-Encoding": accept, **({"Host": host} if host else {})}

    async def there() -> Answer | None:
        answer = await it.client.ask("/page", headers=fields)
        return answer if answer["Content-Encoding"] == coding else None

    return await until(there)


async def settled(it: Fronted) -> None:
    """Wait until the forms of what is stored are made."""
    await it.client.recorded("/page")

    async def made() -> bool | None:
        return it.edge.forms.waiting_bytes == 0 or None

    await until(made)


@pytest.mark.parametrize("coding", DECODE)
async def test_each_form_has_its_own_validator_and_a_304_of_its_own(tmp_path: Path, coding: str) -> None:
    async with fronted(tmp_path, {"/page": PAGE}) as it:
        await it.client.recorded("/page")
        answer = await coded(it, coding, coding)
        assert DECODE[coding](answer.body) == TEXT
        assert len(answer.body) < len(TEXT) // 4
        assert answer["ETag"] == f'"a-{coding}"'
        assert answer["Vary"] == "Accept-Encoding"
        assert answer["Content-Type"] == "text/html; charset=utf-8"
        digest = b64encode(hashlib.sha256(answer.body).digest()).decode()
        assert answer["Repr-Digest"] == f"sha-256=:{digest}:"
        again = await it.client.ask("/page", headers={"Accept-Encoding": coding, "If-None-Match": answer["ETag"]})
        assert (again.status, again.body, again["ETag"]) == (304, b"", answer["ETag"])
        assert again["Vary"] == "Accept-Encoding"
        other = await it.client.ask("/page", headers={"Accept-Encoding": coding, "If-None-Match": '"b"'})
        assert (other.status, other["Content-Encoding"]) == (200, coding)
    assert it.origin.count("/page") == 1
    assert it.origin.last("/page").fields["Accept-Encoding"] == "identity"


ACCEPTED = [
    (None, ""),
    ("", ""),
    ("identity", ""),
    ("compress", ""),
    ("br;q=0, zstd;q=0, gzip;q=0", ""),
    ("gzip, deflate, br, zstd", "br"),
    ("gzip, zstd", "zstd"),
    ("gzip;q=1, br;q=0.5", "gzip"),
    ("*", "br"),
    ("br;q=0, *", "zstd"),
    ("x-gzip", "gzip"),
]


async def test_the_form_is_chosen_by_accept_encoding_and_identity_is_for_all_others(tmp_path: Path) -> None:
    async with fronted(tmp_path, {"/page": PAGE}) as it:
        await it.client.recorded("/page")
        await coded(it, "br", "br")
        async with it.client.session.get(it.client.base + "/page", skip_auto_headers=("Accept-Encoding",)) as response:
            assert "Content-Encoding" not in response.headers
            assert await response.read() == TEXT
        for accept, coding in ACCEPTED[1:]:
            answer = await it.client.ask("/page", headers={"Accept-Encoding": str(accept)})
            assert (accept, answer["Content-Encoding"]) == (accept, coding)
            assert (DECODE[coding](answer.body) if coding else answer.body) == TEXT
            assert answer["Vary"] == "Accept-Encoding"
            assert answer["ETag"] == (f'"a-{coding}"' if coding else '"a"')
    assert it.origin.count("/page") == 1


async def test_a_client_that_kept_another_form_has_the_content(tmp_path: Path) -> None:
    async with fronted(tmp_path, {"/page": PAGE}) as it:
        await it.client.recorded("/page")
        await coded(it, "br", "br")
        for etag in ('"a"', '"a-gzip"'):
            answer = await it.client.ask("/page", headers={"Accept-Encoding": "br", "If-None-Match": etag})
            assert answer.status == 304


async def test_ranges_are_those_of_the_identity_form(tmp_path: Path) -> None:
    async with fronted(tmp_path, {"/page": PAGE}) as it:
        await it.client.recorded("/page")
        await coded(it, "br", "br")
        part = await it.client.ask("/page", headers={"Accept-Encoding": "br", "Range": "bytes=3-9"})
    assert (part.status, part.body, part["Content-Encoding"], part["ETag"]) == (206, TEXT[3:10], "", '"a"')


LEFT_ALONE = [
    ("no-transform", page(TEXT, Content_Type="text/html", Cache_Control=f"{KEEP}, no-transform")),
    ("images", page(TEXT, Content_Type="image/png", Cache_Control=KEEP)),
    ("small bodies", page(TEXT[:200], Content_Type="text/html", Cache_Control=KEEP)),
]


@pytest.mark.parametrize("way", [case[1] for case in LEFT_ALONE], ids=[case[0] for case in LEFT_ALONE])
async def test_what_is_left_as_it_came(tmp_path: Path, way: Way) -> None:
    async with fronted(tmp_path, {"/page": way}) as it:
        await settled(it)
        answer = await it.client.ask("/page", headers={"Accept-Encoding": "br, gzip, zstd"})
    assert (answer["Content-Encoding"], answer["Vary"]) == ("", "")
    assert TEXT.startswith(answer.body)
    assert it.edge.forms.made == 0


async def test_a_site_may_switch_forms_off(tmp_path: Path) -> None:
    async with fronted(tmp_path, {"/page": PAGE}, site="[site.cache]\ncompress = false\n") as it:
        await settled(it)
        answer = await it.client.ask("/page", headers={"Accept-Encoding": "br"})
    assert (answer["Content-Encoding"], answer.body) == ("", TEXT)


async def test_the_vary_of_the_origin_is_kept_beside_ours(tmp_path: Path) -> None:
    way = page(TEXT, Content_Type="text/html", Cache_Control=KEEP, Vary="Accept-Language")
    async with fronted(tmp_path, {"/page": way}) as it:
        await settled(it)
        async with it.client.session.get(it.client.base + "/page", headers={"Accept-Encoding": "br"}) as response:
            assert sorted(response.headers.getall("Vary")) == ["Accept-Encoding", "Accept-Language"]


async def test_forms_are_there_again_after_a_refresh_and_after_a_restart(tmp_path: Path) -> None:
    stale = page(TEXT, ETag='"a"', Content_Type="text/html", Cache_Control="max-age=60", Age="100")
    async with fronted(tmp_path, {"/page": stale}) as it:
        for _ in range(3):
            answer = await coded(it, "br", "br", host="a.test")
            assert answer["ETag"] == '"a-br"'
            assert "fwd-status=304" in answer["Cache-Status"]
    async with fronted(tmp_path, {"/page": stale}) as it:
        assert brotli.decompress((await coded(it, "br", "br", host="a.test")).body) == TEXT
        assert it.origin.asked[0].fields["If-None-Match"] == '"a"'


# --- an origin that compresses although it was asked not to


@pytest.mark.parametrize("coding", ENCODE)
async def test_an_origin_that_compresses_anyway_is_decoded(tmp_path: Path, coding: str) -> None:
    sent = ENCODE[coding](TEXT)
    way = page(sent, ETag='"a"', Content_Type="text/html", Cache_Control=KEEP, Content_Encoding=coding, Vary="Accept-Encoding")
    async with fronted(tmp_path, {"/page": way}) as it:
        identity = {"Accept-Encoding": "identity"}
        first = await it.client.ask("/page", headers=identity)
        assert (first["Content-Encoding"], first.body) == ("", TEXT)
        kept = await it.client.recorded("/page", headers=identity)
        assert (kept["Content-Encoding"], kept.body, kept["Content-Length"]) == ("", TEXT, str(len(TEXT)))
        assert kept["ETag"] == 'W/"a"', "the strong one named the coded bytes"
        assert kept["Vary"] == "Accept-Encoding"
        answer = await coded(it, "br", "br")
        assert brotli.decompress(answer.body) == TEXT
    assert it.origin.count("/page") == 1


async def test_a_compressed_answer_that_must_not_be_transformed_is_kept_as_it_came(tmp_path: Path) -> None:
    sent = gzip.compress(TEXT)
    way = page(sent, ETag='"a"', Cache_Control=f"{KEEP}, no-transform", Content_Encoding="gzip", Vary="Accept-Encoding")
    async with fronted(tmp_path, {"/page": way}) as it:
        headers = {"Accept-Encoding": "gzip"}
        for answer in (await it.client.ask("/page", headers=headers), await it.client.recorded("/page", headers=headers)):
            assert (answer["Content-Encoding"], answer.body, answer["ETag"]) == ("gzip", sent, '"a"')
    assert it.origin.count("/page") == 1


async def test_a_coding_that_nobody_knows_is_kept_as_it_came(tmp_path: Path) -> None:
    way = page(b"?" * 1000, Content_Type="text/html", Cache_Control=KEEP, Content_Encoding="x-secret")
    async with fronted(tmp_path, {"/page": way}) as it:
        await it.client.ask("/page")
        answer = await it.client.recorded("/page")
    assert (answer["Content-Encoding"], answer.body) == ("x-secret", b"?" * 1000)


@pytest.mark.parametrize("sent", [b"no gzip at all", gzip.compress(TEXT)[:-9]], ids=["damaged", "cut short"])
async def test_a_compressed_answer_that_cannot_be_decoded_is_never_stored(tmp_path: Path, sent: bytes) -> None:
    way = page(sent, Content_Type="text/html", Cache_Control=KEEP, Content_Encoding="gzip")
    async with fronted(tmp_path, {"/page": way}) as it:
        for _ in range(2):
            with pytest.raises(aiohttp.ClientPayloadError):
                await it.client.ask("/page")
    assert it.origin.count("/page") == 2
