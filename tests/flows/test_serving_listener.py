"""Addresses, reload and drain of a listener."""

import asyncio
import os
import socket
from pathlib import Path

import pytest

from edgeproxy.clock import SystemClock
from edgeproxy.errors import StartError
from edgeproxy.serving.listener import Listener
from edgeproxy.serving.settings import ServingSettings
from edgeproxy.serving.stream import Stream
from edgeproxy.wire.fields import Fields
from tests.support.serving import Client, RecordingHandler, get, on_both_loops, on_uvloop, serving, until

NOTHING = Fields()


def listener() -> Listener:
    return Listener(RecordingHandler(), ServingSettings(), SystemClock())


async def answers(where: str) -> bool:
    """Whether a request sent to a bound address is answered."""
    try:
        if where.startswith("unix:"):
            client = Client(*await asyncio.open_unix_connection(where.removeprefix("unix:")))
        else:
            host, _, port = where.rpartition(":")
            client = Client(*await asyncio.open_connection(host.strip("[]"), int(port)))
    except OSError:
        return False
    client.send(get("/ready"))
    answered = (await client.response()).status == 200
    await client.close()
    return answered


@on_both_loops
async def test_every_kind_of_address(tmp_path: Path) -> None:
    path = tmp_path / "edge.sock"
    ready = socket.create_server(("127.0.0.1", 0))
    edge = listener()
    await edge.start(["127.0.0.1:0", "[::1]:0", f"unix:{path}", "localhost:0"], [ready])
    try:
        assert len(edge.addresses) >= 5
        for where in edge.addresses:
            assert await answers(where)
        peers = {peer.address: peer for peer in edge.connections.handler.peers}  # type: ignore[attr-defined]
        assert set(peers) >= {"127.0.0.1", "::1", "unix"}
        assert peers["unix"].local == (str(path), 0)
        assert peers["unix"].log_prefix == b'"client":"unix"'
        assert peers["::1"].log_prefix == b'"client":"::1"'
        assert not peers["::1"].tls
    finally:
        await edge.close()
    assert not path.exists()


@on_both_loops
async def test_nagle_is_off() -> None:
    async with serving() as served, served.client() as client:
        client.send(get("/ready"))
        await client.response()
        [connection] = served.listener.connections._open
        plain = connection._transport.get_extra_info("socket")  # type: ignore[attr-defined]
        assert plain.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


@on_both_loops
async def test_an_address_in_use_is_named_and_nothing_stays_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        edge = listener()
        with pytest.raises(StartError) as raised:
            await edge.start(["127.0.0.1:0", where])
        assert raised.value.fields["address"] == where
        assert raised.value.fields["reason"] == "address in use"
        assert raised.value.fields["hint"]
        assert edge.addresses == ()


@on_uvloop
async def test_a_unix_socket_left_by_a_killed_process_is_taken_over_and_a_living_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "edge.sock"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    edge, other = listener(), listener()
    await edge.start([f"unix:{path}"])
    try:
        assert await answers(f"unix:{path}")
        with pytest.raises(StartError, match="address in use"):
            await other.start([f"unix:{path}"])
        assert await answers(f"unix:{path}")
    finally:
        await edge.close()


@on_uvloop
async def test_a_file_that_is_no_socket_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(StartError, match="address in use"):
        await listener().start([f"unix:{path}"])
    assert path.read_text() == "data"


@on_uvloop
async def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="no such folder"):
        await listener().start([f"unix:{tmp_path}/none/edge.sock"])


@on_both_loops
async def test_replace_adds_and_removes_without_touching_others(tmp_path: Path) -> None:
    one, two = f"unix:{tmp_path}/one", f"unix:{tmp_path}/two"
    edge = listener()
    await edge.start(["127.0.0.1:0", one])
    try:
        kept = edge.addresses[0]
        host, _, port = kept.rpartition(":")
        client = Client(*await asyncio.open_connection(host, int(port)))
        old = Client(*await asyncio.open_unix_connection(one.removeprefix("unix:")))
        await edge.replace(["127.0.0.1:0", two])
        assert edge.addresses == (kept, two)
        assert await answers(two)
        assert not await answers(one)
        assert not os.path.exists(one.removeprefix("unix:"))
        for open_before in (client, old):
            open_before.send(get("/ready"))
            assert (await open_before.response()).status == 200
            await open_before.close()
        await edge.add(one)
        assert await answers(one)
        await edge.remove(two)
        assert not await answers(two)
    finally:
        await edge.close()


