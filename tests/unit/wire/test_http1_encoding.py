"""Heads that we write, heads that are stored, and heads of responses: what goes out, and what is read back."""

import pytest

from edgeproxy.errors import OriginMalformed
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.http1 import (
    decode_stored_head,
    encode_request_head,
    encode_response_head,
    encode_stored_head,
    parse_response_head,
    reason_phrase,
)


def test_encode_response_head() -> None:
    assert encode_response_head(200, Fields([("A", "b"), ("C", "")])) == b"HTTP/1.1 200 OK\r\nA: b\r\nC: \r\n\r\n"
    assert encode_response_head(299, Fields()) == b"HTTP/1.1 299 \r\n\r\n"


UNSAFE = {
    "CRLF in a value": ("A", "b\r\nC: d"),
    "CRLF at the end of a value": ("A", "b\r\n"),
    "LF in a value": ("A", "b\nC: d"),
    "CR in a value": ("A", "b\rc"),
    "NUL in a value": ("A", "b\0c"),
    "empty name": ("", "b"),
    "space in a name": ("A b", "c"),
    "colon in a name": ("A: b", "c"),
    "CRLF in a name": ("A\r\nB", "c"),
    "outside latin-1": ("A", "\u20ac"),
}


@pytest.mark.parametrize("line", UNSAFE.values(), ids=UNSAFE)
def test_unsafe_fields_are_never_written(line: tuple[str, str]) -> None:
    """RFC 9112 section 11.1: response splitting."""
    for write in (lambda: encode_response_head(200, Fields([line])), lambda: encode_request_head("GET", "/", Fields([line]))):
        with pytest.raises(ValueError):
            write()


@pytest.mark.parametrize("status", [0, 99, 1000, -1])
def test_status_has_three_digits(status: int) -> None:
    with pytest.raises(ValueError):
        encode_response_head(status, Fields())


def test_encode_request_head() -> None:
    fields = Fields([("Host", "a"), ("Upgrade", "websocket")])
    assert encode_request_head("GET", "/a?b", fields) == b"GET /a?b HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n"
    for method, target in (("G T", "/"), ("GET", "/ HTTP/1.1\r\nX:"), ("GET", ""), ("", "/"), ("GET", "/\xe9")):
        with pytest.raises(ValueError):
            encode_request_head(method, target, Fields())


@pytest.mark.parametrize(
    ("status", "lines"),
    [
        (200, []),
        (404, [("Content-Type", "text/html"), ("x", ""), ("X", " padded "), ("Y", "a: b"), ("Z", "\xe9\x01")]),
        (299, [("Set-Cookie", "a"), ("Set-Cookie", "b")]),
    ],
)
def test_stored_head_is_read_back_as_it_was(status: int, lines: list[tuple[str, str]]) -> None:
    stored = encode_stored_head(status, Fields(lines))
    assert not stored.endswith(b"\r\n\r\n")
    response = decode_stored_head(stored)
    assert (response.status, response.fields) == (status, Fields(lines))
    assert encode_stored_head(response.status, response.fields) == stored


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nA:b\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\n",
        b"HTTP/1.1 200 OK\r\nA : b\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\0\r\n",
        b"HTTP/1.1 0200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nA: b",
    ],
)
def test_stored_head_of_another_form_is_refused(stored: bytes) -> None:
    with pytest.raises(ValueError):
        decode_stored_head(stored)


def test_parse_response_head() -> None:
    response, version = parse_response_head(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nA:b \r\n\r\n")
    assert (response.status, response.fields.lines, version) == (101, (("Upgrade", "x"), ("A", "b")), (1, 1))
    assert parse_response_head(b"HTTP/1.0 200\r\n\r\n")[1] == (1, 0)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1  200 OK\r\n\r\n",
        b"HTTP/1.1 099 No\r\n\r\n",
        b"HTTP/1.1 200 OK\nA: b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nbody",
    ],
)
def test_malformed_response_head(raw: bytes) -> None:
    with pytest.raises(OriginMalformed):
        parse_response_head(raw)


def test_reason_phrase() -> None:
    assert [reason_phrase(status) for status in (200, 304, 413, 599)] == ["OK", "Not Modified", "Content Too Large", ""]
