"""What the admin server asks of the edge, and the shape of the answers.

Owns: the interface and the words of its JSON. Must not import the edge; the edge implements this.
Errors: an `EdgeError` becomes a JSON error with its status; whatever else is raised is a 500 without detail.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from edgeproxy.ledger.drafts import Absent
from edgeproxy.wire.fields import Fields

Json = dict[str, Any]


class PurgeKind(StrEnum):
    """What the values of a purge name."""

    URL = "url"
    PREFIX = "prefix"
    TAG = "tag"
    SITE = "site"


@dataclass(frozen=True, slots=True)
class PurgeOrder:
    """What to purge. `values`, by `kind`: absolute URLs; prefixes of URLs or, from "/", of paths; tags; hosts of sites.

    `site`: host of the one site whose tags or paths are meant; None for all sites. `hard`: as if never stored, instead of stale.
    """

    kind: PurgeKind
    values: tuple[str, ...]
    site: str | None = None
    hard: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class RollbackOrder:
    """Serve as at `to`: a height, or a time as `ledger.moments` reads them. `site`: host of the one site that is meant; `prefix`
    of URLs or, from "/", of paths; None is everything. `absent`: what becomes of what was not stored then."""

    to: str
    site: str | None = None
    prefix: str | None = None
    absent: Absent = "fetch"
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class ReleaseOrder:
    """End the rollback of exactly this scope; without site and prefix all that are in force."""

    site: str | None = None
    prefix: str | None = None


class AdminBackend(Protocol):
    """The running edge as its operator sees it. Every answer is JSON with the keys below at least; more are shown too."""

    async def status(self) -> Json:
        """The edge at a glance.

        {"node", "version", "pid", "uptime_seconds", "draining", "connections", "listen": ["127.0.0.1:8080"],
        "config": path or null,
        "sites": [{"name", "hosts": [], "origins": [{"url", "state": "untried" | "up" | "erring" | "down", "since": ms or null,
        "why"}], "requests", "hits", "stale", "errors", "hit_ratio", "own"}], where "own" counts the answers of the edge itself
        (below /.edge/), not in "requests"; "hit_ratio" is of all that was served from the store: fresh, stale, or confirmed by
        the origin; an origin's "state" is what the last try at it came to,
        "store": {"objects", "memory_used", "memory_limit", "disk_used", "disk_limit"}  (bytes),
        "ledger": the answer of `ledger_head` and "pending": blocks not yet committed,
        "rollbacks": in force, the newest first: [{"height", "time": ms, "to", "to_time": ms, "absent", "kind", "site", "value"}],
        "finality": null without validators, else {"state": "final" | "lagging" | "fork", "final_size", "lag_blocks",
        "lag_seconds", "alarms": [text], "validators": [{"name", "vkey", "url", "size", "cosigned_at", "failures", "problem",
        "alarm"}]}}
        """
        ...

    async def explain(self, url: str, fields: Fields) -> Json:
        """How a GET of the absolute `url` with `fields` would be answered now; never asks an origin.

        {"url", "site", "key", "plan", "reason", "rule": text or null, "variants": [{"height", "status", "age", "fresh_for",
        "selecting": {name: value}, "body", "length", "selected"}]}
        """
        ...

    async def purge(self, order: PurgeOrder) -> Json:
        """Append the purge rules, and wait until they are durable. {"heights": [one a rule], "matched": stored responses now hit,
        "dry_run"}; with `dry_run` nothing is written and "heights" is empty. Raises `RequestRefused` for a URL of no site.
        """
        ...

    async def rollback(self, order: RollbackOrder) -> Json:
        """Append one rollback block, and wait until it is durable and in force. Raises `RequestRefused`.

        {"height": of the block, "to", "to_time": ms, "scope": {"kind", "site", "value", "text"}, "absent", "dry_run",
        "covered": {"urls": stored ones in the scope, "then": those of which something was stored at that height}}. With
        `dry_run` nothing is written, "height" is null, and instead of "covered" there are "counts": {"urls", "changes",
        "differs", "same", "missing", "erased"} and of each list at most 100: "changes": [{"url", "selecting", "now", "then",
        "differs"}], "missing": [url], "erased": [{"url", "selecting", "then", "instead": height or null}].
        """
        ...

    async def release(self, order: ReleaseOrder) -> Json:
        """Append the release blocks, and wait for them. {"heights": [], "released": [{"height", "kind", "site", "value",
        "text"}]}.

        Raises `RequestRefused` (409) when there is nothing to release.
        """
        ...

    async def reload(self) -> tuple[list[str], list[str]]:
        """Read the configuration anew and apply it. The faults when it is refused (the old one goes on; empty when applied), and
        a line for each key that was changed and waits for a restart."""
        ...

    async def certificates(self) -> list[Json]:
        """One object for each certificate that is wanted, in the order of the configuration; times are Unix seconds.

        {"names", "state", "not_after", "seconds_left", "issuer", "directory", "fingerprint", "last_success",
        "last_failure": {"time", "directory", "problem", "detail"} or null, "next_attempt", "failures",
        "suggested": {"start", "end", "chosen"} or null, "advice"}
        """
        ...

    async def renew(self, name: str) -> None:
        """Renew the certificate of `name` as soon as possible; returns before it is done. Raises `CertificateFault`."""
        ...

    def service_workers(self) -> Json:
        """What visitors' service workers are to do, and whom they saved within the last day; times in ms.

        {"serial", "sites": [{"site", "mode", "configured", "ordered": mode or null, "percent", "mirrors": [], "own": [hosts with
        a service worker of the site's own], "serial", "receipts": {"last", "day", "served", "unproved", "by_source": {},
        "by_cause": {}}}]}
        """
        ...

    async def order_workers(self, site: str | None, mode: str) -> Json:
        """Order `mode` ("on", "observe", "bypass", "kill"; "config" takes orders back) for the site of a host, or for all sites.

        Answers as `service_workers`, once the order is durable. Raises `RequestRefused` for another mode or an unknown site.
        """
        ...

    async def ledger_head(self) -> Json:
        """{"origin": "<host>/.edge/ledger", "size", "root": B64, "time": ms or null, "vkey", "final_size": or null}"""
        ...

    async def ledger_rotate(self) -> Json:
        """Make a new key, and let the old one hand over to it in a block. {"height", "vkey", "old"} once it is durable."""
        ...

    async def ledger_show(self, height: int) -> Json | None:
        """The block at `height`; None when there is none.

        {"height", "leaf": B64, "block": its JSON object, "url": in clear or null, "site": name or null, "trace", "body_there",
        "served", "why"}; the last four are null for a block that stores nothing.
        """
        ...

    async def ledger_history(self, url: str, limit: int) -> Json:
        """The versions of the absolute `url`, newest first, at most `limit`.

        {"url", "versions": [{"height", "time": ms, "op", "site", "status", "body": hex, "length", "selecting": {}, "trace",
        "body_there", "served", "why": text or null}]}; none for an unknown URL.
        "erased": height of the block since which older ones are gone for good, or null. "near": where there is no version, at
        most three URLs that have one, with this path at another scheme, host or port.
        """
        ...

    async def ledger_erase(self, url: str, everywhere: bool, dry_run: bool) -> Json:
        """Delete the contents of the absolute `url` for good; bodies that other URLs have too only with `everywhere`.

        {"url", "heights": [], "versions", "bodies", "bytes", "kept": bodies that stay since others have them, "others": URLs that
        lose versions, "dry_run", "left": [what the operator has to look after]}. Raises `RequestRefused` when there is none.
        """
        ...

    async def ledger_rows(self, start: int, most: int) -> Json:
        """Blocks from the height `start`, `most` at most, with heads and clear names, for another node.

        {"size", "vkey", "checkpoint": the note, "rows": [{"height", "block": B64, "head": B64 or null, "names": [] or null}]}
        """
        ...

    async def ledger_body(self, digest: bytes) -> tuple[int, AsyncIterator[bytes]] | None:
        """Length and pieces of a body, proved; None when it is not there."""
        ...

    def metrics(self) -> bytes:
        """Prometheus text (version 0.0.4)."""
        ...

    def healthy(self) -> tuple[bool, Json]:
        """Whether the process can do its work, and the checks: {"ledger": "ok", "store": "disk full"}. No secrets."""
        ...

    def ready(self) -> tuple[bool, Json]:
        """Whether traffic may be sent here: listening, and not draining. No secrets."""
        ...
