"""The audit of a remote edge: the order in which its ledger is read, proved and remembered.

Owns: that order. What is asked of the network is `auditing.fetching`, what holds is judged by the pure `ledger` package.

  1  the checkpoints: signature, name, quorum, freshness; against the head that was seen last
  2  the tiles at the right edge, and those above level 0: they must give the root
  3  growth: the tree seen last, the blocks checked before, and the final checkpoint must be its beginning
  4  the new head is remembered: from here on a smaller or another one is refused
  5  every tile of level 0 and every bundle that is new: blocks against tile, and the rules of the chain
  6  bodies, when they are asked for

Where the checkpoint is signed by a key that is not known yet, 1 can only be finished after 5, which tells of rotations; until
then nothing is remembered and nobody is accused.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from edgeproxy.auditing.fetching import Source, in_order
from edgeproxy.auditing.memory import Memory, Progress, Seen
from edgeproxy.caching.model import Digest
from edgeproxy.clock import Clock, Instant
from edgeproxy.errors import ProofRefused
from edgeproxy.ledger.block import Block
from edgeproxy.ledger.chain import BrokenRule, next_block
from edgeproxy.ledger.checkpoint import Checkpoint, Opened, open_checkpoint, parse_checkpoint
from edgeproxy.ledger.findings import Finding, FindingKind
from edgeproxy.ledger.heads import Quorum, has_quorum, judge_growth, judge_quorum
from edgeproxy.ledger.merkle import leaf_hash
from edgeproxy.ledger.note_keys import Verifier, parse_verifier
from edgeproxy.ledger.notes import Note, parse_note
from edgeproxy.ledger.policy import Policy
from edgeproxy.ledger.reading import TreeReader
from edgeproxy.ledger.succession import key_at, rotation_in
from edgeproxy.ledger.tiles import Tile, decode_bundle

MAX_BLOCKS = 10_000_000
MAX_MISSING = 1_000
"""Missing bodies that are listed; more are only counted."""

MAX_ROTATIONS = 4_096
"""Changes of the log's key; nobody has a reason for more, and all of them are kept in memory."""

_BUNDLES_A_STEP = 16
_BODIES_A_STEP = 64
_TILES_A_STEP = 64


@dataclass(frozen=True, slots=True)
class Step:
    """How far the audit is."""

    phase: Literal["tiles", "blocks", "bodies"]
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Order:
    """What to audit. `log`: a key of the log, of any time; its name is the log's origin. `max_age` of cosignatures in seconds."""

    log: Verifier
    policy: Policy | None = None
    max_age: int | None = None
    bodies: bool = False
    anew: bool = False
    most_blocks: int = MAX_BLOCKS

    @property
    def needs_quorum(self) -> bool:
        return self.policy is not None and self.policy.quorum is not None


@dataclass(slots=True)
class Report:
    """What came out. Whatever is None was not reached. `known`: blocks that earlier audits had checked."""

    origin: str
    head: Checkpoint | None = None
    signer: str | None = None
    final_size: int | None = None
    quorum: Quorum | None = None
    known: int = 0
    read: int = 0
    tiles: int = 0
    last_time: int | None = None
    bodies: int = 0
    body_bytes: int = 0
    missing: list[str] = field(default_factory=list)
    missing_count: int = 0
    fault: Finding | None = None
    evidence: list[Path] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Head:
    """A checkpoint as the edge stated it. `opened` is None while the key that signed it is not known."""

    note: bytes
    parsed: Note
    checkpoint: Checkpoint
    opened: Opened | None

    @property
    def size(self) -> int:
        return self.checkpoint.size


