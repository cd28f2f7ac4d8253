"""Answers out of the past, on sites where `memento` is switched on (RFC 7089; the rules are in `caching.memento`).

Owns: which stored versions can be had, their proof, and the fields of these answers. Never asks the origin, and leaves the memory
tier to those who ask for what is now.

What can be had: contents whose body is there, that were no server errors, are not purged for good, and were not selected by what
one visitor alone sends. Blocks that only renewed a
head are the same content, so the URL of a version stays as long as the version does.
"""

import contextlib
import logging
from bisect import bisect_right
from collections.abc import Sequence

from edgeproxy.caching import memento, vary
from edgeproxy.caching.key import primary_key
from edgeproxy.caching.memento import MementoPath, TimeMapPath
from edgeproxy.caching.model import Mark, Reason, Serve
from edgeproxy.caching.storable import GOOD_BELOW, is_only_validated
from edgeproxy.errors import ClientGone, Corrupt, StoreError
from edgeproxy.exchange.cache import Cache
from edgeproxy.exchange.deliver import Delivery
from edgeproxy.exchange.exchange import Exchange
from edgeproxy.exchange.index import Entry
from edgeproxy.exchange.own import OwnAnswers
from edgeproxy.exchange.resident import Resident
from edgeproxy.exchange.site import Site
from edgeproxy.ledger.fold import Version
from edgeproxy.telemetry import names
from edgeproxy.wire.dates import format_http_date
from edgeproxy.wire.fields import Fields

log = logging.getLogger("edgeproxy.exchange")

_KEPT = ("Cache-Control", "public, max-age=3600")
# What the original URL says for a date must not be found by anyone who asks for now: not every cache heeds Vary.
_NOT_KEPT = ("Cache-Control", "no-store")


