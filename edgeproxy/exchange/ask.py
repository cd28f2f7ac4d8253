"""What is asked of the origin, and what of its answer is kept.

Owns: the origin request written anew from the parsed one, and the stored head made from a received one. Pure: does no I/O.
"""

from collections.abc import AsyncIterator

from edgeproxy.caching import directives, freshness, storable
from edgeproxy.exchange.heads import IDENTITY, VIA, unmarked
from edgeproxy.exchange.site import Site
from edgeproxy.origin.messages import OriginRequest, OriginResponse
from edgeproxy.wire import etags
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.forwarding import end_to_end, forwarded_request_fields
from edgeproxy.wire.messages import CHUNKED, Request

VIA_NAME = VIA.partition(" ")[2]

_CAPABILITY = f'{directives.DEVICE}="Surrogate/1.0"'

SAFE = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))
IDEMPOTENT = SAFE | {"PUT", "DELETE"}

# A fetch for the store asks for the whole representation, whatever part or condition this one client has.
_ONE_CLIENTS_OWN = frozenset(
    ("range", "if-range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "accept-encoding")
)
_WRITTEN_ANEW = frozenset(("age", "content-length", "via"))
_OF_THE_CODING = frozenset(
    ("content-encoding", "content-length", "content-md5", "content-digest", "repr-digest", "digest", "etag", "accept-ranges")
)


def authority(site: Site, request: Request) -> str:
    """The `Host` that the origin sees."""
    return site.host_header or request.authority


def for_store(site: Site, request: Request, conditions: Fields, *, peer: str, trusted: bool) -> OriginRequest:
    """A GET for the whole representation in identity coding, with the cache's own conditions."""
    fields = _forwarded(site, request, peer=peer, trusted=trusted).without(_ONE_CLIENTS_OWN)
    fields = fields.plus(("Accept-Encoding", IDENTITY), *conditions.lines)
    return OriginRequest("GET", request.target, authority(site, request), fields, repeatable=True)


def as_is(
    site: Site, request: Request, body: AsyncIterator[bytes] | None, *, peer: str, trusted: bool, is_page: bool = False
) -> OriginRequest:
    """The client's own request, with everything that is end-to-end in it.

    `is_page`: the client may have the page with our tag, whose validator the origin does not know.
    """
    length = None if request.body_length == CHUNKED else request.body_length
    fields = _forwarded(site, request, peer=peer, trusted=trusted)
    known = fields.get("if-none-match")
    if is_page and known is not None:
        fields = fields.replacing("If-None-Match", unmarked(known))
    return OriginRequest(
        request.method,
        request.target,
        authority(site, request),
        fields,
        body=body,
        body_length=length,
        repeatable=request.method in IDEMPOTENT and body is None,
    )


def _forwarded(site: Site, request: Request, *, peer: str, trusted: bool) -> Fields:
    fields = forwarded_request_fields(request, peer=peer, trusted=trusted, via_name=VIA_NAME)
    if directives.SURROGATE not in site.policy.targets:
        return fields
    # Origins that know Surrogate-Control send it to those who say that they read it, and may address one of them by its name.
    before = fields.get("surrogate-capability")
    return fields.replacing("Surrogate-Capability", f"{before}, {_CAPABILITY}" if before else _CAPABILITY)


def kept_fields(site: Site, response: OriginResponse, *, decoded: bool) -> Fields:
    """The fields of the stored head: with `Date` in any case, and the corrected initial age (RFC 9111 section 4.2.3) as `Age`.

    `decoded`: the body came compressed and is kept in identity coding; what spoke of the coded bytes goes, the validator is weak.
    """
    kept = storable.stored_fields(response.fields, response.request_time, response.response_time, site.policy)
    if not decoded:
        return kept
    etag = kept.get("etag")
    kept = kept.without(_OF_THE_CODING)
    return kept.plus(("ETag", etags.weakened(etag))) if etag else kept


def withheld_fields(site: Site, response: OriginResponse, kept: Fields, *, decoded: bool) -> Fields:
    """The lines that `private="…"` and `no-cache="…"` keep out of the store: for the client whose request brought them alone
    (RFC 9111 sections 5.2.2.4 and 5.2.2.7). `kept` is the stored head.

    Without them a cookie that the origin marked as private would be lost on its way to its visitor.
    """
    listed = directives.response_directives(response.fields, site.policy.targets).unlisted
    if not listed:
        return Fields()
    listed = listed - kept.names() - _WRITTEN_ANEW - (_OF_THE_CODING if decoded else frozenset())
    return Fields(line for line in end_to_end(response.fields).lines if line[0].lower() in listed)


def initial_age(response: OriginResponse) -> int:
    """Corrected initial age in seconds."""
    return freshness.initial_age(response.fields, response.request_time, response.response_time)
