"""The keys of a log while it runs: the one that signs now, one of another kind beside it, and the next one of a hand-over.

Owns: their places in the data folder between the start and the end of an edge. Must not judge what a key may still sign after a
restart (`signing`), and commits nothing: what is in the ledger decides which key goes on.
"""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from edgeproxy.clock import Clock
from edgeproxy.errors import StartError
from edgeproxy.ledger.checkpoint import Checkpoint
from edgeproxy.ledger.mldsa import MldsaSigner
from edgeproxy.ledger.note_keys import Signer
from edgeproxy.ledger.replay import TreeHead
from edgeproxy.sequencer.sealing import checkpoint_of
from edgeproxy.sequencer.signing import signed_by
from edgeproxy.storage.ledger_key import NEXT_FILE, drop_next, promote_next, read_key, write_next

log = logging.getLogger("edgeproxy.sequencer")


class Keys:
    """Those in `folder`. The sequencer sets `signer` when it has committed a block that hands over."""

    def __init__(self, folder: Path, clock: Clock, signer: Signer, second: MldsaSigner | None = None) -> None:
        self.signer = signer
        self.second = second
        self.rotating = asyncio.Lock()
        """Held from `prepare` to what ends the rotation."""
        self._folder = folder
        self._clock = clock

    def checkpoint(self, head: TreeHead) -> bytes:
        """The signed note over `head`, by every key there is."""
        return self.signed_twice(checkpoint_of(head, self.signer), head)

    def signed_twice(self, note: bytes, head: TreeHead) -> bytes:
        """`note` over `head`, with a line of the second key where there is one."""
        if self.second is None:
            return note
        line = self.second.line(Checkpoint(self.signer.name, head.size, head.root), self._clock.now() // 1000)
        return note + str(line).encode()

    async def prepare(self, random_bytes: Callable[[int], bytes]) -> Signer:
        """The next key, written down before anything is signed with it. Raises StartError."""
        left = await asyncio.to_thread(read_key, self._folder, NEXT_FILE)
        if left is not None and left.verifier == self.signer.verifier:
            # The last rotation could not move it: the key in use is in this file only, which is about to be replaced.
            await self.promote()
        new = Signer(self.signer.name, random_bytes(32))
        await asyncio.to_thread(write_next, self._folder, new)
        return new

    async def promote(self) -> None:
        """The next key has signed what is committed: it gets the place of the one before. Raises StartError."""
        await asyncio.to_thread(promote_next, self._folder)

    async def drop(self) -> None:
        """Nothing was committed with the next key."""
        await asyncio.to_thread(drop_next, self._folder)

    async def adopt(self, checkpoint: bytes | None) -> None:
        """A rotation whose outcome was unknown may turn out to be committed: then its key is the one that goes on."""
        if not signed_by(checkpoint, self.signer):
            following = await asyncio.to_thread(read_key, self._folder, NEXT_FILE)
            if following is not None and signed_by(checkpoint, following):
                self.signer = following
                try:
                    await self.promote()
                except StartError as error:
                    log.error("%s; the next start tries again", error)
