"""What of a message goes on to the next hop, and what the edge adds (RFC 9110 section 7.6, RFC 7239).

Owns: hop-by-hop fields, Via, Forwarded and X-Forwarded-*. Everything about framing is written anew by who sends the message, so
none of it is ever copied from here. Must not decide whom to trust.
"""

import re

from edgeproxy.wire.fields import Fields
from edgeproxy.wire.grammar import is_token, token_list
from edgeproxy.wire.messages import Request

HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "http2-settings"}
)
"""Fields for this connection only. Proxy-Authenticate and Proxy-Authorization pass: no proxy here asks for them."""

NEVER_STORED = frozenset({"proxy-authenticate", "proxy-authentication-info", "proxy-authorization"})
"""Specific to the proxy of one exchange: a cache leaves them out of what it stores (RFC 9111 section 3.1)."""

_WRITTEN_ANEW = frozenset({"host", "content-length", "expect"})
_PEER_CLAIMS = frozenset({"forwarded", "x-real-ip", "x-client-ip", "surrogate-capability"})
"""What only a proxy in front of us can say. A capability that a visitor made up would have the origin send a form of its page
(with ESI tags, say) that the cache would then hand to everybody."""
_MAX_OURSELVES = 3
_COMMENT = re.compile(r"\([^()]*\)")


def end_to_end(fields: Fields) -> Fields:
    """`fields` less those for one connection only, among them all that Connection names (RFC 9110 section 7.6.1)."""
    drop = HOP_BY_HOP
    options = fields.all("connection")
    if options:
        drop = drop.union(token_list(options))
    return fields.without(drop)


def forwarded_request_fields(request: Request, *, peer: str, trusted: bool, via_name: str) -> Fields:
    """The fields of `request` for the origin, with Via, Forwarded and X-Forwarded-For, -Proto and -Host brought up to date.

    `peer`: the client's address, "" when it has none (Unix socket). From a peer that is not `trusted`, what it says of earlier
    hops is dropped first, also in the spelling with underscores, which CGI and WSGI do not tell apart. Host, Content-Length,
    Transfer-Encoding and Expect are never among them.
    """
    received = end_to_end(request.fields)
    lines = [line for line in received.lines if not _is_dropped(line[0].lower(), trusted)]
    known = Fields(lines)
    proto = (known.get("x-forwarded-proto") or request.scheme) if trusted else request.scheme
    outer_host = (known.get("x-forwarded-host") or request.authority) if trusted else request.authority
    ours = [
        ("X-Forwarded-For", _appended(known.get("x-forwarded-for"), peer or "unknown")),
        ("X-Forwarded-Proto", proto),
        ("Forwarded", _appended(known.get("forwarded"), _forwarded_element(request, peer))),
        ("Via", _appended(known.get("via"), _via_element(request.version, via_name))),
    ]
    if outer_host:
        ours.append(("X-Forwarded-Host", outer_host))
    limit = max_forwards(request)
    if limit is not None:
        ours.append(("Max-Forwards", str(max(0, limit - 1))))
    replaced = frozenset(name.lower() for name, _ in ours)
    return known.without(replaced).plus(*ours)


def _is_dropped(name: str, trusted: bool) -> bool:
    if name in _WRITTEN_ANEW:
        return True
    plain = name.replace("_", "-")
    if plain in _PEER_CLAIMS or plain.startswith("x-forwarded-"):
        return not trusted or "_" in name
    return False


def _appended(value: str | None, element: str) -> str:
    return f"{value}, {element}" if value else element


def _forwarded_element(request: Request, peer: str) -> str:
    """One element of Forwarded (RFC 7239 section 4); what is no token is quoted, and IPv6 stands in brackets."""
    node = f"[{peer}]" if ":" in peer else peer or "unknown"
    pairs = [("for", node), ("host", request.authority), ("proto", request.scheme)]
    return ";".join([f"{name}={value}" if is_token(value) else f'{name}="{value}"' for name, value in pairs if value])


def _via_element(version: tuple[int, int], via_name: str) -> str:
    return f"{version[0]}.{version[1]} {via_name}"


def with_via(fields: Fields, version: tuple[int, int], via_name: str) -> Fields:
    """`fields` with this hop at the end of Via; `version` is that of the message as it was received (RFC 9110 section 7.6.3)."""
    return fields.replacing("Via", _appended(fields.get("via"), _via_element(version, via_name)))


def via_loops(fields: Fields, via_name: str) -> bool:
    """Whether the message has come through `via_name` so often that it must be going in circles."""
    value = fields.get("via")
    if value is None:
        return False
    hops = (member.split() for member in _COMMENT.sub("", value).split(","))
    return sum(len(hop) > 1 and hop[1].lower() == via_name.lower() for hop in hops) >= _MAX_OURSELVES


def max_forwards(request: Request) -> int | None:
    """How many hops may still forward this TRACE or OPTIONS; None for no limit; at 0 the edge answers itself (section 7.6.2)."""
    if request.method not in {"TRACE", "OPTIONS"}:
        return None
    value = request.fields.get("max-forwards")
    return min(int(value), 255) if value is not None and re.fullmatch(r"[0-9]{1,9}", value) else None
