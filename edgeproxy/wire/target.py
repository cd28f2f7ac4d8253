"""Request target and Host: which resource of which host a request means (RFC 9112 section 3.2, RFC 9110 section 7.2).

Owns: the four forms of a target and the grammar of an authority, both stricter than the RFC where parsers are known to differ.
Must not know sites, keys or what an answer would be.
"""

import re
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address
from typing import NamedTuple

from edgeproxy.errors import RequestRefused

DEFAULT_PORTS = {"http": "80", "https": "443"}

_AUTHORITY = re.compile(r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([0-9A-Za-z._-]{1,254}))(?::([1-9][0-9]{0,4}))?")
_LABEL = re.compile(r"[0-9A-Za-z_-]{1,63}")
_ABSOLUTE = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*+)://([^/?]*+)(.*+)")


class Target(NamedTuple):
    """What the request line names. `authority` and `host` are None unless the target was in absolute form."""

    path: str
    authority: str | None = None
    host: str | None = None


@lru_cache(maxsize=1024)
def parse_host(value: str) -> tuple[str, str]:
    """The authority and the host in the value of a Host field, or in the authority of an absolute target.

    Both in lower case, without the dot that may end a full domain name; IPv6 in brackets and in its shortest form. The port stays
    as received, in the authority only. Raises RequestRefused for all but `host [":" port]`: user information, paths, empty or
    zero ports, ports with leading zeros, percent-encoding, zone identifiers, and labels that no domain name can have.
    """
    match = _AUTHORITY.fullmatch(value)
    if match is None:
        raise RequestRefused("host is malformed", value=value[:128])
    literal, name, port = match.groups()
    host = _address(literal) if literal is not None else _domain(name)
    if port is None:
        return host, host
    if int(port) > 65535:
        raise RequestRefused("port in host is out of range", port=port)
    return f"{host}:{port}", host


def _address(literal: str) -> str:
    try:
        return f"[{IPv6Address(literal)}]"
    except AddressValueError as error:
        raise RequestRefused("IPv6 address in host is malformed", value=literal) from error


def _domain(name: str) -> str:
    host = name.lower().removesuffix(".")
    if len(host) > 253 or not all(map(_LABEL.fullmatch, host.split("."))):
        raise RequestRefused("domain name in host is malformed", value=name[:128])
    return host


def parse_target(method: str, target: str, *, scheme: str = "http") -> Target:
    """Judge a `target` of visible ASCII (no space, no control, no "#": the caller's grammar has seen to that).

    Raises RequestRefused: 501 for CONNECT, 421 for an absolute target whose scheme is not that of the connection, 400 otherwise.
    """
    if method == "CONNECT":
        raise RequestRefused("method is not implemented", status=501, method=method)
    if target.startswith("/"):
        return Target(target)
    if target == "*":
        if method != "OPTIONS":
            raise RequestRefused("asterisk target with a method other than OPTIONS", method=method)
        return Target(target)
    match = _ABSOLUTE.fullmatch(target)
    if match is None:
        raise RequestRefused("target is in no form that this method has", method=method)
    return _absolute(method, match[1].lower(), match[2], match[3], scheme)


def _absolute(method: str, target_scheme: str, authority_text: str, rest: str, scheme: str) -> Target:
    if target_scheme not in DEFAULT_PORTS:
        raise RequestRefused("scheme of the target is not http or https", scheme=target_scheme)
    authority, host = parse_host(authority_text)
    if target_scheme != scheme:
        # An answer to https://... over an insecure connection would be kept under the secure URL (RFC 9110 section 7.4).
        raise RequestRefused("scheme of the target is not that of the connection", status=421, scheme=target_scheme)
    if method == "OPTIONS" and not rest:
        return Target("*", authority, host)  # RFC 9112 section 3.2.4
    return Target(rest if rest.startswith("/") else f"/{rest}", authority, host)


def same_authority(one: str, other: str, scheme: str) -> bool:
    """Whether two authorities made by `parse_host` are equal once the default port of `scheme` is left out."""
    default = f":{DEFAULT_PORTS[scheme]}"
    return one == other or one.removesuffix(default) == other.removesuffix(default)
