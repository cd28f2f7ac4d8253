"""Whatever bytes come, wire refuses or understands them, and understands the same however they are split and written again."""

from itertools import chain, pairwise

from hypothesis import given
from hypothesis import strategies as st

from edgeproxy.errors import OriginMalformed, RequestRefused
from edgeproxy.wire.chunked import LAST_CHUNK, ChunkedDecoder, encode_chunk
from edgeproxy.wire.dates import format_http_date, parse_http_date
from edgeproxy.wire.etags import parse_etag_list
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.forwarding import forwarded_request_fields, via_loops
from edgeproxy.wire.http1 import (
    Limits,
    decode_stored_head,
    encode_request_head,
    encode_stored_head,
    parse_request_head,
    parse_response_head,
)
from edgeproxy.wire.messages import Request
from edgeproxy.wire.negotiate import select_coding
from edgeproxy.wire.ranges import parse_range
from edgeproxy.wire.structured import parse_dictionary, parse_item, parse_list

LIMITS = Limits()

noise = st.sampled_from([b"", b" ", b"\t", b"\r", b"\n", b"\r\n", b"\0", b":", b",", b"_", b"\x0b", b"\xff", b"0", b"/", b"#"])
methods = st.sampled_from(b"GET|POST|OPTIONS|HEAD|TRACE|CONNECT|get|FOO".split(b"|"))
targets = st.sampled_from(
    b"/|*|/a?b|//a|http://a.test/x|http://a.test|https://a.test/|http://a.test:80?|a.test:80".split(b"|")
) | st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=8).map(lambda text: b"/" + text.encode())
versions = st.sampled_from(b"HTTP/1.1|HTTP/1.1|HTTP/1.1|HTTP/1.0|HTTP/1.2|HTTP/2.0".split(b"|"))
framing_lines = st.sampled_from(
    b"Content-Length: 5|Content-Length:0|content-length:\t7 |Transfer-Encoding: chunked|transfer-encoding: CHUNKED|"
    b"Content-Length: +5|Content-Length: 5, 5|Transfer-Encoding: gzip|Transfer-Encoding: chunked, chunked|"
    b"content_length: 5|Host: a.test".split(b"|")
)
other_lines = st.sampled_from(
    b"Connection: close|Connection: keep-alive, X|Connection: upgrade|Upgrade: websocket|Upgrade: h2c|Expect: 100-continue|"
    b"X: y|X:|x_y: \xe9|Accept: a, b|Via: 1.1 edge|Forwarded: for=x|X-Forwarded-For: 10.0.0.1|Cookie: a=b; c".split(b"|")
)
hosts = st.sampled_from(b"Host: a.test|Host: a.test|host:A.test:80|Host: [::1]|Host: u@a|X: y".split(b"|"))
heads = st.builds(
    lambda method, target, version, *lines: b"\r\n".join(
        (b" ".join((method, target, version)), *chain.from_iterable(lines), b"", b"")
    ),
    methods,
    targets,
    versions,
    hosts.map(lambda line: [line]),
    st.lists(framing_lines, max_size=2),
    st.lists(other_lines, max_size=5),
)
"""Heads of the right shape, about one in five acceptable; `anything` then breaks the shape of some."""

anything = st.binary(max_size=200) | heads | st.builds(lambda a, at, b: a[:at] + b + a[at:], heads, st.integers(0, 80), noise)


def meaning(request: Request) -> tuple[object, ...]:
    return (
        *(request.method, request.target, request.authority, request.host, request.version, request.fields),
        *(request.body_length, request.keep_alive, request.expects_continue, request.upgrade, request.scheme),
    )


