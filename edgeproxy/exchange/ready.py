"""Ready answers: the bytes of a fresh hit, made once for each shape of request, sent many times.

Owns: what a shape is, and the making of an answer for it. The decision is `caching.plan`'s, as for any exchange: an answer is the
memory of it, and holds as long as the rules, the response and its freshness under which it was made. Must not look anything up.
"""

from functools import lru_cache

from edgeproxy.caching import freshness
from edgeproxy.caching.model import Mark, Reason, Serve
from edgeproxy.caching.plan import plan
from edgeproxy.caching.preconditions import NotModified, Whole
from edgeproxy.clock import Instant
from edgeproxy.exchange import heads
from edgeproxy.exchange.deliver import choose, memento_lines
from edgeproxy.exchange.heads import IDENTITY
from edgeproxy.exchange.resident import Answer, Resident
from edgeproxy.exchange.site import Site
from edgeproxy.telemetry.access_log import hit_suffix
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.http1 import Limits, encode_response_head, parse_request_head
from edgeproxy.wire.messages import Request
from edgeproxy.wire.negotiate import PREFERENCE, select_coding

# Fields that make the answer depend on more than the shape; such requests take the long way.
_COLD = frozenset(
    (
        *("range", "if-range", "if-match", "if-unmodified-since", "cache-control", "pragma"),
        *("authorization", "expect", "max-forwards", "accept-datetime", "service-worker"),
    )
)

PLAIN_GET = parse_request_head(b"GET / HTTP/1.1\r\nHost: plain\r\n\r\n", Limits())
"""What most requests amount to: every stored response has an answer for it as soon as it has a block."""


def shape_of(request: Request, *, own_target: bool = False) -> str | None:
    """What a ready answer is chosen by, besides the coding; None when more than that comes into it.

    `own_target`: the key is not the URL, so that requests for other URLs find the same response; their log lines differ.
    """
    fields = request.fields
    if request.method not in ("GET", "HEAD") or request.upgrade is not None or not fields.names().isdisjoint(_COLD):
        return None
    conditions = (fields.get("if-none-match") or "", fields.get("if-modified-since") or "")
    return "\n".join((request.method, *conditions, request.target if own_target else ""))


PLAIN_SHAPE = shape_of(PLAIN_GET) or ""


@lru_cache(maxsize=1024)
def ranking(accept_encoding: str | None) -> tuple[str, ...]:
    """The codings that a client accepts, the one to send first of all in front (RFC 9110 section 12.5.3)."""
    left = list(PREFERENCE)
    ranked: list[str] = []
    while (best := select_coding(accept_encoding, left)) is not None and best in left:
        ranked.append(best)
        left.remove(best)
    return tuple(ranked)


def kind_of(shape: str, ranked: tuple[str, ...]) -> str:
    """What requests have in common that get the same answer from any one response, whatever its forms. Never an `answer_key`."""
    return f"\n{','.join(ranked)}\n{shape}"


def answer_key(shape: str, ranked: tuple[str, ...], resident: Resident) -> str:
    """The key of the answer of this shape in the form of `resident` that the client prefers."""
    forms = resident.forms
    if len(forms) == 1:
        return shape
    coding = next((coding for coding in ranked if coding in forms), IDENTITY)
    return shape if coding == IDENTITY else f"{coding}\n{shape}"


def make_answer(resident: Resident, request: Request, url: str, site: Site, now: Instant) -> Answer | None:
    """The answer to `request`, for `url` of `site`; None when it is no plain hit with a block, fresh or pinned."""
    stored = resident.stored
    if resident.mark is not Mark.NONE or stored.height is None or resident.body is None:
        return None
    decision = plan(request, stored, now, site.policy, Mark.NONE, pinned=resident.pinned)
    if not isinstance(decision, Serve) or decision.reason not in (Reason.FRESH, Reason.ROLLBACK):
        return None
    chosen = choose(request, resident, now)
    fields = heads.from_store(stored, chosen.form, negotiated=resident.compressible)
    match chosen.verdict:
        case Whole() if chosen.form.data is not None:
            status, body = stored.status, chosen.form.data
            fields = fields.plus(("Server-Timing", "edge;dur=0"), ("Content-Length", str(len(body))))
        case NotModified():
            status, body, fields = 304, b"", heads.not_modified(fields)
        case _:
            return None
    hsts = site.told_to_stay_secure(url.partition(":")[0])
    if hsts is not None and "strict-transport-security" not in stored.fields:
        fields = fields.plus(("Strict-Transport-Security", hsts))
    if site.memento:
        fields = fields.plus(*memento_lines(url))
    if request.method == "HEAD":
        body = b""
    return Answer(
        stored,
        encode_response_head(status, Fields(fields))[:-2],
        body,
        freshness.fresh_until(stored, site.policy) if resident.pinned else resident.fresh_until,
        hit_suffix(
            site=site.name,
            method=request.method,
            url=url,
            status=status,
            length=len(body),
            cache=decision.reason,
            block=stored.height,
        ),
        decision.reason,
    )
