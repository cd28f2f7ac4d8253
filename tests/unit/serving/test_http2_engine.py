"""The framing layer by itself: what it tells, what it sends, in whatever pieces the bytes come."""

from collections.abc import Callable, Iterable
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest

from edgeproxy.clock import ManualClock
from edgeproxy.serving.http2_budget import ALLOWANCES, Budget, Spent
from edgeproxy.serving.http2_engine import Http2Engine
from edgeproxy.serving.http2_framing import ConnectionFault, FramingLimits, HeaderBlock
from edgeproxy.wire.hpack import encode_fields, encode_status
from edgeproxy.wire.http2_frames import Code
from tests.support.http2_raw import read
from tests.support.http2_vectors import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    OPENING,
    PADDED,
    PING,
    PRIORITISED,
    PSEUDO,
    SETTINGS,
    WINDOW_UPDATE,
    block,
    frame,
    headers,
)


class Told:
    """What the engine tells, as a list. Implements `FramingEvents`."""

    def __init__(self) -> None:
        self.all: list[tuple[Any, ...]] = []
        self.then: Callable[[str, int], None] = lambda what, stream: None

    def on_request(self, stream: int, block: HeaderBlock, *, ended: bool) -> None:
        self.all.append(("request", stream, tuple(block.lines), ended))
        self.then("request", stream)

    def on_data(self, stream: int, data: bytes, *, ended: bool) -> None:
        self.all.append(("data", stream, data, ended))
        self.then("data", stream)

    def on_trailers(self, stream: int, block: HeaderBlock) -> None:
        self.all.append(("trailers", stream, tuple(block.lines)))

    def on_reset(self, stream: int, code: int, *, by_client: bool) -> None:
        self.all.append(("reset", stream, code, by_client))

    def on_window(self, stream: int) -> None:
        self.all.append(("window", stream))

    def on_farewell(self) -> None:
        self.all.append(("farewell",))


LIMITS = FramingLimits(streams=10, window=100_000, list_bytes=32_768, block_bytes=65_536)


def made() -> tuple[Http2Engine, Told]:
    told = Told()
    return Http2Engine(told, LIMITS, Budget(ManualClock().monotonic)), told


CONVERSATION = (
    OPENING
    + frame(SETTINGS, ACK, 0)
    + frame(99, 3, 5, b"unknown")
    + frame(HEADERS, END_HEADERS | PADDED | PRIORITISED, 1, b"\3\0\0\0\1\x10" + block(*PSEUDO) + bytes(3))
    + frame(DATA, PADDED, 1, b"\2hello\0\0")
    + frame(PING, 0, 0, b"12345678")
    + frame(HEADERS, END_STREAM, 3, block(*PSEUDO)[:4])
    + frame(CONTINUATION, 0, 3, block(*PSEUDO)[4:5])
    + frame(CONTINUATION, END_HEADERS, 3, block(*PSEUDO)[5:])
    + frame(DATA, 0, 1, b"world")
    + headers(((b"x-sum", b"1"),))
    + frame(WINDOW_UPDATE, 0, 3, b"\0\0\0\5")
    + frame(7, 0, 0, bytes(8))
)

EXPECTED = [
    ("request", 1, PSEUDO, False),
    ("data", 1, b"hello", False),
    ("request", 3, PSEUDO, True),
    ("data", 1, b"world", False),
    ("trailers", 1, ((b"x-sum", b"1"),)),
    ("window", 3),
    ("farewell",),
]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 9, 10, 17, 100_000])
def test_a_conversation_in_pieces_of_any_size(size: int) -> None:
    engine, told = made()
    for at in range(0, len(CONVERSATION), size):
        engine.receive(CONVERSATION[at : at + size])
    assert told.all == EXPECTED
    seen = read(engine.take())
    assert [(kind, flags) for kind, flags, _, _ in seen.frames] == [(SETTINGS, 0), (SETTINGS, ACK), (PING, ACK)]
    assert engine.last_stream == 3


@pytest.mark.parametrize("at", range(1, len(CONVERSATION)))
def test_a_conversation_split_at_every_byte(at: int) -> None:
    engine, told = made()
    engine.receive(CONVERSATION[:at])
    engine.receive(CONVERSATION[at:])
    assert told.all == EXPECTED


NO_HTTP_2 = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
    OPENING[:24] + frame(PING, 0, 0, bytes(8)),
    OPENING[:24] + frame(SETTINGS, ACK, 0),
]


def feed(engine: Http2Engine, pieces: Iterable[bytes]) -> None:
    for piece in pieces:
        engine.receive(piece)


@pytest.mark.parametrize("raw", NO_HTTP_2)
def test_what_is_no_http_2_is_refused_at_its_first_wrong_byte(raw: bytes) -> None:
    engine, _ = made()
    with pytest.raises(ConnectionFault) as fault:
        feed(engine, [bytes((byte,)) for byte in raw])
    assert fault.value.code is Code.PROTOCOL_ERROR


def test_windows_towards_the_client_are_kept() -> None:
    engine, told = made()
    engine.receive(OPENING + headers(PSEUDO))
    assert engine.room(1) == 65_535
    engine.head(1, encode_status(200), ended=False)
    for _ in range(3):
        engine.data(1, bytes(16_384), ended=False)
    assert engine.room(1) == 65_535 - 3 * 16_384
    engine.receive(frame(SETTINGS, 0, 0, b"\0\4\0\0\0\0"))
    assert engine.room(1) == -3 * 16_384
    engine.receive(frame(WINDOW_UPDATE, 0, 1, (60_000).to_bytes(4, "big")))
    assert engine.own_room(1) == 60_000 - 3 * 16_384
    assert told.all[-1] == ("window", 1)


