"""A log made by hand, under a key that a test holds: it can fork, shrink, and break the rules of its chain.

log = Log("edge.example/.edge/ledger")
log.grow(5)
log.request(0)                    what its edge would submit to a validator that has cosigned nothing
async with published(log) as url: its tiles, over HTTP
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from edgeproxy.caching.model import Digest, Height
from edgeproxy.clock import Instant
from edgeproxy.errors import ProofRefused
from edgeproxy.ledger.block import Place, decode, seal, seal_genesis
from edgeproxy.ledger.checkpoint import Checkpoint, sign_checkpoint
from edgeproxy.ledger.cosigning import encode_request
from edgeproxy.ledger.digests import ZERO
from edgeproxy.ledger.drafts import Draft, PurgeDraft, RotateDraft
from edgeproxy.ledger.merkle import leaf_hash
from edgeproxy.ledger.note_keys import Signer
from edgeproxy.ledger.proofs import consistency_proof, subtree_root
from edgeproxy.ledger.tiles import Tile, encode_bundle, parse_tile_path
from edgeproxy.validator.published import Unpublished
from tests.support.trees import nodes_of
from tests.support.web_app import listening

ORIGIN = "edge.example/.edge/ledger"
START = Instant(1_764_000_000_000)


@dataclass
class Log:
    """`raws` are the blocks, and may be changed by hand; everything else follows from them."""

    origin: str = ORIGIN
    signer: Signer = field(init=False)
    raws: list[bytes] = field(default_factory=list)
    salt: bytes = bytes(32)

    def __post_init__(self) -> None:
        self.signer = Signer(self.origin, bytes([1]) * 32)
        if not self.raws:
            self.raws.append(seal_genesis(START, "edge-1", self.salt).raw)

    @property
    def size(self) -> int:
        return len(self.raws)

    @property
    def vkey(self) -> str:
        return str(self.signer.verifier)

    def fork(self, size: int) -> "Log":
        """Another log under the same key, with the first `size` blocks of this one."""
        return Log(self.origin, self.raws[:size])

    def place(self, *, time: int | None = None) -> Place:
        prev = leaf_hash(self.raws[-1]) if self.raws else ZERO
        return Place(Height(self.size), prev, Instant(START + self.size if time is None else time), "edge-1")

    def add(self, draft: Draft, **place: int) -> None:
        self.raws.append(seal(self.place(**place), draft, self.salt).raw)

    def grow(self, count: int, word: str = "page") -> None:
        for _ in range(count):
            self.add(PurgeDraft("a", "url", f"http://a/{word}/{self.size}", "soft", START))

    def rotate(self, seed: bytes) -> None:
        new = Signer(self.origin, seed)
        self.add(RotateDraft(self.signer, new, START))
        self.signer = new

    def leaves(self, size: int) -> list[Digest]:
        return [leaf_hash(raw) for raw in self.raws[:size]]

    def root(self, size: int | None = None) -> Digest:
        size = self.size if size is None else size
        return subtree_root(nodes_of(self.leaves(size)), 0, size)

    def note(self, size: int | None = None) -> bytes:
        size = self.size if size is None else size
        return sign_checkpoint(Checkpoint(self.origin, size, self.root(size)), self.signer)

    def proof(self, old: int, size: int) -> Sequence[Digest]:
        return consistency_proof(nodes_of(self.leaves(size)), old, size)

    def request(self, old: int, size: int | None = None) -> bytes:
        size = self.size if size is None else size
        return encode_request(old, self.proof(old, size), self.note(size))

    def bundle(self, tile: Tile) -> bytes | None:
        start = tile.index * 256
        return encode_bundle(self.raws[start : start + tile.width]) if start + tile.width <= self.size else None


class Source:
    """The blocks of a log without a network, as `validator.published.Published` gives them; `log` may be exchanged."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.received = 0
        self.asked: list[tuple[int, int]] = []

    async def blocks(self, start: int, end: int) -> AsyncIterator[list[bytes]]:
        self.asked.append((start, end))
        if end > self.log.size:
            raise Unpublished("the log does not publish these blocks yet")
        yield self.log.raws[start:end]


def altered(raw: bytes, old: bytes, new: bytes) -> bytes:
    """A block with other bytes that is still one in canonical form."""
    changed = raw.replace(old, new)
    assert changed != raw
    decode(changed)
    return changed


@asynccontextmanager
async def published(log: Log, *, whole_only: bool = False) -> AsyncIterator[str]:
    """The bundles of a log at a URL. `whole_only`: parts of bundles are gone, as logs may do once a bundle is full."""

    async def answer(request: web.Request) -> web.Response:
        try:
            tile = parse_tile_path(request.path.removeprefix("/log/"))
        except ProofRefused:
            return web.Response(status=404)
        data = log.bundle(tile) if tile.level is None and not (whole_only and tile.width < 256) else None
        return web.Response(status=404) if data is None else web.Response(body=data)

    app = web.Application()
    app.router.add_get("/log/{path:.*}", answer)
    async with listening(app) as url:
        yield f"{url}/log"
