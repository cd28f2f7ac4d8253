"""The single writer of the ledger: drafts come in, blocks come out, in the order of arrival.

Owns: heights, the chain, and when a batch is committed. Must not decide what is stored. The keys are in the hands of `keys`, and
what becomes of bodies in those of `batch_bodies`.

A batch: make the bodies durable, seal the blocks on a copy of the chain's end, sign the checkpoint over them, commit blocks, tree
head and checkpoint in one transaction, and only then move the end, publish, tell the fold, `on_commit` and the waiters. Whatever
fails before the commit leaves the end where it was: no height is used up, and nobody has seen what was signed.
"""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

import msgspec

from edgeproxy.caching.model import Digest, Height
from edgeproxy.clock import Clock, Instant
from edgeproxy.errors import EdgeError, StoreError, StoreFull
from edgeproxy.ledger.block import Block, seal_genesis
from edgeproxy.ledger.drafts import (
    Draft,
    RotateDraft,
    StoreDraft,
    decode_names,
)
from edgeproxy.ledger.fold import Fold
from edgeproxy.ledger.merkle import MerkleFrontier
from edgeproxy.ledger.note_keys import Signer, Verifier
from edgeproxy.ledger.notes import sign_note
from edgeproxy.ledger.replay import RawRow, TreeHead
from edgeproxy.ledger.verify import verify_block
from edgeproxy.sequencer.batch_bodies import Bodies, delete_released, make_durable
from edgeproxy.sequencer.keys import Keys
from edgeproxy.sequencer.publication import Publication
from edgeproxy.sequencer.recovery import Recovered, recover
from edgeproxy.sequencer.sealing import NOTHING_AHEAD, Ahead, Sealed, Waiting, seal_batch
from edgeproxy.sequencer.signing import Verdict, open_key
from edgeproxy.storage.ledger_db import LedgerDb
from edgeproxy.storage.ledger_key import ensure_mldsa_key
from edgeproxy.storage.ledger_rows import read_rows
from edgeproxy.tasks import spawn

log = logging.getLogger("edgeproxy.sequencer")

ORIGIN_PATH = "/.edge/ledger"
"""Behind the host in the name of the log: where its tiles are served."""

MAX_WAITING = 8192
"""Drafts that wait for their block, at most; their bodies are bounded by the body store."""


@dataclass(frozen=True, slots=True)
class Head:
    """The ledger as committed: `size` blocks with this Merkle root; `time` is that of the last block."""

    size: int
    root: Digest
    time: Instant


class Committed(msgspec.Struct, frozen=True, gc=False):
    """A draft and the block it became."""

    block: Block
    draft: Draft


