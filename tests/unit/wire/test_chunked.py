"""The chunked coding by RFC 9112 section 7.1: read whole, split at every byte, one byte at a time, and with bytes behind it."""

import pytest

from edgeproxy.errors import RequestRefused
from edgeproxy.wire.chunked import (
    FORBIDDEN_TRAILERS,
    LAST_CHUNK,
    MAX_EXTENSIONS,
    MAX_SIZE_LINE,
    MAX_TRAILER_BYTES,
    MAX_TRAILERS,
    ChunkedDecoder,
    encode_chunk,
    encode_last_chunk,
)
from edgeproxy.wire.fields import Fields

Lines = tuple[tuple[str, str], ...]

ACCEPTED: dict[str, tuple[bytes, bytes, Lines]] = {
    "one chunk": (b"5\r\nhello\r\n0\r\n\r\n", b"hello", ()),
    "two chunks": (b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", b"hello world", ()),
    "nothing": (b"0\r\n\r\n", b"", ()),
    "several zeros": (b"1\r\nx\r\n000\r\n\r\n", b"x", ()),
    "upper case": (b"A\r\nhelloworld\r\n0\r\n\r\n", b"helloworld", ()),
    "lower case and leading zeros": (b"00a\r\nhelloworld\r\n0\r\n\r\n", b"helloworld", ()),
    "sixteen digits": (b"0000000000000001\r\nx\r\n0\r\n\r\n", b"x", ()),
    "CRLF in the data": (b"4\r\n\r\n\r\n\r\n0\r\n\r\n", b"\r\n\r\n", ()),
    "data that looks like an end": (b"5\r\n0\r\n\r\n\r\n0\r\n\r\n", b"0\r\n\r\n", ()),
    "extension (7.1.1)": (b"1;a=b\r\nx\r\n0\r\n\r\n", b"x", ()),
    "extension without a value": (b"1;a\r\nx\r\n0;b\r\n\r\n", b"x", ()),
    "several extensions, quoted": (b'1;a="q;\\"\t\xff";b=c\r\nx\r\n0\r\n\r\n', b"x", ()),
    "trailer (7.1.2)": (b"1\r\nx\r\n0\r\nX-Sum: abc\r\n\r\n", b"x", (("X-Sum", "abc"),)),
    "trailers": (b"0\r\nA:1\r\nb: \t2 \r\nA:\r\n\r\n", b"", (("A", "1"), ("b", "2"), ("A", ""))),
}


def decode(pieces: list[bytes]) -> tuple[bytes, ChunkedDecoder]:
    decoder = ChunkedDecoder()
    data = [piece for fed in pieces for piece in decoder.feed(fed)]
    assert all(data)
    return b"".join(data), decoder


@pytest.mark.parametrize(("raw", "body", "trailers"), ACCEPTED.values(), ids=ACCEPTED)
def test_accepted_however_it_is_split(raw: bytes, body: bytes, trailers: Lines) -> None:
    splits = [[raw[:at], raw[at:]] for at in range(len(raw) + 1)]
    for pieces in (*splits, [raw], [bytes((byte,)) for byte in raw]):
        read, decoder = decode(pieces)
        assert (read, decoder.done, decoder.rest, decoder.trailers.lines) == (body, True, b"", trailers), pieces


@pytest.mark.parametrize(("raw", "body", "trailers"), ACCEPTED.values(), ids=ACCEPTED)
def test_bytes_behind_the_end_are_kept(raw: bytes, body: bytes, trailers: Lines) -> None:
    following = b"GET / HTTP/1.1\r\n"
    for at in range(len(raw) + len(following) + 1):
        both = raw + following
        read, decoder = decode([both[:at], both[at:]])
        assert (read, decoder.done, decoder.rest) == (body, True, following), at


@pytest.mark.parametrize(("raw", "body", "trailers"), ACCEPTED.values(), ids=ACCEPTED)
def test_not_done_before_the_last_byte(raw: bytes, body: bytes, trailers: Lines) -> None:
    for at in range(len(raw)):
        assert not decode([raw[:at]])[1].done, at


REFUSED = {
    "bare LF after the size": b"1\nx\r\n0\r\n\r\n",
    "bare CR after the size": b"1\rx\r\n0\r\n\r\n",
    "two CR after the size": b"1\r\r\nx\r\n0\r\n\r\n",
    "bare LF after the data": b"1\r\nx\n0\r\n\r\n",
    "bare CR after the data": b"1\r\nx\r0\r\n\r\n",
    "nothing after the data": b"1\r\nx0\r\n\r\n",
    "data longer than its size": b"1\r\nxy\r\n0\r\n\r\n",
    "data shorter than its size": b"3\r\nxy\r\n0\r\n\r\n",
    "bare LF at the end": b"1\r\nx\r\n0\r\n\n",
    "bare LF after the last size": b"1\r\nx\r\n0\n\r\n",
    "empty size": b"\r\n\r\n",
    "extension without a size": b";a\r\n\r\n",
    "space before the size": b" 1\r\nx\r\n0\r\n\r\n",
    "space after the size": b"1 \r\nx\r\n0\r\n\r\n",
    "tab after the size": b"1\t\r\nx\r\n0\r\n\r\n",
    "sign": b"+1\r\nx\r\n0\r\n\r\n",
    "minus": b"-1\r\nx\r\n0\r\n\r\n",
    "prefix": b"0x1\r\nx\r\n0\r\n\r\n",
    "suffix": b"1h\r\nx\r\n0\r\n\r\n",
    "letter that is no digit": b"g\r\nx\r\n0\r\n\r\n",
    "underscore": b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n",
    "comma": b"1,1\r\nx\r\n0\r\n\r\n",
    "NUL": b"1\0\r\nx\r\n0\r\n\r\n",
    "vertical tab": b"1\x0b\r\nx\r\n0\r\n\r\n",
    "2^63": b"8000000000000000\r\n",
    "2^64 - 1": b"ffffffffffffffff\r\n",
    "seventeen digits": b"00000000000000001\r\nx\r\n0\r\n\r\n",
    "space before the extension": b"1 ;a\r\nx\r\n0\r\n\r\n",
    "space in the extension": b"1; a\r\nx\r\n0\r\n\r\n",
    "empty extension": b"1;\r\nx\r\n0\r\n\r\n",
    "extension with an empty value": b"1;a=\r\nx\r\n0\r\n\r\n",
    "extension with an open quote": b'1;a="b\r\nx\r\n0\r\n\r\n',
    "extension with a control character": b"1;a\x01\r\nx\r\n0\r\n\r\n",
    "extension with a bare LF": b"1;a\nb\r\nx\r\n0\r\n\r\n",
    "extension with a bare CR": b"1;a\rb\r\nx\r\n0\r\n\r\n",
    "trailer without a colon": b"0\r\nX\r\n\r\n",
    "trailer without a name": b"0\r\n: x\r\n\r\n",
    "trailer with a space before the colon": b"0\r\nX : y\r\n\r\n",
    "folded trailer": b"0\r\nX: y\r\n z\r\n\r\n",
    "trailer with a bare LF": b"0\r\nX: y\n\r\n",
    "trailer with a bare CR": b"0\r\nX: y\rz\r\n\r\n",
    "trailer with a NUL": b"0\r\nX: y\0\r\n\r\n",
    "next request instead of the end": b"0\r\nGET / HTTP/1.1\r\n\r\n",
    "trailer that imitates a length": b"0\r\nContent_Length: 5\r\n\r\n",
    "size line without an end": b"1;" + b"a" * MAX_SIZE_LINE,
    "size line too long": b"1;" + b"a" * MAX_SIZE_LINE + b"\r\nx\r\n0\r\n\r\n",
    "trailer line without an end": b"0\r\nX: " + b"a" * MAX_TRAILER_BYTES,
    "trailers too long together": b"0\r\n" + (b"X: " + b"a" * 1000 + b"\r\n") * 9 + b"\r\n",
    "too many trailers": b"0\r\n" + b"X: y\r\n" * (MAX_TRAILERS + 1) + b"\r\n",
    "too many extensions": (b"1;" + b"a" * 200 + b"\r\nx\r\n") * (MAX_EXTENSIONS // 200 + 1) + b"0\r\n\r\n",
}


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED)
def test_refused_however_it_is_split(raw: bytes) -> None:
    splits = [[raw[:at], raw[at:]] for at in range(min(len(raw), 300))]
    for pieces in (*splits, [raw], [bytes((byte,)) for byte in raw]):
        with pytest.raises(RequestRefused) as caught:
            decode(pieces)
        assert caught.value.status == 400


@pytest.mark.parametrize("name", sorted(FORBIDDEN_TRAILERS))
def test_field_that_must_not_be_a_trailer(name: str) -> None:
    """RFC 9110 section 6.5.1."""
    with pytest.raises(RequestRefused, match="must not be a trailer"):
        decode([f"0\r\n{name.title()}: x\r\n\r\n".encode()])
    with pytest.raises(ValueError):
        encode_last_chunk(Fields([(name.upper(), "x")]))


def test_largest_size_is_read_without_waiting_for_its_data() -> None:
    decoder = ChunkedDecoder()
    assert decoder.feed(b"7fffffffffffffff\r\nabc") == [b"abc"]


def test_whole_pieces_of_a_large_chunk_are_not_copied() -> None:
    decoder = ChunkedDecoder()
    decoder.feed(b"100000\r\n")
    piece = bytes(65536)
    assert all(decoder.feed(piece)[0] is piece for _ in range(16))
    assert decoder.feed(b"\r\n" + LAST_CHUNK) == []
    assert decoder.done


def test_bytes_fed_after_the_end_go_to_rest() -> None:
    decoder = ChunkedDecoder()
    decoder.feed(b"0\r\n\r\nab")
    assert decoder.feed(b"cd") == []
    assert decoder.rest == b"abcd"


def test_encoded_is_decoded() -> None:
    raw = encode_chunk(b"x" * 26) + encode_chunk(b"") + encode_chunk(b"y") + LAST_CHUNK
    assert raw == b"1a\r\n" + b"x" * 26 + b"\r\n1\r\ny\r\n0\r\n\r\n"
    assert decode([raw])[0] == b"x" * 26 + b"y"


def test_last_chunk_with_trailers() -> None:
    assert encode_last_chunk(Fields()) == LAST_CHUNK
    raw = encode_last_chunk(Fields([("X-Sum", "a"), ("Y", "")]))
    assert decode([raw])[1].trailers.lines == (("X-Sum", "a"), ("Y", ""))
    for line in (("X", "a\r\nb: c"), ("X Y", "a"), ("X", "\0")):
        with pytest.raises(ValueError):
            encode_last_chunk(Fields([line]))
