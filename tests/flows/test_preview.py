"""A whole site as it was, on a local port: beside a running edge and after it, proved, read-only, without the origin."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from edgeproxy import cli
from tests.support.edge import ROOT, Client
from tests.support.scripted import Fronted, fronted, page

KEEP = "max-age=600"
LARGE = bytes(range(256)) * 3000


@asynccontextmanager
async def previewed(data: Path, *arguments: str) -> AsyncIterator[tuple[Client, dict[str, object]]]:
    """The command, running, a client of it, and what it printed."""
    words = ("-m", "edgeproxy", "preview", "--data", str(data), "--json", *arguments)
    process = await asyncio.create_subprocess_exec(
        sys.executable, *words, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    printed = b""
    try:
        async with asyncio.timeout(30):
            while not printed.endswith(b"}\n"):
                line = await process.stdout.readline()
                assert line, (await process.stderr.read()).decode()
                printed += line
        said = json.loads(printed)
        async with aiohttp.ClientSession(auto_decompress=False) as session:
            yield Client(said["url"], session), said
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        await process.communicate()
    assert process.returncode == 0


async def a_site_with_a_past(it: Fronted) -> int:
    """The height up to which everything is old."""
    here = it.client.base
    it.origin.ways |= {
        "/": page(
            "old home", Cache_Control=KEEP, Content_Type="text/html", Set_Cookie="a=b", Strict_Transport_Security="max-age=9"
        ),
        "/large": page(LARGE, Cache_Control=KEEP),
        "/moved": page(b"", 301, Cache_Control=KEEP, Location=f"{here}/large"),
        "/away": page(b"", 301, Cache_Control=KEEP, Location="http://elsewhere.example/"),
    }
    heights = [int((await it.client.recorded(path, allow_redirects=False))["Edge-Block"]) for path in it.origin.ways]
    it.origin.ways |= {"/": page("new home", Cache_Control=KEEP), "/late": page("late", Cache_Control=KEEP)}
    site = it.edge.handler.sites.sites[0]
    it.edge.recorder.invalidate(site, f"{here}/", "", under_way=False)
    await it.client.recorded("/late")
    await it.client.recorded("/")
    await it.client.recorded("/")
    return max(heights)


async def test_a_preview_shows_the_site_as_it_was_beside_a_running_edge_and_after_it(tmp_path: Path) -> None:
    cookies = "[site.cache]\nstore_set_cookie = true"
    async with fronted(tmp_path, {}, site=cookies) as it:
        then = await a_site_with_a_past(it)
        data = it.edge.config.edge.data
        body = it.edge.sequencer.fold.history(f"{it.client.base}/large")[0].body.digest.hex()
        asked = len(it.origin.asked)
        async with previewed(data, "--at", str(then)) as (client, said):
            assert (said["height"], said["site"]) == (then, "*")
            home = await client.ask("/")
            assert (home.status, home.body, home["Edge-Preview"]) == (200, b"old home", str(then))
            assert (home["Cache-Control"], home["Content-Type"]) == ("no-store", "text/html")
            assert not {"Set-Cookie", "Strict-Transport-Security"} & set(home.headers)
            assert (await client.ask("/large")).body == LARGE
            assert (await client.ask("/large", method="HEAD"))["Content-Length"] == str(len(LARGE))
            assert (await client.ask("/moved", allow_redirects=False))["Location"] == "/large"
            assert (await client.ask("/away", allow_redirects=False))["Location"] == "http://elsewhere.example/"
            late = await client.ask("/late")
            assert (late.status, late["Edge-Preview"]) == (404, str(then))
            assert (await client.ask("/", method="POST", data=b"x")).status == 405
            assert (await client.ask("/", headers={"Host": "evil.example"})).status == 421
            path = data / "bodies" / body[:2] / body
            whole = path.read_bytes()
            path.write_bytes(b"x" + whole[1:])
            assert (await client.ask("/large")).status == 404
            path.write_bytes(whole[:-1] + b"x")
            with pytest.raises(aiohttp.ClientError):
                await client.ask("/large")
            path.unlink()
            assert (await client.ask("/large")).status == 404
        assert len(it.origin.asked) == asked
    async with previewed(data, "--at", "now", "--site", "127.0.0.1") as (client, _):
        assert (await client.ask("/")).body == b"new home"
        assert (await client.ask("/late")).body == b"late"


async def test_what_cannot_be_previewed_is_refused_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with fronted(tmp_path, {"/": page("home", Cache_Control=KEEP)}) as it:
        await it.client.recorded("/")
        data = str(it.edge.config.edge.data)
    for arguments, status, words in (
        (("--at", "2125-01-01T00:00:00Z"), 1, "2125-01-01T00:00:00Z is in the future"),
        (("--at", "2001-01-01T00:00:00Z"), 1, "did not exist yet at 2001-01-01T00:00:00Z: its first block is of 20"),
        (("--at", "99"), 1, "height 99 is in the future: the newest block is 1"),
        (("--at", "noon"), 2, "neither a height nor a time"),
        (("--at", "0", "--listen", "0.0.0.0:0"), 2, "can be reached from other machines"),
        (("--at", "0", "--site", "nowhere.example"), 1, "stored are: *"),
    ):
        assert await asyncio.to_thread(cli.run, ["preview", "--data", data, *arguments]) == status
        assert words in capsys.readouterr().err
