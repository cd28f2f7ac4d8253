"""Ready answers: the bytes of a fresh hit, made once for each shape of request, sent many times.

Owns: what a shape is, and the making of an answer for it. The decision is `caching.plan`'s, as for any exchange: an answer is the
memory of it, and holds as long as the rules, the response and its freshness under which it was made. Must not look anything up.
"""

from functools import lru_cache

from edgeproxy.caching import freshness
from edgeproxy.caching.model import Mark, Reason, Serve, StoredResponse
from edgeproxy.caching.plan import plan
from edgeproxy.caching.preconditions import NotModified, Whole
from edgeproxy.clock import Instant
from edgeproxy.exchange import heads
from edgeproxy.exchange.deliver import choose, head_of, memento_lines
from edgeproxy.exchange.heads import IDENTITY
from edgeproxy.exchange.injected import Injected
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
    if fields.get("sec-fetch-dest") == "serviceworker":
        return None  # it gives away that the site has one of its own
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


def kind_of(shape: str, ranked: tuple[str, ...], *, is_page: bool = False) -> str:
    """What requests have in common that get the same answer from any one response, whatever its forms. Never an `answer_key`.

    `is_page`: they ask for a page to show, of a host whose pages get our tag.
    """
    return f"\n{','.join(ranked)}\n{'page' if is_page else ''}\n{shape}"


def answer_key(shape: str, ranked: tuple[str, ...], resident: Resident, injected: Injected | None = None) -> str:
    """The key of the answer of this shape in the form of `resident` that the client prefers. `injected`: it asks for a page."""
    forms = injected.forms if injected is not None and injected.is_into else resident.forms
    if injected is not None:
        shape = f"page\n{shape}"
    if len(forms) == 1:
        return shape
    coding = next((coding for coding in ranked if coding in forms), IDENTITY)
    return shape if coding == IDENTITY else f"{coding}\n{shape}"


def make_answer(
    resident: Resident, request: Request, url: str, site: Site, now: Instant, injected: Injected | None = None
) -> Answer | None:
    """The answer to `request`, for `url` of `site`; None when it is no plain hit with a block, fresh or pinned.

    `injected`: it asks for a page to show, and this is known of injecting into it.
    """
    stored = resident.stored
    if resident.mark is not Mark.NONE or stored.height is None or resident.body is None:
        return None
    decision = plan(request, stored, now, site.policy, Mark.NONE, pinned=resident.pinned)
    if not isinstance(decision, Serve) or decision.reason not in (Reason.FRESH, Reason.ROLLBACK):
        return None
    chosen = choose(request, resident, now, injected)
    fields = head_of(resident, chosen.form, injected)
    match chosen.verdict:
        case Whole() if chosen.form.data is not None:
            status, body = stored.status, chosen.form.data
            fields = fields.plus(("Server-Timing", "edge;dur=0"), ("Content-Length", str(len(body))))
        case NotModified():
            status, body, fields = 304, b"", heads.not_modified(fields)
        case _:
            return None
    body = b"" if request.method == "HEAD" else body
    return Answer(
        stored,
        encode_response_head(status, _with_said_of(site, url, stored, fields))[:-2],
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


def _with_said_of(site: Site, url: str, stored: StoredResponse, fields: Fields) -> Fields:
    """`fields` of an answer for `url`, with what the site says in each of them."""
    hsts = site.told_to_stay_secure(url.partition(":")[0])
    if hsts is not None and "strict-transport-security" not in stored.fields:
        fields = fields.plus(("Strict-Transport-Security", hsts))
    return fields.plus(*memento_lines(url)) if site.memento else fields
