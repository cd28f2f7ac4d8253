"""Clients that make work without a purpose: each flood ends in GOAWAY within two seconds, while another client is served."""

import asyncio
import time
from collections.abc import Callable

import pytest

from edgeproxy.serving.settings import Bounds, ServingSettings, Timeouts
from edgeproxy.serving.stream import Stream
from edgeproxy.wire.fields import Fields
from tests.support.http2 import Http2Client, Served2, serving2
from tests.support.http2_vectors import (
    AUTHORITY,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    GET,
    HEADERS,
    OPENING,
    PING,
    PRIORITY,
    REFUSED_STREAM,
    RST_STREAM,
    SCHEME,
    SETTINGS,
    WINDOW_UPDATE,
    block,
    frame,
)
from tests.support.serving import RecordingHandler, on_uvloop

PATIENCE_SECONDS = 2.0
"""What the issue allows a flood."""

_SLOW = block(GET, SCHEME, AUTHORITY, (b":path", b"/slow"))
_READY = block(GET, SCHEME, AUTHORITY, (b":path", b"/ready/x"))
_POST = block((b":method", b"POST"), SCHEME, AUTHORITY, (b":path", b"/slow"))


def _stream(number: int) -> int:
    return 2 * number + 1


def rapid_reset(number: int) -> bytes:
    stream = _stream(number)
    return frame(HEADERS, END_HEADERS | END_STREAM, stream, _SLOW) + frame(RST_STREAM, 0, stream, b"\0\0\0\x08")


def reset_by_window_of_nothing(number: int) -> bytes:
    stream = _stream(number)
    return frame(HEADERS, END_HEADERS | END_STREAM, stream, _SLOW) + frame(WINDOW_UPDATE, 0, stream, bytes(4))


def reset_by_window_overflow(number: int) -> bytes:
    stream = _stream(number)
    return frame(HEADERS, END_HEADERS | END_STREAM, stream, _SLOW) + frame(WINDOW_UPDATE, 0, stream, b"\x7f\xff\xff\xff")


def reset_by_data_behind_the_end(number: int) -> bytes:
    stream = _stream(number)
    return frame(HEADERS, END_HEADERS | END_STREAM, stream, _SLOW) + frame(DATA, END_STREAM, stream, b"x")


def reset_by_headers_behind_the_end(number: int) -> bytes:
    stream = _stream(number)
    return frame(HEADERS, END_HEADERS | END_STREAM, stream, _SLOW) * 2


def reset_by_a_short_priority(number: int) -> bytes:
    stream = _stream(number)
    return frame(HEADERS, END_HEADERS | END_STREAM, stream, _SLOW) + frame(PRIORITY, 0, stream, bytes(4))


def malformed_requests(number: int) -> bytes:
    return frame(HEADERS, END_HEADERS | END_STREAM, _stream(number), b"\x82")


def refused_requests(number: int) -> bytes:
    """More at once than are taken, and all of them slow."""
    return frame(HEADERS, END_HEADERS | END_STREAM, _stream(number), _SLOW)


def continuations(number: int) -> bytes:
    if not number:
        return frame(HEADERS, END_STREAM, 1, _SLOW)
    return frame(CONTINUATION, 0, 1, b"\0\1x\1y")


def empty_continuations(number: int) -> bytes:
    return frame(CONTINUATION, 0, 1) if number else frame(HEADERS, END_STREAM, 1, _SLOW)


def empty_headers(number: int) -> bytes:
    return frame(HEADERS, END_HEADERS | END_STREAM, _stream(number))


def empty_data(number: int) -> bytes:
    return frame(DATA, 0, 1) if number else frame(HEADERS, END_HEADERS, 1, _POST)


def padded_data(number: int) -> bytes:
    return frame(DATA, 8, 1, b"\0") if number else frame(HEADERS, END_HEADERS, 1, _POST)


def settings(number: int) -> bytes:
    return frame(SETTINGS, 0, 0)


def settings_that_change_windows(number: int) -> bytes:
    return frame(SETTINGS, 0, 0, b"\0\4\0\0" + (number % 60000).to_bytes(2, "big"))


def settings_acknowledged(number: int) -> bytes:
    return frame(SETTINGS, 1, 0)


def pings(number: int) -> bytes:
    return frame(PING, 0, 0, number.to_bytes(8, "big"))


def ping_answers(number: int) -> bytes:
    return frame(PING, 1, 0, number.to_bytes(8, "big"))


