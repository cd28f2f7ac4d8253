"""Request bodies: what belongs to them, and what their reader is told."""

import pytest

from edgeproxy.errors import ClientGone, RequestRefused
from edgeproxy.serving.body import RequestBody
from edgeproxy.wire.messages import CHUNKED


async def whole(body: RequestBody) -> bytes:
    pieces = []
    while piece := await body.read():
        pieces.append(piece)
    return b"".join(pieces)


async def test_no_body_has_ended_from_the_start() -> None:
    body = RequestBody(0, None)
    assert body.ended
    assert await whole(body) == b""


@pytest.mark.parametrize("at", range(12))
async def test_counted_body_split_anywhere(at: int) -> None:
    data, body = b"hello worldGET", RequestBody(11, None)
    rests = [body.feed(data[:at])]
    if not body.ended:
        assert body.remaining == 11 - at
        rests.append(body.feed(data[at:]))
    else:
        rests.append(data[at:])
    assert (await whole(body), b"".join(rests), body.received) == (b"hello world", b"GET", 11)


CHUNKS = b"5\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 1\r\n\r\n"


@pytest.mark.parametrize("at", range(len(CHUNKS)))
async def test_chunked_body_split_anywhere(at: int) -> None:
    body = RequestBody(CHUNKED, None)
    assert body.remaining is None
    rest = body.feed(CHUNKS[:at]) + body.feed(CHUNKS[at:] + b"GET")
    assert (await whole(body), rest, body.trailers.lines) == (b"hello world", b"GET", (("X-Sum", "1"),))
    assert body.remaining == 0


@pytest.mark.parametrize(("length", "data"), [(11, b"hello world"), (CHUNKED, CHUNKS)])
async def test_over_the_limit(length: int, data: bytes) -> None:
    body = RequestBody(length, 10)
    with pytest.raises(RequestRefused) as raised:
        body.feed(data)
    assert raised.value.status == 413
    assert body.failed
    with pytest.raises(RequestRefused):
        await body.read()


async def test_exactly_the_limit_is_taken() -> None:
    body = RequestBody(10, 10)
    body.feed(b"0123456789")
    assert await whole(body) == b"0123456789"


async def test_malformed_chunks_reach_the_reader() -> None:
    body = RequestBody(CHUNKED, None)
    body.feed(b"5\r\nhel")
    with pytest.raises(RequestRefused):
        body.feed(b"loXX")
    with pytest.raises(RequestRefused):
        await body.read()


async def test_a_body_that_had_arrived_is_read_though_the_client_is_gone() -> None:
    body = RequestBody(2, None)
    body.feed(b"ab")
    body.fail(ClientGone("gone"))
    assert not body.failed
    assert await whole(body) == b"ab"


async def test_dropped_bytes_are_counted_with_their_framing_and_not_kept() -> None:
    body = RequestBody(CHUNKED, None)
    body.feed(b"5\r\nhello\r\n")
    assert body.waiting == 5
    body.discard()
    assert body.waiting == 0
    assert body.feed(b"1\r\nx\r\n0\r\n\r\nGET") == b"GET"
    assert (body.dropped, body.waiting, body.ended) == (14, 0, True)
