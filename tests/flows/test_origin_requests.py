"""What a raw origin receives: byte for byte what was asked, and nothing that the edge or its libraries add."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from edgeproxy.errors import ClientGone, OriginReset, RequestRefused
from edgeproxy.origin.messages import OriginSettings
from tests.support.origin_client import QUICK, ask, asking, pieces_of, whole
from tests.support.raw_origin import RawConnection, RawOrigin, always, answer

OK = answer(b"ok")

TARGETS = [
    ("GET", "/a?"),
    ("GET", "/?"),
    ("GET", "//x"),
    ("GET", "//evil.example/"),
    ("GET", "/a/../b"),
    ("GET", "/a/./b"),
    ("GET", "/%2F"),
    ("GET", "/%7e"),
    ("GET", "/%2f%41"),
    ("GET", "/~"),
    ("GET", "/|"),
    ("GET", '/a"b<c>{d}^`\\'),
    ("GET", "/a?b=c&b=c;d??e=/?"),
    ("GET", "/a?x=[1]&y=%5B"),
    ("GET", "/%"),
    ("GET", "/a:b@c"),
    ("GET", "/http://other/"),
    ("GET", "/" + "a" * 8000),
    ("OPTIONS", "*"),
]


@pytest.mark.parametrize(("method", "target"), TARGETS, ids=[target[:20] for _, target in TARGETS])
async def test_the_target_goes_out_byte_for_byte(method: str, target: str) -> None:
    """RFC 9110 section 7.7: a proxy does not rewrite the path and query."""
    async with RawOrigin(always(OK)) as origin, asking(origin.url) as client:
        assert await whole(await client.fetch(ask(target, method))) == b"ok"
    assert origin.heads == [f"{method} {target} HTTP/1.1\r\nHost: www.example.org\r\n\r\n".encode()]


async def test_nothing_is_added_and_names_order_repeats_and_bytes_are_kept() -> None:
    """RFC 9110 section 5.3 (order and repeats), section 5.5 (obs-text)."""
    fields = [
        ("x-One", "1"),
        ("X-ONE", "2"),
        ("Accept-Encoding", "br"),
        ("x-one", "caf\xe9 \xff"),
        ("Cookie", "a=b"),
        ("cookie", "c"),
    ]
    async with RawOrigin(always(OK)) as origin, asking(origin.url) as client:
        await whole(await client.fetch(ask("/", fields=fields, authority="Other.Example:81")))
    assert origin.heads == [
        b"GET / HTTP/1.1\r\nHost: Other.Example:81\r\nx-One: 1\r\nX-ONE: 2\r\nAccept-Encoding: br\r\n"
        b"x-one: caf\xe9 \xff\r\nCookie: a=b\r\ncookie: c\r\n\r\n"
    ]


async def test_methods_keep_their_case() -> None:
    """RFC 9110 section 9.1: the method is case-sensitive; "head" is not HEAD, so its answer has a body."""
    async with RawOrigin(always(OK)) as origin, asking(origin.url) as client:
        assert await whole(await client.fetch(ask("/", "head"))) == b"ok"
        assert await whole(await client.fetch(ask("/", "PurGe"))) == b"ok"
    assert [head.split(b" ")[0] for head in origin.heads] == [b"head", b"PurGe"]


async def echo(connection: RawConnection) -> None:
    """Answers with the head's framing lines and the body as it came on the wire."""
    while head := await connection.read_head():
        framing = [line for line in head.split(b"\r\n") if line.lower().startswith((b"content-length", b"transfer-encoding"))]
        body = b""
        if framing and framing[0].lower().startswith(b"content-length"):
            body = await connection.reader.readexactly(int(framing[0].split(b":")[1]))
        elif framing:
            body = await connection.reader.readuntil(b"0\r\n\r\n")
        await connection.send(answer(b"|".join((*framing, body))))


@pytest.mark.parametrize(
    ("pieces", "length", "expected"),
    [
        ((b"hello", b" world"), 11, b"Content-Length: 11|hello world"),
        ((b"hello", b"", b"!"), None, b"Transfer-Encoding: chunked|5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n"),
        ((), None, b"Transfer-Encoding: chunked|0\r\n\r\n"),
        ((), 0, b"Content-Length: 0|"),
        ((b"x" * 300_000,), 300_000, b"Content-Length: 300000|" + b"x" * 300_000),
    ],
)
async def test_a_body_is_framed_by_its_length_or_chunked(pieces: tuple[bytes, ...], length: int | None, expected: bytes) -> None:
    """RFC 9112 section 6; an empty piece does not end a chunked body."""
    async with RawOrigin(echo) as origin, asking(origin.url) as client:
        for _ in range(2):
            request = ask("/", "POST", body=pieces_of(*pieces), body_length=length)
            assert await whole(await client.fetch(request)) == expected
        assert len(origin.connections) == 1


