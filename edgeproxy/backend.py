"""The running edge as its operator sees it: what the admin server asks, answered from the parts.

Owns: the JSON answers behind `/api/v1`, and the translation of an operator's order into drafts. Must not hold state.
"""

import os
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from edgeproxy import __version__
from edgeproxy.admin.backend import Json, PurgeKind, PurgeOrder, ReleaseOrder, RollbackOrder
from edgeproxy.admin.views import block_view, certificate_view, erasing_view, finality_view, head_view, history_view, rows_view
from edgeproxy.caching import freshness
from edgeproxy.caching.key import NO_RULES, primary_key
from edgeproxy.caching.model import Digest, Height, Mark, Reason
from edgeproxy.caching.plan import plan
from edgeproxy.caching.tags import tags as tags_of
from edgeproxy.errors import RequestRefused, StoreError
from edgeproxy.exchange.cache import Found
from edgeproxy.exchange.index import Entry
from edgeproxy.exchange.site import Site
from edgeproxy.exchange.standing import Standing, namesakes, standings, versions_of
from edgeproxy.ledger.block import Rotate, decode
from edgeproxy.ledger.checkpoint import read_checkpoint
from edgeproxy.ledger.drafts import PurgeDraft, PurgeNames, StoredNames, decode_names
from edgeproxy.ledger.fold import Version
from edgeproxy.ledger.replay import RawRow
from edgeproxy.ledger.rules import Rules
from edgeproxy.rollback import RollbackDesk
from edgeproxy.storage.ledger_rows import read_rows, traces_of
from edgeproxy.tls.health import Colour
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.http1 import Limits, decode_stored_head, parse_request_head

if TYPE_CHECKING:
    from edgeproxy.app import Edge


_MOST_ROW_BYTES = 8 << 20


def _up_to(rows: Iterable[RawRow], most: int) -> list[RawRow]:
    """One row at least, and no more than come to `most` bytes."""
    taken: list[RawRow] = []
    for row in rows:
        most -= len(row.raw) + len(row.head or b"")
        if taken and most < 0:
            break
        taken.append(row)
    return taken


