"""Source lists of a Content Security Policy: what one of them lets through (CSP Level 3, section 6.7.2).

Owns: the matching of source expressions against URLs of one's own origin. Must not amend; that is `csp`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

_NONCE = re.compile(r"'nonce-([A-Za-z0-9+/_-]+={0,2})'", re.IGNORECASE)
_HASH = re.compile(r"'sha(?:256|384|512)-[A-Za-z0-9+/_-]+={0,2}'", re.IGNORECASE)
_HOST_SOURCE = re.compile(
    r"(?:(?P<scheme>[a-z][a-z0-9+.-]*)://)?(?P<host>\*|(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?|\[[0-9a-f:.]+\])"
    r"(?::(?P<port>[0-9]+|\*))?(?P<path>/.*)?",
    re.IGNORECASE,
)
_SCHEME_SOURCE = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)
_PORTS = {"http": "80", "https": "443"}


@dataclass(frozen=True, slots=True)
class Place:
    """An absolute URL in parts, of the page's own origin."""

    scheme: str
    host: str
    port: str
    path: str


def place(url: str) -> Place:
    """`url` in parts, with the port that its scheme implies."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    return Place(parts.scheme, host, str(parts.port or _PORTS.get(parts.scheme, "")), parts.path)


def nonce_of(source: str) -> str | None:
    """The value of a nonce-source."""
    match = _NONCE.fullmatch(source)
    return None if match is None else match[1]


def is_hash(source: str) -> bool:
    """Whether `source` is a hash-source."""
    return _HASH.fullmatch(source) is not None


def is_keyword(source: str) -> bool:
    """Whether `source` is in quotes: a keyword, a nonce or a hash."""
    return source.startswith("'")


def allows_nothing(sources: Sequence[str]) -> bool:
    """'none' counts only where it stands alone; an empty list is the same."""
    return not sources or [source.lower() for source in sources] == ["'none'"]


def has_strict_dynamic(sources: Sequence[str]) -> bool:
    """Whether URLs in the list are ignored for scripts, and what a trusted script loads is trusted."""
    return any(source.lower() == "'strict-dynamic'" for source in sources)


def allows_url(sources: Sequence[str], where: Place) -> bool:
    """Whether a list lets through a URL of the page's own origin, by its URL alone (section 6.7.2.7)."""
    return any(_matches(source, where) for source in sources)


def _matches(source: str, where: Place) -> bool:
    if source == "*" or source.lower() == "'self'":
        return True
    if is_keyword(source):
        return False
    scheme = _SCHEME_SOURCE.fullmatch(source)
    if scheme is not None:
        return _scheme_fits(scheme[1].lower(), where.scheme)
    match = _HOST_SOURCE.fullmatch(source)
    if match is None or not _scheme_fits((match["scheme"] or where.scheme).lower(), where.scheme):
        return False
    return (
        _host_fits(match["host"].lower(), where.host)
        and _port_fits(match["port"], where)
        and _path_fits(match["path"] or "", where.path)
    )


def _scheme_fits(given: str, actual: str) -> bool:
    return given == actual or (given == "http" and actual == "https")


def _host_fits(given: str, actual: str) -> bool:
    return given in ("*", actual) or (given.startswith("*.") and actual.endswith(given[1:]))


def _port_fits(given: str | None, where: Place) -> bool:
    if given is None:
        return where.port == _PORTS.get(where.scheme)
    return given in ("*", where.port) or (given == "80" and where.port == "443" and where.scheme == "https")


def _path_fits(given: str, actual: str) -> bool:
    """A path that ends with a slash covers what is below it; any other is meant as it is."""
    if given in ("", "/"):
        return True
    return actual.startswith(given) if given.endswith("/") else actual == given