async def test_no_body_sends_no_framing_unless_a_length_of_zero_is_said() -> None:
    """RFC 9110 section 8.6."""
    async with RawOrigin(echo) as origin, asking(origin.url) as client:
        assert await whole(await client.fetch(ask("/", "DELETE"))) == b""
        assert await whole(await client.fetch(ask("/", "POST", body_length=0))) == b"Content-Length: 0|"


async def test_the_head_goes_out_before_the_first_piece_of_the_body() -> None:
    seen = asyncio.Event()

    async def serve(connection: RawConnection) -> None:
        await connection.read_head()
        seen.set()
        assert await connection.reader.readexactly(4) == b"late"
        await connection.send(OK)

    async def body() -> AsyncIterator[bytes]:
        await asyncio.wait_for(seen.wait(), 2)
        yield b"late"

    async with RawOrigin(serve) as origin, asking(origin.url) as client:
        assert await whole(await client.fetch(ask("/", "PUT", body=body(), body_length=4))) == b"ok"


class Source:
    """A request body that says how far it was read, and fails with `error` at `fails_at`."""

    def __init__(self, pieces: int, *, fails_at: int | None = None, error: Exception | None = None) -> None:
        self.pieces = pieces
        self.fails_at = fails_at
        self.error = error or ClientGone("the client went away")
        self.taken = 0
        self.closed = False

    async def read(self) -> AsyncIterator[bytes]:
        try:
            for number in range(self.pieces):
                if number == self.fails_at:
                    raise self.error
                self.taken += 1
                yield b"x" * 65_536
        finally:
            self.closed = True


async def test_a_body_is_read_no_faster_than_the_origin_takes_it() -> None:
    go = asyncio.Event()

    async def serve(connection: RawConnection) -> None:
        await connection.read_head()
        await go.wait()
        await connection.reader.readexactly(1000 * 65_536)
        await connection.send(OK)

    source = Source(1000)
    async with RawOrigin(serve) as origin, asking(origin.url) as client:
        fetch = asyncio.ensure_future(client.fetch(ask("/", "POST", body=source.read(), body_length=1000 * 65_536)))
        taken = -1
        while taken != source.taken:  # it has stopped when a while passes without progress
            taken = source.taken
            await asyncio.wait({fetch}, timeout=0.1)
        assert 0 < taken < 400
        go.set()
        assert await whole(await fetch) == b"ok"
    assert source.taken == 1000


async def test_an_origin_that_takes_nothing_of_a_body_times_out() -> None:
    async def serve(connection: RawConnection) -> None:
        await connection.read_head()
        await asyncio.Event().wait()

    source = Source(100_000)
    async with RawOrigin(serve) as origin, asking(origin.url, settings=QUICK) as client:
        with pytest.raises(Exception, match="took nothing of the request body") as caught:
            await client.fetch(ask("/", "POST", body=source.read()))
        assert type(caught.value).__name__ == "OriginTimeout"
    assert source.closed


FAILURES = [
    ClientGone("the client went away"),
    ConnectionResetError("reset"),
    OSError(5, "disk"),
    ValueError("bug"),
    TimeoutError(),
]


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("length", [10 * 65_536, None], ids=["length", "chunked"])
async def test_a_body_that_fails_ends_the_origin_connection_and_raises_its_own_error(
    length: int | None, error: Exception
) -> None:
    """RFC 9112 section 8: the origin must not take a broken request for a whole one."""
    received: list[bytes] = []

    async def serve(connection: RawConnection) -> None:
        await connection.read_head()
        received.append(await connection.closed_by_client())

    source = Source(10, fails_at=3, error=error)
    async with RawOrigin(serve) as origin, asking(origin.url) as client:
        with pytest.raises(type(error)) as caught:
            await client.fetch(ask("/", "POST", body=source.read(), body_length=length))
        assert caught.value is error
        await asyncio.wait_for(origin.connections[0].ended.wait(), 2)
    assert b"0\r\n\r\n" not in b"".join(received)
    assert source.closed


