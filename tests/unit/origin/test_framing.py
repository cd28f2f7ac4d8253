"""RFC 9112 section 6.3: how a response body is delimited, and what is too ambiguous to be read at all."""

import pytest

from edgeproxy.errors import OriginMalformed
from edgeproxy.origin.framing import Delimiter, Framing, judge, with_one_length
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.messages import ResponseHead

CLOSE, CHUNKS, LENGTH, NOTHING = Delimiter.CLOSE, Delimiter.CHUNKS, Delimiter.LENGTH, Delimiter.NOTHING
TE, CL = "Transfer-Encoding", "Content-Length"

JUDGED = [
    ("no length at all", "GET", 200, [], (1, 1), Framing(CLOSE, 0, False)),
    ("a length", "GET", 200, [(CL, "5")], (1, 1), Framing(LENGTH, 5, True)),
    ("length zero", "GET", 200, [(CL, "0")], (1, 1), Framing(NOTHING, 0, True)),
    ("leading zeros", "GET", 200, [(CL, "0005")], (1, 1), Framing(LENGTH, 5, True)),
    ("equal lengths", "GET", 200, [(CL, "5"), (CL, "5 , 5")], (1, 1), Framing(LENGTH, 5, True)),
    ("chunked", "GET", 200, [(TE, "Chunked")], (1, 1), Framing(CHUNKS, 0, True)),
    ("HTTP/1.2 counts as 1.1", "GET", 200, [(TE, "chunked")], (1, 2), Framing(CHUNKS, 0, True)),
    ("close", "GET", 200, [(CL, "5"), ("Connection", "close")], (1, 1), Framing(LENGTH, 5, False)),
    (
        "close on a second line",
        "GET",
        200,
        [(CL, "5"), ("Connection", "x"), ("connection", "y, Close ")],
        (1, 1),
        Framing(LENGTH, 5, False),
    ),
    ("HTTP/1.0", "GET", 200, [(CL, "5")], (1, 0), Framing(LENGTH, 5, False)),
    ("HTTP/1.0 keep-alive", "GET", 200, [(CL, "5"), ("Connection", "Keep-Alive")], (1, 0), Framing(LENGTH, 5, True)),
    (
        "keep-alive cannot save a body that ends with the connection",
        "GET",
        200,
        [("Connection", "keep-alive")],
        (1, 1),
        Framing(CLOSE, 0, False),
    ),
    ("HEAD with a length", "HEAD", 200, [(CL, "5")], (1, 1), Framing(NOTHING, 0, True)),
    ("HEAD with chunked", "HEAD", 200, [(TE, "chunked")], (1, 1), Framing(NOTHING, 0, True)),
    ("head is not HEAD", "head", 200, [(CL, "5")], (1, 1), Framing(LENGTH, 5, True)),
    ("204", "GET", 204, [], (1, 1), Framing(NOTHING, 0, True)),
    ("204 with length zero", "GET", 204, [(CL, "0")], (1, 1), Framing(NOTHING, 0, True)),
    ("204 that announces a body", "GET", 204, [(CL, "5")], (1, 1), Framing(NOTHING, 0, False, contradicts=True)),
    ("204 with chunked", "GET", 204, [(TE, "chunked")], (1, 1), Framing(NOTHING, 0, False, contradicts=True)),
    ("304 with a length", "GET", 304, [(CL, "5")], (1, 1), Framing(NOTHING, 0, True)),
]


@pytest.mark.parametrize(("name", "method", "status", "fields", "version", "expected"), JUDGED, ids=[case[0] for case in JUDGED])
def test_the_framing_follows_section_6_3(
    name: str, method: str, status: int, fields: list[tuple[str, str]], version: tuple[int, int], expected: Framing
) -> None:
    assert judge(method, ResponseHead(status, Fields(fields)), version) == expected


REFUSED = [
    [(TE, "chunked"), (CL, "5")],
    [(TE, "identity"), (CL, "0")],
    [(CL, "5"), (CL, "6")],
    [(CL, "5, 6")],
    [(CL, "5"), (CL, "05")],
    [(CL, "")],
    [(CL, "5,")],
    [(CL, "-1")],
    [(CL, "+1")],
    [(CL, "1e3")],
    [(CL, "0x10")],
    [(CL, "1_0")],
    [(CL, "1 0")],
    [(CL, "\xb2")],
    [(CL, "9" * 20)],
    [(TE, "")],
    [(TE, "gzip")],
    [(TE, "identity")],
    [(TE, "gzip, chunked")],
    [(TE, "chunked, chunked")],
    [(TE, "chunked"), (TE, "chunked")],
    [(TE, "chunked;q=1")],
    [(TE, "\x0bchunked")],
    [(TE, "chunked\xa0")],
]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("fields", REFUSED, ids=str)
def test_ambiguous_framing_is_an_error_even_where_there_is_no_body(fields: list[tuple[str, str]], method: str) -> None:
    with pytest.raises(OriginMalformed):
        judge(method, ResponseHead(200, Fields(fields)), (1, 1))


def test_transfer_encoding_in_http_1_0_is_faulty() -> None:
    """RFC 9112 section 6.1."""
    with pytest.raises(OriginMalformed):
        judge("GET", ResponseHead(200, Fields([(TE, "chunked")])), (1, 0))


def test_equal_lengths_become_one_line() -> None:
    """RFC 9110 section 8.6."""
    once = Fields([("A", "1"), (CL, "5")])
    assert with_one_length(once) is once
    assert with_one_length(Fields([(CL, "5"), ("A", "1"), ("content-length", "5, 5")])) == once