@given(anything)
def test_request_head_is_refused_or_means_the_same_when_written_again(raw: bytes) -> None:
    try:
        request = parse_request_head(raw, LIMITS)
    except RequestRefused:
        return
    fields = request.fields.replacing("Host", request.authority) if request.authority else request.fields
    again = encode_request_head(request.method, request.target, fields)
    if request.version == (1, 0):
        again = again.replace(b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", 1)
    second = parse_request_head(again, LIMITS)
    assert meaning(second)[:5] + meaning(second)[6:] == meaning(request)[:5] + meaning(request)[6:]
    assert second.fields == fields


@given(anything, st.sampled_from(["", "192.0.2.1", "::1"]), st.booleans())
def test_what_is_forwarded_is_one_request_without_framing(raw: bytes, peer: str, trusted: bool) -> None:
    try:
        request = parse_request_head(raw, LIMITS)
    except RequestRefused:
        return
    fields = forwarded_request_fields(request, peer=peer, trusted=trusted, via_name="edge")
    lines = encode_request_head(request.method, request.target, fields).split(b"\r\n")
    assert len(lines) == len(fields) + 3
    assert not fields.names() & {
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "expect",
        "upgrade",
        "content_length",
    }


@given(st.binary(max_size=200) | heads.map(lambda head: b"HTTP/1.1 200 OK\r\n" + head.partition(b"\r\n")[2]))
def test_response_head_is_refused_or_read(raw: bytes) -> None:
    try:
        response, _ = parse_response_head(raw)
    except OriginMalformed:
        return
    stored = encode_stored_head(response.status, response.fields)
    assert decode_stored_head(stored) == response


@given(
    st.integers(100, 999),
    st.lists(st.tuples(st.from_regex(r"[A-Za-z-]{1,8}", fullmatch=True), st.text(st.characters(max_codepoint=255), max_size=8))),
)
def test_stored_head_round_trip(status: int, lines: list[tuple[str, str]]) -> None:
    fields = Fields(lines)
    if any(set(value) & set("\r\n\0") for _, value in lines):
        try:
            encode_stored_head(status, fields)
        except ValueError:
            return
        raise AssertionError("an unsafe value was written")
    response = decode_stored_head(encode_stored_head(status, fields))
    assert (response.status, response.fields) == (status, fields)


chunk_parts = st.sampled_from(
    [b"1\r\nx\r\n", b"5\r\nhello\r\n", b"A;a=b\r\n0123456789\r\n", b"0\r\n", b"0\r\n\r\n", b"ff\r\n", b"X: y\r\n"]
    + [bytes((byte,)) for byte in b"1;\r\n "]
)
chunked_bytes = st.lists(chunk_parts, max_size=8).map(b"".join) | st.binary(max_size=60)


def decoded(pieces: list[bytes]) -> tuple[object, ...]:
    """Body, end, rest and trailers, or that it was refused; data before a refusal does not count, for it depends on the split."""
    decoder = ChunkedDecoder()
    try:
        body = b"".join(piece for fed in pieces for piece in decoder.feed(fed))
    except RequestRefused:
        return ("refused",)
    return body, decoder.done, decoder.rest, decoder.trailers


@given(chunked_bytes, st.lists(st.integers(0, 200), max_size=6))
def test_chunked_is_the_same_for_every_split(raw: bytes, cuts: list[int]) -> None:
    whole = decoded([raw])
    bounds = [0, *sorted(min(cut, len(raw)) for cut in cuts), len(raw)]
    assert decoded([raw[a:b] for a, b in pairwise(bounds)]) == whole
    assert decoded([raw[at : at + 1] for at in range(len(raw))]) == whole


@given(st.lists(st.binary(max_size=40), max_size=5), st.binary(max_size=10))
def test_chunks_written_are_read_back(pieces: list[bytes], rest: bytes) -> None:
    raw = b"".join(map(encode_chunk, pieces)) + LAST_CHUNK + rest
    assert decoded([raw]) == (b"".join(pieces), True, rest, Fields())


latin = st.text(st.characters(max_codepoint=255), max_size=40)
lists = st.lists(
    st.sampled_from(['"', ",", "W/", "a", " ", "*", "=", ";q=0.5", "bytes=", "0-1", "-", "gzip", "(", ")", "1.1 edge"])
).map("".join)


@given(latin | lists, st.integers(0, 20))
def test_field_values_of_any_kind_are_read_without_an_error(value: str, length: int) -> None:
    assert parse_etag_list(value) is not None
    ranges = parse_range(value, length)
    assert all(0 <= first <= last < length for first, last in ranges or ())
    assert select_coding(value, ("br", "gzip")) in {"br", "gzip", "identity", None}
    via_loops(Fields([("Via", value)]), "edge")
    for parse in (parse_dictionary, parse_list, parse_item):
        parse((value, value))
    parse_http_date(value)


@given(st.integers(0, 253_402_300_799))
def test_dates_are_read_back(seconds: int) -> None:
    assert parse_http_date(format_http_date(seconds)) == seconds
