"""The life of an edge: drain, restart, sockets handed over. Where signals count it is a process of its own."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from edgeproxy.admin.presence import find
from edgeproxy.app import Edge
from edgeproxy.commands.at_rest import LedgerAtRest
from edgeproxy.config import load
from edgeproxy.sequencer.audit import audit_now
from edgeproxy.storage.growing import BodyWriter
from tests.support.edge import ROOT, Client, EdgeProcess, command, running_edge, until, write_config
from tests.support.lives import PATIENCE, live_origin, soon, started
from tests.support.serving import get
from tests.support.site import Site, content, running_site


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
            await until(lambda: soon("/slow" in origin.asked))
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
            await until(lambda: soon("/slow" in origin.asked))
            running.signal(signal.SIGTERM)
            assert await running.ended() == 0
            assert await busy.rest() == b"", "broken, and not answered with something made up"
            assert "1 connections were broken" in await running.said("broken at the end of the drain")


async def test_second_signal_does_not_wait(tmp_path: Path) -> None:
    async with live_origin("a") as origin:
        async with started(write_config(tmp_path, origin.url)) as running, running.connection() as busy:
            busy.send(get("/slow"))
            await until(lambda: soon("/slow" in origin.asked))
            running.signal(signal.SIGTERM)
            await until(running.refuses_connections)
            running.signal(signal.SIGINT)
            assert await running.ended() == 1
            edge = running.edge
        assert audit_now(edge.data).is_clean


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