@pytest.mark.parametrize(("sent", "said"), [(b"abc", 4), (b"abcde", 4)], ids=["short", "long"])
async def test_a_body_that_is_not_as_long_as_said_is_refused(sent: bytes, said: int) -> None:
    """RFC 9110 section 8.6: one more byte would be the beginning of another request."""
    got: list[bytes] = []

    async def serve(connection: RawConnection) -> None:
        await connection.read_head()
        got.append(await connection.closed_by_client())

    async with RawOrigin(serve) as origin, asking(origin.url) as client:
        with pytest.raises(RequestRefused):
            await client.fetch(ask("/", "POST", body=pieces_of(sent), body_length=said))
        await asyncio.wait_for(origin.connections[0].ended.wait(), 2)
    assert len(got[0]) < 4


async def test_an_early_answer_is_delivered_while_the_body_is_still_coming() -> None:
    """RFC 9112 section 9.3: and the connection cannot be used again."""

    async def serve(connection: RawConnection) -> None:
        await connection.read_head()
        await connection.send(answer(b"too large", status=b"413 Content Too Large"))
        await connection.closed_by_client()

    endless = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"first"
        await endless.wait()

    async with RawOrigin(serve) as origin, asking(origin.url) as client:
        response = await client.fetch(ask("/", "POST", body=body()))
        assert (response.status, await whole(response)) == (413, b"too large")
        await asyncio.wait_for(origin.connections[0].ended.wait(), 2)
        assert await whole(await client.fetch(ask("/"))) == b"too large"
        assert len(origin.connections) == 2


async def test_a_head_cannot_time_out_while_the_body_is_still_coming() -> None:
    settings = OriginSettings(head_timeout=0.1, body_timeout=5)

    async def body() -> AsyncIterator[bytes]:
        yield b"a"
        await asyncio.sleep(0.3)  # a client slower than the head time-out: that is what this is about
        yield b"b"

    async with RawOrigin(echo) as origin, asking(origin.url, settings=settings) as client:
        response = await client.fetch(ask("/", "POST", body=body(), body_length=2))
        assert await whole(response) == b"Content-Length: 2|ab"


REFUSED = [
    ("CR and LF in a value", {"fields": [("A", "b\r\nEvil: 1")]}),
    ("LF in a value", {"fields": [("A", "b\nEvil: 1")]}),
    ("NUL in a value", {"fields": [("A", "b\0")]}),
    ("text beyond latin-1", {"fields": [("A", "\u20ac")]}),
    ("colon in a name", {"fields": [("A: b", "c")]}),
    ("space in a name", {"fields": [("A b", "c")]}),
    ("empty name", {"fields": [("", "c")]}),
    ("Host among the fields", {"fields": [("hoST", "evil")]}),
    ("Content-Length among the fields", {"fields": [("Content-length", "5")]}),
    ("Transfer-Encoding among the fields", {"fields": [("transfer-encoding", "chunked")]}),
    ("space in the target", {"target": "/a b"}),
    ("line break in the target", {"target": "/a HTTP/1.1\r\nEvil: 1\r\n\r\nGET /b"}),
    ("fragment in the target", {"target": "/a#b"}),
    ("absolute target", {"target": "http://other.example/"}),
    ("empty target", {"target": ""}),
    ("target beyond ASCII", {"target": "/\u20ac"}),
    ("space in the method", {"method": "GET /x"}),
    ("empty method", {"method": ""}),
    ("line break in the authority", {"authority": "a\r\nEvil: 1"}),
]


@pytest.mark.parametrize(("name", "parts"), REFUSED, ids=[name for name, _ in REFUSED])
async def test_what_cannot_be_written_unambiguously_is_refused_and_nothing_is_sent(name: str, parts: dict[str, object]) -> None:
    """RFC 9110 section 5.5, RFC 9112 section 11.1."""
    async with RawOrigin(always(OK)) as origin, asking(origin.url) as client:
        with pytest.raises((RequestRefused, OriginReset)) as caught:
            await client.fetch(ask(**parts))  # type: ignore[arg-type]
        assert isinstance(caught.value, RequestRefused), caught.value
        assert await whole(await client.fetch(ask("/good"))) == b"ok"
    assert [head.split(b" ")[1] for head in origin.heads] == [b"/good"]