class RemoteAudit:
    """One audit. `progress` is told how far it is."""

    def __init__(
        self, source: Source, memory: Memory, order: Order, clock: Clock, progress: Callable[[Step], None] = lambda step: None
    ) -> None:
        self._source = source
        self._memory = memory
        self._order = order
        self._clock = clock
        self._tell = progress
        self._report = Report(order.log.name)

    async def run(self) -> Report:
        """Audit; the first fault ends it and stands in the report. Raises StoreError when nothing can be remembered."""
        try:
            await self._run()
        except Finding as fault:
            self._report.fault = fault
        return self._report

    async def _run(self) -> None:
        if self._order.anew:
            self._memory.forget_progress()
        self._report.known = self._memory.progress.size
        newest, final = await self._heads()
        self._report.head = newest.checkpoint
        self._against_seen(newest)
        tree = await self._tree(newest)
        await self._growth(tree, newest, final)
        if newest.opened is not None:
            self._remember(newest)
        await self._blocks(tree, is_signed=newest.opened is not None)
        self._settle(newest, final)
        if self._order.bodies:
            await self._bodies()

    # -- 1: the checkpoints ------------------------------------------------------------------------------------------------

    async def _heads(self) -> tuple[_Head, _Head | None]:
        """The newest checkpoint, and the one that has the quorum: the same, an earlier one, or none when none is needed."""
        policy = self._order.policy
        note = await self._source.checkpoint()
        if note is None:
            raise Finding(FindingKind.UNPUBLISHED, "edge shows no checkpoint", at=self._source.base)
        newest = self._read(note)
        if policy is None or not self._order.needs_quorum:
            return newest, None
        if newest.opened is not None and has_quorum(policy, newest.opened):
            final = newest
        else:
            note = await self._source.checkpoint("checkpoint.final")
            # Without one the newest is judged, which says whose cosignatures are missing.
            final = newest if note is None else self._read(note)
        if final.size > newest.size:
            newest = final
        if final.opened is not None:
            self._judge_quorum(final.opened)
        return newest, final

    def _read(self, note: bytes) -> _Head:
        origin = self._order.log.name
        try:
            parsed = parse_note(note)
            stated = parse_checkpoint(parsed.message)
        except ProofRefused as error:
            raise Finding.of(FindingKind.CHECKPOINT, error) from None
        if stated.origin != origin:
            raise Finding(FindingKind.ORIGIN, "checkpoint is of another log", of=stated.origin, expected=origin)
        key = parse_verifier(key_at(str(self._order.log), self._memory.rotations, stated.size))
        if not any(line.name == origin for line in parsed.signatures):
            raise Finding(FindingKind.KEY, "checkpoint has no signature in the name of the log", origin=origin)
        head = _Head(note, parsed, stated, None)
        return self._opened(head, key) if _is_signed_by(parsed, key) else head

    def _opened(self, head: _Head, key: Verifier) -> _Head:
        policy = self._order.policy
        witnesses = [each.verifier for each in policy.witnesses.values()] if policy is not None else []
        try:
            opened = open_checkpoint(head.note, key, key.name, witnesses)
        except ProofRefused as error:
            raise Finding.of(FindingKind.CHECKPOINT, error) from None
        return _Head(head.note, head.parsed, head.checkpoint, opened)

    def _judge_quorum(self, opened: Opened) -> None:
        if self._order.policy is None or not self._order.needs_quorum:
            return
        self._report.quorum = judge_quorum(self._order.policy, opened, self._clock.now() // 1000, self._order.max_age)
        self._report.final_size = opened.checkpoint.size

    def _against_seen(self, newest: _Head) -> None:
        seen = self._memory.seen
        if seen is not None:
            with self._accusing(newest, {"seen": seen.note, "stated": newest.note}):
                judge_growth(Checkpoint(newest.checkpoint.origin, seen.size, seen.root), newest.checkpoint)

    @contextmanager
    def _accusing(self, newest: _Head, notes: dict[str, bytes]) -> Iterator[None]:
        """A contradiction between signed heads is kept; one with a head of an unknown key says only that."""
        try:
            yield
        except Finding as fault:
            if newest.opened is None:
                text = "checkpoint is signed by another key than yours, and contradicts what was seen before"
                raise Finding(FindingKind.KEY, text, why=fault) from None
            self._report.evidence = self._memory.keep_evidence(fault.kind, notes)
            raise

    # -- 2: the tree -------------------------------------------------------------------------------------------------------

    async def _tree(self, head: _Head) -> TreeReader:
        size = head.size
        if size - self._memory.progress.size > self._order.most_blocks:
            raise Finding(FindingKind.LIMIT, "too many blocks are to be read", size=size, most=self._order.most_blocks)
        tree = TreeReader(size, head.checkpoint.root)
        edge = tree.edge()
        async with aclosing(in_order(self._fetching(tile) for tile in edge)) as data:
            taken = [each async for each in data]
        with _tile_fault():
            tree.take_edge(taken)
        self._report.tiles += len(edge)
        await self._upper(tree, is_signed=head.opened is not None)
        return tree

    def _fetching(self, tile: Tile) -> Callable[[], Awaitable[bytes]]:
        return lambda: self._source.tile(tile)

    async def _upper(self, tree: TreeReader, *, is_signed: bool) -> None:
        tiles, fresh = list(tree.upper()), []
        async with aclosing(in_order(self._kept_or_fetched(tile) for tile in tiles)) as answers:
            done = 0
            async for data, was_kept in answers:
                tile = tiles[done]
                done += 1
                try:
                    with _tile_fault():
                        tree.take(tile, data)
                except Finding:
                    if not was_kept:
                        raise
                    # Kept of another tree, or damaged here: what the edge says counts.
                    data, was_kept = await self._source.tile(tile), False
                    with _tile_fault():
                        tree.take(tile, data)
                if not was_kept:
                    fresh.append((tile, data))
                self._report.tiles += 1
                if done % _TILES_A_STEP == 0:
                    self._tell(Step("tiles", done, len(tiles)))
        if fresh and is_signed:
            self._memory.keep_tiles(fresh)

    def _kept_or_fetched(self, tile: Tile) -> Callable[[], Awaitable[tuple[bytes, bool]]]:
        async def job() -> tuple[bytes, bool]:
            kept = self._memory.tile(tile)
            return (kept, True) if kept is not None else (await self._source.tile(tile), False)

        return job

    # -- 3 and 4: growth ---------------------------------------------------------------------------------------------------

    async def _growth(self, tree: TreeReader, newest: _Head, final: _Head | None) -> None:
        seen, progress = self._memory.seen, self._memory.progress
        if seen is not None:
            words = "the blocks that were signed before are not the beginning of these"
            with self._accusing(newest, {"seen": seen.note, "stated": newest.note}):
                await self._is_beginning(tree, seen.size, seen.root, words)
        if progress.size:
            # Never ahead of what was seen, unless this machine's memory was changed.
            words = "the blocks that were checked before are not the beginning of these"
            notes = {"stated": newest.note} if seen is None else {"seen": seen.note, "stated": newest.note}
            with self._accusing(newest, notes):
                await self._is_beginning(tree, progress.size, progress.root, words)
        if final is not None and final is not newest:
            words = "the final checkpoint is not of the beginning of the newest"
            with self._accusing(newest, {"final": final.note, "stated": newest.note}):
                await self._is_beginning(tree, final.size, final.checkpoint.root, words)

    async def _is_beginning(self, tree: TreeReader, size: int, root: Digest, words: str) -> None:
        needed = tree.needed_for(size)
        leaves: tuple[Digest, ...] = ()
        if needed is not None:
            with _tile_fault():
                leaves = tree.leaves(needed, await self._source.tile(needed))
        try:
            tree.check_grown_from(size, root, leaves)
        except ProofRefused as error:
            raise Finding(FindingKind.FORK, words, size=tree.size, before=size, why=error.text) from None

    def _remember(self, newest: _Head) -> None:
        seen = self._memory.seen
        if seen is None or newest.size > seen.size:
            self._memory.remember_seen(Seen(newest.size, newest.checkpoint.root, newest.note, self._clock.now()))

    # -- 5: the blocks -----------------------------------------------------------------------------------------------------

    async def _blocks(self, tree: TreeReader, *, is_signed: bool) -> None:
        begun = self._memory.progress
        chain = _Followed(begun.size, begun.last, begun.time)
        rotations, pending = list(self._memory.rotations), list[Block]()
        tiles = list(tree.bundles(begun.size)) if tree.size > begun.size else []
        self._tell(Step("blocks", begun.size, tree.size))
        async with aclosing(in_order(self._leaves_and_bundle(tile) for tile in tiles)) as answers:
            done = 0
            async for leaves, bundle in answers:
                tile = tiles[done]
                done += 1
                entries = _entries(tree, tile, leaves, bundle)
                for raw in entries[chain.size - tile.start :]:
                    pending.append(chain.take(raw))
                    if (rotated := rotation_in(pending[-1])) is not None:
                        rotations.append(rotated)
                        if len(rotations) > MAX_ROTATIONS:
                            raise Finding(FindingKind.BLOCK, "log has changed its key too often", height=rotated.height)
                self._report.tiles += 1
                if done % _BUNDLES_A_STEP == 0 or done == len(tiles):
                    progress = Progress(chain.size, tree.root_of_first(chain.size), chain.last, chain.time)
                    self._memory.advance(progress, pending, tuple(rotations), commit=is_signed)
                    pending.clear()
                self._report.read = chain.size - begun.size
                self._tell(Step("blocks", chain.size, tree.size))
        self._report.last_time = chain.time if chain.size else None

    def _leaves_and_bundle(self, tile: Tile) -> Callable[[], Awaitable[tuple[bytes, bytes]]]:
        async def job() -> tuple[bytes, bytes]:
            return await self._source.tile(tile), await self._source.tile(Tile(None, tile.index, tile.width))

        return job

    def _settle(self, newest: _Head, final: _Head | None) -> None:
        """Now that all rotations are known: each checkpoint must be signed by the key that the log had at its size."""
        for head in (newest, *((final,) if final is not None and final is not newest else ())):
            key = parse_verifier(key_at(str(self._order.log), self._memory.rotations, head.size))
            if not _is_signed_by(head.parsed, key):
                if head.opened is not None:
                    text = "checkpoint is signed by a key that a block has retired before"
                else:
                    text = "checkpoint is signed by another key than yours, and no block hands over to it"
                raise Finding(FindingKind.KEY, text, size=head.size, expected=key)
            opened = self._opened(head, key).opened
            assert opened is not None, "it is signed by this key"
            if head is newest:
                self._report.signer = str(key)
            if head.opened is None and head is (final or newest):
                self._judge_quorum(opened)
        if newest.opened is None:
            self._memory.remember_seen(Seen(newest.size, newest.checkpoint.root, newest.note, self._clock.now()))

    # -- 6: the bodies -----------------------------------------------------------------------------------------------------

    async def _bodies(self) -> None:
        wanted = self._memory.unchecked_bodies()
        checked: list[bytes] = []
        self._tell(Step("bodies", 0, len(wanted)))
        try:
            async with aclosing(in_order(self._reading(*each) for each in wanted)) as answers:
                done = 0
                async for is_there in answers:
                    digest, length = wanted[done]
                    done += 1
                    if is_there:
                        checked.append(digest)
                        self._report.bodies += 1
                        self._report.body_bytes += length
                    else:
                        self._report.missing_count += 1
                        self._report.missing += [digest.hex()] if self._report.missing_count <= MAX_MISSING else []
                    if len(checked) >= _BODIES_A_STEP:
                        self._memory.note_checked(checked)
                        checked.clear()
                    self._tell(Step("bodies", done, len(wanted)))
        finally:
            self._memory.note_checked(checked)

    def _reading(self, digest: bytes, length: int) -> Callable[[], Awaitable[bool]]:
        return lambda: self._source.body(digest, length)


def _is_signed_by(note: Note, key: Verifier) -> bool:
    return any((line.name, line.key_id) == (key.name, key.key_id) for line in note.signatures)


@contextmanager
def _tile_fault() -> Iterator[None]:
    try:
        yield
    except ProofRefused as error:
        raise Finding.of(FindingKind.TILE, error) from None


def _entries(tree: TreeReader, tile: Tile, leaves: bytes, bundle: bytes) -> list[bytes]:
    """The blocks of a bundle, each proved by its leaf hash."""
    with _tile_fault():
        known = tree.leaves(tile, leaves)
    try:
        entries = decode_bundle(bundle, tile.width)
    except ProofRefused as error:
        path = Tile(None, tile.index, tile.width).path
        raise Finding(FindingKind.BUNDLE, error.text, height=tile.start, path=path) from None
    for place, (entry, leaf) in enumerate(zip(entries, known, strict=True)):
        if leaf_hash(entry) != leaf:
            raise Finding(FindingKind.BUNDLE, "block does not have the hash that the tree has for it", height=tile.start + place)
    return entries


@dataclass(slots=True)
class _Followed:
    """The end of the chain so far."""

    size: int
    last: Digest
    time: Instant

    def take(self, raw: bytes) -> Block:
        try:
            block = next_block(raw, self.size, self.last, self.time)
        except BrokenRule as error:
            raise Finding.of(FindingKind.BLOCK, error, error.height) from None
        self.size, self.last, self.time = self.size + 1, block.leaf, block.time
        return block
