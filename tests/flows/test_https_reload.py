"""HTTPS that comes and stays: reloads with connections going on, starts that cannot serve it, sockets handed over."""

import asyncio
import contextlib
import socket
import ssl
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from tests.support.certificates import authority
from tests.support.edge import ROOT, command
from tests.support.https import (
    PATIENCE,
    SecureEdge,
    ask_pebble,
    connected,
    put_into_vault,
    secure_edge,
    site,
    site_for_https,
    trusting,
)
from tests.support.parts import need
from tests.support.pebble import PROGRAMS, free_ports, running_pebble

# --- reload


async def test_a_reload_adds_a_host_while_connections_go_on(tmp_path: Path) -> None:
    need(*PROGRAMS)

    async def echo(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(f"echo {message.data}")
        return socket

    with running_pebble(tmp_path / "ca") as pebble, secure_edge(tmp_path, pebble) as edge:
        async with site_for_https() as running:
            running.ways["/ws"] = echo
            edge.configure(site(running.url, "a.test"), acme=ask_pebble(pebble))
            await edge.start()
            await edge.verified("a.test")
            context = trusting(pebble.roots())
            async with (
                connected(edge.https, "a.test", context) as one,
                connected(edge.https, "a.test", trusting(pebble.roots(), http2=True)) as two,
                websocket(edge, context) as socket,
            ):
                await socket.send_str("before")
                assert await socket.receive_str() == "echo before"
                edge.configure(site(running.url, "a.test", "b.test"), acme=ask_pebble(pebble))
                assert await edge.command("reload") == {"applied": True, "faults": [], "restart": []}
                assert (await edge.verified("b.test")).status == 200
                await socket.send_str("after")
                assert await socket.receive_str() == "echo after"
                assert (await one.ask("a.test")).status == (await two.ask("a.test")).status == 200
                assert (await one.ask("b.test")).status == 200, "one site, one policy"


@asynccontextmanager
async def websocket(edge: SecureEdge, context: ssl.SSLContext):  # type: ignore[no-untyped-def]
    """A WebSocket to /ws of a.test."""
    import aiohttp

    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(
            f"https://127.0.0.1:{edge.https}/ws", ssl=context, server_hostname="a.test", headers={"Host": "a.test"}
        ) as socket,
    ):
        yield socket


async def test_a_reload_brings_https_to_an_edge_that_had_none(tmp_path: Path) -> None:
    need(*PROGRAMS)
    with running_pebble(tmp_path / "ca") as pebble, secure_edge(tmp_path, pebble) as edge:
        async with site_for_https() as running:
            edge.configure(site(running.url, "a.test"), https=False)
            await edge.start()
            assert (await edge.plain("a.test")).status == 200
            assert await edge.certificates() == []
            edge.configure(site(running.url, "a.test"), acme=ask_pebble(pebble))
            assert await edge.command("reload") == {"applied": True, "faults": [], "restart": []}
            assert (await edge.verified("a.test")).status == 200
            assert (await edge.plain("a.test")).status == 308
            assert "only with a restart" not in edge.log


async def test_a_reload_that_cannot_be_applied_changes_nothing(tmp_path: Path) -> None:
    put_into_vault(tmp_path / "data", authority().issue("a.test"))
    (tmp_path / "clients.pem").write_text("no PEM at all")
    (taken, new) = free_ports(2)
    with secure_edge(tmp_path) as edge:
        async with site_for_https() as running:
            server = await asyncio.start_server(lambda *_: None, "127.0.0.1", taken)
            good, https, http = site(running.url, "a.test"), edge.https, edge.http
            edge.configure(good)
            await edge.start()
            bad = f'client_auth = "required"\nclient_ca_file = "{tmp_path}/clients.pem"'
            for sites, ports, text in (
                (site(running.url, "a.test", tls=bad), (new, https), "client_ca_file cannot be used"),
                (good, (new, taken), "address"),
            ):
                edge.http, edge.https = ports
                edge.configure(sites)
                edge.http, edge.https = http, https
                done = await asyncio.to_thread(command, "reload", "--data", str(edge.data))
                assert done.returncode == 2
                assert text in done.stdout
                assert (await edge.ask("a.test", http2=True)).status == 200
                assert (await edge.plain("a.test")).status == 308
                with pytest.raises(ConnectionRefusedError):
                    await asyncio.open_connection("127.0.0.1", new)
            server.close()


async def test_a_start_that_cannot_serve_https_leaves_a_word_and_nothing_running(tmp_path: Path) -> None:
    with secure_edge(tmp_path) as edge:
        async with site_for_https() as running:
            server = await asyncio.start_server(lambda *_: None, "127.0.0.1", edge.https)
            edge.configure(site(running.url, "a.test"))
            with contextlib.suppress(AssertionError):
                await edge.start()
            assert edge.process.process is not None
            assert edge.process.process.wait(10) == 1
            assert f"127.0.0.1:{edge.https}" in edge.log
            assert "Traceback" not in edge.log
            server.close()


# --- systemd

_WITH_SOCKETS = """
import fcntl, os, sys
for number, given in enumerate(sys.argv[1:3]):
    os.dup2(fcntl.fcntl(int(given), fcntl.F_DUPFD, 10), 3 + number)
os.environ.update(LISTEN_FDS="2", LISTEN_FDNAMES="http:https", LISTEN_PID=str(os.getpid()))
os.execv(sys.executable, [sys.executable, "-m", "edgeproxy", "run", "--config", sys.argv[3]])
"""


async def test_sockets_of_both_ways_that_were_handed_over_wait_through_a_restart(tmp_path: Path) -> None:
    put_into_vault(tmp_path / "data", authority().issue("a.test"))
    with socket.create_server(("127.0.0.1", 0)) as http, socket.create_server(("127.0.0.1", 0)) as https:
        edge = SecureEdge(tmp_path, http.getsockname()[1], https.getsockname()[1], lambda: authority().pem)
        async with site_for_https() as running:
            # The same addresses stand in the file: they must not be bound a second time, at a reload neither.
            path = edge.configure(site(running.url, "a.test"))
            fds = [http.fileno(), https.fileno()]
            for _ in range(2):
                waiting = asyncio.gather(edge.ask("a.test", http2=True), edge.plain("a.test", "/x"))
                with edge.process.log.open("ab") as log:
                    command_line = [sys.executable, "-c", _WITH_SOCKETS, *map(str, fds), str(path)]
                    process = subprocess.Popen(command_line, cwd=ROOT, pass_fds=fds, stderr=log, stdout=subprocess.DEVNULL)
                try:
                    secure, moved = await waiting
                    assert (secure.status, moved.status) == (200, 308)
                    assert await edge.command("reload") == {"applied": True, "faults": [], "restart": []}
                    assert (await edge.ask("a.test")).status == 200
                    process.terminate()
                    assert await asyncio.to_thread(process.wait, PATIENCE) == 0
                finally:
                    process.kill()
                    process.wait()
