"""Rollback and release as an operator orders them from a running edge.

Owns: what an order means (scope, height), its refusals in words, and how rollbacks in force are shown. What a rollback does to an
exchange is `exchange.cache`'s; this writes one block and waits for it.
"""

from typing import TYPE_CHECKING

from edgeproxy.admin.backend import Json, ReleaseOrder, RollbackOrder
from edgeproxy.caching.key import primary_key
from edgeproxy.caching.model import Height
from edgeproxy.clock import Instant
from edgeproxy.errors import RequestRefused
from edgeproxy.exchange.survey import Scope, Survey, Surveyor
from edgeproxy.ledger.drafts import ReleaseDraft, RollbackDraft
from edgeproxy.ledger.fold import Version
from edgeproxy.ledger.moments import AtHeight, before_all, parse_moment
from edgeproxy.ledger.rollbacks import InForce
from edgeproxy.storage.ledger_rows import height_at, time_of

if TYPE_CHECKING:
    from edgeproxy.app import Edge

LISTED = 100
"""URLs of each kind that a dry run lists, and rollbacks that a status does."""


class RollbackDesk:
    """Takes orders for one edge. Raises `RequestRefused` for those that make no sense, StoreError for those that fail."""

    def __init__(self, edge: "Edge") -> None:
        self._edge = edge

    async def roll_back(self, order: RollbackOrder) -> Json:
        """`AdminBackend.rollback`."""
        scope, to = self._scope(order.site, order.prefix), await self.height_of(order.to)
        told: Json = {
            "height": None,
            "to": to,
            "to_time": await self._time_of(to),
            "scope": _scope_view(scope),
            "absent": order.absent,
            "dry_run": order.dry_run,
        }
        surveyor = Surveyor(self._edge.sequencer.fold, self._edge.handler.sites, self.has_body)
        if order.dry_run:
            found = await surveyor.survey(scope, to, LISTED)
            return {**told, **_survey_view(found)}
        now = self._edge.clock.now()
        draft = RollbackDraft(scope.site, scope.kind, scope.value, to, order.absent, now)
        (block,) = await self._edge.recorder.set_rollbacks(draft)
        # Counted when it is in force: whoever mistyped a prefix must not believe that the site is mended.
        urls, then = await surveyor.covered(scope, to)
        return {**told, "height": block.height, "covered": {"urls": urls, "then": then}}

    async def release(self, order: ReleaseOrder) -> Json:
        """`AdminBackend.release`."""
        scopes, now = self._to_release(order), self._edge.clock.now()
        drafts = [ReleaseDraft(scope.site, scope.kind, scope.value, now) for scope in scopes]
        blocks = await self._edge.recorder.set_rollbacks(*drafts)
        released = [{"height": block.height, **_scope_view(scope)} for scope, block in zip(scopes, blocks, strict=True)]
        return {"heights": [one["height"] for one in released], "released": released}

    def _to_release(self, order: ReleaseOrder) -> list[Scope]:
        in_force = self._edge.cache.rules.rollbacks
        if order.site is not None or order.prefix is not None:
            scope = self._scope(order.site, order.prefix)
            if in_force.of_scope(scope.site, scope.kind, scope.value) is None:
                raise RequestRefused(f"nothing to release: no rollback of {scope} is in force{self._others()}", status=409)
            return [scope]
        if not in_force:
            raise RequestRefused("nothing to release: no rollback is in force", status=409)
        scopes = [found for one in in_force if (found := self._named(one)) is not None]
        if not scopes:
            raise RequestRefused("the names of the rollbacks in force were lost: name one with its site or prefix", status=409)
        return scopes

    def _others(self) -> str:
        others = [str(found) for one in self._edge.cache.rules.rollbacks if (found := self._named(one)) is not None]
        return f"; there is one of: {', '.join(others[:LISTED])}" if others else ""

    def _named(self, one: InForce) -> Scope | None:
        """The scope of a rollback; of a site's whose name was lost, found again among the sites."""
        if one.site is not None and one.value is not None:
            return Scope(one.kind, one.site, one.value)
        if one.kind == "site":
            for site in self._edge.handler.sites.sites:
                if self._edge.cache.rules.rollbacks.of_scope(site.name, "site", site.name) == one.rule:
                    return Scope("site", site.name, site.name)
        return None

    def _scope(self, host: str | None, prefix: str | None) -> Scope:
        site = None if host is None else self._site_name(host)
        if prefix is None:
            return Scope("node", "", "") if site is None else Scope("site", site, site)
        if prefix.startswith("/"):
            return Scope("prefix", site or "", prefix)
        authority = prefix.partition("://")[2].partition("/")[0].partition("?")[0]
        owner = self._site_name(authority.rpartition("@")[2])
        if site is not None and owner != site:
            raise RequestRefused(f"prefix {prefix} is of site {owner}, not of {site}")
        return Scope("prefix", owner, primary_key(prefix))

    def _site_name(self, host: str) -> str:
        name = host.lower()
        if not name.endswith("]"):
            head, colon, port = name.rpartition(":")
            name = head if colon and port.isdecimal() else name
        sites = self._edge.handler.sites
        site = sites.find(name) or next((each for each in sites.sites if each.name == name), None)
        if site is None:
            raise RequestRefused(f"no site is configured for host {host!r}", status=404)
        return site.name

    async def height_of(self, text: str) -> Height:
        """The height that `text` means now. Raises `RequestRefused` for what is no moment, or one without a block."""
        size = self._edge.sequencer.head().size
        try:
            moment = parse_moment(text, self._edge.clock.now())
        except ValueError as error:
            raise RequestRefused(str(error)) from None
        if isinstance(moment, AtHeight):
            if moment.height >= size:
                raise RequestRefused(f"height {moment.height} is in the future: the newest block is {size - 1}")
            return moment.height
        if moment.instant > self._edge.clock.now() + 1000:
            raise RequestRefused(f"{text} is in the future")
        height = await self._edge.db.read(lambda connection: height_at(connection, size, moment.instant))
        if height is None:
            raise RequestRefused(before_all(text, await self._time_of(0)))
        return height

    async def _time_of(self, height: int) -> Instant | None:
        return await self._edge.db.read(lambda connection: time_of(connection, height))

    def has_body(self, version: Version) -> bool:
        """Whether the content of a version is still there."""
        return self._edge.sequencer.fold.has_body(version) and self._edge.bodies.exists(version.body.digest)

    async def in_force(self) -> list[Json]:
        """The rollbacks in force, the newest first."""
        return [
            {
                "height": one.rule.height,
                "time": await self._time_of(one.rule.height),
                "to": one.rule.to,
                "to_time": await self._time_of(one.rule.to),
                "absent": one.rule.absent,
                "kind": one.kind,
                "site": one.site,
                "value": one.value,
            }
            for one in list(self._edge.cache.rules.rollbacks)[::-1][:LISTED]
        ]


def _scope_view(scope: Scope) -> Json:
    return {"kind": scope.kind, "site": scope.site or None, "value": scope.value or None, "text": str(scope)}


def _survey_view(found: Survey) -> Json:
    return {
        "counts": {name: found.counts[name] for name in ("urls", "changes", "differs", "same", "missing", "erased")},
        "changes": [
            {"url": one.url, "selecting": dict(one.selecting), "now": one.now, "then": one.then, "differs": one.differs}
            for one in found.changes
        ],
        "missing": found.missing,
        "erased": [
            {"url": one.url, "selecting": dict(one.selecting), "then": one.then, "instead": one.instead} for one in found.erased
        ],
    }
