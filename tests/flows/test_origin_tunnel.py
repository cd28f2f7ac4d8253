"""Upgrades: the way up to the 101, and what happens when there is none."""

import asyncio
from pathlib import Path

import pytest

from edgeproxy.errors import (
    OriginError,
    OriginMalformed,
    OriginRefused,
    OriginReset,
    OriginTimeout,
    OriginTruncated,
    OriginUnresolved,
    OriginUntrusted,
    RequestRefused,
)
from edgeproxy.origin.messages import Origin, OriginResponse
from edgeproxy.origin.tunnel import Tunnel
from tests.support.origin_client import QUICK, ask, asking, whole
from tests.support.raw_origin import AUTHORITY, RawConnection, RawOrigin, Serve, TlsServer, answer

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n"


def echoing(prefix: bytes = b"") -> Serve:
    """Sends `prefix` and the 101 in one write with the first bytes of the new protocol, then echoes."""

    async def serve(connection: RawConnection) -> None:
        await connection.read_head()
        await connection.send(prefix + SWITCH + b"hello")
        while data := await connection.reader.read(65_536):
            await connection.send(data)

    return serve


async def end(tunnel: Tunnel) -> None:
    tunnel.writer.close()
    await tunnel.writer.wait_closed()


@pytest.mark.parametrize(
    "prefix", [b"", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n"], ids=["101", "after interim"]
)
async def test_a_switch_gives_both_directions_and_loses_no_byte(prefix: bytes) -> None:
    """RFC 9110 section 7.8."""
    async with RawOrigin(echoing(prefix)) as origin, asking(origin.url, settings=QUICK) as client:
        request = ask("/ws?", fields=[("Sec-WebSocket-Key", "abc")])
        tunnel = await client.open_tunnel(request, "websocket")
        assert isinstance(tunnel, Tunnel)
        assert (tunnel.head.status, tunnel.head.fields.get("upgrade")) == (101, "WebSocket")
        assert await tunnel.reader.readexactly(5) == b"hello"
        payload = bytes(range(256)) * 1000
        tunnel.writer.write(payload)
        assert await tunnel.reader.readexactly(len(payload)) == payload
        await end(tunnel)
    assert origin.heads == [
        b"GET /ws? HTTP/1.1\r\nHost: www.example.org\r\nSec-WebSocket-Key: abc\r\n"
        b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    ]


async def test_a_tunnel_through_a_unix_socket(tmp_path: Path) -> None:
    async with RawOrigin(echoing(), unix=tmp_path / "o.sock") as origin, asking(origin.url) as client:
        tunnel = await client.open_tunnel(ask("/"), "websocket")
        assert isinstance(tunnel, Tunnel)
        assert await tunnel.reader.readexactly(5) == b"hello"
        await end(tunnel)


async def test_a_tunnel_through_tls() -> None:
    async with RawOrigin(echoing(), tls=TlsServer().context) as origin:
        async with asking(Origin(origin.url, ca_file=AUTHORITY, server_name="origin.test")) as client:
            tunnel = await client.open_tunnel(ask("/"), "websocket")
            assert isinstance(tunnel, Tunnel)
            assert await tunnel.reader.readexactly(5) == b"hello"
            await end(tunnel)
        async with asking(origin.url) as client:
            with pytest.raises(OriginUntrusted):
                await client.open_tunnel(ask("/"), "websocket")


@pytest.mark.parametrize(
    ("raw", "status", "body"),
    [
        (answer(b"no upgrade here"), 200, b"no upgrade here"),
        (answer(b"x" * 300_000, status=b"403 Forbidden"), 403, b"x" * 300_000),
        (b"HTTP/1.1 426 Upgrade Required\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 426, b"abc"),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n" + answer(b"late"), 200, b"late"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    ],
)
async def test_an_answer_that_is_no_101_is_delivered_like_any_other(raw: bytes, status: int, body: bytes) -> None:
    async def serve(connection: RawConnection) -> None:
        await connection.read_head()
        await connection.send(raw)
        await connection.closed_by_client()

    async with RawOrigin(serve) as origin, asking(origin.url, settings=QUICK) as client:
        response = await client.open_tunnel(ask("/"), "websocket")
        assert isinstance(response, OriginResponse)
        assert (response.status, await whole(response)) == (status, body)
        assert len(origin.heads) == 1


async def test_an_answer_that_breaks_off_is_truncated() -> None:
    async def serve(connection: RawConnection) -> None:
        await connection.read_head()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")

    async with RawOrigin(serve) as origin, asking(origin.url) as client:
        response = await client.open_tunnel(ask("/"), "websocket")
        assert isinstance(response, OriginResponse)
        with pytest.raises(OriginTruncated):
            await whole(response)


@pytest.mark.parametrize(
    ("raw", "keep", "error"),
    [
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n", True, OriginMalformed),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", True, OriginMalformed),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", True, OriginMalformed),
        (b"garbage\r\n\r\n", True, OriginMalformed),
        (b"HTTP/1.1 101 X\r\nA: " + b"a" * 200_000, True, OriginMalformed),
        (b"HTTP/1.1 102 Processing\r\n\r\n" * 1000, True, OriginMalformed),
        (b"HTTP/1.1 101 Switch", False, OriginReset),
        (b"", False, OriginReset),
        (b"", True, OriginTimeout),
    ],
)
async def test_a_broken_answer_opens_no_tunnel(raw: bytes, keep: bool, error: type[OriginError]) -> None:
    """RFC 9110 section 15.2.2: the 101 names the protocol, one of those that were asked for."""

    async def serve(connection: RawConnection) -> None:
        await connection.read_head()
        await connection.send(raw)
        if keep:
            await connection.closed_by_client()

    async with RawOrigin(serve) as origin, asking(origin.url, settings=QUICK) as client:
        with pytest.raises(error):
            await client.open_tunnel(ask("/"), "websocket")
        await asyncio.wait_for(origin.connections[0].ended.wait(), 2)


async def test_the_next_origin_is_asked_when_the_first_cannot_be_connected_to() -> None:
    async with RawOrigin(echoing()) as origin, asking("http://127.0.0.1:1", "http://no-such-host.invalid", origin.url) as client:
        tunnel = await client.open_tunnel(ask("/"), "websocket")
        assert isinstance(tunnel, Tunnel)
        assert tunnel.origin.url == origin.url
        await end(tunnel)
    async with asking("http://127.0.0.1:1") as client:
        with pytest.raises(OriginRefused):
            await client.open_tunnel(ask("/"), "websocket")
    async with asking("http://no-such-host.invalid") as client:
        with pytest.raises(OriginUnresolved):
            await client.open_tunnel(ask("/"), "websocket")


async def test_an_upgrade_that_cannot_be_written_is_refused() -> None:
    async with RawOrigin(echoing()) as origin, asking(origin.url) as client:
        with pytest.raises(RequestRefused):
            await client.open_tunnel(ask("/"), "websocket\r\nEvil: 1")
        assert origin.connections == []
