"""Requests to an authority that behaves badly on the wire: bounded in time and bytes, and never led astray."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edgeproxy.clock import ManualClock
from edgeproxy.errors import IssuanceFailed
from edgeproxy.tasks import spawn
from edgeproxy.tls.acme.network import LARGEST_ANSWER, Network, Reply, RequestLimits
from tests.support.pebble import own_certificate

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(serve: Serve) -> AsyncIterator[str]:
    busy: set[object] = set()
    idle = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        busy.add(writer)
        try:
            await serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client gave up, as it should
        finally:
            writer.close()
            busy.discard(writer)
            if not busy:
                idle.set()

    listening = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        if busy:
            idle.clear()
            await idle.wait()


async def get(url: str, limits: RequestLimits | None = None, base: str = "http://") -> Reply:
    network = Network(base, None, ManualClock(), limits)
    try:
        return await asyncio.to_thread(network.get, url)
    finally:
        network.close()


def says(answer: bytes) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    return serve


async def failure(serve: Serve, limits: RequestLimits | None = None) -> IssuanceFailed:
    async with server(serve) as url:
        with pytest.raises(IssuanceFailed) as failed:
            await get(f"{url}/directory", limits)
    return failed.value


async def dribble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A byte at a time, each in time, for ever."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.wait((asyncio.get_running_loop().create_future(),), timeout=0.05)


async def silence(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n")
    while True:
        writer.write(bytes(65_536))
        await writer.drain()


async def test_a_peer_that_dribbles_is_given_up() -> None:
    assert (await failure(dribble, RequestLimits(total=0.5))).problem == "timeout"


async def test_a_silent_peer_is_given_up() -> None:
    assert (await failure(silence, RequestLimits(silence=0.2))).problem == "timeout"


async def test_an_endless_answer_is_not_read() -> None:
    found = await failure(flood)
    assert (found.problem, found.detail) == ("badAnswer", "the answer is too large")


async def test_the_largest_answer_is_read_whole() -> None:
    body = b"x" * LARGEST_ANSWER
    async with server(says(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)) as url:
        assert (await get(url)).body == body


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"", "unreachable"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "unreachable"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", "unreachable"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nxyz", "unreachable"),
        (b"HTTP/1.1 301 Moved\r\nLocation: gopher://127.0.0.1/\r\nContent-Length: 0\r\n\r\n", "unreachable"),
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", "malformed"),
    ],
)
async def test_what_is_no_answer(answer: bytes, problem: str) -> None:
    found = await failure(says(answer))
    assert found.problem == problem
    assert "object at 0x" not in found.detail


async def test_nobody_there_is_told_without_the_insides_of_libraries() -> None:
    async with server(silence) as url:
        pass
    with pytest.raises(IssuanceFailed) as failed:
        await get(url)
    assert failed.value.problem == "unreachable"
    assert "refused" in failed.value.detail
    assert "Pool" not in failed.value.detail
    with pytest.raises(IssuanceFailed) as failed:
        await get("http://name.invalid/")
    assert failed.value.problem == "unreachable"


async def test_an_authority_behind_https_leads_nobody_to_plain_http() -> None:
    with pytest.raises(IssuanceFailed, match="names http://") as failed:
        await get("http://127.0.0.1:1/", base="https://ca.test/")
    assert failed.value.problem == "badAnswer"


async def test_links_of_the_same_relation_are_all_found() -> None:
    answer = (
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
        b'Link: <https://ca.test/1>;rel="alternate", <https://ca.test/up>;rel="up"\r\n'
        b'Link: <https://ca.test/2>; rel="alternate"\r\n\r\n'
    )
    async with server(says(answer)) as url:
        assert (await get(url)).links("alternate") == ["https://ca.test/1", "https://ca.test/2"]


async def test_a_request_over_tls_can_be_broken_off_by_another_thread(tmp_path: Path) -> None:
    certificate, key = own_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    asked = asyncio.Event()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()
        writer.close()

    listening = await asyncio.start_server(hold, "127.0.0.1", 0, ssl=context)
    url = f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
    network = Network(url, certificate, ManualClock())
    asking = spawn(asyncio.to_thread(network.get, url), name="asking")
    await asked.wait()
    network.cut()
    with pytest.raises(IssuanceFailed) as failed:
        await asyncio.wait_for(asking, 10)
    assert failed.value.problem == "closed"
    network.close()
    listening.close()


async def test_a_pooled_connection_that_was_closed_meanwhile_is_not_used() -> None:
    served: list[int] = []

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        served.append(1)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        await writer.drain()

    clock = ManualClock()
    async with server(once) as url:
        network = Network(url, None, clock)
        for _ in range(3):
            assert (await asyncio.to_thread(network.get, url)).body == b"{}"
            clock.advance(3_600)
        network.close()
    assert len(served) == 3