class Backend:
    """Implements `admin.backend.AdminBackend`."""

    def __init__(self, edge: "Edge") -> None:
        self._edge = edge
        self._rollbacks = RollbackDesk(edge)

    async def status(self) -> Json:
        edge = self._edge
        head = edge.sequencer.head()
        return {
            "node": edge.config.edge.node,
            "version": __version__,
            "pid": os.getpid(),
            "uptime_seconds": round(edge.clock.monotonic() - edge.started, 1),
            "draining": edge.draining,
            "connections": edge.open_connections,
            "listen": list(edge.listener.addresses),
            "listen_tls": list(edge.https.addresses),
            "config": str(edge.config.path) if edge.config.path else None,
            "sites": [self._site_status(site) for site in edge.handler.sites.sites],
            "store": {
                "objects": len(edge.cache.index),
                "memory_used": edge.tier.used,
                "memory_limit": edge.tier.budget,
                "disk_used": edge.bodies.total_bytes,
                "disk_limit": edge.retention.quota,
            },
            "ledger": {**await self.ledger_head(), "pending": edge.sequencer.next_height - head.size},
            "finality": finality_view(edge.validators) if edge.validators is not None else None,
            "certificates": await self.certificates(),
            "rollbacks": await self._rollbacks.in_force(),
            "service_workers": self.service_workers(),
        }

    # --- service workers

    def service_workers(self) -> Json:
        return self._edge.browsers.status()

    async def order_workers(self, site: str | None, mode: str) -> Json:
        return await self._edge.browsers.order(site, mode)

    # --- certificates ---

    async def certificates(self) -> list[Json]:
        https, now = self._edge.https, self._edge.clock.seconds()
        return [certificate_view(status, now) for status in https.status()]

    async def renew(self, name: str) -> None:
        await self._edge.https.renew(name)

    def _site_status(self, site: Site) -> Json:
        counters = self._edge.metrics.site(site.name)
        requests = counters.exchanges - counters.own
        served = counters.hits + counters.stale + counters.revalidated
        return {
            "name": site.name,
            "hosts": list(site.hosts),
            "origins": [
                {"url": origin.url, "state": health.state.value, "since": health.since, "why": health.why}
                for origin, health in site.origin.health()
            ],
            "requests": requests,
            "own": counters.own,
            "hits": counters.hits,
            "stale": counters.stale,
            "errors": counters.failed,
            "hit_ratio": round(served / requests, 4) if requests else None,
        }

    # --- explain and purge ---

    def _site_of(self, url: str) -> Site:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise RequestRefused("not an absolute http URL", url=url)
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        site = self._edge.handler.sites.find(host.lower())
        if site is None:
            raise RequestRefused("no site is configured for this host", status=404, host=host)
        return site

    async def explain(self, url: str, fields: Fields) -> Json:
        edge, site = self._edge, self._site_of(url)
        parts = urlsplit(url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        lines = Fields((("Host", parts.netloc.rpartition("@")[2]), *fields.without(frozenset(("host",))).lines))
        head = f"GET {target} HTTP/1.1\r\n".encode("latin-1") + lines.encode() + b"\r\n"
        request = parse_request_head(head, Limits(), scheme=parts.scheme)
        now = edge.clock.now()
        found = await edge.cache.find(site, request, now)
        stored = found.resident.stored if found.resident else None
        absent = Reason.VARY_MISS if found.varies else Reason.MISS
        decision = plan(request, stored, now, site.policy, found.mark, absent=absent, pinned=found.pinned, refused=found.refused)
        rule = edge.cache.rules.rolled_back(site.name, found.key)
        slot = edge.cache.index.slot(found.key)
        return {
            "url": url,
            "site": site.name,
            "key": found.key,
            "plan": type(decision).__name__,
            "reason": decision.reason,
            "rule": str(rule) if rule else None if found.mark is Mark.NONE else found.mark.name.lower(),
            "variants": [self._variant(site, entry, found) for entry in (slot.entries if slot else ())],
        }

    def _variant(self, site: Site, entry: Entry, found: Found) -> Json:
        edge, selected = self._edge, entry is found.entry
        now = edge.clock.now()
        resident = entry.pending or edge.tier.get(entry.tier_key)
        if selected and found.resident is not None:
            resident = found.resident
        version = entry.versions[-1] if entry.versions else None
        body = resident.ref if resident else version.body if version else None
        stored = resident.stored if resident else None
        return {
            "height": stored.height if stored and stored.height is not None else version.height if version else None,
            "status": stored.status if stored else version.status if version else None,
            "age": freshness.current_age(stored, now) if stored else None,
            "fresh_for": (freshness.fresh_until(stored, site.policy) - now) // 1000 if stored else None,
            "selecting": dict(entry.selecting),
            "body": body.digest.hex() if body else None,
            "length": body.length if body else None,
            "versions": len(entry.versions),
            "in_memory": resident is not None,
            "selected": selected,
        }

    async def purge(self, order: PurgeOrder) -> Json:
        drafts = list(self._purge_drafts(order))
        matched = 0
        for draft in drafts:
            matched += await self._matched(draft)
        if order.dry_run:
            return {"heights": [], "matched": matched, "dry_run": True}
        blocks = [await self._edge.recorder.purge(draft) for draft in drafts]
        return {"heights": [block.height for block in blocks], "matched": matched, "dry_run": False}

    def _purge_drafts(self, order: PurgeOrder) -> list[PurgeDraft]:
        mode, now = "hard" if order.hard else "soft", self._edge.clock.now()
        sites = self._edge.handler.sites
        chosen: list[tuple[Site, Any, str]] = []
        for value in order.values:
            match order.kind:
                case PurgeKind.SITE:
                    site = self._site_of(f"http://{value}/")
                    chosen.append((site, "site", site.name))
                case PurgeKind.URL:
                    site = self._site_of(value)
                    chosen.append((site, "url", primary_key(value, site.keys)))
                case PurgeKind.PREFIX if not value.startswith("/"):
                    chosen.append((self._site_of(value), "prefix", primary_key(value)))
                case _:  # tags and prefixes of paths
                    named = (self._site_of(f"http://{order.site}/"),) if order.site else sites.sites
                    chosen.extend((site, order.kind.value, value) for site in named)
        return [PurgeDraft(site.name, kind, value, "hard" if mode == "hard" else "soft", now) for site, kind, value in chosen]

    async def _matched(self, draft: PurgeDraft) -> int:
        """Stored responses that the rule covers; walks the index, since a person waits for the number and nothing else does."""
        edge = self._edge
        site = next((each for each in edge.handler.sites.sites if each.name == draft.site), None)
        probe = Rules(edge.cache.genesis_salt)
        probe.add(Height(edge.sequencer.head().size), PurgeNames(draft.site, draft.kind, draft.value, draft.mode))
        count = 0
        for entry in [each for each in edge.cache.index.entries() if each.site == draft.site]:
            tags = await self._tags(site, entry) if site and draft.kind == "tag" else ()
            if probe.mark(None, site=entry.site, url=entry.key, tags=tags) is not Mark.NONE:
                count += 1
        return count

    async def _tags(self, site: Site, entry: Entry) -> Iterable[str]:
        """The tags of an entry, out of its stored head when it is not in memory. Raises StoreError."""
        resident = entry.pending or self._edge.tier.get(entry.tier_key)
        if resident is not None and not resident.pinned:
            return resident.tags
        if not entry.versions:
            return ()
        row = await self._edge.db.load(entry.versions[-1].height)
        try:
            return tags_of(decode_stored_head(row.head).fields, site.policy)
        except ValueError:
            return ()  # damaged: it will not be served either

    async def rollback(self, order: RollbackOrder) -> Json:
        return await self._rollbacks.roll_back(order)

    async def release(self, order: ReleaseOrder) -> Json:
        return await self._rollbacks.release(order)

    async def reload(self) -> tuple[list[str], list[str]]:
        return await self._edge.reload(), self._edge.waiting

    # --- ledger ---

    async def ledger_head(self) -> Json:
        head = self._edge.sequencer.head()
        key = self._edge.sequencer.log
        final = self._edge.validators.final_size if self._edge.validators is not None else None
        return head_view(key.name, str(key), head.size, head.root, head.time, final)

    async def ledger_rotate(self) -> Json:
        block = await self._edge.sequencer.rotate()
        assert isinstance(block.entry, Rotate), "only such a block comes of it"
        return {"height": block.height, "vkey": block.entry.new, "old": block.entry.old}

    async def ledger_show(self, height: int) -> Json | None:
        if not 0 <= height < self._edge.sequencer.head().size:
            return None
        row = await self._edge.db.load(height)
        names = decode_names(row.names) if row.names is not None else None
        standing = None
        if isinstance(names, StoredNames):
            versions = self._edge.sequencer.fold.by_url.get(names.url, {}).get(names.selecting, [])
            found = await self._standings(names.url, [version for version in versions if version.height == height])
            standing = found[0] if found else None
        return block_view(decode(row.raw), names, standing)

    async def ledger_history(self, url: str, limit: int) -> Json:
        fold = self._edge.sequencer.fold
        host = urlsplit(url).hostname or ""
        site = self._edge.handler.sites.find(f"[{host}]" if ":" in host else host)
        key = primary_key(url, site.keys if site is not None else NO_RULES)
        erased = fold.erased_at({url, key}, {*fold.sites(), *(site.name for site in self._edge.handler.sites.sites)})
        versions = versions_of(fold, url, key)[::-1][:limit]
        near = [] if versions or erased is not None else namesakes(fold, key)
        return history_view(url, await self._standings(url, versions), erased, near)

    async def ledger_erase(self, url: str, everywhere: bool, dry_run: bool) -> Json:
        edge, site = self._edge, self._site_of(url)
        heights: list[Height] = []
        if dry_run:
            found = edge.eraser.plan(site, url, everywhere=everywhere)
        else:
            found, heights = await edge.eraser.erase(site, url, everywhere=everywhere)
        return erasing_view(url, found, heights, edge.db.leftovers())

    async def ledger_rows(self, start: int, most: int) -> Json:
        edge = self._edge
        note = edge.sequencer.publication.checkpoint
        stated = read_checkpoint(note)
        if note is None or stated is None:
            raise StoreError("the ledger is not signed, since its checkpoint could not be kept")
        stop = min(stated.size, start + most)
        rows = await edge.db.read(lambda connection: _up_to(read_rows(connection, start, stop), _MOST_ROW_BYTES))
        return {"size": stated.size, "vkey": str(edge.sequencer.log), "checkpoint": note.decode(), "rows": rows_view(rows)}

    async def ledger_body(self, digest: bytes) -> tuple[int, AsyncIterator[bytes]] | None:
        edge = self._edge
        ref = edge.sequencer.fold.body(Digest(digest))
        if ref is None or not edge.bodies.exists(ref.digest):
            return None
        return ref.length, edge.delivery.proved(ref)

    async def _standings(self, url: str, versions: list[Version]) -> list[Standing]:
        edge = self._edge
        heights = [version.height for version in versions]
        traces = await edge.db.read(lambda connection: traces_of(connection, heights))
        rules = {site.name: site.keys for site in edge.handler.sites.sites}
        key = primary_key(url, rules.get(versions[0].site, NO_RULES)) if versions else url
        return standings(edge.sequencer.fold, key, versions, traces, self._rollbacks.has_body)

    # --- health ---

    def metrics(self) -> bytes:
        edge = self._edge
        front = edge.https.front
        edge.metrics.connections = edge.listener.connections.accepted + (front.connections.accepted if front else 0)
        for site in edge.handler.sites.sites:
            edge.metrics.site(site.name).origin_tries = site.origin.tries
        return edge.metrics.render().encode()

    def healthy(self) -> tuple[bool, Json]:
        failure = self._edge.recorder.failure
        recovered = self._edge.sequencer.recovered
        damage = recovered.faults if recovered else ()
        checks: Json = {"ledger": "ok", "store": "ok"}
        if damage:
            checks["ledger"] = f"damaged rows were found at the start ({len(damage)}); see `edgeproxy ledger verify`"
        if failure is not None:
            checks["store"] = failure.text
        if rollbacks := len(self._edge.cache.rules.rollbacks):
            checks["rollbacks"] = f"{rollbacks} in force; see `edgeproxy status`"
        certificates = self._edge.https.health()
        checks["certificates"] = "; ".join(certificates.reasons) or "ok"
        if (validators := self._edge.validators) is not None:
            # A word, not a verdict: serving does not depend on them, and one of them that lies must not take the edge out of use.
            checks["validators"] = "; ".join(validators.alarms) or ("ok" if validators.state == "final" else validators.state)
        return failure is None and certificates.colour is not Colour.RED, checks

    def ready(self) -> tuple[bool, Json]:
        edge = self._edge
        listening = bool(edge.listener.addresses)
        return listening and not edge.draining, {"listening": listening, "draining": edge.draining}