class Mementos:
    """The TimeGate, the mementos and the TimeMaps of all sites."""

    def __init__(self, cache: Cache, delivery: Delivery, own: OwnAnswers) -> None:
        self._cache = cache
        self._delivery = delivery
        self._own = own

    def covers(self, exchange: Exchange) -> bool:
        """Whether the request is about the past, on a site that has one to show."""
        request = exchange.request
        if not exchange.site.memento or request.method not in ("GET", "HEAD"):
            return False
        if request.target.startswith("/.edge"):
            return request.target.startswith((memento.MEMENTO, memento.TIMEMAP))
        return "accept-datetime" in request.fields

    async def answer(self, exchange: Exchange) -> None:
        """Answer what `covers` said yes to. Raises ClientGone."""
        exchange.outcome, exchange.reason = "own", Reason.MEMENTO
        request = exchange.request
        asked = memento.parse_path(request.target)
        match asked:
            case TimeMapPath(page, url):
                await self._timemap(exchange, url, page)
            case MementoPath(second, url):
                await self._memento(exchange, url, second, negotiated=False)
            case _ if request.target.startswith("/.edge"):
                await self._own.page(exchange, 404)
            case _:
                wanted = memento.parse_accept_datetime(request.fields.get("accept-datetime") or "")
                if wanted is None:
                    await self._own.page(exchange, 400)
                else:
                    await self._memento(exchange, request.url, wanted, negotiated=True)

    async def _timemap(self, exchange: Exchange, url: str, page: int) -> None:
        seconds = _seconds(self._contents(exchange, url))
        text = memento.timemap(_base(exchange), url, seconds, page) if seconds else None
        if text is None:
            await self._own.page(exchange, 404)
            return
        body = text.encode()
        fields = Fields((("Content-Type", "application/link-format"), ("Cache-Control", "no-cache")))
        await self._delivery.head(exchange, 200, fields, len(body))
        with contextlib.suppress(ClientGone):
            if exchange.request.method != "HEAD":
                await exchange.stream.send(body)
        await exchange.stream.finish()

    async def _memento(self, exchange: Exchange, url: str, wanted: int, *, negotiated: bool) -> None:
        """The version of `url` at `wanted`; by the URL of a second that has none of its own, where the right one is."""
        base = _base(exchange)
        while contents := self._contents(exchange, url):
            seconds = _seconds(contents)
            index = memento.pick(seconds, wanted)
            if not negotiated and seconds[index] != wanted:
                location = ("Location", memento.memento_url(base, seconds[index], url))
                await self._delivery.head(exchange, 302, Fields((location, _NOT_KEPT)), 0)
                await exchange.stream.finish()
                return
            entry, version = _selected(exchange, contents, seconds[index])
            try:
                resident = await self._cache.prove(exchange.site, entry, version)
            except Corrupt as error:
                exchange.metrics.corrupt_bodies += 1
                await self._cache.set_aside(entry, version, error)
                continue
            except StoreError as error:
                log.error("cannot read block %d: %s", version.height, error)
                await self._own.page(exchange, 503)
                return
            if self._is_gone(exchange.site, entry, version, resident):
                break
            told = self._told(base, url, seconds, version, negotiated=negotiated)
            exchange.outcome = "hits"
            exchange.span.update({names.PLAN: Serve.__name__, names.REASON: Reason.MEMENTO})
            await self._delivery.archived(exchange, resident, told)
            return
        await self._own.page(exchange, 404)

    def _told(self, base: str, url: str, seconds: Sequence[int], version: Version, *, negotiated: bool) -> Fields:
        second = version.time // 1000
        index = memento.pick(seconds, second)
        lines = [
            ("Memento-Datetime", format_http_date(second)),
            ("Link", memento.links_of_memento(base, url, seconds, index)),
            _NOT_KEPT if negotiated else _KEPT,
        ]
        if negotiated:
            lines += [("Vary", "accept-datetime"), ("Content-Location", memento.memento_url(base, seconds[index], url))]
        return Fields(lines)

    def _contents(self, exchange: Exchange, url: str) -> list[tuple[Entry, list[Version]]]:
        """For each variant of `url` the first version of each content that can be had, oldest first; none that are empty."""
        site = exchange.site
        slot = self._cache.index.slot(primary_key(url, site.keys))
        if slot is None:
            return []
        # Who selects none gets the last one written; that must be nobody's own.
        shown = (entry for entry in slot.entries if entry.site == site.name and vary.is_for_all(entry.selecting))
        mine = [(entry, self._of_entry(entry)) for entry in shown]
        return [(entry, versions) for entry, versions in mine if versions]

    def _of_entry(self, entry: Entry) -> list[Version]:
        versions: list[Version] = []
        for version in entry.versions:
            if version.status >= GOOD_BELOW:
                continue
            if versions and (versions[-1].status, versions[-1].body.digest) == (version.status, version.body.digest):
                continue
            if self._cache.rules.mark(version.height, site=entry.site, url=entry.key) is not Mark.GONE:
                versions.append(version)
        return versions

    def _is_gone(self, site: Site, entry: Entry, version: Version, resident: Resident) -> bool:
        """What only its head tells: it is purged for good by a tag, or was never shown to anybody without the origin's word."""
        if is_only_validated(resident.stored, site.policy):
            return True
        rules, tags, groups = self._cache.rules, resident.tags, resident.groups
        return rules.mark(version.height, site=entry.site, url=entry.key, tags=tags, groups=groups) is Mark.GONE


def _base(exchange: Exchange) -> str:
    return f"{exchange.request.scheme}://{exchange.request.authority}"


def _second(version: Version) -> int:
    return version.time // 1000


def _seconds(contents: list[tuple[Entry, list[Version]]]) -> list[int]:
    return sorted({_second(version) for _, versions in contents for version in versions})


def _selected(exchange: Exchange, contents: list[tuple[Entry, list[Version]]], second: int) -> tuple[Entry, Version]:
    """The version at `second` of the variant that the request selects, or of the one that was written last until then."""
    there = []
    for entry, versions in contents:
        if count := bisect_right(versions, second, key=_second):
            there.append((versions[count - 1], entry))
    there.sort(key=lambda pair: pair[0].height)
    entry = vary.select([entry for _, entry in there], exchange.request) or there[-1][1]
    return entry, next(version for version, each in there if each is entry)
