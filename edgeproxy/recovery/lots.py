"""Heads and bodies on their way into a folder that is rebuilt: checked one by one, made durable by the lot.

Owns: that check, and how much a crash may cost: two lots, for one is gathered while the one before it goes to the disk. Must not
know where they come from.
"""

import asyncio
from collections.abc import AsyncIterator

from edgeproxy.caching.model import Digest, Height
from edgeproxy.errors import ProofRefused, StoreError
from edgeproxy.ledger.drafts import BodyRef
from edgeproxy.recovery.staging import Staging
from edgeproxy.tasks import spawn

MOST = 4096
MOST_BYTES = 32 << 20
"""Small bodies wait in memory for their lot; many at once, since then they share their ways to the disk."""


class Lot:
    """What is not durable yet. `flush` it at the end."""

    def __init__(self, staging: Staging) -> None:
        self._staging = staging
        self._heads: list[tuple[Height, bytes]] = []
        self._bodies: list[BodyRef] = []
        self._under_way: set[Digest] = set()
        self._bytes = 0
        self._turn = asyncio.Lock()
        self._keeping: asyncio.Task[StoreError | None] | None = None

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
            await self._send()

    async def flush(self) -> None:
        """Check the heads, and make all of it durable. Raises `ProofRefused`, StoreFull, StoreError."""
        await self._send()
        async with self._turn:
            await self._kept()

    async def _send(self) -> None:
        """Begin to make durable what was gathered, once the lot before is. Raises what became of that, and as `flush`."""
        async with self._turn:
            await self._kept()
            heads, bodies = self._heads, self._bodies
            self._heads, self._bodies, self._bytes = [], [], 0
            if bodies:
                self._keeping = spawn(self._keep(bodies), name="restore.lot")
            if heads:
                self._staging.add_heads(heads)

    async def _kept(self) -> None:
        keeping, self._keeping = self._keeping, None
        if keeping is not None and (failure := await keeping) is not None:
            raise failure

    async def _keep(self, bodies: list[BodyRef]) -> StoreError | None:
        """Answers what went wrong: whoever sends the next lot is told, and nobody when another failure ended it all before."""
        try:
            await self._staging.bodies.make_durable(bodies)
        except StoreError as error:
            return error
        finally:
            self._under_way.difference_update(ref.digest for ref in bodies)
        return None
