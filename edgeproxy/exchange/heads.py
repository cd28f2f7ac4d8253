"""The fields of answers: what a stored or forwarded response carries when it leaves the edge.

Owns: which fields are added, replaced and dropped on the way out. Must not know connections (framing is theirs) nor decide.
"""

from base64 import b64encode
from dataclasses import dataclass

from edgeproxy.caching.model import Digest, StoredResponse
from edgeproxy.wire import etags
from edgeproxy.wire.fields import Fields

IDENTITY = "identity"
VIA = "1.1 edgeproxy"

_REPLACED = frozenset(("age", "content-length", "cache-status", "edge-block", "repr-digest", "via"))
_REPLACED_IN_FORM = _REPLACED | {"etag", "content-encoding", "vary", "content-md5", "digest", "content-digest"}
# RFC 9110 section 15.4.5: what a 304 repeats of the 200 it stands for, and what says how the cache came to it.
_IN_NOT_MODIFIED = frozenset(
    (
        "cache-control",
        "cdn-cache-control",
        "content-location",
        "date",
        "edge-block",
        "etag",
        "expires",
        "last-modified",
        "vary",
        "via",
    )
)


OF_ITS_TIME = frozenset(
    ("cache-control", "cdn-cache-control", "clear-site-data", "expires", "pragma", "set-cookie", "surrogate-control")
)
"""Said to those who asked then, and not to those who look at it later."""


@dataclass(frozen=True, slots=True)
class Form:
    """A body ready to be sent in one coding. `data` is None when it is streamed from disk (identity only)."""

    coding: str
    data: bytes | None
    length: int
    etag: str | None
    digest: Digest


def identity_form(stored: StoredResponse, body: bytes | None) -> Form:
    """The stored body as it is."""
    return Form(IDENTITY, body, stored.length, stored.fields.get("etag"), stored.body)


def coded_form(stored: StoredResponse, coding: str, data: bytes, digest: Digest) -> Form:
    """The stored body in another coding, with a validator of its own (RFC 9110 section 8.8.3.3)."""
    etag = stored.fields.get("etag") or f'"{b64encode(stored.body[:15]).decode()}"'
    return Form(coding, data, len(data), etags.with_suffix(etag, coding), digest)


def repr_digest(digest: Digest) -> str:
    """RFC 9530 section 3."""
    return f"sha-256=:{b64encode(digest).decode()}:"


def via(fields: Fields) -> str:
    """The response's `Via` with this edge at its end (RFC 9110 section 7.6.3)."""
    before = fields.get("via")
    return f"{before}, {VIA}" if before else VIA


def from_store(stored: StoredResponse, form: Form, *, negotiated: bool) -> Fields:
    """The fields of a stored response, less those that change by the second (`Age`, `Cache-Status`) and the framing.

    `negotiated`: the answer depends on `Accept-Encoding`, because other forms exist or may come to exist.
    """
    fields = stored.fields
    dropped = _REPLACED if form.coding == IDENTITY else _REPLACED_IN_FORM
    lines = [line for line in fields.lines if line[0].lower() not in dropped]
    if form.coding != IDENTITY:
        lines.append(("Content-Encoding", form.coding))
        if form.etag:
            lines.append(("ETag", form.etag))
        lines.extend(("Vary", value) for value in fields.all("vary"))
    if negotiated and "accept-encoding" not in (fields.get("vary") or "").lower():
        lines.append(("Vary", "Accept-Encoding"))
    lines.append(("Repr-Digest", repr_digest(form.digest)))
    if stored.height is not None:
        lines.append(("Edge-Block", str(stored.height)))
    lines.append(("Via", via(fields)))
    return Fields(lines)


def not_modified(fields: Fields) -> Fields:
    """Of the fields of a 200, those that its 304 carries."""
    return Fields(line for line in fields.lines if line[0].lower() in _IN_NOT_MODIFIED)
