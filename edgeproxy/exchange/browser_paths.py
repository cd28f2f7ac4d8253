"""The paths below /.edge/ that browsers use for the sake of the service worker, and the order in which they are tried.

Owns: that order. The scripts and orders are in `service_worker`, what is posted in `receipt_intake`, the mirror's names in
`mirror_paths`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from edgeproxy.exchange.exchange import Exchange
from edgeproxy.exchange.mirror_paths import MirrorPaths
from edgeproxy.exchange.own_api import client_address
from edgeproxy.exchange.pages import Page
from edgeproxy.exchange.receipt_intake import ReceiptIntake
from edgeproxy.exchange.service_worker import WorkerFiles
from edgeproxy.inject.qualify import is_worker_script
from edgeproxy.wire.messages import Request


@dataclass(frozen=True, slots=True)
class BrowserPaths:
    """`saw_own` is told (site, host, address of the client) when a script for a service worker that is not ours was fetched."""

    files: WorkerFiles
    intake: ReceiptIntake
    mirror: MirrorPaths
    saw_own: Callable[[str, str, str], None]

    async def answer(self, exchange: Exchange) -> Page | Request | None:
        """The whole answer; a request for another of the edge's paths that it amounts to; None when it is none of these."""
        return self.files.answer(exchange) or await self.intake.answer(exchange) or await self.mirror.resolve(exchange)

    def look(self, exchange: Exchange) -> None:
        """Notice a service worker of the site's own (Service Workers, "Update": the request has `Service-Worker: script`).

        A stranger can send that field too. It is believed only where there is a file at all, and when several clients agree.
        """
        if exchange.status in (200, 304) and is_worker_script(exchange.request):
            self.saw_own(exchange.site.name, exchange.request.host, client_address(exchange))
