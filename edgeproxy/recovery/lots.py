"""Heads and bodies on their way into a folder that is rebuilt: checked one by one, made durable by the lot.

Owns: that check, and how much a crash may cost. Must not know where they come from.
"""

from collections.abc import AsyncIterator

from edgeproxy.caching.model import Digest, Height
from edgeproxy.errors import ProofRefused
from edgeproxy.ledger.drafts import BodyRef
from edgeproxy.recovery.staging import Staging

MOST = 64
MOST_BYTES = 8 << 20


class Lot:
    """What is not durable yet. `flush` it at the end."""

    def __init__(self, staging: Staging) -> None:
        self._staging = staging
        self._heads: list[tuple[Height, bytes]] = []
        self._bodies: list[BodyRef] = []
        self._under_way: set[Digest] = set()
        self._bytes = 0

    def has_body(self, digest: Digest) -> bool:
        """Whether the body is there, or about to be."""
        return self._staging.bodies.exists(digest) or digest in self._under_way

    async def head(self, height: Height, head: bytes) -> None:
        """Take a stored head; it is checked when the lot is kept."""
        self._heads.append((height, head))
        await self._grown(len(head))

    async def body(self, height: Height, ref: BodyRef, pieces: AsyncIterator[bytes]) -> None:
        """Take the body of a block. Raises `ProofRefused` when it is another."""
        writer = await self._staging.bodies.writer()
        self._under_way.add(ref.digest)
        try:
            async for piece in pieces:
                if writer.length + len(piece) > ref.length:
                    raise ProofRefused("body is longer than its block says", block=height, digest=ref.digest.hex())
                await writer.write(piece)
            if await writer.finish() != ref:
                raise ProofRefused("body is not that of the block", block=height, digest=ref.digest.hex())
        except BaseException:
            self._under_way.discard(ref.digest)
            await writer.discard()
            raise
        self._bodies.append(ref)
        await self._grown(ref.length)

    async def _grown(self, count: int) -> None:
        self._bytes += count
        if len(self._heads) + len(self._bodies) >= MOST or self._bytes >= MOST_BYTES:
            await self.flush()

    async def flush(self) -> None:
        """Check the heads, and make all of it durable. Raises `ProofRefused`, StoreFull, StoreError."""
        heads, bodies = self._heads, self._bodies
        self._heads, self._bodies, self._bytes = [], [], 0
        if bodies:
            await self._staging.bodies.make_durable(bodies)
            self._under_way.difference_update(ref.digest for ref in bodies)
        if heads:
            self._staging.add_heads(heads)
