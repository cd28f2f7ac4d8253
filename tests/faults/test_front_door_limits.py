"""Slow, silent and broken clients at the TLS front door, and a process without descriptors: bounded, and nobody else notices."""

import asyncio
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from edgeproxy.tls import front
from edgeproxy.tls.arrivals import RoomBounds
from edgeproxy.tls.front import FrontDoor, FrontSettings, Outcome
from tests.support.front import bio_client, front_door, hello_bytes, site
from tests.support.serving import PATIENCE, on_both_loops, on_uvloop, until

A = {"a.test": site("a.test")}
BOUNDS = FrontSettings()


def settings(**rooms: RoomBounds) -> FrontSettings:
    return replace(BOUNDS, **rooms)


@contextmanager
def counting(name: str) -> Iterator[Callable[[], int]]:
    """How often a method of the front door is called."""
    calls = 0
    real = getattr(FrontDoor, name)

    def counted(self: FrontDoor, *arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        return real(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FrontDoor, name, counted)
        yield lambda: calls


async def silence(port: int, count: int, said: bytes) -> list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connections that say this much and no more."""
    opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(count)]
    for _, writer in opened:
        writer.write(said)
    return opened


async def ended(reader: asyncio.StreamReader) -> bool:
    """Whether the server ends the connection, with a reset or not."""
    try:
        return await asyncio.wait_for(reader.read(), PATIENCE) == b""
    except ConnectionError:
        return True


@on_both_loops
async def test_a_stalled_hello_ends_at_its_deadline_and_costs_nothing_meanwhile() -> None:
    part = hello_bytes("a.test")[:-1]
    with counting("_look") as looks:
        async with front_door(A, settings=settings(hellos=RoomBounds(0.3, 10, None))) as door:
            assert await door.said(part) == b""
            assert door.front.outcomes == {Outcome.SILENT: 1}
        assert looks() <= 3


@on_both_loops
async def test_a_trickle_does_not_extend_the_deadline() -> None:
    async with front_door(A, settings=settings(hellos=RoomBounds(0.3, 10, None))) as door:
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        for byte in hello_bytes("a.test"):
            writer.write(bytes([byte]))
            await asyncio.sleep(0.01)
            if reader.at_eof() or writer.is_closing():
                break
        assert await ended(reader)
        writer.close()
        assert door.front.outcomes[Outcome.SILENT] == 1


@on_both_loops
async def test_a_silent_connection_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "DEFER_SECONDS", 1)
    async with front_door(A, settings=settings(hellos=RoomBounds(0.2, 10, None))) as door:
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        assert await ended(reader)
        writer.close()
        await until(lambda: door.front.outcomes == {Outcome.SILENT: 1})


@on_both_loops
async def test_a_stalled_handshake_ends_at_its_deadline() -> None:
    async with front_door(A, settings=settings(handshakes=RoomBounds(0.3, 10, None))) as door:
        [(reader, writer)] = await silence(door.port, 1, hello_bytes("a.test"))
        async with asyncio.timeout(PATIENCE):
            try:
                while await reader.read(65536):
                    pass
            except ConnectionError:
                pass  # its transport is broken off
        writer.close()
        await until(lambda: door.front.outcomes == {Outcome.FAILED: 1})


@on_both_loops
async def test_many_stalled_connections_beside_served_ones() -> None:
    """Silent ones, half hellos and half handshakes hold places, and every real client is served meanwhile."""
    async with front_door(A) as door:
        whole = hello_bytes("a.test")
        stalled = [*await silence(door.port, 150, whole[:100]), *await silence(door.port, 50, b"\x16")]
        stalled += await silence(door.port, 100, whole)
        await until(lambda: door.front.counts() == {"hello": 200, "handshake": 100})
        for _ in range(20):
            assert (await door.fetch("a.test")).status == 200
        await until(lambda: door.front.counts() == {"hello": 200, "handshake": 100})
        for _, writer in stalled:
            writer.close()
        await until(lambda: door.front.counts() == {})


@on_both_loops
async def test_crowds_lose_their_places_after_a_fair_time_and_newcomers_are_served() -> None:
    """Both rooms full of those who only hold places: the oldest go, one by one, for each that comes."""
    bounds = settings(hellos=RoomBounds(60, 5, None, fair=0.0), handshakes=RoomBounds(60, 5, None, fair=0.0))
    whole = hello_bytes("a.test")
    async with front_door(A, settings=bounds) as door:
        stalled = [*await silence(door.port, 5, whole[:50]), *await silence(door.port, 5, whole)]
        await until(lambda: door.front.counts() == {"hello": 5, "handshake": 5})
        assert (await door.fetch("a.test")).status == 200
        async with bio_client(door.port, "a.test") as slow:
            flight = slow.first_flight()
            slow.writer.write(flight[:60])
            await until(lambda: door.front.outcomes[Outcome.SILENT] == 1)
            slow.writer.write(flight[60:])
            await slow.do(slow.secure.do_handshake)
        await until(lambda: door.front.outcomes[Outcome.FAILED] >= 1)
        for _, writer in stalled:
            writer.close()


@on_both_loops
async def test_a_crowd_is_turned_away_while_all_before_it_are_new() -> None:
    async with front_door(A, settings=settings(hellos=RoomBounds(60, 3, None, fair=60.0))) as door:
        stalled = await silence(door.port, 3, b"\x16\x03")
        await until(lambda: door.front.counts() == {"hello": 3})
        assert await door.said(b"\x16\x03") == b""
        assert door.front.outcomes == {Outcome.CROWDED: 1}
        assert (await door.fetch("a.test")).status == 200  # a whole hello needs no place
        for _, writer in stalled:
            writer.close()


@on_both_loops
async def test_one_address_cannot_take_all_places() -> None:
    async with front_door(A, settings=settings(handshakes=RoomBounds(60, 100, 2))) as door:
        stalled = await silence(door.port, 2, hello_bytes("a.test"))
        await until(lambda: door.front.counts() == {"handshake": 2})
        assert await door.said(hello_bytes("a.test")) == b""
        assert door.front.outcomes == {Outcome.CROWDED: 1}
        for _, writer in stalled:
            writer.close()


@on_both_loops
async def test_a_client_that_does_not_read_its_alert_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "Farewells", lambda clock: _Farewells(clock, RoomBounds(0.2, 2, None, fair=0.0)))
    async with front_door(A) as door:
        opened = await silence(door.port, 5, hello_bytes("b.test"))
        await until(lambda: door.front.outcomes == {Outcome.NOT_SERVED: 5})
        await until(lambda: len(door.front._farewells) == 0)
        for reader, writer in opened:
            assert await asyncio.wait_for(reader.read(7), PATIENCE) != b""
            writer.close()


_Farewells = front.Farewells


async def flood(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(bytes(65536))
        await writer.drain()


@on_both_loops
async def test_a_flood_after_the_alert_is_cut_off() -> None:
    async with front_door(A) as door:
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        writer.write(hello_bytes("b.test"))
        assert await asyncio.wait_for(reader.readexactly(7), PATIENCE)
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(flood(writer), PATIENCE)
        writer.close()


@on_both_loops
async def test_no_descriptors_left_means_a_rest_and_then_everybody_is_served(caplog: pytest.LogCaptureFixture) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with front_door(A) as door:
        assert (await door.fetch("a.test")).status == 200
        await until(lambda: door.front.counts() == {})  # its descriptor is free
        plain = socket.socket()
        plain.setblocking(False)
        spare = socket.socket()
        highest = max(plain.fileno(), spare.fileno())
        with counting("_on_acceptable") as wakes:
            try:
                # The limit counts descriptor numbers: none below it may be free.
                fillers = _fill_up_to(highest)
                resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
                await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", door.port))
                await asyncio.get_running_loop().sock_sendall(plain, answered_by_an_alert())
                await until(lambda: "nothing can be accepted" in caplog.text)
                before = wakes()
                await asyncio.sleep(0.1)
                assert wakes() - before <= 1
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                for filler in fillers:
                    filler.close()
                spare.close()
            assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(plain, 7), PATIENCE) != b""
        plain.close()
        assert (await door.fetch("a.test")).status == 200


def answered_by_an_alert() -> bytes:
    """What needs no handshake to be answered."""
    return b"\x16\x04\x01\x00\x01\x01"


def _fill_up_to(highest: int) -> list[socket.socket]:
    """Occupy every free descriptor below `highest`."""
    fillers = []
    while True:
        filler = socket.socket()
        if filler.fileno() > highest:
            filler.close()
            return fillers
        fillers.append(filler)


@on_uvloop
async def test_the_kernel_wakes_too_early_when_it_is_short_of_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look below the agreed mark at a living connection is repeated later, not at once."""
    monkeypatch.setattr(front, "PRESSED_SECONDS", 0.01)
    async with front_door(A) as door, bio_client(door.port, "a.test") as client:
        flight = client.first_flight()
        client.writer.write(flight[:20])
        await until(lambda: door.front.counts() == {"hello": 1})
        [arrival] = door.front._hellos._since
        door.front._look(arrival)  # as an early wake-up would
        assert arrival.held is not None
        await until(lambda: arrival.held is None)
        client.writer.write(flight[20:])
        await client.do(client.secure.do_handshake)
        assert b"200" in await client.get()
        client.writer.close()


@on_uvloop
async def test_a_held_look_does_not_outlive_its_arrival(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "PRESSED_SECONDS", 0.05)
    async with front_door(A, settings=settings(hellos=RoomBounds(0.02, 10, None))) as door:
        [(reader, writer)] = await silence(door.port, 1, b"\x16\x03\x01")
        await until(lambda: door.front.counts() == {"hello": 1} or door.front.outcomes[Outcome.SILENT] == 1)
        for arrival in list(door.front._hellos._since):
            door.front._look(arrival)
        assert await ended(reader)
        await asyncio.sleep(0.06)  # longer than a look is held
        writer.close()
