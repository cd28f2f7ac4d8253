"""What goes on to the next hop: RFC 9110 section 7.6 and RFC 7239."""

import pytest

from edgeproxy.wire.fields import Fields
from edgeproxy.wire.forwarding import end_to_end, forwarded_request_fields, max_forwards, via_loops, with_via
from edgeproxy.wire.messages import Request


def request(
    *lines: tuple[str, str], method: str = "GET", version: tuple[int, int] = (1, 1), authority: str = "a.test"
) -> Request:
    return Request(method, "/", authority, authority, version, Fields(lines))


def forwarded(
    *lines: tuple[str, str], peer: str = "192.0.2.1", trusted: bool = False, method: str = "GET", authority: str = "a.test"
) -> dict[str, str]:
    asked = request(*lines, method=method, authority=authority)
    fields = forwarded_request_fields(asked, peer=peer, trusted=trusted, via_name="edge")
    assert len(fields.names()) == len(fields), "no field twice"
    return {name.lower(): value for name, value in fields}


@pytest.mark.parametrize(
    "name", ["Connection", "Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Transfer-Encoding", "Upgrade", "HTTP2-Settings"]
)
def test_hop_by_hop_fields_stay_here(name: str) -> None:
    """RFC 9110 section 7.6.1."""
    assert end_to_end(Fields([(name, "x"), ("A", "b")])) == Fields([("A", "b")])


def test_what_connection_names_stays_here() -> None:
    fields = Fields([("X-One", "1"), ("Connection", "close, x-one"), ("Keep", "2"), ("connection", "X-Two"), ("x-two", "3")])
    assert end_to_end(fields) == Fields([("Keep", "2")])


@pytest.mark.parametrize("name", ["Proxy-Authenticate", "Proxy-Authorization", "Cache-Control", "Set-Cookie", "Via"])
def test_end_to_end_fields_pass(name: str) -> None:
    assert end_to_end(Fields([(name, "x")])) == Fields([(name, "x")])


@pytest.mark.parametrize("name", ["Host", "Content-Length", "Transfer-Encoding", "Expect", "Connection"])
def test_framing_is_never_copied(name: str) -> None:
    assert name.lower() not in forwarded((name, "x"))


def test_own_fields_for_an_untrusted_peer() -> None:
    fields = forwarded(
        ("Accept", "*/*"),
        ("X-Forwarded-For", "10.0.0.1"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "evil.test"),
        ("X-Forwarded-Port", "1"),
        ("X-Forwarded-Prefix", "/evil"),
        ("X_Forwarded_For", "10.0.0.1"),
        ("X-Forwarded_Proto", "https"),
        ("X-Real-IP", "10.0.0.1"),
        ("Forwarded", "for=10.0.0.1"),
        ("Surrogate-Capability", 'me="ESI/1.0"'),
        ("Surrogate_Capability", 'me="ESI/1.0"'),
    )
    assert fields == {
        "accept": "*/*",
        "x-forwarded-for": "192.0.2.1",
        "x-forwarded-proto": "http",
        "x-forwarded-host": "a.test",
        "forwarded": "for=192.0.2.1;host=a.test;proto=http",
        "via": "1.1 edge",
    }


def test_trusted_peer_is_added_to_what_it_says() -> None:
    fields = forwarded(
        ("X-Forwarded-For", "10.0.0.1"),
        ("x-forwarded-for", "10.0.0.2"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "outer.test"),
        ("X-Forwarded-Port", "443"),
        ("X_Forwarded_For", "10.9.9.9"),
        ("Forwarded", "for=10.0.0.1"),
        ("Via", "1.0 first"),
        ("Surrogate-Capability", 'outer="ESI/1.0"'),
        trusted=True,
    )
    assert fields == {
        "surrogate-capability": 'outer="ESI/1.0"',
        "x-forwarded-port": "443",
        "x-forwarded-for": "10.0.0.1, 10.0.0.2, 192.0.2.1",
        "x-forwarded-proto": "https",
        "x-forwarded-host": "outer.test",
        "forwarded": "for=10.0.0.1, for=192.0.2.1;host=a.test;proto=http",
        "via": "1.0 first, 1.1 edge",
    }


def test_trusted_peer_that_says_nothing() -> None:
    fields = forwarded(trusted=True)
    assert (fields["x-forwarded-for"], fields["x-forwarded-proto"]) == ("192.0.2.1", "http")


@pytest.mark.parametrize(
    ("peer", "authority", "element"),
    [  # RFC 7239 section 4: what is no token is quoted
        ("2001:db8::1", "a.test:81", 'for="[2001:db8::1]";host="a.test:81";proto=http'),
        ("192.0.2.1", "[::1]", 'for=192.0.2.1;host="[::1]";proto=http'),
        ("", "", "for=unknown;proto=http"),
    ],
)
def test_forwarded_element(peer: str, authority: str, element: str) -> None:
    fields = forwarded(peer=peer, authority=authority)
    assert fields["forwarded"] == element
    assert fields["x-forwarded-for"] == (peer or "unknown")
    assert ("x-forwarded-host" in fields) is bool(authority)


def test_connection_cannot_take_away_what_the_edge_adds() -> None:
    fields = forwarded(("Connection", "X-Forwarded-For, Via, Forwarded"), ("Via", "1.1 other"))
    assert (fields["x-forwarded-for"], fields["via"]) == ("192.0.2.1", "1.1 edge")


def test_via_names_the_version_received() -> None:
    asked = request(version=(1, 0))
    assert forwarded_request_fields(asked, peer="", trusted=False, via_name="edge").get("via") == "1.0 edge"
    assert with_via(Fields([("VIA", "1.1 origin")]), (1, 1), "edge") == Fields([("Via", "1.1 origin, 1.1 edge")])


@pytest.mark.parametrize(
    ("via", "loops"),
    [
        (None, False),
        ("1.1 edge", False),
        ("1.1 edge, 1.1 edge", False),
        ("1.1 edge, 1.0 EDGE (x, 1.1 y), HTTP/1.1 edge", True),
        ("1.1 other, 1.1 other, 1.1 other, 1.1 edge", False),
        ("1.1 a (1.1 edge, 1.1 edge, 1.1 edge)", False),
        ("edge, edge, edge", False),
        ("1.1 edge2, 1.1 edge2, 1.1 edge2", False),
    ],
)
def test_loop_is_seen(via: str | None, loops: bool) -> None:
    assert via_loops(Fields([("Via", via)] if via else []), "edge") is loops


@pytest.mark.parametrize(
    ("method", "value", "limit", "sent"),
    [  # RFC 9110 section 7.6.2
        ("OPTIONS", "3", 3, "2"),
        ("TRACE", "0", 0, "0"),
        ("OPTIONS", "9999", 255, "254"),
        ("OPTIONS", "x", None, "x"),
        ("OPTIONS", "-1", None, "-1"),
        ("GET", "3", None, "3"),
    ],
)
def test_max_forwards(method: str, value: str, limit: int | None, sent: str) -> None:
    assert max_forwards(request(("Max-Forwards", value), method=method)) == limit
    assert forwarded(("Max-Forwards", value), method=method)["max-forwards"] == sent
