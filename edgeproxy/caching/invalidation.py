"""What a write makes doubtful (RFC 9111 section 4.4, RFC 9875).

Owns: the URLs and groups that an unsafe request invalidates. Must not touch the store: the caller turns them into rules of the
ledger.
"""

from urllib.parse import urldefrag, urljoin, urlsplit

from edgeproxy.caching.tags import string_members
from edgeproxy.wire.messages import Request, ResponseHead

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""RFC 9110 section 9.2.1. A method that is not known may change something."""

_PORTS = {"http": 80, "https": 443}


def invalidated_urls(request: Request, response: ResponseHead) -> tuple[str, ...]:
    """Absolute URLs whose stored responses must not be used again without validation; empty for safe methods and errors.

    The target itself, then what Location and Content-Location name, when they are of the same origin: another's pages are not
    this origin's to invalidate.
    """
    if request.method in SAFE_METHODS or not 200 <= response.status < 400:
        return ()
    found = [request.url]
    for name in ("location", "content-location"):
        for reference in response.fields.all(name):
            url = _resolved(request.url, reference)
            if url is not None and url not in found:
                found.append(url)
    return tuple(found)


def _resolved(base: str, reference: str) -> str | None:
    """`reference` as an absolute URL of the same origin as `base`, without fragment; None when it is none."""
    try:
        url = urldefrag(urljoin(base, reference.strip())).url
        return url if _origin(url) == _origin(base) else None
    except ValueError:
        return None


def _origin(url: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port (RFC 6454). Raises ValueError for a port that is none."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)


def invalidated_groups(request: Request, response: ResponseHead) -> tuple[str, ...]:
    """The groups of this origin that `Cache-Group-Invalidation` names;

    The field counts only after unsafe methods (RFC 9875 section 3).
    """
    if request.method in SAFE_METHODS:
        return ()
    return string_members(response.fields.all("cache-group-invalidation"))
