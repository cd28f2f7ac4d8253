"""A request body over HTTP/2: never whole before its stream has ended well."""

import asyncio

import pytest

from edgeproxy.errors import ClientGone, RequestRefused, StreamMalformed
from edgeproxy.serving.http2_body import Http2Body
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.messages import CHUNKED


async def test_the_last_bytes_of_an_announced_body_wait_for_the_end() -> None:
    body = Http2Body(10, None, ended=False)
    body.feed(b"hello", ended=False)
    assert await body.read() == b"hello"
    body.feed(b"world", ended=False)
    reading = asyncio.ensure_future(body.read())
    await asyncio.sleep(0)
    assert not reading.done()
    assert (body.waiting, body.ended) == (5, False)
    body.feed(b"", ended=True)
    assert await reading == b"world"
    assert await body.read() == b""


async def test_a_body_of_unknown_length_is_read_as_it_comes() -> None:
    body = Http2Body(CHUNKED, None, ended=False)
    body.feed(b"hello", ended=False)
    assert await body.read(3) == b"hel"
    assert await body.read() == b"lo"
    body.end(Fields((("x", "1"),)))
    assert await body.read() == b""
    assert body.trailers.get("x") == "1"


@pytest.mark.parametrize(
    ("pieces", "ended"),
    [([b"123456"], False), ([b"123", b"4567"], False), ([b"1234"], True), ([b"12345", b"6"], False), ([], True)],
)
async def test_another_number_of_bytes_than_announced_is_malformed(pieces: list[bytes], ended: bool) -> None:
    body = Http2Body(5, None, ended=False)

    def feed() -> None:
        for piece in pieces:
            body.feed(piece, ended=ended)
        body.feed(b"", ended=True)

    with pytest.raises(StreamMalformed):
        feed()
    assert not body.ended


async def test_over_the_limit_the_reader_is_told_and_nothing_is_kept() -> None:
    body = Http2Body(CHUNKED, 4, ended=False)
    body.feed(b"1234", ended=False)
    body.feed(b"5", ended=False)
    with pytest.raises(RequestRefused) as refused:
        await body.read()
    assert refused.value.status == 413
    assert body.failed
    body.feed(bytes(1000), ended=False)
    assert body.drop() == 4


async def test_a_lost_client_is_told_to_a_waiting_reader() -> None:
    body = Http2Body(CHUNKED, None, ended=False)
    reading = asyncio.ensure_future(body.read())
    await asyncio.sleep(0)
    body.fail(ClientGone("gone"))
    with pytest.raises(ClientGone):
        await reading


async def test_no_body_is_read_as_its_end() -> None:
    assert await Http2Body(0, None, ended=True).read() == b""
