"""Time travel with a client as RFC 7089 has it: negotiate by date, follow links, read the TimeMap; the origin is never asked."""

import re
from functools import partial
from pathlib import Path

import pytest

from edgeproxy.admin.backend import PurgeKind, PurgeOrder
from edgeproxy.caching.memento import stamp
from edgeproxy.wire.dates import format_http_date
from tests.support.edge import Answer, until
from tests.support.scripted import Fronted, by, fronted, page

KEEP = "max-age=600"
ON = "memento = true"
LATER = "Fri, 01 Jan 2100 00:00:00 GMT"
LONG_AGO = "Sat, 01 Jan 2000 00:00:00 GMT"


async def publish(it: Fronted, *contents: str, **fields: str) -> list[int]:
    """Have `/page` stored with each of these contents, a second apart at least; the seconds of their blocks."""
    seconds: list[int] = []
    for content in contents:
        it.origin.ways["/page"] = page(content, Cache_Control=KEEP, ETag=f'"{content}"', Expires=LATER, **fields)
        await purge(it)
        await it.client.recorded("/page")
        version = it.edge.sequencer.fold.history(f"{it.client.base}/page")[-1]
        seconds.append(version.time // 1000)
        await until(partial(_is_past, it, seconds[-1]))
    return seconds


async def _is_past(it: Fronted, second: int) -> bool | None:
    return it.edge.clock.now() // 1000 > second or None


async def purge(it: Fronted) -> None:
    """What is stored has to be asked for anew; what was stays what it was."""
    entry = it.edge.cache.index.slot(f"{it.client.base}/page")
    for each in entry.entries if entry else ():
        it.edge.recorder.invalidate(it.edge.handler.sites.sites[0], each.key, "", under_way=False)
    await it.edge.sequencer.flush()


def link(answer: Answer, relation: str) -> str:
    """Where a relation of the answer's links leads."""
    found = [target for target, names in re.findall(r'<([^>]*)>; rel="([^"]*)"', answer["Link"]) if relation in names.split()]
    assert found, answer["Link"]
    return found[0]


async def past(it: Fronted, date: str, target: str = "/page", **options: object) -> Answer:
    return await it.client.ask(target, headers={"Accept-Datetime": date}, **options)


async def test_a_client_negotiates_by_date_follows_links_and_reads_the_timemap(tmp_path: Path) -> None:
    cookies = f"{ON}\n[site.cache]\nstore_set_cookie = true"
    async with fronted(tmp_path, {}, site=cookies) as it:
        first, second, third = await publish(it, "one", "two", "three", Set_Cookie="a=b")
        asked = len(it.origin.asked)
        now = await it.client.ask("/page")
        assert now.body == b"three"
        assert now["Cache-Status"].startswith("edgeproxy;hit;")
        assert "accept-datetime" in now.headers.getall("Vary")  # type: ignore[union-attr]
        assert "Memento-Datetime" not in now.headers  # type: ignore[operator]
        assert link(now, "timegate") == link(now, "original") == f"{it.client.base}/page"

        then = await past(it, format_http_date(second))
        assert (then.status, then.body) == (200, b"two")
        assert then["Memento-Datetime"] == format_http_date(second)
        own = f"{it.client.base}/.edge/memento/{stamp(second)}/{it.client.base}/page"
        assert then["Content-Location"] == own
        assert (then["Cache-Control"], then["Vary"]) == ("no-store", "accept-datetime")
        assert then["Cache-Status"] == "edgeproxy;hit;detail=memento"
        assert "Set-Cookie" not in then.headers  # type: ignore[operator]
        assert "Expires" not in then.headers  # type: ignore[operator]
        assert (await past(it, LONG_AGO)).body == b"one"
        assert (await past(it, LATER)).body == b"three"

        for relation, body in (("first", b"one"), ("prev", b"one"), ("next", b"three"), ("last", b"three"), ("memento", None)):
            followed = await it.client.ask(link(then, relation).removeprefix(it.client.base))
            assert followed.status == 200
            assert body in (None, followed.body)
        alone = await it.client.ask(own.removeprefix(it.client.base))
        assert (alone.body, alone["Cache-Control"], alone["ETag"]) == (b"two", "public, max-age=3600", '"two"')
        assert "Vary" not in alone.headers  # type: ignore[operator]
        fields = {"If-None-Match": '"two"'}
        assert (await it.client.ask(own.removeprefix(it.client.base), headers=fields)).status == 304
        head = await it.client.ask(own.removeprefix(it.client.base), method="HEAD")
        assert (head.body, head["Memento-Datetime"]) == (b"", format_http_date(second))

        near = await it.client.ask(f"/.edge/memento/21000101000000/{it.client.base}/page", allow_redirects=False)
        assert near.status == 302
        assert near["Location"].endswith(f"/{stamp(third)}/{it.client.base}/page")

        timemap = await it.client.ask(link(then, "timemap").removeprefix(it.client.base))
        assert timemap["Content-Type"] == "application/link-format"
        assert re.findall(r"/memento/(\d+)/", timemap.body.decode()) == [stamp(each) for each in (first, second, third)]
        assert len(it.origin.asked) == asked


@pytest.mark.parametrize("target", ["/page", "/unknown"])
async def test_errors_are_those_of_the_rfc(tmp_path: Path, target: str) -> None:
    async with fronted(tmp_path, {}, site=ON) as it:
        await publish(it, "one")
        asked = len(it.origin.asked)
        bad = await past(it, "yesterday", target)
        assert bad.status == 400
        assert bad["Vary"] == "accept-datetime"
        assert (await past(it, LATER, target)).status == (200 if target == "/page" else 404)
        for path in ("memento/20250101000000", "timemap/link"):
            assert (await it.client.ask(f"/.edge/{path}/{it.client.base}/unknown")).status == 404
            assert (await it.client.ask(f"/.edge/{path}/http://elsewhere.example/page")).status == 404
            assert (await it.client.ask(f"/.edge/{path}/page")).status == 404
        assert (await it.client.ask(f"/.edge/timemap/link/2/{it.client.base}/page")).status == 404
        assert len(it.origin.asked) == asked


async def test_it_is_off_unless_switched_on(tmp_path: Path) -> None:
    async with fronted(tmp_path, {}) as it:
        (first,) = await publish(it, "one")
        answer = await past(it, LONG_AGO)
        assert (answer.status, answer.body) == (200, b"one")
        assert "Link" not in answer.headers  # type: ignore[operator]
        assert "Vary" not in answer.headers  # type: ignore[operator]
        assert (await it.client.ask(f"/.edge/memento/{stamp(first)}/{it.client.base}/page")).status == 404
        assert (await it.client.ask(f"/.edge/timemap/link/{it.client.base}/page")).status == 404


async def test_what_has_no_content_or_was_purged_for_good_is_not_shown(tmp_path: Path) -> None:
    async with fronted(tmp_path, {}, site=ON) as it:
        first, second = await publish(it, "one", "two")
        body = it.edge.sequencer.fold.history(f"{it.client.base}/page")[0].body.digest.hex()
        (it.edge.config.edge.data / "bodies" / body[:2] / body).write_bytes(b"0ne")
        gone = await past(it, format_http_date(first))
        assert (gone.body, gone["Memento-Datetime"]) == (b"two", format_http_date(second)), "damaged: the next is the first"
        timemap = await it.client.ask(f"/.edge/timemap/link/{it.client.base}/page")
        assert stamp(first) not in timemap.body.decode()
        await it.edge.backend.purge(PurgeOrder(PurgeKind.URL, (f"{it.client.base}/page",), hard=True))
        assert (await past(it, format_http_date(second))).status == 404
        assert (await it.client.ask(f"/.edge/timemap/link/{it.client.base}/page")).status == 404
        (third,) = await publish(it, "three", Surrogate_Key="story")
        assert (await past(it, format_http_date(second)))["Memento-Datetime"] == format_http_date(third)
        await it.edge.backend.purge(PurgeOrder(PurgeKind.TAG, ("story",), hard=True))
        assert (await past(it, LATER)).status == 404


async def test_a_rollback_does_not_change_the_past_and_variants_are_chosen_by_the_request(tmp_path: Path) -> None:
    speaks = by(lambda request: page(request.headers.get("Accept-Language", "-"), Cache_Control=KEEP, Vary="Accept-Language"))
    async with fronted(tmp_path, {"/page": speaks}, site=ON) as it:
        for language in ("de", "fr"):
            await it.client.recorded("/page", headers={"Accept-Language": language})
        for language in ("de", "fr"):
            answer = await it.client.ask("/page", headers={"Accept-Language": language, "Accept-Datetime": LATER})
            assert answer.body == language.encode()
            assert {"Accept-Language", "accept-datetime"} <= set(answer.headers.getall("Vary"))  # type: ignore[union-attr]
        assert (await past(it, LATER)).body == b"fr", "none matches: the newest"


async def test_the_past_of_one_visitor_is_not_shown_to_another(tmp_path: Path) -> None:
    account = by(lambda request: page(request.headers.get("Cookie", "nobody"), Cache_Control=KEEP, Vary="Cookie"))
    async with fronted(tmp_path, {"/page": account}, site=ON) as it:
        await it.client.recorded("/page", headers={"Cookie": "session=6f1c"})
        assert (await past(it, LATER)).status == 404
        assert (await it.client.ask(f"/.edge/timemap/link/{it.client.base}/page")).status == 404
        await it.client.recorded("/page")
        await it.client.recorded("/page", headers={"Cookie": "session=6f1c"})
        assert (await past(it, LATER)).body == b"nobody"


async def _is_stored(it: Fronted) -> bool | None:
    return bool(it.edge.sequencer.fold.history(f"{it.client.base}/page")) or None


async def test_the_past_of_what_is_only_shown_with_the_origins_word_is_not_shown(tmp_path: Path) -> None:
    mine = page("mine", Cache_Control="must-revalidate, max-age=0", ETag='"m"')
    async with fronted(tmp_path, {"/page": mine}, site=ON) as it:
        await it.client.ask("/page", headers={"Authorization": "Basic YTpi"})
        await until(partial(_is_stored, it))
        assert (await past(it, LATER)).status == 404