class Sequencer:
    """`max_delay` in seconds; a batch is committed when its first draft has waited that long or it has `max_batch` drafts.

    `on_commit` is called with each committed batch, after the fold has taken it and before the futures are resolved. `batch_span`
    makes a context around each batch, for tracing. `random_bytes` makes the salt of a new ledger and the seed of its key;
    `origin` is the name of the log when its key is made, and is not looked at after.
    """

    def __init__(
        self, db: LedgerDb, bodies: Bodies, clock: Clock, node: str, *, max_delay: float = 0.1, max_batch: int = 256
    ) -> None:
        self.on_commit: Callable[[Sequence[Committed]], None] = lambda committed: None
        self.batch_span: Callable[[Sequence[Draft]], AbstractContextManager[object]] = lambda drafts: nullcontext()
        self.random_bytes: Callable[[int], bytes] = secrets.token_bytes
        self.origin = f"{node}{ORIGIN_PATH}"
        self.recovered: Recovered | None = None
        self.fault: EdgeError | None = None
        """Why the last batch could not be committed; None once one is again."""
        self._db = db
        self._bodies = bodies
        self._clock = clock
        self._node = node
        self._max_delay = max_delay
        self._max_batch = max_batch
        self._queue: deque[Waiting] = deque()
        self._in_flight: tuple[Waiting, ...] = ()
        self._arrived = asyncio.Event()
        self._hurry = asyncio.Event()
        self._urgent = 0
        self._stopping = False
        self._unsure = False
        self._writing: Sealed | None = None
        self._ahead = NOTHING_AHEAD
        self._task: asyncio.Task[None] | None = None
        self._batch: asyncio.Task[None] | None = None
        self._fold: Fold | None = None
        self._head: TreeHead | None = None
        self.wants_mldsa = False
        """Whether checkpoints are signed with ML-DSA-44 too. To be said before `start`."""
        self._keys: Keys | None = None
        self._publication: Publication | None = None

    def __repr__(self) -> str:
        size = self._head.size if self._head else None
        return f"<Sequencer size={size} waiting={len(self._queue)} in_flight={len(self._in_flight)}>"

    # -- life -----------------------------------------------------------------------------------------------------------------

    async def start(self) -> Fold:
        """Open and recover the ledger, begin one when there is none, and start to write. The fold follows every commit.

        Raises StartError, StoreFull, StoreError. What was wrong and could be lived with is in `recovered`.
        """
        recovered = self.recovered = await recover(self._db)
        self._fold, self._head = recovered.fold, recovered.head
        # Before anything is signed: does what was signed last still hold?
        folder, name = self._db.path.parent, self.origin
        signer, verdict = await asyncio.to_thread(open_key, folder, name, recovered, self.random_bytes)
        keys = self._keys = Keys(folder, self._clock, signer)
        if self.wants_mldsa:
            keys.second = await asyncio.to_thread(ensure_mldsa_key, folder, signer.name, self.random_bytes)
        self._publication = Publication(self._db, recovered.tiles, recovered.checkpoint)
        if recovered.head.size == 0:
            await self._begin()
        elif verdict is not Verdict.GOES_ON:
            await self._sign_head()
        self._db.before_commit = partial(_call_soon, asyncio.get_running_loop(), self._look_ahead)
        self._task = spawn(self._run(), name="sequencer")
        return self.fold

    async def _begin(self) -> None:
        salt = self.random_bytes(32)
        block = seal_genesis(self._clock.now(), self._node, salt)
        frontier = MerkleFrontier()
        frontier.append(block.leaf)
        head = TreeHead(1, frontier.root(), block.time, block.leaf, frontier.peaks)
        # Crash before: an empty ledger, and this happens again with another salt. Crash after: a ledger of one block.
        checkpoint = self._signing().checkpoint(head)
        await self._db.append([RawRow(0, block.raw, block.leaf, None, None)], head, checkpoint)
        self._head = head
        self._published().advance((block.leaf,), checkpoint)
        self._fold = Fold(salt)
        self._fold.apply(block, None)

    async def _sign_head(self) -> None:
        """The head has no checkpoint of this key: an older version wrote it, or the key is new."""
        head = self._committed()
        signed = self._signing().checkpoint(head)
        checkpoint: bytes | None = signed
        try:
            await self._db.put_checkpoint(signed)
        except StoreFull:
            log.error("the ledger cannot be signed while the disk is full; the next block brings its checkpoint")
            checkpoint = None
        self._published().advance((), checkpoint)

    def _signing(self) -> Keys:
        if self._keys is None:
            raise StoreError("sequencer was not started")
        return self._keys

    async def rotate(self) -> Block:
        """Hand over to a new key: the block in which the old one says so. Raises StoreError, StoreFull, StartError.

        Once this returns the new key is in its place on the disk; whatever ends it before, the next start finds the right one. It
        runs to its end when the caller is cancelled.
        """
        return await asyncio.shield(spawn(self._rotate(), name="sequencer.rotate"))

    async def _rotate(self) -> Block:
        keys = self._signing()
        async with keys.rotating:
            old = keys.signer
            new = await keys.prepare(self.random_bytes)
            try:
                block = await self.append(RotateDraft(old, new, self._clock.now()))
            except StoreError:
                await self.flush()
                if keys.signer is not new and not self._unsure:
                    await keys.drop()
                raise
            # The block is committed, with a checkpoint of the new key. Crash here: the next start promotes it.
            await keys.promote()
            return block

    async def stop(self) -> None:
        """Commit what is waiting, then end. No draft is taken after. The database stays open; its owner closes it."""
        self._stopping = True
        self._arrived.set()
        self._hurry.set()
        if self._task is not None:
            await asyncio.wait((self._task,))

    # -- for everybody --------------------------------------------------------------------------------------------------------

    @property
    def fold(self) -> Fold:
        """The state up to the last commit."""
        if self._fold is None:
            raise StoreError("sequencer was not started")
        return self._fold

    @property
    def next_height(self) -> Height:
        """The height that the next draft will get at most: less if one before it fails."""
        return Height(self._committed().size + self.pending)

    @property
    def pending(self) -> int:
        """Drafts whose block is not committed yet."""
        return len(self._in_flight) + len(self._queue)

    def _committed(self) -> TreeHead:
        if self._head is None:
            raise StoreError("sequencer was not started")
        return self._head

    def head(self) -> Head:
        """The last committed state."""
        head = self._committed()
        return Head(head.size, head.root, head.time)

    @property
    def publication(self) -> Publication:
        """What strangers may read of the ledger."""
        return self._published()

    @property
    def log(self) -> Verifier:
        """The public key of the log; its name is the origin line."""
        return self._signing().signer.verifier

    def statement(self, kind: str, text: str) -> bytes:
        """A signed note of the log that is no checkpoint: its first line is the log's name, a slash and `kind`.

        Raises ValueError for a text that no note may have.
        """
        signer = self._signing().signer
        return sign_note(f"{signer.name}/{kind}\n{text}", (signer,)).encode()

    def _published(self) -> Publication:
        if self._publication is None:
            raise StoreError("sequencer was not started")
        return self._publication

    def append(self, draft: Draft) -> asyncio.Future[Block]:
        """Queue `draft`; the future gives its block once it is committed, or what prevented it. Never waits.

        The draft is committed even if the future is cancelled. Raises StoreFull when too many wait, StoreError after `stop`.
        """
        if self._stopping or self._task is None or self._task.done():
            raise StoreError("sequencer is not running")
        if len(self._in_flight) + len(self._queue) >= MAX_WAITING:
            raise StoreFull("too many drafts are waiting for the ledger", waiting=len(self._queue))
        future: asyncio.Future[Block] = asyncio.get_running_loop().create_future()
        if not self._queue:
            self._arrived.set()
        self._queue.append(Waiting(draft, future))
        if len(self._queue) == self._max_batch:
            self._hurry.set()
        return future

    def waiting(self) -> list[Draft]:
        """The drafts whose block is not committed yet, in their order."""
        return [waiting.draft for waiting in (*self._in_flight, *self._queue)]

    async def settled(self) -> None:
        """Wait until the batch that is being committed is done with, bodies and all."""
        batch = self._batch
        if batch is not None and not batch.done():
            await asyncio.wait((batch,))

    def arriving_bodies(self) -> set[Digest]:
        """The bodies of drafts that wait for their block."""
        waiting = (*self._in_flight, *self._queue)
        return {draft.body.digest for each in waiting if isinstance(draft := each.draft, StoreDraft)}

    async def flush(self) -> None:
        """Wait until everything appended so far is committed or has failed."""
        futures = [waiting.future for waiting in (*self._in_flight, *self._queue)]
        if self._queue:
            self._urgent = len(self._queue)
            self._hurry.set()
        running = [future for future in futures if not future.done()]
        if running:
            await asyncio.wait(running)

    # -- the writer -----------------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            if not self._queue:
                return  # only `stop` wakes an empty queue
            try:
                async with asyncio.timeout(self._max_delay):
                    await self._hurry.wait()
            except TimeoutError:
                pass
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), self._max_batch))]
            self._in_flight = tuple(batch)
            self._urgent = max(0, self._urgent - len(batch))
            if not self._stopping:
                if not self._queue:
                    self._arrived.clear()
                if not self._urgent and len(self._queue) < self._max_batch:
                    self._hurry.clear()
            await self._process(batch)

    async def _process(self, batch: list[Waiting]) -> None:
        """Commit a batch, to its end even when this task is cancelled: what is on the disk and what is known must agree."""
        work = self._batch = spawn(self._commit(batch), name="sequencer.batch")
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            if not work.done():
                await asyncio.wait((work,))
            self._abandon()
            raise

    def _abandon(self) -> None:
        self._stopping = True
        while self._queue:
            self._queue.popleft().fail(StoreError("sequencer was cancelled"))

    async def _commit(self, batch: list[Waiting]) -> None:
        try:
            with self.batch_span([waiting.draft for waiting in batch]):
                await self._resync()
                ready, fault = await make_durable(self._bodies, batch)
                if fault is not None:
                    self.fault = fault
                head, keys = self._committed(), self._signing()
                sealed = self._ahead.take(ready, head, keys.signer) or self._seal(ready, head, keys.signer)
                if sealed.rows:
                    await self._write(sealed)
                    self._publish(sealed)
                    # Here, where no other batch makes one durable meanwhile.
                    await delete_released(self._bodies, sealed.waiting, self.fold)
        except EdgeError as error:
            log.error("batch of %d blocks was not committed: %s", len(batch), error)
            self._fail_all(batch, error)
        except Exception as error:
            # Whatever it was, the waiters must not hang and the next batch may go.
            log.exception("batch of %d blocks failed", len(batch))
            self._fail_all(batch, StoreError("batch failed", why=repr(error)))
        finally:
            self._in_flight = ()

    def _seal(self, batch: Sequence[Waiting], head: TreeHead, signer: Signer) -> Sealed:
        sealed = seal_batch(batch, head, self._node, self.fold.genesis_salt, signer)
        keys = self._keys
        if keys is None or keys.second is None:
            return sealed
        return replace(sealed, checkpoint=keys.signed_twice(sealed.checkpoint, sealed.head))

    def _look_ahead(self) -> None:
        """While a batch is written to the disk: seal the one after it, if that is full by now."""
        current = self._writing
        if current is not None and len(self._queue) >= self._max_batch:
            batch = list(islice(self._queue, self._max_batch))
            self._ahead = Ahead(batch, current.head, self._seal(batch, current.head, current.signer), current.signer)

    def _fail_all(self, batch: list[Waiting], error: EdgeError) -> None:
        self.fault = error
        for waiting in batch:
            waiting.fail(error)

    async def _write(self, sealed: Sealed) -> None:
        """Commit. A failure at the very end may have been persisted all the same; the database is asked, never guessed."""
        try:
            self._writing = sealed
            await self._db.append(sealed.rows, sealed.head, sealed.checkpoint)
        except StoreError:
            self._unsure = True
            try:
                kept = (await self._db.read_state()).head
            except StoreError:
                raise  # still unsure: the next batch asks before it does anything
            self._unsure = False
            if kept != sealed.head:
                raise
        finally:
            self._writing = None

    async def _resync(self) -> None:
        """After a failure that left in doubt what is committed: go on from what the database says. Raises StoreError."""
        if not self._unsure:
            return
        state, size = await self._db.read_state(), self._committed().size
        kept = state.head
        if kept is not None and kept.size > size:
            # The waiters were told that their blocks failed; the chain says otherwise, and the chain counts.
            rows = await self._db.read(lambda connection: list(read_rows(connection, size, kept.size)))
            for row in rows:
                names = decode_names(row.names) if row.names is not None else None
                self.fold.apply(verify_block(row.raw, Digest(row.leaf)), names)
            self._head = kept
            self._published().advance([Digest(row.leaf) for row in rows], state.checkpoint)
            await self._signing().adopt(state.checkpoint)
        self._unsure = False

    def _publish(self, sealed: Sealed) -> None:
        """The batch is on the disk. Nothing here may fail half way.

        Crash here: nobody was told of a committed batch, and the next start publishes it.
        """
        self._head, self.fault = sealed.head, None
        self._signing().signer = sealed.signer
        self._published().advance([block.leaf for block in sealed.blocks], sealed.checkpoint)
        apply = self.fold.apply
        for block, names in zip(sealed.blocks, sealed.names, strict=True):
            apply(block, names)
        try:
            self.on_commit([Committed(block, each.draft) for each, block in zip(sealed.waiting, sealed.blocks, strict=True)])
        except Exception:
            log.exception("on_commit failed; the blocks are committed")
        for each, block in zip(sealed.waiting, sealed.blocks, strict=True):
            if not each.future.done():
                each.future.set_result(block)


def _call_soon(loop: asyncio.AbstractEventLoop, work: Callable[[], object]) -> None:
    with suppress(RuntimeError):  # the loop has ended, and nobody waits for what is being written
        loop.call_soon_threadsafe(work)
