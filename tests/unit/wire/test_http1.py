"""Request heads by RFC section: what is accepted and as what, what is refused and with which status."""

import pytest

from edgeproxy.errors import RequestRefused
from edgeproxy.wire.http1 import (
    Limits,
    oversized,
    parse_request_head,
)
from edgeproxy.wire.messages import CHUNKED, Request

LIMITS = Limits()


def head(line: str, *fields: str) -> bytes:
    return "".join(f"{text}\r\n" for text in (line, *fields, "")).encode("latin-1")


def get(*fields: str) -> bytes:
    return head("GET / HTTP/1.1", "Host: a.test", *fields)


def post(*fields: str) -> bytes:
    return head("POST / HTTP/1.1", "Host: a.test", *fields)


def parse(raw: bytes) -> Request:
    return parse_request_head(raw, LIMITS)


REFUSED = {
    # RFC 9112 section 2.2: line ends
    "bare LF after the request line": (b"GET / HTTP/1.1\nHost: a.test\r\n\r\n", 400, "bare LF"),
    "bare LF after a field": (b"GET / HTTP/1.1\r\nHost: a.test\nX: y\r\n\r\n", 400, "bare LF"),
    "bare LF only": (b"GET / HTTP/1.1\nHost: a.test\n\n", 400, "bare LF"),
    "bare LF at the end": (b"GET / HTTP/1.1\r\nHost: a.test\r\n\n", 400, "bare LF"),
    "bare CR in a value": (get("X: a\rb"), 400, "bare CR"),
    "bare CR after the request line": (b"GET / HTTP/1.1\rHost: a.test\r\n\r\n", 400, "bare CR"),
    "two CR before LF": (b"GET / HTTP/1.1\r\r\nHost: a.test\r\n\r\n", 400, "bare CR"),
    "whitespace line before the first field": (head("GET / HTTP/1.1", " ", "Host: a.test"), 400, "begins with whitespace"),
    "whitespace before the first field": (head("GET / HTTP/1.1", " Host: a.test"), 400, "begins with whitespace"),
    "no empty line at the end": (b"GET / HTTP/1.1\r\nHost: a.test\r\n", 400, "does not end"),
    "bytes after the empty line": (get() + b"x", 400, "does not end"),
    "a second head after the first": (get() + get(), 400, "empty line inside"),
    "nothing": (b"", 400, "does not end"),
    "empty line first": (b"\r\n" + get(), 400, "empty"),
    # RFC 9112 section 2.3 and RFC 9110 section 2.5: version
    "no version": (head("GET /", "Host: a.test"), 400, "version"),
    "no minor version": (head("GET / HTTP/1", "Host: a.test"), 400, "version"),
    "leading zeros": (head("GET / HTTP/01.01", "Host: a.test"), 400, "version"),
    "two-digit minor version": (head("GET / HTTP/1.10", "Host: a.test"), 400, "version"),
    "lower-case name": (head("GET / http/1.1", "Host: a.test"), 400, "version"),
    "space inside": (head("GET / HTTP/ 1.1", "Host: a.test"), 400, "version"),
    "space after": (head("GET / HTTP/1.1 ", "Host: a.test"), 400, "version"),
    "other protocol": (head("GET / ICE/1.0", "Host: a.test"), 400, "version"),
    "HTTP/2.0": (head("GET / HTTP/2.0", "Host: a.test"), 505, "version"),
    "HTTP/9.9": (head("GET / HTTP/9.9", "Host: a.test"), 505, "version"),
    "HTTP/0.9": (head("GET / HTTP/0.9", "Host: a.test"), 505, "version"),
    # RFC 9112 section 3: request line
    "two spaces": (head("GET  / HTTP/1.1", "Host: a.test"), 400, "more than one space"),
    "tab": (head("GET\t/ HTTP/1.1", "Host: a.test"), 400, "method"),
    "no target": (head("GET HTTP/1.1", "Host: a.test"), 400, "without a target"),
    "space before the method": (head(" GET / HTTP/1.1", "Host: a.test"), 400, "whitespace before"),
    "bad method character": (head("G(T / HTTP/1.1", "Host: a.test"), 400, "method"),
    "endless method": (head("A" * 33 + " / HTTP/1.1", "Host: a.test"), 501, "method"),
    # RFC 9112 section 3.2: target
    "space in the target": (head("GET /pa th HTTP/1.1", "Host: a.test"), 400, "target"),
    "fragment": (head("GET /a#b HTTP/1.1", "Host: a.test"), 400, "target"),
    "control character in the target": (head("GET /a\x01b HTTP/1.1", "Host: a.test"), 400, "target"),
    "DEL in the target": (head("GET /a\x7fb HTTP/1.1", "Host: a.test"), 400, "target"),
    "non-ASCII target": (head("GET /\xe9 HTTP/1.1", "Host: a.test"), 400, "target"),
    "relative target": (head("GET a HTTP/1.1", "Host: a.test"), 400, "form"),
    "asterisk with GET": (head("GET * HTTP/1.1", "Host: a.test"), 400, "asterisk"),
    "authority form with GET": (head("GET a.test:80 HTTP/1.1", "Host: a.test"), 400, "form"),
    "CONNECT": (head("CONNECT a.test:443 HTTP/1.1", "Host: a.test:443"), 501, "not implemented"),
    "absolute target of another scheme": (head("GET ftp://a.test/ HTTP/1.1", "Host: a.test"), 400, "scheme"),
    "absolute https target on plain HTTP": (head("GET https://a.test/ HTTP/1.1", "Host: a.test"), 421, "scheme"),
    "absolute target that Host contradicts": (head("GET http://b.test/ HTTP/1.1", "Host: a.test"), 400, "disagrees"),
    "absolute target with another port": (head("GET http://a.test:81/ HTTP/1.1", "Host: a.test"), 400, "disagrees"),
    "absolute target with user information": (head("GET http://u@a.test/ HTTP/1.1", "Host: a.test"), 400, "host"),
    "absolute target without an authority": (head("GET http:///x HTTP/1.1", "Host: a.test"), 400, "host"),
    "absolute target, HTTP/1.1, no Host": (head("GET http://a.test/ HTTP/1.1"), 400, "missing"),
    # RFC 9112 section 3.2, RFC 9110 section 7.2: Host
    "no host": (head("GET / HTTP/1.1"), 400, "missing"),
    "two hosts": (get("Host: b.test"), 400, "more than one host"),
    "the same host twice": (get("host: a.test"), 400, "more than one host"),
    "empty host": (head("GET / HTTP/1.1", "Host:"), 400, "host"),
    "host with user information": (head("GET / HTTP/1.1", "Host: u@a.test"), 400, "host"),
    "host with a path": (head("GET / HTTP/1.1", "Host: a.test/x"), 400, "host"),
    "host with a bad port": (head("GET / HTTP/1.1", "Host: a.test:8o"), 400, "host"),
    "host list": (head("GET / HTTP/1.1", "Host: a.test, b.test"), 400, "host"),
    "malformed host in HTTP/1.0": (head("GET / HTTP/1.0", "Host: a b"), 400, "host"),
    # RFC 9112 section 5: field lines
    "folded line": (get("X: a", " b"), 400, "begins with whitespace"),
    "line folded with a tab": (get("X: a", "\tb"), 400, "begins with whitespace"),
    "space before the colon": (get("X : a"), 400, "whitespace before the colon"),
    "tab before the colon": (get("X\t: a"), 400, "whitespace before the colon"),
    "empty name": (get(": a"), 400, "name is empty"),
    "no colon": (get("Nothing"), 400, "without a colon"),
    "bracket in a name": (get("Bad[Name: a"), 400, "field name"),
    "tab in a name": (get("Content\tLength: 9"), 400, "field name"),
    "non-ASCII name": (get("X\xe9: a"), 400, "field name"),
    "NUL in a name": (get("X\0Y: a"), 400, "field name"),
    "NUL in a value": (get("X: a\0b"), 400, "control character"),
    "control characters in a value": (get("Cookie: a=\x01\x02"), 400, "control character"),
    "vertical tab in a value": (get("X: a\x0bb"), 400, "control character"),
    "DEL in a value": (get("X: a\x7f"), 400, "control character"),
    # RFC 9112 section 6.3: Content-Length
    "both lengths": (post("Content-Length: 3", "Transfer-Encoding: chunked"), 400, "both"),
    "both lengths, other order": (post("TRANSFER-ENCODING: chunked", "Content-Length: 0"), 400, "both"),
    "two lengths": (post("Content-Length: 3", "Content-Length: 4"), 400, "more than one content-length"),
    "the same length twice": (post("Content-Length: 3", "content-length: 3"), 400, "more than one content-length"),
    "length list": (post("Content-Length: 3, 3"), 400, "decimal"),
    "length with letters": (post("Content-Length: 3a"), 400, "decimal"),
    "plus sign": (post("Content-Length: +3"), 400, "decimal"),
    "minus sign": (post("Content-Length: -3"), 400, "decimal"),
    "hexadecimal length": (post("Content-Length: 0x3"), 400, "decimal"),
    "length with a point": (post("Content-Length: 3.0"), 400, "decimal"),
    "length with an underscore": (post("Content-Length: 1_0"), 400, "decimal"),
    "length with leading zeros": (post("Content-Length: 003"), 400, "decimal"),
    "superscript digit": (post("Content-Length: \xb3"), 400, "decimal"),
    "empty length": (post("Content-Length:"), 400, "decimal"),
    "length of 2^63": (post("Content-Length: 9223372036854775808"), 400, "range"),
    "length of many digits": (post("Content-Length: " + "9" * 5000), 400, "decimal"),
    "space inside a length": (post("Content-Length: 1 0"), 400, "decimal"),
    "name that imitates a length": (post("Content-Length: 3", "Content_Length: 9"), 400, "imitates"),
    "name that imitates a coding": (post("Transfer_Encoding: chunked"), 400, "imitates"),
    "TRACE with a body (RFC 9110 section 9.3.8)": (head("TRACE / HTTP/1.1", "Host: a", "Content-Length: 3"), 400, "TRACE"),
    # RFC 9112 sections 6.1 and 7: Transfer-Encoding
    "coding in HTTP/1.0": (head("POST / HTTP/1.0", "Host: a", "Transfer-Encoding: chunked"), 400, "HTTP/1.0"),
    "unknown coding": (post("Transfer-Encoding: gzip"), 501, "not implemented"),
    "list of unknown codings": (post("Transfer-Encoding: gzip, br"), 501, "not implemented"),
    "chunked not last": (post("Transfer-Encoding: chunked, gzip"), 400, "exactly chunked"),
    "coding before chunked": (post("Transfer-Encoding: gzip, chunked"), 400, "exactly chunked"),
    "chunked twice": (post("Transfer-Encoding: chunked, chunked"), 400, "exactly chunked"),
    "two coding lines": (post("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), 400, "more than one"),
    "two coding lines that differ": (post("Transfer-Encoding: chunked", "Transfer-Encoding: x"), 400, "more than one"),
    "identity": (post("Transfer-Encoding: identity"), 400, "exactly chunked"),
    "chunked, identity": (post("Transfer-Encoding: chunked, identity"), 400, "exactly chunked"),
    "quoted coding": (post('Transfer-Encoding: "chunked"'), 400, "exactly chunked"),
    "coding behind a vertical tab": (post("Transfer-Encoding: \x0bchunked"), 400, "control character"),
    "coding with a parameter": (post("Transfer-Encoding: chunked;q=1"), 400, "exactly chunked"),
    "coding with a comma": (post("Transfer-Encoding: chunked,"), 400, "exactly chunked"),
    "coding after a comma": (post("Transfer-Encoding: ,chunked"), 400, "exactly chunked"),
    "coding with a tab inside": (post("Transfer-Encoding: chun\tked"), 400, "exactly chunked"),
    "coding with a tab after it": (post("Transfer-Encoding: chunked\t"), 400, "second parser"),
    "empty coding": (post("Transfer-Encoding:"), 400, "exactly chunked"),
    "coding with a prefix": (post("Transfer-Encoding: xchunked"), 501, "not implemented"),
    # RFC 9110 section 10.1.1: Expect
    "unknown expectation": (get("Expect: 200-ok"), 417, "expectation"),
    "one unknown expectation of two": (post("Content-Length: 1", "Expect: 100-continue, x"), 417, "expectation"),
}


@pytest.mark.parametrize(("raw", "status", "text"), REFUSED.values(), ids=REFUSED)
def test_refused_with_status_and_cause(raw: bytes, status: int, text: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        parse(raw)
    assert (caught.value.status, text in caught.value.text) == (status, True), caught.value


TARGETS = {
    # target, Host: what the request is for (RFC 9112 section 3.2)
    "origin form": ("/a?b=c", "a.test", ("/a?b=c", "a.test", "a.test")),
    "origin form, port": ("/", "A.test:8080", ("/", "a.test:8080", "a.test")),
    "origin form with two slashes": ("//b.test/x", "a.test", ("//b.test/x", "a.test", "a.test")),
    "full domain name": ("/", "a.test.", ("/", "a.test", "a.test")),
    "IPv6": ("/", "[0:0::1]:81", ("/", "[::1]:81", "[::1]")),
    "unescaped characters that browsers send": ("/{}|^[]`\"<>\\'", "a.test", ("/{}|^[]`\"<>\\'", "a.test", "a.test")),
    "percent signs of all kinds": ("/%zz%00%2f", "a.test", ("/%zz%00%2f", "a.test", "a.test")),
    "absolute form": ("http://a.test/x?y", "a.test", ("/x?y", "a.test", "a.test")),
    "absolute form, no path": ("http://a.test", "a.test", ("/", "a.test", "a.test")),
    "absolute form, query only": ("http://a.test?q=/", "a.test", ("/?q=/", "a.test", "a.test")),
    "absolute form, upper case": ("HTTP://A.TEST/X", "a.test", ("/X", "a.test", "a.test")),
    "absolute form, default port written once": ("http://a.test:80/", "a.test", ("/", "a.test:80", "a.test")),
}


@pytest.mark.parametrize(("target", "host", "expected"), TARGETS.values(), ids=TARGETS)
def test_target_and_authority(target: str, host: str, expected: tuple[str, str, str]) -> None:
    request = parse(head(f"GET {target} HTTP/1.1", f"Host: {host}"))
    assert (request.target, request.authority, request.host) == expected
    assert request.url == f"http://{expected[1]}{expected[0]}"


def test_asterisk_form_of_options() -> None:
    assert parse(head("OPTIONS * HTTP/1.1", "Host: a.test")).target == "*"
    assert parse(head("OPTIONS http://a.test HTTP/1.1", "Host: a.test")).target == "*"
    assert parse(head("OPTIONS http://a.test/ HTTP/1.1", "Host: a.test")).target == "/"


def test_http_1_0_may_do_without_host() -> None:
    bare = parse(head("GET / HTTP/1.0"))
    assert (bare.authority, bare.host, bare.version, bare.keep_alive) == ("", "", (1, 0), False)
    assert parse(head("GET http://a.test:8/ HTTP/1.0")).authority == "a.test:8"


def test_scheme_is_that_of_the_connection() -> None:
    request = parse_request_head(head("GET https://a.test/ HTTP/1.1", "Host: a.test:443"), LIMITS, scheme="https")
    assert (request.scheme, request.url) == ("https", "https://a.test/")
    with pytest.raises(RequestRefused) as caught:
        parse_request_head(head("GET http://a.test/ HTTP/1.1", "Host: a.test"), LIMITS, scheme="https")
    assert caught.value.status == 421


@pytest.mark.parametrize("minor", ["2", "9"])
def test_higher_minor_version_is_served_as_1_1(minor: str) -> None:
    request = parse(head(f"POST / HTTP/1.{minor}", "Host: a.test", "Content-Length: 4"))
    assert (request.version, request.keep_alive, request.body_length) == ((1, 1), True, 4)


@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "FOOBAR", "get", "PRI"]
)
def test_any_method_that_is_a_token(method: str) -> None:
    assert parse(head(f"{method} / HTTP/1.1", "Host: a.test")).method == method


def test_unknown_method_is_framed_like_any_other() -> None:
    assert parse(head("FOOBAR /x HTTP/1.1", "Host: a.test", "Content-Length: 7")).body_length == 7
    assert parse(head("FOOBAR /x HTTP/1.0", "Content-Length: 7")).body_length == 7
    with pytest.raises(RequestRefused):
        parse(head("FOOBAR /x HTTP/1.1", "Host: a.test", "Content-Length: 7", "Transfer-Encoding: chunked"))


def test_fields_keep_order_names_and_bytes() -> None:
    request = parse(get("X-a:1", "x-A:\t two words \t", "Empty:", "Latin: caf\xe9\ta", "X_y: 1"))
    assert request.fields.lines == (
        ("Host", "a.test"),
        ("X-a", "1"),
        ("x-A", "two words"),
        ("Empty", ""),
        ("Latin", "caf\xe9\ta"),
        ("X_y", "1"),
    )


LENGTHS = {
    "none": ((), 0),
    "zero": (("Content-Length: 0",), 0),
    "plain": (("Content-Length: 11",), 11),
    "whitespace around": (("Content-Length: \t11 ",), 11),
    "2^63 - 1": (("Content-Length: 9223372036854775807",), 2**63 - 1),
    "chunked": (("Transfer-Encoding: chunked",), CHUNKED),
    "chunked in any case": (("transfer-encoding: Chunked",), CHUNKED),
    "chunked with whitespace around": (("Transfer-Encoding: \t chunked ",), CHUNKED),
}


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize(("fields", "length"), LENGTHS.values(), ids=LENGTHS)
def test_body_length(method: str, fields: tuple[str, ...], length: int) -> None:
    assert parse(head(f"{method} / HTTP/1.1", "Host: a.test", *fields)).body_length == length


KEEP_ALIVE = {
    # RFC 9112 section 9.3
    "1.1": ("1.1", (), True),
    "1.1 close": ("1.1", ("Connection: close",), False),
    "1.1 close in a list": ("1.1", ("Connection: x, CLOSE",), False),
    "1.1 close on a second line": ("1.1", ("Connection: x", "Connection: close"), False),
    "1.1 keep-alive": ("1.1", ("Connection: keep-alive",), True),
    "1.1 both": ("1.1", ("Connection: keep-alive, close",), False),
    "1.0": ("1.0", (), False),
    "1.0 keep-alive": ("1.0", ("Connection: Keep-Alive",), True),
    "1.0 close": ("1.0", ("Connection: close, keep-alive",), False),
    "1.0 another option": ("1.0", ("Connection: x",), False),
}


@pytest.mark.parametrize(("version", "fields", "expected"), KEEP_ALIVE.values(), ids=KEEP_ALIVE)
def test_keep_alive(version: str, fields: tuple[str, ...], expected: bool) -> None:
    assert parse(head(f"GET / HTTP/{version}", "Host: a.test", *fields)).keep_alive is expected


EXPECT = {
    # RFC 9110 section 10.1.1
    "with a length": ("1.1", ("Content-Length: 5", "Expect: 100-continue"), True),
    "in any case": ("1.1", ("Content-Length: 5", "Expect: 100-Continue"), True),
    "chunked": ("1.1", ("Transfer-Encoding: chunked", "Expect: 100-continue"), True),
    "without a body": ("1.1", ("Expect: 100-continue",), False),
    "HTTP/1.0 ignores it": ("1.0", ("Content-Length: 5", "Expect: 100-continue"), False),
    "empty": ("1.1", ("Content-Length: 5", "Expect:"), False),
    "empty members only": ("1.1", ("Content-Length: 5", "Expect: ,"), False),
}


@pytest.mark.parametrize(("version", "fields", "expected"), EXPECT.values(), ids=EXPECT)
def test_expect_continue(version: str, fields: tuple[str, ...], expected: bool) -> None:
    try:
        request = parse(head(f"POST / HTTP/{version}", "Host: a.test", *fields))
    except RequestRefused as refused:
        pytest.fail(str(refused))
    assert request.expects_continue is expected


ASKED = ("Connection: Upgrade", "Upgrade: websocket")
UPGRADE = {
    # RFC 9110 section 7.8
    "websocket": ("GET / HTTP/1.1", ASKED, "websocket"),
    "among other options": ("GET / HTTP/1.1", ("Connection: keep-alive, Upgrade", "Upgrade: websocket"), "websocket"),
    "several protocols": ("GET / HTTP/1.1", ("Connection: upgrade", "Upgrade: a/1, b"), "a/1, b"),
    "not named by Connection": ("GET / HTTP/1.1", ("Upgrade: websocket",), None),
    "no Upgrade": ("GET / HTTP/1.1", ("Connection: upgrade",), None),
    "POST": ("POST / HTTP/1.1", ASKED, None),
    "HTTP/1.0": ("GET / HTTP/1.0", ASKED, None),
    "with a body": ("GET / HTTP/1.1", (*ASKED, "Content-Length: 3"), None),
    "with a chunked body": ("GET / HTTP/1.1", (*ASKED, "Transfer-Encoding: chunked"), None),
    "with an empty body": ("GET / HTTP/1.1", (*ASKED, "Content-Length: 0"), "websocket"),
    "h2c would carry requests past the edge": ("GET / HTTP/1.1", ("Connection: upgrade", "Upgrade: h2c"), None),
    "h2c hidden in a list": ("GET / HTTP/1.1", ("Connection: upgrade", "Upgrade: websocket, H2C"), None),
    "TLS": ("GET / HTTP/1.1", ("Connection: upgrade", "Upgrade: TLS/1.0"), None),
    "malformed": ("GET / HTTP/1.1", ("Connection: upgrade", "Upgrade: web socket"), None),
}


@pytest.mark.parametrize(("line", "fields", "expected"), UPGRADE.values(), ids=UPGRADE)
def test_upgrade(line: str, fields: tuple[str, ...], expected: str | None) -> None:
    assert parse(head(line, "Host: a.test", *fields)).upgrade == expected


def test_fields_that_connection_names_are_gone_before_the_cache_can_see_them() -> None:
    """RFC 9110 section 7.6.1: the origin will not get them, so nothing may be chosen by them."""
    request = parse(get("Connection: close, Accept-Language, host, content-length", "Accept-Language: de", "Content-Length: 3"))
    assert "accept-language" not in request.fields
    assert (request.fields.get("host"), request.body_length) == ("a.test", 3)


def test_limits() -> None:
    small = Limits(head_bytes=200, field_count=3, target_bytes=50)
    cases = {
        "target": (head(f"GET /{'a' * 50} HTTP/1.1", "Host: a"), 414),
        "target, head too large as well": (head(f"GET /{'a' * 300} HTTP/1.1", "Host: a"), 414),
        "target that is also malformed": (head(f"GET /{'a ' * 60} HTTP/1.1", "Host: a"), 414),
        "fields": (head("GET / HTTP/1.1", "Host: a", "A: 1", "B: 2", "C: 3"), 431),
        "head": (head("GET / HTTP/1.1", "Host: a", "A: " + "b" * 200), 431),
    }
    for name, (raw, status) in cases.items():
        with pytest.raises(RequestRefused) as caught:
            parse_request_head(raw, small)
        assert caught.value.status == status, name
    assert len(parse_request_head(head(f"GET /{'a' * 49} HTTP/1.1", "Host: a", "A: 1", "B: 2"), small).target) == 50


def test_request_line_of_8000_octets_is_accepted() -> None:
    """RFC 9112 section 3 asks for at least as much."""
    target = "/" + "a" * (8000 - len("GET / HTTP/1.1"))
    assert parse(head(f"GET {target} HTTP/1.1", "Host: a")).target == target


def test_oversized_names_the_culprit_of_an_unfinished_head() -> None:
    assert oversized(b"GET /" + b"a" * 40000, LIMITS).status == 414
    assert oversized(b"GET / HTTP/1.1\r\nX: " + b"a" * 40000, LIMITS).status == 431


def test_every_prefix_and_every_trailing_byte_is_refused() -> None:
    raw = head("POST /a HTTP/1.1", "Host: a.test", "Content-Length: 2")
    for end in range(len(raw)):
        with pytest.raises(RequestRefused):
            parse(raw[:end])
    for byte in range(256):
        with pytest.raises(RequestRefused):
            parse(raw + bytes((byte,)))


def test_second_parser_has_a_veto(monkeypatch: pytest.MonkeyPatch) -> None:
    """What llhttp would read differently is refused, whatever our own grammar says."""
    from edgeproxy.wire import http1

    good = post("Content-Length: 5", "X: y")
    for line in ("X: z", "Y: y", "X: y\r\nZ: 1"):
        with monkeypatch.context() as patch:
            patch.setattr(
                http1,
                "split_field_lines",
                lambda _, line=line: [
                    ("Host", "a.test"),
                    ("Content-Length", "5"),
                    *(tuple(part.split(": ")) for part in line.split("\r\n")),
                ],
            )
            with pytest.raises(RequestRefused, match="different fields"):
                parse(good)
    with monkeypatch.context() as patch:
        patch.setattr(http1.framing, "body_length", lambda *_: 0)
        with pytest.raises(RequestRefused, match="different target or length"):
            parse(good)
    with monkeypatch.context() as patch:
        patch.setattr(http1.framing, "body_length", lambda *_: CHUNKED)
        with pytest.raises(RequestRefused, match="second parser"):
            parse(post("Transfer-Encoding: gzip"))
