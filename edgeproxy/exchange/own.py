"""Sends the answers that are the edge's own: error pages, its own paths, and what OPTIONS asks of the edge itself.

Owns: which fields they carry beside the page (`exchange.pages`). Must not decide when they are due.
"""

import contextlib

from edgeproxy.caching import status
from edgeproxy.caching.model import Reason
from edgeproxy.errors import ClientGone, Corrupt
from edgeproxy.exchange.block_api import BlockApi, WholeBody
from edgeproxy.exchange.browser_paths import BrowserPaths
from edgeproxy.exchange.deliver import Delivery
from edgeproxy.exchange.exchange import Exchange
from edgeproxy.exchange.ledger_files import LedgerFiles
from edgeproxy.exchange.pages import Page, error_page
from edgeproxy.wire.fields import Fields

_ALLOW = ("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")


class OwnAnswers:
    """Writes them to streams."""

    def __init__(self, delivery: Delivery, ledger: LedgerFiles, blocks: BlockApi, browser: BrowserPaths) -> None:
        self._delivery = delivery
        self._ledger = ledger
        self._blocks = blocks
        self._browser = browser

    async def options(self, exchange: Exchange) -> None:
        """Which methods there are at all (RFC 9110 section 9.3.7)."""
        await self._delivery.head(exchange, 204, Fields((_ALLOW,)), None)
        await exchange.stream.finish()

    async def redirect(self, exchange: Exchange, location: str) -> None:
        """308: the same request, at another place (RFC 9110 section 15.4.9)."""
        await self._delivery.head(exchange, 308, Fields((("Location", location), ("Cache-Control", "no-store"))), 0)
        await exchange.stream.finish()

    async def edge_path(self, exchange: Exchange) -> None:
        """A path under /.edge/: the origin is never asked, so what is not here is nowhere."""
        found = await self._browser.answer(exchange)
        page: Page | WholeBody | None = found if isinstance(found, Page) else None
        if not isinstance(found, Page) and exchange.site.publish:
            request = found or exchange.request
            page = await self._ledger.answer(request) or await self._blocks.answer(request)
        if page is None:
            await self.page(exchange, 404)
            return
        if isinstance(page, WholeBody):
            await self._body(exchange, page)
            return
        bodiless = page.status in (204, 304)
        await self._delivery.head(exchange, page.status, page.fields, None if bodiless else len(page.body))
        with contextlib.suppress(ClientGone):
            if exchange.request.method != "HEAD" and not bodiless:
                await exchange.stream.send(page.body)
        await exchange.stream.finish()

    async def _body(self, exchange: Exchange, whole: WholeBody) -> None:
        try:
            with contextlib.suppress(ClientGone):
                await self._delivery.body_alone(exchange, whole.resident, whole.fields)
        except Corrupt as error:
            await self._blocks.failed(whole, error)
            if exchange.stream.head_sent:
                raise
            await self.page(exchange, 404)

    async def page(self, exchange: Exchange, code: int, *, proxy_error: str | None = None, allow: bool = False) -> None:
        """An error page. After it an unread request body closes the connection."""
        page = error_page(code, proxy_error=None if exchange.proxy_status else proxy_error)
        fields = page.fields
        if allow:
            fields = fields.plus(_ALLOW)
        if exchange.forward:
            if isinstance(exchange.reason, Reason):
                exchange.detail = exchange.reason
            fields = fields.plus(("Cache-Status", exchange.cache_status()))
        elif exchange.reason is Reason.ONLY_IF_CACHED or exchange.reason is Reason.ROLLBACK:
            fields = fields.plus(("Cache-Status", status.cache_status_refused(exchange.reason)))
        await self._delivery.head(exchange, code, fields, len(page.body))
        with contextlib.suppress(ClientGone):
            if exchange.request.method != "HEAD":
                await exchange.stream.send(page.body)
        await exchange.stream.finish()
