"""The life of an edge: drain, reload, restart, sockets handed over, quota. Where signals count it is a process of its own."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from edgeproxy import app as edge_app
from edgeproxy.admin.presence import find
from edgeproxy.app import Edge
from edgeproxy.commands.at_rest import LedgerAtRest
from edgeproxy.config import load
from edgeproxy.ledger.block import Evict, decode
from edgeproxy.sequencer.audit import audit_now
from edgeproxy.storage.growing import BodyWriter
from tests.support.edge import ROOT, Client, EdgeProcess, command, running_edge, until, write_config
from tests.support.raw_origin import free_port
from tests.support.serving import Client as RawClient
from tests.support.serving import get
from tests.support.site import Site, content, running_site
from tests.support.web_app import listening

PATIENCE = 10.0
PIECE = b"0123456789abcdef" * 4096
PIECES = 20


@dataclass
class LiveOrigin:
    """Answers that last: each waits for `go` half-way."""

    name: str
    url: str = ""
    go: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[str] = field(default_factory=list)

    async def page(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        return web.Response(text=f"{request.path} of {self.name}", headers={"Cache-Control": "no-store"})

    async def kept(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        return web.Response(text=f"{request.path} of {self.name}", headers={"Cache-Control": "max-age=600"})

    async def slow(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        await self.go.wait()
        return await self.kept(request)

    async def download(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(PIECE) * PIECES), "Cache-Control": "no-store"})
        await response.prepare(request)
        for number in range(PIECES):
            if number == PIECES // 2:
                await self.go.wait()
            await response.write(PIECE)
        return response

    async def events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await response.prepare(request)
        await response.write(b"data: first\n\n")
        await self.go.wait()
        await response.write(b"data: second\n\n")
        return response

    async def echo(self, request: web.Request) -> web.WebSocketResponse:
        peer = web.WebSocketResponse()
        await peer.prepare(request)
        async for message in peer:
            await peer.send_str(f"{self.name}: {message.data}")
        return peer


@asynccontextmanager
async def live_origin(name: str) -> AsyncIterator[LiveOrigin]:
    origin = LiveOrigin(name)
    application = web.Application()
    for path, way in (
        ("/slow", origin.slow),
        ("/download", origin.download),
        ("/events", origin.events),
        ("/echo", origin.echo),
        ("/kept{any:.*}", origin.kept),
        ("/{any:.*}", origin.page),
    ):
        application.router.add_get(path, way)
    async with listening(application) as origin.url:
        try:
            yield origin
        finally:
            origin.go.set()


@dataclass
class Started:
    """An edge as a process, and ways to ask it."""

    edge: EdgeProcess
    base: str
    session: aiohttp.ClientSession

    @property
    def client(self) -> Client:
        return Client(self.base, self.session)

    @property
    def port(self) -> int:
        return int(self.base.rpartition(":")[2])

    def signal(self, number: int) -> None:
        assert self.edge.process is not None
        self.edge.process.send_signal(number)

    async def ended(self) -> int:
        assert self.edge.process is not None
        return await asyncio.to_thread(self.edge.process.wait, PATIENCE)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[RawClient]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        client = RawClient(reader, writer)
        try:
            yield client
        finally:
            await client.close()

    async def refuses_connections(self) -> bool | None:
        with suppress(ConnectionRefusedError):
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
            return None
        return True

    async def said(self, text: str) -> str:
        """Wait until the log has a line with `text`; that line."""

        async def line() -> str | None:
            return next((line for line in self.edge.log.read_text().splitlines() if text in line), None)

        return await until(line, PATIENCE)


@asynccontextmanager
async def started(config: Path) -> AsyncIterator[Started]:
    """The edge of `config`; at the end it must stop with status 0, unless the test has ended it."""
    edge = EdgeProcess(config)
    base = await asyncio.to_thread(edge.start)
    try:
        async with aiohttp.ClientSession(auto_decompress=False, headers={"Host": "site.test"}) as session:
            yield Started(edge, base, session)
    except BaseException:
        edge.kill()
        raise
    assert edge.process is not None
    if edge.process.poll() is None:
        assert await asyncio.to_thread(edge.stop) == 0
    assert "Traceback" not in edge.log.read_text()


def head_size(edge: EdgeProcess) -> int:
    ledger = LedgerAtRest.find(edge.data)
    assert ledger is not None
    return int(ledger.ledger_head()["size"])


# --- the end ---


async def test_sigterm_lets_a_slow_answer_finish_and_writes_down_what_is_pending(tmp_path: Path) -> None:
    async with live_origin("a") as origin:
        config = write_config(tmp_path, origin.url, edge='drain = "10s"', more='[ledger]\nbatch_delay = "10s"')
        async with started(config) as running, running.connection() as idle, running.connection() as busy:
            idle.send(get("/kept/1"))
            assert (await idle.response()).status == 200
            busy.send(get("/slow"))
            await until(lambda: _soon("/slow" in origin.asked))
            running.signal(signal.SIGTERM)
            await until(running.refuses_connections)
            assert await idle.rest() == b"", "an idle connection is closed at once"
            origin.go.set()
            answer = await busy.response()
            assert (answer.status, answer.body) == (200, b"/slow of a")
            assert await busy.rest() == b""
            assert await running.ended() == 0
            edge = running.edge
        assert head_size(edge) == 3, "genesis, /kept/1 and /slow, though none of them was due yet"
        assert audit_now(edge.data).is_clean
        assert find(edge.data) is None, "an edge that has ended is not announced"


async def _soon(condition: bool) -> bool | None:
    return condition or None


async def test_what_a_client_has_received_whole_is_stored_before_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large body is still on its way to the disk when its last byte goes to the client."""
    written, write_block = threading.Event(), BodyWriter._write_block

    def write_the_last_block_late(writer: BodyWriter, block: bytearray, is_last: bool) -> None:
        assert not is_last or written.wait(PATIENCE)
        write_block(writer, block, is_last)

    monkeypatch.setattr(BodyWriter, "_write_block", write_the_last_block_late)
    async with running_site() as site, aiohttp.ClientSession() as session:
        edge = Edge(load(write_config(tmp_path, site.url)))
        await edge.start()
        client = Client(f"http://{edge.listener.addresses[0]}", session)
        target = "/large?max-age=600&size=1000000"
        assert (await client.ask(target)).body == content(target, "1", 1_000_000)
        asyncio.get_running_loop().call_later(0.2, written.set)
        await edge.stop(drain=PATIENCE)
    report = audit_now(tmp_path / "data")
    assert (report.is_clean, report.blocks, report.bodies) == (True, 2, 1)


