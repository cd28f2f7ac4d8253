"""What an exchange that passed the cache by means for what is stored.

Owns: invalidation by unsafe requests, and what a HEAD tells of a stored GET. Must not send anything.
"""

from edgeproxy.caching import invalidation, validation
from edgeproxy.caching.key import primary_key
from edgeproxy.caching.model import Mark
from edgeproxy.exchange.cache import Cache
from edgeproxy.exchange.exchange import Exchange
from edgeproxy.exchange.fetcher import Fetcher, Question
from edgeproxy.exchange.recorder import Recorder
from edgeproxy.origin.messages import OriginResponse


class Consequences:
    """Carries them out. The blocks they lead to belong to the exchange's trace."""

    def __init__(self, cache: Cache, fetcher: Fetcher, recorder: Recorder) -> None:
        self._cache = cache
        self._fetcher = fetcher
        self._recorder = recorder

    def of_unsafe(self, exchange: Exchange, response: OriginResponse) -> None:
        """An unsafe request that was carried out makes stored responses suspect (RFC 9111 section 4.4, RFC 9875)."""
        site, trace, head = exchange.site, exchange.span.trace_id, response.head
        with exchange.span.current():
            for url in invalidation.invalidated_urls(exchange.request, head):
                key = primary_key(url, site.keys)
                self._recorder.invalidate(site, key, trace, under_way=self._fetcher.flights.under_way(key))
            for group in invalidation.invalidated_groups(exchange.request, head):
                self._recorder.invalidate_group(site, group, trace)

    def of_head(self, exchange: Exchange, question: Question, response: OriginResponse) -> None:
        """A HEAD may freshen a stored GET, or show that it is out of date (RFC 9111 section 4.3.5)."""
        resident, entry = question.found.resident, question.found.entry
        if resident is None or entry is None or response.status != 200 or not response.is_sound:
            return
        if validation.head_invalidates(resident.stored, response.head):
            entry.held = Mark.SOFT if entry.held is Mark.NONE else entry.held
            self._cache.judge(exchange.site, entry, resident)
            return
        fresh = self._fetcher.freshened(question, response, resident, self._recorder.floor)
        with exchange.span.current():
            self._recorder.refresh(exchange.site, entry, fresh)
