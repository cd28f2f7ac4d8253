"""An edge that exists only for the admin side: it answers with what a test gave it, and keeps what it was asked."""

from collections.abc import AsyncIterator
from typing import Any

from edgeproxy.admin.backend import PurgeOrder, ReleaseOrder, RollbackOrder
from edgeproxy.errors import CertificateFault, RequestRefused
from edgeproxy.wire.fields import Fields

ROOT = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="

CERTIFICATE = {
    "names": ["example.org"],
    "state": "valid",
    "not_after": 1_764_000_000.0,
    "seconds_left": 5_184_000,
    "issuer": "CN=Tests",
    "directory": "https://ca.test/directory",
    "fingerprint": "ab" * 32,
    "last_success": 1_763_000_000.0,
    "next_attempt": 4_102_444_800.0,
    "failures": 0,
    "suggested": None,
    "advice": "",
}


class StandInBackend:
    """Implements `AdminBackend`."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.faults: list[str] = []
        self.waiting: list[str] = []
        self.is_old = False
        self.health: tuple[bool, dict[str, Any]] = (True, {"ledger": "ok", "store": "ok"})
        self.readiness: tuple[bool, dict[str, Any]] = (True, {"listening": "127.0.0.1:8080"})
        self.failure: Exception | None = None
        self.last_failure: dict[str, Any] | None = None
        self.rollbacks: list[dict[str, Any]] = []
        self.origins: list[dict[str, Any]] = [{"url": "http://127.0.0.1:9000", "state": "up"}]

    async def status(self) -> dict[str, Any]:
        if self.failure is not None:
            raise self.failure
        return {
            "node": "edge-1",
            "version": "0.1.0",
            "pid": 7,
            "uptime_seconds": 3_725,
            "draining": False,
            "connections": 3,
            "listen": ["127.0.0.1:8080"],
            "config": None,
            "sites": [
                {
                    "name": "example.org",
                    "hosts": ["example.org", "www.example.org"],
                    "origins": self.origins,
                    "requests": 1000,
                    "hits": 931,
                    "stale": 2,
                    "errors": 0,
                    "hit_ratio": 0.931,
                }
            ],
            "store": {
                "objects": 12,
                "memory_used": 1536,
                "memory_limit": 256 << 20,
                "disk_used": 5 << 30,
                "disk_limit": 10 << 30,
            },
            "ledger": {**await self.ledger_head(), "pending": 1},
            "certificates": await self.certificates(),
            "rollbacks": self.rollbacks,
            "service_workers": self.service_workers(),
        }

    async def certificates(self) -> list[dict[str, Any]]:
        return [{**CERTIFICATE, "last_failure": self.last_failure}]

    async def renew(self, name: str) -> None:
        self.asked.append(("renew", name))
        if name != "example.org":
            raise CertificateFault("no certificate is kept for this name", name=name)

    async def explain(self, url: str, fields: Fields) -> dict[str, Any]:
        self.asked.append(("explain", url, fields))
        if "nowhere" in url:
            raise RequestRefused("no site has this host", host="nowhere", status=404)
        variant = {"height": 4, "status": 200, "age": 61, "fresh_for": -1, "length": 5120, "selected": True}
        return {
            "url": url,
            "site": "example.org",
            "key": url,
            "plan": "Revalidate",
            "reason": "stale",
            "rule": None,
            "variants": [{**variant, "selecting": {"accept-language": "de\x1b[31m", "cookie": None}, "body": "00" * 32}],
        }

    async def purge(self, order: PurgeOrder) -> dict[str, Any]:
        self.asked.append(("purge", order))
        return {"heights": [] if order.dry_run else [9], "matched": 2, "dry_run": order.dry_run}

    async def rollback(self, order: RollbackOrder) -> dict[str, Any]:
        self.asked.append(("rollback", order))
        scope = {"kind": "node", "site": None, "value": None, "text": "every site"}
        told = {"to": 4, "to_time": 1_764_000_000_000, "scope": scope, "absent": order.absent, "dry_run": order.dry_run}
        if not order.dry_run:
            covered = {"urls": 0, "then": 0} if order.prefix == "/blgo/" else {"urls": 8, "then": 7}
            return {"height": 9, **told, **({} if self.is_old else {"covered": covered})}
        counts = {"urls": 203, "changes": 101, "differs": 1, "same": 1, "missing": 1, "erased": 1}
        change = {"url": "http://example.org/\x1b", "selecting": {}, "now": 8, "then": 3, "differs": True}
        erased = {"url": "http://example.org/lost", "selecting": {}, "then": 2, "instead": None}
        listed = {"changes": [change], "missing": ["http://example.org/late"], "erased": [erased]}
        return {"height": None, **told, "counts": counts, **listed}

    async def release(self, order: ReleaseOrder) -> dict[str, Any]:
        self.asked.append(("release", order))
        if order.site == "nowhere.example":
            raise RequestRefused("nothing to release: no rollback is in force", status=409)
        released = {"height": 10, "kind": "node", "site": None, "value": None, "text": "every site"}
        return {"heights": [10], "released": [released]}

    async def reload(self) -> tuple[list[str], list[str]]:
        self.asked.append(("reload",))
        return self.faults, self.waiting

    def service_workers(self) -> dict[str, Any]:
        receipts = {
            "last": 1_764_000_000_000,
            "day": 3,
            "served": 2,
            "unproved": 0,
            "by_source": {"cache": 2, "none": 1},
            "by_cause": {"network": 3},
        }
        site = {"site": "example.org", "mode": "on", "configured": "on", "ordered": None, "percent": 50, "mirrors": [], "own": []}
        return {"serial": 7, "sites": [{**site, "serial": 7, "receipts": receipts}]}

    async def order_workers(self, site: str | None, mode: str) -> dict[str, Any]:
        self.asked.append(("order", site, mode))
        if mode == "never":
            raise RequestRefused("mode must be one of on, observe, bypass, kill, config", mode=mode)
        return self.service_workers()

    async def ledger_head(self) -> dict[str, Any]:
        return {
            "origin": "edge-1/.edge/ledger",
            "size": 10,
            "root": ROOT,
            "time": 1_764_000_000_000,
            "vkey": None,
            "final_size": None,
        }

    async def ledger_rotate(self) -> dict[str, Any]:
        self.asked.append(("rotate",))
        return {"height": 10, "vkey": "new", "old": "old"}

    async def ledger_show(self, height: int) -> dict[str, Any] | None:
        if height != 3:
            return None
        block = {"v": 1, "height": 3, "time": 1_764_000_000_000, "op": "store", "chunks": None}
        return {"height": 3, "leaf": ROOT, "block": block, "url": "http://example.org/", "site": "example.org", "value": None}

    async def ledger_history(self, url: str, limit: int) -> dict[str, Any]:
        self.asked.append(("history", url, limit))
        if not url.endswith("/page"):
            return {"url": url, "versions": [], "near": ["http://example.org:8080/no"] if url.endswith("/no") else []}
        version = {"height": 3, "time": 1_764_000_000_000, "op": "store", "status": 200, "body": "ab" * 32, "length": 5120}
        return {"url": url, "versions": [{**version, "selecting": {}}]}

    async def ledger_erase(self, url: str, everywhere: bool, dry_run: bool) -> dict[str, Any]:
        self.asked.append(("erase", url, everywhere, dry_run))
        return {"url": url, "heights": [] if dry_run else [9], "versions": 2, "bodies": 1, "bytes": 10, "kept": 1, "others": 0,
                "dry_run": dry_run, "left": []}  # fmt: skip

    async def ledger_rows(self, start: int, most: int) -> dict[str, Any]:
        self.asked.append(("rows", start, most))
        return {"size": 0, "vkey": "key", "checkpoint": "", "rows": []}

    async def ledger_body(self, digest: bytes) -> tuple[int, AsyncIterator[bytes]] | None:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"bo"
            yield b"dy"

        return (4, pieces()) if digest == bytes(32) else None

    def metrics(self) -> bytes:
        return b"edgeproxy_requests_total 5\n"

    def healthy(self) -> tuple[bool, dict[str, Any]]:
        return self.health

    def ready(self) -> tuple[bool, dict[str, Any]]:
        return self.readiness