@on_uvloop
async def test_a_bad_replacement_changes_nothing(tmp_path: Path) -> None:
    edge = listener()
    await edge.start(["127.0.0.1:0"])
    try:
        before = edge.addresses
        with pytest.raises(StartError):
            await edge.replace([f"unix:{tmp_path}/new", "[::1:80"])
        with pytest.raises(StartError):
            await edge.replace([f"unix:{tmp_path}/new", f"unix:{tmp_path}/none/x"])
        assert edge.addresses == before
        assert await answers(before[0])
        assert list(tmp_path.iterdir()) == []
    finally:
        await edge.close()


@on_both_loops
async def test_drain_lets_exchanges_finish_and_closes_idle_connections() -> None:
    release = asyncio.Event()

    async def way(stream: Stream) -> None:
        await release.wait()
        await stream.send_head(200, NOTHING, None)
        await stream.send(b"done")
        await stream.finish()

    async with serving(RecordingHandler({"/slow": way})) as served:
        where = served.listener.addresses[0]
        async with served.client() as busy, served.client() as idle, served.client() as asking:
            busy.send(get("/slow") + get("/smuggled"))
            idle.send(get("/ready"))
            await idle.response()
            asking.send(b"GET /ready HTTP/1.1\r\n")
            await until(lambda: served.listener.counts() == {"exchange": 1, "idle": 1, "head": 1})
            draining = asyncio.get_running_loop().create_task(served.listener.drain(5))
            assert await idle.rest() == b""
            assert not await answers(where)
            asking.send(b"Host: a.test\r\n\r\n")
            assert (await asking.response()).all("connection") == ["close"]
            assert await asking.rest() == b""
            release.set()
            got = await busy.response()
            assert (got.body, got.all("connection")) == (b"done", ["close"])
            assert await busy.rest() == b""
            await busy.close()
            assert await draining == 0


@on_both_loops
async def test_drain_breaks_what_is_left_at_its_deadline() -> None:
    cancelled: list[str] = []

    async def hang(stream: Stream) -> None:
        await stream.send_head(200, NOTHING, None)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append("exchange")
            raise

    async def tunnel(stream: Stream) -> None:
        await stream.send_head(101, NOTHING, None)
        source, _ = stream.tunnel()
        while await source.read():
            pass

    handler = RecordingHandler({"/hang": hang, "/ws": tunnel})
    async with serving(handler) as served, served.client() as one, served.client() as two:
        one.send(get("/hang"))
        two.send(get("/ws", b"Connection: Upgrade", b"Upgrade: x"))
        await two.response()
        await until(lambda: served.listener.counts() == {"exchange": 1, "tunnel": 1})
        assert await served.listener.drain(0.05) == 2
        assert b"\r\n0\r\n" not in await one.rest()
        assert await two.rest() == b""
        await until(lambda: cancelled == ["exchange"])


@on_uvloop
async def test_drain_closes_after_an_answer_whose_head_had_promised_to_stay() -> None:
    release = asyncio.Event()

    async def way(stream: Stream) -> None:
        await stream.send_head(200, NOTHING, 4)
        await release.wait()
        await stream.send(b"done")
        await stream.finish()

    async with serving(RecordingHandler({"/slow": way})) as served, served.client() as client:
        client.send(get("/slow"))
        await client.reader.readuntil(b"\r\n\r\n")
        draining = asyncio.get_running_loop().create_task(served.listener.drain(5))
        await asyncio.sleep(0)
        release.set()
        assert await client.rest() == b"done"
        await client.close()
        assert await draining == 0