def windows(number: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1")


def windows_of_a_stream(number: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\1") if number else frame(HEADERS, END_HEADERS, 1, _POST)


def priorities(number: int) -> bytes:
    return frame(PRIORITY, 0, _stream(number), bytes(4) + b"\x10")


def priority_updates(number: int) -> bytes:
    return frame(16, 0, 0, (1).to_bytes(4, "big") + b"u=1")


def unknown_frames(number: int) -> bytes:
    return frame(200 + number % 50, 0, number, b"x" * 20)


def late_data(number: int) -> bytes:
    """For a stream that was reset by the client itself."""
    if not number:
        return frame(HEADERS, END_HEADERS, 1, _POST) + frame(WINDOW_UPDATE, 0, 1, bytes(4))
    return frame(DATA, 0, 1, b"x")


def no_window(number: int) -> bytes:
    """Asks, and never lets an answer out."""
    opening = frame(SETTINGS, 0, 0, b"\0\4\0\0\0\0") if not number else b""
    return opening + (frame(HEADERS, END_HEADERS | END_STREAM, _stream(number), _READY) if number < 100 else b"")


def large_lists(number: int) -> bytes:
    """A few bytes that stand for megabytes."""
    return frame(HEADERS, END_HEADERS | END_STREAM, _stream(number), b"\x40\1x\x7f\x81\x1e" + b"v" * 4000 + b"\xbe" * 12000)


FLOODS: list[Callable[[int], bytes]] = [
    rapid_reset,
    reset_by_window_of_nothing,
    reset_by_window_overflow,
    reset_by_data_behind_the_end,
    reset_by_headers_behind_the_end,
    reset_by_a_short_priority,
    malformed_requests,
    refused_requests,
    continuations,
    empty_continuations,
    empty_headers,
    empty_data,
    padded_data,
    settings,
    settings_that_change_windows,
    settings_acknowledged,
    pings,
    ping_answers,
    windows,
    windows_of_a_stream,
    priorities,
    priority_updates,
    unknown_frames,
    late_data,
    no_window,
    large_lists,
]


async def _slow(stream: Stream) -> None:
    """An exchange that goes on although its client has lost interest."""
    await asyncio.sleep(0.5)
    await stream.send_head(200, Fields(), 0)
    await stream.finish()


async def flood(client: Http2Client, make: Callable[[int], bytes]) -> float:
    """Send until the server has enough; returns the seconds from the first byte to GOAWAY."""
    client.broken = True
    begun = time.monotonic()
    client.send(OPENING)
    number = 0
    async with asyncio.timeout(PATIENCE_SECONDS * 4):
        while not client.goaways and not client.closed:
            piece = b"".join(make(number + step) for step in range(64))
            number += 64
            if piece:
                client.send(piece)
            await client.writer.drain()
            await asyncio.sleep(0)
    assert client.goaways, "closed without a word"
    return time.monotonic() - begun


async def ask_beside(served: Served2, done: asyncio.Event) -> int:
    """A client that behaves: how many of its requests were answered."""
    answered = 0
    async with served.client() as client:
        while not done.is_set():
            got = await client.ask("/beside")
            assert got.status == 200
            answered += 1
            await asyncio.sleep(0.002)
    return answered


@pytest.mark.parametrize("make", FLOODS, ids=lambda make: make.__name__)
@on_uvloop
async def test_a_flood_ends_in_goaway_and_the_client_beside_it_is_served(make: Callable[[int], bytes]) -> None:
    handler = RecordingHandler(ways={"/slow": _slow})
    async with serving2(handler) as served:
        done = asyncio.Event()
        async with asyncio.TaskGroup() as both:
            beside = both.create_task(ask_beside(served, done))
            async with served.client(starts=False) as client:
                seconds = await flood(client, make)
            done.set()
        assert [code for code, _ in client.goaways] == [ENHANCE_YOUR_CALM]
        assert seconds < PATIENCE_SECONDS
        assert beside.result(), "not one answer while the flood lasted"
        assert all(stream.target in ("/slow", "/beside", "/ready/x") for stream in handler.heard)
        await served.listener.close()


@on_uvloop
async def test_a_client_that_never_reads_costs_bounded_memory_and_is_closed() -> None:
    """Its windows are wide open, its socket is full: what is sent waits in our buffer, up to its bound."""
    sent = 0

    async def endless(stream: Stream) -> None:
        nonlocal sent
        await stream.send_head(200, Fields(), None)
        while True:
            await stream.send(bytes(65536))
            sent += 65536

    bounds = Bounds(write_buffer_bytes=128 * 1024)
    timeouts = Timeouts(write=1.0)
    async with (
        serving2(RecordingHandler(ways={"/endless": endless}), ServingSettings(bounds=bounds, timeouts=timeouts)) as served,
        served.client(starts=False) as client,
    ):
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        opening = frame(SETTINGS, 0, 0, b"\0\4\x7f\xff\xff\xff") + frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\0\0")
        request = block(GET, SCHEME, AUTHORITY, (b":path", b"/endless"))
        client.send(
            OPENING + opening + b"".join(frame(HEADERS, END_HEADERS | END_STREAM, _stream(n), request) for n in range(50))
        )
        async with asyncio.timeout(20):
            while len(served.listener.connections):  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.02)
        assert sent < 16 * 2**20, "the kernel's buffers and one piece for each stream"


@on_uvloop
async def test_a_client_that_pings_and_never_reads_is_not_read_any_more() -> None:
    """Answers to control frames cannot wait for a reader; so the reading stops instead."""
    async with (
        serving2(settings=ServingSettings(timeouts=Timeouts(write=1.0))) as served,
        served.client(starts=False) as client,
    ):
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.send(OPENING)
        number = 0
        async with asyncio.timeout(20):
            while len(served.listener.connections):
                client.send(b"".join(pings(number + step) for step in range(4)))
                number += 4
                await asyncio.sleep(0.01)
        assert number < 5000


@on_uvloop
async def test_what_browsers_do_is_no_flood() -> None:
    """A page of a hundred images left at once, several times; windows for every frame; priorities for every stream."""
    handler = RecordingHandler(ways={"/slow": _slow})
    async with serving2(handler) as served, served.client() as client:
        for _ in range(3):
            streams = [client.get("/slow") for _ in range(100)]
            for stream in streams:
                client.send(frame(PRIORITY, 0, stream, bytes(4) + b"\x10"))
                client.h2.reset_stream(stream, 8)
            client.flush()
            async with asyncio.timeout(10):
                while (await client.ask("/ready/x")).reset == REFUSED_STREAM:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
        for _ in range(200):
            got = await client.ask("/ready/x")
            assert got.status == 200
        assert client.goaways == []
