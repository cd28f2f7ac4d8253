"""`restore`: an empty folder becomes a node again, out of an export or of a living edge.

Owns: the order of the steps, and what is told at the end. Where things come from is a `Source`; `staging` checks and keeps them.

  1. a checkpoint, and a key that is trusted for it
  2. blocks (and names, where the source has them), each following from the one before
  3. the root of all of them is the one in the checkpoint, which the trusted key signed, itself or by a chain of rotations
  4. stored heads and bodies that the blocks still call for, each proved by the digest in its block
  5. the folder becomes a node's: without the old private key it signs as a log of its own from its first start
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edgeproxy.caching.model import Digest
from edgeproxy.errors import ProofRefused
from edgeproxy.ledger.checkpoint import Checkpoint, open_checkpoint, read_checkpoint
from edgeproxy.ledger.note_keys import Signer, Verifier
from edgeproxy.recovery.staging import Needed, Staging
from edgeproxy.storage.ledger_rows import UNREADABLE, failure

Progress = Callable[[str, int, int | None], None]
"""Called with what is being taken ("blocks", "heads", "bodies"), how many are done, and of how many if that is known."""


@dataclass(frozen=True, slots=True)
class Start:
    """What a source says first. `claimed` is the key that it names itself; `private` the private key, where it has that."""

    note: bytes
    claimed: Verifier | None
    private: Signer | None = None


class Source(Protocol):
    """Where a ledger is taken from. Whatever it gives is checked; it raises `ProofRefused` for what it cannot read."""

    async def start(self) -> Start:
        """The checkpoint up to which everything is to be taken."""
        ...

    async def blocks(self, staging: Staging, stated: Checkpoint, progress: Progress) -> None:
        """Give the blocks up to the size of the checkpoint that are not there yet, and their names, in order."""
        ...

    async def contents(self, staging: Staging, needed: Needed, progress: Progress) -> "Absent":
        """Give the heads and bodies that are needed and not there yet."""
        ...


@dataclass(frozen=True, slots=True)
class Absent:
    """What a source itself says it does not have: heights of blocks without their head, and bodies. `all_bodies`: it has none."""

    heads: frozenset[int] = frozenset()
    bodies: frozenset[Digest] = frozenset()
    all_bodies: bool = False

    def plus(self, other: "Absent") -> "Absent":
        """What one of two sources said."""
        return Absent(self.heads | other.heads, self.bodies | other.bodies, self.all_bodies or other.all_bodies)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What there is now. `fetched` counts bodies that this run took; `missing_*` what the source did not have."""

    origin: str
    size: int
    log: Verifier
    keeps_key: bool
    bodies: int
    fetched: int
    missing_heads: int
    missing_bodies: int


@dataclass(slots=True)
class Restore:
    """`key` is trusted by the operator; without it the one that the source names is, where `trusts_first` says so."""

    data: Path
    key: Verifier | None
    trusts_first: bool
    on_key: Callable[[Verifier], None]
    progress: Progress = lambda *_: None

    async def run(self, sources: Sequence[Source]) -> Outcome:
        """Take all sources in their order (an export, then those that go on from it), and finish. Raises `ProofRefused` naming
        the block concerned, StartError, StoreError. Interrupted, it goes on from where it was when it is run again."""
        staging = Staging(self.data)
        await staging.open()
        try:
            before = staging.bodies.count
            absent = Absent()
            for source in sources:
                start, stated, log, lacking = await self._take(staging, source)
                absent = absent.plus(lacking)
            needed = staging.needed()
            _check_complete(staging, needed, absent)
            private = start.private if start.private is not None and start.private.verifier == log else None
            have = sum(1 for digest in needed.bodies if staging.bodies.exists(digest))
            missing = len(needed.bodies) - have
            await staging.finish(stated, start.note, private)
            fetched = max(0, staging.bodies.count - before)
            return Outcome(stated.origin, stated.size, log, private is not None, have, fetched, len(needed.heads), missing)
        except UNREADABLE as error:
            raise failure(error) from error
        finally:
            await staging.close()

    async def _take(self, staging: Staging, source: Source) -> tuple[Start, Checkpoint, Verifier, Absent]:
        start = await source.start()
        trusted = self._trusted(start)
        claimed = read_checkpoint(start.note)
        if claimed is None:
            raise ProofRefused("checkpoint cannot be read")
        if claimed.size < staging.size:
            raise ProofRefused("source is older than what was taken before", size=claimed.size, taken=staging.size)
        try:
            await source.blocks(staging, claimed, self.progress)
            log = staging.follow_key(trusted)
            stated = open_checkpoint(start.note, log, log.name).checkpoint
            staging.check_root(stated)
        except ProofRefused:
            # What was taken cannot be told from what was forged: the next run begins with the blocks again.
            staging.discard_blocks()
            raise
        return start, stated, log, await source.contents(staging, staging.needed(), self.progress)

    def _trusted(self, start: Start) -> Verifier:
        if self.key is not None:
            return self.key
        if start.claimed is None or not self.trusts_first:
            raise ProofRefused("whose ledger is it? give the log's public key with --key")
        self.on_key(start.claimed)
        return start.claimed


def _check_complete(staging: Staging, needed: Needed, absent: Absent) -> None:
    """Raises `ProofRefused` for what is not there although the source did not say so: somebody took it out."""
    for height in needed.heads:
        if height not in absent.heads:
            raise ProofRefused("stored head of the block is missing", block=height)
    if not absent.all_bodies:
        for digest, height in needed.bodies.items():
            if not staging.bodies.exists(digest) and digest not in absent.bodies:
                raise ProofRefused("body of the block is missing", block=height, digest=digest.hex())