async def test_drain_ends_at_its_deadline(tmp_path: Path) -> None:
    async with live_origin("a") as origin:
        config = write_config(tmp_path, origin.url, edge='drain = "300ms"')
        async with started(config) as running, running.connection() as busy:
            busy.send(get("/slow"))
            await until(lambda: _soon("/slow" in origin.asked))
            running.signal(signal.SIGTERM)
            assert await running.ended() == 0
            assert await busy.rest() == b"", "broken, and not answered with something made up"
            assert "1 connections were broken" in await running.said("broken at the end of the drain")


async def test_second_signal_does_not_wait(tmp_path: Path) -> None:
    async with live_origin("a") as origin:
        async with started(write_config(tmp_path, origin.url)) as running, running.connection() as busy:
            busy.send(get("/slow"))
            await until(lambda: _soon("/slow" in origin.asked))
            running.signal(signal.SIGTERM)
            await until(running.refuses_connections)
            running.signal(signal.SIGINT)
            assert await running.ended() == 1
            edge = running.edge
        assert audit_now(edge.data).is_clean


# --- reload ---


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


# --- the start ---


async def test_edge_starts_while_its_origin_has_no_address_and_serves_when_it_has_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, known = socket.getaddrinfo, False

    def look_up(host: str, *arguments: object, **options: object) -> object:
        if host != "origin.test":
            return real(host, *arguments, **options)  # type: ignore[arg-type]
        if not known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real("127.0.0.1", *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    async with running_site() as site:
        url = f"http://origin.test:{site.url.rpartition(':')[2]}"
        async with running_edge(tmp_path, url) as (_, client):
            refused = await client.ask("/page?max-age=60")
            assert refused.status in (502, 503)
            assert refused["Proxy-Status"] == "edgeproxy;error=dns_error"
            known = True
            answer = await client.ask("/page?max-age=60")
            assert (answer.status, answer.body) == (200, content("/page?max-age=60"))


async def test_edge_as_a_process_starts_while_its_origin_has_no_address(tmp_path: Path) -> None:
    async with started(write_config(tmp_path, "http://nowhere.invalid")) as running:
        refused = await running.client.ask("/page")
        assert refused.status in (502, 503)
        assert refused["Proxy-Status"] == "edgeproxy;error=dns_error"


async def test_restart_keeps_what_is_stored(tmp_path: Path) -> None:
    """Small and large, and the variants of a page; the origin is asked for none of it again."""
    targets = ["/small?max-age=600", "/large?max-age=600&size=700000", "/varies?max-age=600&vary=accept-language"]
    languages = ("de", "en")

    async def ask_all(client: Client, site: Site, *, expect: str) -> list[tuple[str, bytes]]:
        got = []
        for target in targets:
            for language in languages if "vary" in target else ("de",):
                answer = await client.ask(target, headers={"Accept-Language": language})
                assert answer.status == 200
                assert answer["Cache-Status"].startswith(expect), target
                got.append((answer["Edge-Block"], answer.body))
        return got

    async with running_site() as site:
        config = write_config(tmp_path, site.url)
        async with started(config) as running:
            await ask_all(running.client, site, expect="edgeproxy;fwd=")
            for language in languages:
                for target in targets:
                    await running.client.recorded(target, headers={"Accept-Language": language})
            before = await ask_all(running.client, site, expect="edgeproxy;hit")
        asked = len(site.seen)
        async with started(config) as running:
            assert await ask_all(running.client, site, expect="edgeproxy;hit") == before
        assert len(site.seen) == asked == 4


# --- systemd ---

_WITH_SOCKET = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.executable, [sys.executable, "-m", "edgeproxy", "run", "--config", sys.argv[2]])
"""


@dataclass
class SocketActivated:
    """Starts edges on one listening socket that stays open in between, as systemd does."""

    config: Path
    listening: socket.socket
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.listening.getsockname()[1]}"

    @asynccontextmanager
    async def started(self) -> AsyncIterator[subprocess.Popen[bytes]]:
        number = self.listening.fileno()
        with (self.config.with_suffix(".log")).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", _WITH_SOCKET, str(number), str(self.config)],
                cwd=ROOT, pass_fds=[number], stdout=subprocess.DEVNULL, stderr=log, env={**os.environ, **self.environ},
            )  # fmt: skip
        try:
            yield process
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, PATIENCE) == 0
        finally:
            process.kill()
            process.wait()


async def test_sockets_handed_over_are_served_and_a_restart_refuses_nobody(tmp_path: Path) -> None:
    async with running_site() as site:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            base = f"http://127.0.0.1:{listening.getsockname()[1]}"
            # The same address stands in the file, as it does in the packaged unit: it must not be bound a second time.
            config = write_config(tmp_path, site.url, http=base.removeprefix("http://"))
            activated = SocketActivated(config, listening)
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
                client = Client(base, session)
                # Nobody accepts yet: the connection waits in the socket until the edge is there.
                waiting = asyncio.get_running_loop().create_task(client.ask("/page?max-age=600"))
                async with activated.started():
                    assert (await waiting).status == 200
                    await client.recorded("/page?max-age=600")
                    done = await asyncio.to_thread(command, "reload", "--data", str(tmp_path / "data"))
                    assert done.returncode == 0, done.stdout
                    assert (await client.ask("/page?max-age=600")).status == 200
                between = asyncio.get_running_loop().create_task(client.ask("/page?max-age=600"))
                async with activated.started():
                    answer = await between
                    assert (answer.status, answer["Cache-Status"][:13]) == (200, "edgeproxy;hit")
        assert site.seen == ["/page?max-age=600"]


async def test_systemd_is_told_of_readiness_and_of_the_end(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(tmp_path / "notify"))
        told.settimeout(PATIENCE)
        edge = EdgeProcess(write_config(tmp_path, "http://127.0.0.1:9"), environ={"NOTIFY_SOCKET": str(tmp_path / "notify")})
        await asyncio.to_thread(edge.start)
        assert told.recv(100) == b"READY=1"
        assert await asyncio.to_thread(edge.stop) == 0
        assert told.recv(100) == b"STOPPING=1"


# --- the quota ---

MEGABYTE = 1 << 20


def bodies_on_disk(data: Path) -> set[str]:
    return {path.name for path in (data / "bodies").glob("??/*") if path.suffix != ".chunks"}


async def test_quota_evicts_superseded_bodies_first_and_writes_a_block_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge_app, "HOUSEKEEPING_SECONDS", 0.05)
    changing = [f"/changing-{number}?cc=max-age=0&size={3 * MEGABYTE}" for number in range(2)]
    lasting = [f"/lasting-{number}?max-age=600&size={3 * MEGABYTE}" for number in range(4)]
    async with running_site() as site:
        async with running_edge(tmp_path, site.url, edge='disk = "20MiB"') as (edge, client):
            for target in (lasting[0], *changing):
                await client.ask(target)
            await until(lambda: _soon(edge.sequencer.head().size == 4))
            before = bodies_on_disk(tmp_path / "data")
            site.version = "2"
            for target in changing:
                await client.ask(target)
            await until(lambda: _soon(edge.sequencer.head().size == 6))
            assert edge.retention.evicted == 0, "15 of 20 MiB are used"
            for target in lasting[1:]:
                await client.ask(target)
            await until(lambda: _soon(edge.retention.evicted == 2))
            await edge.sequencer.flush()
            rows = [await edge.db.load(height) for height in range(edge.sequencer.head().size)]
            evicted = {entry.body.hex() for row in rows if isinstance(entry := decode(row.raw).entry, Evict)}
            assert len(evicted) == 2
            # Deleted once the block that says so is committed, never before.
            await until(lambda: _soon(before - bodies_on_disk(tmp_path / "data") == evicted))
            asked = len(site.seen)
            for target in lasting:
                answer = await client.ask(target)
                assert answer.body == content(target, "2" if target != lasting[0] else "1", 3 * MEGABYTE)
            assert len(site.seen) == asked, "what is current is all there, the longest unused as well"
            assert edge.bodies.total_bytes <= 20 * MEGABYTE
        assert audit_now(tmp_path / "data").is_clean
        async with running_edge(tmp_path, site.url, edge='disk = "20MiB"') as (edge, _):
            assert edge.retention.evicted == 0
            assert len(edge.cache.index) == len(changing + lasting)


async def test_quota_evicts_the_longest_unused_when_nothing_is_superseded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge_app, "HOUSEKEEPING_SECONDS", 0.05)
    targets = [f"/page-{number}?max-age=600&size={3 * MEGABYTE}" for number in range(6)]
    from_disk = '[site.cache]\nmemory_object = "1KiB"'
    async with running_site() as site, running_edge(tmp_path, site.url, edge='disk = "16MiB"', site=from_disk) as (edge, client):
        for number, target in enumerate(targets[:5]):
            await client.ask(target)
            await until(lambda number=number: _soon(edge.sequencer.head().size == number + 2))
        await client.ask(targets[0])
        await client.ask(targets[5])
        await until(lambda: _soon(edge.retention.evicted >= 1 and edge.bodies.total_bytes <= 16 * MEGABYTE))
        site.failing = 503
        statuses = [(await client.ask(target)).status for target in targets]
        assert statuses[0] == statuses[5] == 200, "asked for last"
        assert statuses[1] == 503, "the longest unused is gone"
        assert edge.retention.evicted == statuses.count(503) <= 2
