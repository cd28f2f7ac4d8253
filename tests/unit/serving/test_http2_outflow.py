"""Queues towards a client: what windows and the socket do not let out waits, in turns, and no more than is sent."""

import asyncio

from edgeproxy.errors import ClientGone
from edgeproxy.serving.flow import WriteGate
from edgeproxy.serving.http2_outflow import Outflow
from edgeproxy.wire.http2_frames import FRAME_BYTES


class Windows:
    """A framing layer as far as an outflow sees it."""

    def __init__(self) -> None:
        self.windows: dict[int, int] = {}
        self.connection = 1 << 30
        self.sent: list[tuple[int, int, bool]] = []
        self.pending = 0

    def room(self, stream: int) -> int:
        return min(self.windows.get(stream, 0), self.connection)

    def own_room(self, stream: int) -> int:
        return self.windows.get(stream, 0)

    def data(self, stream: int, data: bytes, *, ended: bool) -> None:
        assert len(data) <= min(self.room(stream), FRAME_BYTES)
        self.windows[stream] -= len(data)
        self.connection -= len(data)
        self.pending += len(data) + 9
        self.sent.append((stream, len(data), ended))


def made(**windows: int) -> tuple[Outflow, Windows, list[int]]:
    framing, finished = Windows(), []
    framing.windows = {int(name[1:]): size for name, size in windows.items()}
    now = iter(range(10_000))
    outflow = Outflow(framing, lambda: setattr(framing, "pending", 0), finished.append, lambda: float(next(now)))  # type: ignore[arg-type]
    return outflow, framing, finished


def test_what_fits_is_sent_at_once() -> None:
    outflow, framing, finished = made(s1=100_000)
    assert outflow.send(1, b"x" * 10_000, ended=True)
    assert (framing.sent, len(outflow), finished) == ([(1, 10_000, True)], 0, [])


def test_a_large_piece_goes_in_frames_and_ends_with_the_last() -> None:
    outflow, framing, finished = made(s1=100_000)
    assert outflow.send(1, bytes(40_000), ended=True)
    assert framing.sent == [(1, 16_384, False), (1, 16_384, False), (1, 7_232, True)]
    assert finished == [1]


def test_what_does_not_fit_waits_for_its_window_and_closes_the_gate() -> None:
    outflow, framing, finished = made(s1=10)
    gate = WriteGate()
    assert not outflow.send(1, b"x" * 25, ended=True, gate=gate)
    assert (framing.sent, gate.is_open, 1 in outflow) == ([(1, 10, False)], False, True)
    framing.windows[1] = 10
    outflow.pump(1)
    assert not gate.is_open
    framing.windows[1] = 10
    outflow.pump()
    assert (framing.sent[1:], gate.is_open, finished) == ([(1, 10, False), (1, 5, True)], True, [1])


def test_an_end_by_itself_needs_no_window() -> None:
    outflow, framing, _ = made(s1=0)
    assert outflow.send(1, b"", ended=True)
    assert framing.sent == [(1, 0, True)]


def test_an_end_behind_what_waits_goes_with_it() -> None:
    outflow, framing, finished = made(s1=3)
    outflow.send(1, b"12345", ended=False)
    outflow.send(1, b"", ended=True)
    framing.windows[1] = 100
    outflow.pump()
    assert (framing.sent, finished) == ([(1, 3, False), (1, 2, True)], [1])


def test_streams_take_turns() -> None:
    outflow, framing, _ = made(s1=0, s3=0)
    for stream in (1, 3):
        outflow.send(stream, bytes(200_000), ended=True)
    framing.windows.update({1: 1 << 20, 3: 1 << 20})
    outflow.pump()
    turns = [stream for stream, _, _ in framing.sent]
    assert turns[:12] == [1, 1, 1, 1, 3, 3, 3, 3, 1, 1, 1, 1]
    assert sum(size for _, size, _ in framing.sent) == 400_000


def test_nothing_goes_out_while_the_socket_is_full() -> None:
    outflow, framing, _ = made(s1=1 << 20)
    outflow.is_open = False
    assert not outflow.send(1, b"x", ended=True)
    outflow.pump()
    assert framing.sent == []
    assert outflow.stuck(1e9) == []
    outflow.is_open = True
    outflow.pump()
    assert framing.sent == [(1, 1, True)]


def test_streams_without_progress_are_named() -> None:
    outflow, framing, _ = made(s1=0, s3=5)
    outflow.send(1, b"x", ended=True)
    outflow.send(3, b"123456", ended=True)
    assert outflow.stuck(100.0) == [1, 3]
    assert outflow.stuck(0.0) == []
    assert outflow.never_opened(100.0) == 1
    framing.connection = 0
    framing.windows[1] = 10
    assert outflow.never_opened(100.0) == 0, "it is the connection's window that is used up"


def test_what_is_dropped_is_never_sent() -> None:
    outflow, framing, finished = made(s1=0)
    outflow.send(1, b"x", ended=True)
    outflow.drop(1)
    framing.windows[1] = 10
    outflow.pump()
    assert (framing.sent, finished, len(outflow)) == ([], [], 0)


async def test_whoever_waits_is_told_when_the_client_is_gone() -> None:
    outflow, _, _ = made(s1=0)
    gate = WriteGate()
    outflow.send(1, b"x", ended=False, gate=gate)
    waiting = asyncio.ensure_future(gate.passed())
    await asyncio.sleep(0)
    gate.fail(ClientGone("gone"))
    assert isinstance((await asyncio.gather(waiting, return_exceptions=True))[0], ClientGone)
