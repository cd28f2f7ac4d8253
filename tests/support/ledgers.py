"""Drafts, and a whole ledger in a folder, for tests."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from edgeproxy.caching.model import Digest, Selecting
from edgeproxy.clock import Instant, ManualClock
from edgeproxy.errors import StoreError
from edgeproxy.ledger.checkpoint import Checkpoint, open_checkpoint
from edgeproxy.ledger.chunks import ref_of
from edgeproxy.ledger.drafts import BodyRef, StoreDraft
from edgeproxy.ledger.fold import Fold
from edgeproxy.ledger.replay import RawRow, TreeHead
from edgeproxy.sequencer.sequencer import Sequencer
from edgeproxy.storage.bodies import BodyStore
from edgeproxy.storage.ledger_db import LEDGER_FILE, LedgerDb

SITE = "www.example.org"
NOW = Instant(1_764_000_000_000)


def head_for(number: int, padding: int = 0) -> bytes:
    """A stored head as `wire.http1.encode_stored_head` writes one."""
    lines = ["HTTP/1.1 200 OK", "Date: Mon, 24 Nov 2025 16:00:00 GMT", f'ETag: "{number}"', "Age: 7"]
    if padding:
        lines.append("X-Padding: " + "p" * padding)
    return "".join(f"{line}\r\n" for line in lines).encode()


def store_draft(
    number: int, *, body: BodyRef | None = None, url: str = "", selecting: Selecting = (), **fields: object
) -> StoreDraft:
    """The `number`-th response; each has a body of its own unless one is given."""
    values: dict[str, object] = {
        "op": "store",
        "site": SITE,
        "url": url or f"http://{SITE}/page/{number}",
        "selecting": selecting,
        "status": 200,
        "head": head_for(number),
        "body": body or ref_of(b"body %d" % number),
        "time": Instant(NOW + number),
        "trace": "",
    }
    return StoreDraft(**{**values, **fields})  # type: ignore[arg-type]


@dataclass
class MemoryBodies:
    """The sequencer's side of a body store, with failures to order."""

    durable: set[Digest] = field(default_factory=set)
    failing: dict[Digest, Exception] = field(default_factory=dict)
    deleted: list[Digest] = field(default_factory=list)

    async def make_durable(self, refs: object) -> None:
        failures = []
        for ref in refs:  # type: ignore[attr-defined]
            if ref.digest in self.failing:
                failures.append(self.failing[ref.digest])
            else:
                self.durable.add(ref.digest)
        for failure in failures:
            raise failure

    def exists(self, digest: Digest) -> bool:
        return digest in self.durable

    async def delete(self, digest: Digest) -> bool:
        self.deleted.append(digest)
        self.durable.discard(digest)
        return True


class Ledger:
    """A sequencer on a database (and on real bodies when `bodies` is a BodyStore) in `data`."""

    def __init__(self, data: Path, bodies: MemoryBodies | BodyStore | None = None, **options: object) -> None:
        self.data = data
        self.clock = ManualClock(NOW)
        self.db = LedgerDb(data / LEDGER_FILE, max_bytes=options.pop("max_bytes", None))  # type: ignore[arg-type]
        self.bodies = bodies if bodies is not None else MemoryBodies()
        options.setdefault("max_delay", 0.005)
        self.sequencer = Sequencer(self.db, self.bodies, self.clock, "edge-1", **options)  # type: ignore[arg-type]

    async def __aenter__(self) -> "Ledger":
        try:
            if isinstance(self.bodies, BodyStore):
                await self.bodies.open()
            await self.sequencer.start()
        except BaseException:
            await self.db.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.sequencer.stop()
        await self.db.close()
        if isinstance(self.bodies, BodyStore):
            await self.bodies.close()

    @property
    def fold(self) -> Fold:
        return self.sequencer.fold

    async def fill(self, count: int, start: int = 1) -> None:
        """Commit `count` drafts, each with a real body when there is a body store."""
        for number in range(start, start + count):
            self.sequencer.append(store_draft(number, body=await self.body(b"body %d" % number)))
        await self.sequencer.flush()

    async def body(self, data: bytes) -> BodyRef:
        """Hand `data` to the body store as the exchange does."""
        if not isinstance(self.bodies, BodyStore):
            return ref_of(data)
        writer = await self.bodies.writer()
        await writer.write(data)
        return await writer.finish()


def stated_by(ledger: Ledger) -> Checkpoint:
    """What the running log states, opened with its key."""
    note, log = ledger.sequencer.publication.checkpoint, ledger.sequencer.log
    assert note is not None
    return open_checkpoint(note, log, log.name).checkpoint


@contextmanager
def uncertain_commits(db: LedgerDb, *, persisted: bool, readable: bool) -> Iterator[None]:
    """Within it each commit fails: with `persisted` after all of it was written. `readable`: what is there can be asked for."""
    write, read = db.append, db.read_state

    async def failing_write(rows: Sequence[RawRow], head: TreeHead, checkpoint: bytes | None = None) -> None:
        if persisted:
            await write(rows, head, checkpoint)
        raise StoreError("ledger database failed")

    async def failing_read() -> object:
        raise StoreError("ledger database failed")

    db.append = failing_write  # type: ignore[method-assign]
    if not readable:
        db.read_state = failing_read  # type: ignore[assignment,method-assign]
    try:
        yield
    finally:
        db.append, db.read_state = write, read  # type: ignore[method-assign]
