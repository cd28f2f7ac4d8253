"""The paths below /.edge/ that browsers use for the sake of the service worker, and the order in which they are tried.

Owns: that order. The scripts and orders are in `service_worker`, what is posted in `receipt_intake`, the mirror's names in
`mirror_paths`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from edgeproxy.exchange.exchange import Exchange
from edgeproxy.exchange.mirror_paths import MirrorPaths
from edgeproxy.exchange.pages import Page
from edgeproxy.exchange.receipt_intake import ReceiptIntake
from edgeproxy.exchange.service_worker import WorkerFiles
from edgeproxy.wire.messages import Request


@dataclass(frozen=True, slots=True)
class BrowserPaths:
    """`saw_own` is told (site, host) when a browser fetched a script for a service worker that is not ours."""

    files: WorkerFiles
    intake: ReceiptIntake
    mirror: MirrorPaths
    saw_own: Callable[[str, str], None]

    async def answer(self, exchange: Exchange) -> Page | Request | None:
        """The whole answer; a request for another of the edge's paths that it amounts to; None when it is none of these."""
        return self.files.answer(exchange) or await self.intake.answer(exchange) or await self.mirror.resolve(exchange)

    def look(self, exchange: Exchange) -> None:
        """Notice a service worker of the site's own (Service Workers, "Update": the request has `Service-Worker: script`).

        A stranger can send that field too. It is believed only where there is a file at all, and the worst of it is that our
        worker leaves the site alone, which `edgeproxy sw on` or `service_worker.own = "ignore"` undoes.
        """
        fields = exchange.request.fields
        is_script = fields.get("service-worker") == "script" and fields.get("sec-fetch-dest") in (None, "serviceworker")
        if is_script and exchange.status in (200, 304) and not exchange.request.target.startswith("/.edge"):
            self.saw_own(exchange.site.name, exchange.request.host)