def test_the_acknowledgement_comes_before_what_it_allows() -> None:
    engine, told = made()
    engine.receive(OPENING + frame(SETTINGS, 0, 0, b"\0\4\0\0\0\0") + headers(PSEUDO))
    engine.head(1, encode_status(200), ended=False)
    engine.take()
    told.then = lambda what, stream: None
    sent: list[int] = []
    told.on_window = lambda stream: (sent.append(stream), engine.data(1, b"x", ended=True))  # type: ignore[method-assign,assignment,func-returns-value]
    engine.receive(frame(SETTINGS, 0, 0, b"\0\4\0\0\0\1"))
    assert sent == [0]
    kinds = [kind for kind, *_ in read(engine.take()).frames]
    assert kinds == [SETTINGS, DATA]


def test_windows_from_the_client_open_when_half_is_consumed() -> None:
    engine, _ = made()
    engine.receive(OPENING + headers(PSEUDO, flags=END_HEADERS))
    engine.widen(100_000)
    engine.take()
    for _ in range(6):
        engine.receive(frame(DATA, 0, 1, bytes(16_000)))
    engine.consumed(1, 40_000)
    assert engine.take() == b""
    engine.consumed(1, 10_000)
    assert engine.take() == frame(WINDOW_UPDATE, 0, 1, (50_000).to_bytes(4, "big"))
    engine.consumed(1, 40_000)
    assert engine.take() == frame(WINDOW_UPDATE, 0, 0, (90_000).to_bytes(4, "big"))


def test_more_data_than_a_stream_may_send_resets_it_and_more_than_the_connection_may_ends_that() -> None:
    engine, told = made()
    engine.receive(OPENING + headers(PSEUDO, flags=END_HEADERS))
    engine.widen(200_000)
    for _ in range(7):
        engine.receive(frame(DATA, 0, 1, bytes(16_000)))
    assert told.all[-1] == ("reset", 1, Code.FLOW_CONTROL_ERROR, False)
    engine, told = made()
    engine.receive(OPENING + headers(PSEUDO, flags=END_HEADERS))
    with pytest.raises(ConnectionFault) as fault:
        feed(engine, [frame(DATA, 0, 1, bytes(16_000))] * 5)
    assert fault.value.code is Code.FLOW_CONTROL_ERROR


def test_data_for_a_stream_that_we_reset_is_given_back_to_the_connection() -> None:
    engine, told = made()
    engine.receive(OPENING + headers(PSEUDO, flags=END_HEADERS))
    engine.reset(1, Code.CANCEL)
    engine.take()
    for _ in range(100):
        engine.receive(frame(DATA, 0, 1, bytes(16_000)))
    assert [entry for entry in told.all if entry[0] != "request"] == []
    assert {(kind, stream) for kind, _, stream, _ in read(engine.take()).frames} == {(WINDOW_UPDATE, 0)}


def test_a_stream_can_be_reset_or_answered_from_within_what_is_told() -> None:
    engine, told = made()

    def answer(what: str, stream: int) -> None:
        if stream == 1:
            engine.reset(stream, Code.REFUSED_STREAM)
        else:
            engine.head(stream, encode_status(204), ended=True)

    told.then = answer
    engine.receive(OPENING + headers(PSEUDO) + headers(PSEUDO, stream=3))
    seen = read(engine.take())
    assert seen.resets == {1: Code.REFUSED_STREAM}
    assert seen.ended == {3}


def test_blame_ends_in_a_fault() -> None:
    engine, _ = made()
    for _ in range(ALLOWANCES[Spent.FAULT].most):
        engine.blame(Spent.FAULT)
    with pytest.raises(ConnectionFault) as fault:
        engine.blame(Spent.FAULT)
    assert fault.value.code is Code.ENHANCE_YOUR_CALM


def test_a_client_of_another_make_understands_what_is_sent() -> None:
    client = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="latin-1"))
    client.initiate_connection()
    engine, _ = made()
    client.send_headers(1, [(name.decode(), value.decode()) for name, value in PSEUDO], end_stream=True)
    engine.receive(client.data_to_send())
    long = "v" * 40_000
    engine.head(1, encode_status(103) + encode_fields([("link", "<a>")]), ended=False)
    engine.head(1, encode_status(200) + encode_fields([("x-long", long), ("set-cookie", "a=b")]), ended=False)
    engine.data(1, b"hello", ended=False)
    engine.head(1, encode_fields([("x-sum", "1")]), ended=True)
    events = client.receive_data(engine.take())
    kinds = [type(event) for event in events]
    assert kinds.index(h2.events.ResponseReceived) < kinds.index(h2.events.TrailersReceived)
    response = next(event for event in events if isinstance(event, h2.events.ResponseReceived))
    assert dict(response.headers)["x-long"] == long
    assert any(isinstance(event, h2.events.StreamEnded) for event in events)


def test_the_same_block_again_is_not_decoded_again_until_the_table_changes() -> None:
    engine, told = made()
    blocks: list[HeaderBlock] = []
    told.on_request = lambda stream, block, *, ended: blocks.append(block)  # type: ignore[method-assign,assignment]
    indexed = b"\x82\x87\x84\x01\x06a.test"
    raw = [frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, indexed) for number in range(3)]
    adding = frame(HEADERS, END_HEADERS | END_STREAM, 7, indexed + b"\x40\1x\1y")
    engine.receive(OPENING + b"".join(raw) + adding + frame(HEADERS, END_HEADERS | END_STREAM, 9, indexed))
    assert blocks[0] is blocks[1] is blocks[2]
    assert blocks[4] is not blocks[0]
    assert blocks[4].lines == blocks[0].lines
