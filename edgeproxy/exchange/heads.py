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
_OF_THE_BYTES = frozenset(("accept-ranges", "content-digest", "content-md5", "digest", "etag", "repr-digest"))
INJECTION_SUFFIX = "edge"
_BY_DESTINATION = ("Vary", "Sec-Fetch-Dest")
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
    """A body ready to be sent in one coding. `data` is None when it is streamed from disk (identity only).

    `splice`: of a page with our tag in it, the place in the stored body and the tag. Its digest is None when it is never at hand.
    """

    coding: str
    data: bytes | None
    length: int
    etag: str | None
    digest: Digest | None
    splice: tuple[int, bytes] | None = None


def identity_form(stored: StoredResponse, body: bytes | None) -> Form:
    """The stored body as it is."""
    return Form(IDENTITY, body, stored.length, stored.fields.get("etag"), stored.body)


def coded_form(stored: StoredResponse, coding: str, data: bytes, digest: Digest) -> Form:
    """The stored body in another coding, with a validator of its own (RFC 9110 section 8.8.3.3)."""
    etag = stored.fields.get("etag") or f'"{b64encode(stored.body[:15]).decode()}"'
    return Form(coding, data, len(data), etags.with_suffix(etag, coding), digest)


def injected_form(
    stored: StoredResponse, coding: str, data: bytes | None, length: int, digest: Digest | None, splice: tuple[int, bytes] | None
) -> Form:
    """The stored page with our tag in it. It always has a validator, so that nothing is compared by dates, which it shares."""
    etag = injected_etag(stored.fields.get("etag"), stored.body)
    return Form(coding, data, length, etag if coding == IDENTITY else etags.with_suffix(etag, coding), digest, splice)


def injected_etag(etag: str | None, body: Digest) -> str:
    """The validator of the stored page with our tag in it, weak: the tag may change where the page does not."""
    return marked(etag or f'"{b64encode(body[:15]).decode()}"')


def marked(etag: str) -> str:
    """`etag` as that of the same page with our tag in it."""
    return etags.with_suffix(etags.weakened(etag), INJECTION_SUFFIX)


def unmarked(if_none_match: str) -> str:
    """An If-None-Match with the validators that the origin gave."""
    members = etags.parse_etag_list(if_none_match)
    if members == "*":
        return if_none_match
    return ", ".join(etags.without_suffix(member, (INJECTION_SUFFIX,)) for member in members)


def varied(fields: Fields) -> Fields:
    """The fields of a page that goes out with and without our tag, by who asks."""
    return fields if "sec-fetch-dest" in (fields.get("vary") or "").lower() else fields.plus(_BY_DESTINATION)


def of_injected(fields: Fields) -> Fields:
    """The fields of a page that passes by, as they are with our tag in it (RFC 9110 section 7.7)."""
    etag = fields.get("etag")
    kept = fields.without(_OF_THE_BYTES).plus(("Accept-Ranges", "none"))
    return kept.plus(("ETag", marked(etag))) if etag else kept


def repr_digest(digest: Digest) -> str:
    """RFC 9530 section 3."""
    return f"sha-256=:{b64encode(digest).decode()}:"


def via(fields: Fields) -> str:
    """The response's `Via` with this edge at its end (RFC 9110 section 7.6.3)."""
    before = fields.get("via")
    return f"{before}, {VIA}" if before else VIA


def from_store(
    stored: StoredResponse, form: Form, *, negotiated: bool, by_destination: bool = False, amended: Fields | None = None
) -> Fields:
    """The fields of a stored response, less those that change by the second (`Age`, `Cache-Status`) and the framing.

    `negotiated`: the answer depends on `Accept-Encoding`, because other forms exist or may come to exist. `by_destination`: it
    depends on what the client is going to do with it. `amended`: fields to begin with instead of the stored ones.
    """
    fields = stored.fields if amended is None else amended
    is_plain = form.coding == IDENTITY and form.splice is None
    dropped = _REPLACED if is_plain else _REPLACED_IN_FORM
    lines = [line for line in fields.lines if line[0].lower() not in dropped]
    if not is_plain:
        if form.coding != IDENTITY:
            lines.append(("Content-Encoding", form.coding))
        if form.etag:
            lines.append(("ETag", form.etag))
        lines.extend(("Vary", value) for value in fields.all("vary"))
    if negotiated and "accept-encoding" not in (fields.get("vary") or "").lower():
        lines.append(("Vary", "Accept-Encoding"))
    if by_destination and "sec-fetch-dest" not in (fields.get("vary") or "").lower():
        lines.append(_BY_DESTINATION)
    if form.splice is not None:
        lines = [line for line in lines if line[0].lower() != "accept-ranges"]
        lines.append(("Accept-Ranges", "none"))
    if form.digest is not None:
        lines.append(("Repr-Digest", repr_digest(form.digest)))
    if stored.height is not None:
        lines.append(("Edge-Block", str(stored.height)))
    lines.append(("Via", via(fields)))
    return Fields(lines)


def not_modified(fields: Fields) -> Fields:
    """Of the fields of a 200, those that its 304 carries."""
    return Fields(line for line in fields.lines if line[0].lower() in _IN_NOT_MODIFIED)
