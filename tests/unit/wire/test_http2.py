"""Requests out of field lists (RFC 9113 section 8): what they mean. What is malformed is in tests/support/http2_vectors.py."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproxy.errors import RequestRefused, StreamMalformed
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.http1 import Limits, parse_request_head
from edgeproxy.wire.http2 import Line, parse_request, parse_trailers, response_lines, websocket_accept
from edgeproxy.wire.messages import CHUNKED, Request

PSEUDO: tuple[Line, ...] = ((b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"a.test"), (b":path", b"/p?q"))
POST: tuple[Line, ...] = ((b":method", b"POST"), *PSEUDO[1:])


def parsed(*lines: Line, ended: bool = True, limits: Limits | None = None, key: str = "") -> Request:
    return parse_request(lines, limits or Limits(), ended=ended, scheme="https", websocket_key=key)


def test_a_request_is_the_same_value_as_over_http_1() -> None:
    ours = parsed(*PSEUDO, (b"accept", b"*/*"), (b"x-y", b"\xe9"))
    theirs = parse_request_head(
        b"GET /p?q HTTP/1.1\r\nhost: a.test\r\naccept: */*\r\nx-y: \xe9\r\n\r\n", Limits(), scheme="https"
    )
    for name in ("method", "target", "authority", "host", "fields", "body_length", "keep_alive", "upgrade", "scheme", "url"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert ours.version == (2, 0)


@pytest.mark.parametrize(
    ("authority", "more", "expected"),
    [
        (b"A.Test.", (), ("a.test", "a.test")),
        (b"a.test:8443", (), ("a.test:8443", "a.test")),
        (b"[2001:DB8::1]:8443", (), ("[2001:db8::1]:8443", "[2001:db8::1]")),
        (b"a.test", ((b"host", b"A.TEST:443"),), ("a.test", "a.test")),
    ],
)
def test_the_authority_is_that_of_the_pseudo_field(authority: bytes, more: tuple[Line, ...], expected: tuple[str, str]) -> None:
    request = parsed(PSEUDO[0], PSEUDO[1], (b":authority", authority), PSEUDO[3], *more)
    assert (request.authority, request.host) == expected
    assert request.fields.all("host") == (expected[0],)


def test_host_stands_in_for_an_authority_that_is_missing() -> None:
    request = parsed(PSEUDO[0], PSEUDO[1], PSEUDO[3], (b"x", b"1"), (b"host", b"a.test"))
    assert (request.authority, request.fields.lines) == ("a.test", (("host", "a.test"), ("x", "1")))


@pytest.mark.parametrize(
    ("crumbs", "joined"),
    [
        ([b"a=b"], ["a=b"]),
        ([b"a=b", b"c=d", b"e=f"], ["a=b; c=d; e=f"]),
        ([b"", b"a=b", b""], ["a=b"]),
        ([b""], []),
    ],
)
def test_cookies_are_joined_where_the_first_one_stood(crumbs: list[bytes], joined: list[str]) -> None:
    request = parsed(*PSEUDO, *((b"cookie", crumb) for crumb in crumbs), (b"x", b"1"))
    assert list(request.fields.all("cookie")) == joined
    assert request.fields.lines[-1] == ("x", "1")


def test_a_hundred_crumbs_are_one_field() -> None:
    request = parsed(*PSEUDO, *((b"cookie", b"a=%d" % number) for number in range(200)))
    assert len(request.fields) == 2


@pytest.mark.parametrize(
    ("lines", "ended", "length"),
    [
        ((), True, 0),
        ((), False, CHUNKED),
        (((b"content-length", b"0"),), True, 0),
        (((b"content-length", b"0"),), False, 0),
        (((b"content-length", b"5"),), False, 5),
    ],
)
def test_the_length_of_the_body(lines: tuple[Line, ...], ended: bool, length: int) -> None:
    assert parsed(*POST, *lines, ended=ended).body_length == length


def test_an_expectation_without_a_body_is_none() -> None:
    assert parsed(*POST, (b"expect", b"100-continue"), ended=False).expects_continue
    assert not parsed(*POST, (b"expect", b"100-continue")).expects_continue


@pytest.mark.parametrize("value", [b"trailers", b"Trailers"])
def test_te_trailers_stays(value: bytes) -> None:
    assert parsed(*PSEUDO, (b"te", value)).fields.get("te") == value.decode()


def test_options_of_the_server_itself() -> None:
    assert parsed((b":method", b"OPTIONS"), *PSEUDO[1:3], (b":path", b"*")).target == "*"


@pytest.mark.parametrize(
    ("limits", "status"), [(Limits(target_bytes=3), 414), (Limits(head_bytes=40), 431), (Limits(field_count=0), 431)]
)
def test_limits_are_those_of_http_1(limits: Limits, status: int) -> None:
    with pytest.raises(RequestRefused) as refused:
        parsed(*PSEUDO, (b"x", b"y"), limits=limits)
    assert refused.value.status == status


def test_a_websocket_is_an_upgrade() -> None:
    lines = ((b":method", b"CONNECT"), (b":protocol", b"websocket"), *PSEUDO[1:], (b"sec-websocket-key", b"theirs"))
    request = parsed(*lines, ended=False, key="ours")
    assert (request.method, request.upgrade, request.body_length, request.target) == ("GET", "websocket", 0, "/p?q")
    assert request.fields.all("sec-websocket-key") == ("ours",)


def test_the_accept_value_of_rfc_6455() -> None:
    assert websocket_accept("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_trailers() -> None:
    assert parse_trailers([(b"x-sum", b"1")]) == Fields((("x-sum", "1"),))
    with pytest.raises(StreamMalformed):
        parse_trailers([(b"x-%d" % number, b"1") for number in range(33)])
    with pytest.raises(StreamMalformed):
        parse_trailers([(b"x", b"1" * 9000)])


def test_a_response_loses_what_http_2_has_no_place_for() -> None:
    lines = [("Connection", "close"), ("Keep-Alive", "1"), ("Upgrade", "x"), ("Transfer-Encoding", "chunked"), ("X", "1")]
    assert response_lines(lines) == [("X", "1")]


BYTES = st.binary(max_size=30)
ANY_NAME = st.one_of(
    BYTES, st.sampled_from([b":method", b":path", b":scheme", b":authority", b"host", b"content-length", b"te", b"cookie"])
)
ANY_VALUE = st.one_of(BYTES, st.sampled_from([b"GET", b"https", b"a.test", b"/", b"5", b"trailers"]))


@given(st.lists(st.tuples(ANY_NAME, ANY_VALUE), max_size=8), st.booleans(), st.booleans())
def test_whatever_comes_is_refused_or_one_request_that_http_1_reads_the_same(
    lines: list[Line], with_pseudo: bool, ended: bool
) -> None:
    try:
        request = parsed(*(PSEUDO if with_pseudo else ()), *lines, ended=ended)
    except (RequestRefused, StreamMalformed):
        return
    if request.upgrade is not None:
        return
    head = f"{request.method} {request.target} HTTP/1.1\r\n".encode() + request.fields.encode()
    if request.body_length == CHUNKED:
        head += b"Transfer-Encoding: chunked\r\n"
    again = parse_request_head(head + b"\r\n", Limits(), scheme="https")
    assert (again.method, again.target, again.authority, again.body_length) == (
        request.method,
        request.target,
        request.authority,
        request.body_length,
    )
    if request.body_length != CHUNKED:
        assert again.fields == request.fields
