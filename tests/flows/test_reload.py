"""A new configuration for a running edge: applied with nothing dropped that is under way, or refused as a whole."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from tests.support.edge import Client, command, write_config
from tests.support.lives import PATIENCE, PIECE, PIECES, Started, live_origin, started
from tests.support.raw_origin import free_port
from tests.support.serving import Client as RawClient
from tests.support.serving import get


@dataclass
class Going:
    """What is under way through an edge: a download, an event stream, a WebSocket and a kept-alive connection."""

    kept_alive: RawClient
    download: aiohttp.ClientResponse
    events: aiohttp.ClientResponse
    echo: aiohttp.ClientWebSocketResponse
    downloaded: bytearray = field(default_factory=bytearray)

    async def half_way(self) -> None:
        while len(self.downloaded) < len(PIECE) * PIECES // 2:
            self.downloaded += await self.download.content.readany()
        assert await self.events.content.readuntil(b"\n\n") == b"data: first\n\n"
        await self.echo.send_str("one")
        assert await self.echo.receive_str(timeout=PATIENCE) == "a: one"
        assert await self.ask("/page") == b"/page of a"

    async def ask(self, target: str) -> bytes:
        """Over the one connection that stays."""
        self.kept_alive.send(get(target))
        return (await self.kept_alive.response()).body

    async def to_the_end(self) -> None:
        """All of it goes on where it was, with the origin where it began."""
        await self.echo.send_str("two")
        assert await self.echo.receive_str(timeout=PATIENCE) == "a: two"
        async with asyncio.timeout(PATIENCE):
            self.downloaded += await self.download.read()
            assert self.downloaded == PIECE * PIECES
            assert await self.events.content.read() == b"data: second\n\n"
        await self.echo.close()


@asynccontextmanager
async def going(running: Started) -> AsyncIterator[Going]:
    session, base = running.session, running.base
    async with (
        running.connection() as kept_alive,
        session.get(base + "/download") as download,
        session.get(base + "/events") as events,
        session.ws_connect(base + "/echo") as echo,
    ):
        all_of_it = Going(kept_alive, download, events, echo)
        await all_of_it.half_way()
        yield all_of_it


@pytest.mark.parametrize("how", ["SIGHUP", "command"])
async def test_reload_applies_a_new_configuration_and_drops_nothing_that_is_under_way(tmp_path: Path, how: str) -> None:
    async with live_origin("a") as first, live_origin("b") as second:
        # No drain: the connections to the old origin must not end with it.
        config = write_config(tmp_path, first.url, edge='drain = "0s"', http=f"127.0.0.1:{free_port()}")
        port = config.read_text().partition('http = ["127.0.0.1:')[2].partition('"')[0]
        async with started(config) as running, going(running) as under_way:
            added = f"127.0.0.1:{free_port()}"
            write_config(tmp_path, second.url, edge='drain = "0s"', http=f"127.0.0.1:{port} {added}")
            if how == "SIGHUP":
                running.signal(signal.SIGHUP)
                await running.said("configuration reloaded")
            else:
                done = await asyncio.to_thread(command, "reload", "--data", str(running.edge.data))
                assert (done.returncode, done.stdout) == (0, "configuration applied\n"), done.stderr
            assert await under_way.ask("/page") == b"/page of b"
            assert (await Client(f"http://{added}", running.session).ask("/page")).body == b"/page of b"
            first.go.set()
            await under_way.to_the_end()


BAD = [
    ('[limits]\nhaed = "1KiB"', "limits.haed"),
    ("[limits]\nhead = 7", "limits.head"),
    ("[limits", "not TOML"),
]


@pytest.mark.parametrize(("more", "said"), BAD, ids=["unknown key", "bad value", "no TOML"])
async def test_bad_configuration_is_refused_and_the_old_one_goes_on(tmp_path: Path, more: str, said: str) -> None:
    async with live_origin("a") as first, live_origin("b") as second:
        config = write_config(tmp_path, first.url)
        async with started(config) as running, going(running) as under_way:
            write_config(tmp_path, second.url, more=more)
            done = await asyncio.to_thread(command, "reload", "--data", str(running.edge.data))
            assert done.returncode == 2
            assert said in done.stdout
            assert "the old one goes on" in done.stderr
            running.signal(signal.SIGHUP)
            assert said in await running.said("reload refused")
            assert await under_way.ask("/page") == b"/page of a"
            first.go.set()
            await under_way.to_the_end()
            assert second.asked == []


async def test_address_that_cannot_be_had_refuses_the_whole_reload(tmp_path: Path) -> None:
    async with live_origin("a") as first, live_origin("b") as second:
        http = f"127.0.0.1:{free_port()}"
        async with started(write_config(tmp_path, first.url, http=http)) as running, running.connection() as kept_alive:
            with socket.create_server(("127.0.0.1", 0)) as taken:
                address = f"127.0.0.1:{taken.getsockname()[1]}"
                write_config(tmp_path, second.url, http=f"{http} {address}")
                done = await asyncio.to_thread(command, "reload", "--data", str(running.edge.data))
            assert done.returncode == 2
            assert address in done.stdout
            assert "in use" in done.stdout
            kept_alive.send(get("/page"))
            assert (await kept_alive.response()).body == b"/page of a"


async def test_keys_that_need_a_restart_are_named_by_a_reload(tmp_path: Path) -> None:
    async with live_origin("a") as origin, started(write_config(tmp_path, origin.url)) as running:
        write_config(tmp_path, origin.url, edge='node = "edge-9"')
        running.signal(signal.SIGHUP)
        assert "edge.node" in await running.said("only with a restart")
        # Whoever orders it by hand does not read the log; and it is so until the restart, not only the first time.
        done = await asyncio.to_thread(command, "reload", "--data", str(running.edge.data))
        assert done.returncode == 0
        assert "edge.node: changes from edge-1 to edge-9 only with a restart" in done.stdout
