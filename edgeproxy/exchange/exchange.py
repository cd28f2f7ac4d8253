"""One exchange while it is being answered: what is known of it, and what will be reported of it.

Owns: the record that lookup, fetch and delivery fill in. Must not decide or send anything.
"""

from dataclasses import dataclass

from edgeproxy.caching import status
from edgeproxy.caching.model import Reason
from edgeproxy.exchange.site import Site
from edgeproxy.serving.stream import Stream
from edgeproxy.serving.transports import UNIX_ADDRESS
from edgeproxy.telemetry.metrics import SiteMetrics
from edgeproxy.telemetry.tracing import Span
from edgeproxy.wire.messages import Request


@dataclass(slots=True, eq=False)
class Exchange:
    """`outcome` is one of the counters of `SiteMetrics`; exactly one is counted when the exchange ends."""

    stream: Stream
    request: Request
    site: Site
    span: Span
    metrics: SiteMetrics
    trusted: bool
    outcome: str = "misses"
    reason: Reason | str = Reason.MISS
    status: int = 0
    block: int | None = None
    origin_seconds: float | None = None
    proxy_status: str | None = None
    forward: Reason | None = None
    """Why the request went to the origin, once it did."""
    fwd_status: int | None = None
    """Status that the origin answered with."""
    detail: Reason | None = None
    """What `Cache-Status` says beyond `forward`: why a response was not stored, or why a stale one was sent."""
    collapsed: bool = False
    """The answer is that of another request's fetch (RFC 9211 section 2.6)."""

    def cache_status(self, *, stored: bool = False) -> str:
        """`Cache-Status` of an answer that went to the origin."""
        return status.cache_status_forward(
            self.forward or Reason.BYPASS,
            fwd_status=self.fwd_status,
            stored=stored,
            collapsed=self.collapsed,
            detail=self.detail,
        )

    @property
    def is_secure(self) -> bool:
        """The client speaks HTTPS, to us or to the proxy in front of us that says so."""
        request = self.request
        return request.scheme == "https" or (self.trusted and request.fields.get("x-forwarded-proto") == "https")

    @property
    def peer(self) -> str:
        """The client's IP address; "" over a Unix socket, where it has none."""
        address = self.stream.peer.address
        return "" if address == UNIX_ADDRESS else address
