"""A log of any size in memory, and a server that shows it to an auditor, truthfully or with one lie.

Written by hand, apart from the code that serves a real ledger, so that it can say what no edge says.
"""

import asyncio
import gzip
import hashlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from edgeproxy.caching.model import Digest, Height
from edgeproxy.clock import Instant
from edgeproxy.ledger.block import Place, seal, seal_genesis
from edgeproxy.ledger.checkpoint import Checkpoint, sign_checkpoint
from edgeproxy.ledger.chunks import ref_of
from edgeproxy.ledger.digests import ZERO
from edgeproxy.ledger.drafts import Draft, RotateDraft
from edgeproxy.ledger.merkle import leaf_hash, root_of
from edgeproxy.ledger.note_keys import Signer
from edgeproxy.ledger.notes import SignatureLine
from edgeproxy.ledger.tiles import WIDTH, Tile, TileTree, encode_bundle, parse_tile_path
from tests.support.ledgers import NOW, store_draft
from tests.support.web_app import listening

ORIGIN = "edge.example/.edge/ledger"
PREFIX = "/.edge/ledger/"
BODIES = "/.edge/api/v1/bodies/"
SALT = bytes(range(32))


class Log:
    """Blocks, and the keys that signed them one after the other. `bodies` by digest."""

    def __init__(self, signer: Signer | None = None) -> None:
        self.signer = signer or Signer(ORIGIN, b"\1" * 32)
        self.blocks: list[bytes] = []
        self.leaves: list[Digest] = []
        self.bodies: dict[str, bytes] = {}
        self.time = NOW
        self.append_raw(seal_genesis(self.time, "edge-1", SALT).raw)

    @property
    def size(self) -> int:
        return len(self.blocks)

    def copy(self) -> "Log":
        other = Log(self.signer)
        other.blocks, other.leaves, other.bodies, other.time = list(self.blocks), list(self.leaves), dict(self.bodies), self.time
        return other

    def append_raw(self, raw: bytes) -> None:
        """Add any bytes as the next entry, whatever they are."""
        self.blocks.append(raw)
        self.leaves.append(leaf_hash(raw))

    def place(self) -> Place:
        return Place(Height(self.size), self.leaves[-1] if self.leaves else ZERO, self.time, "edge-1")

    def append(self, draft: Draft) -> None:
        self.append_raw(seal(self.place(), draft, SALT).raw)

    def grow(self, count: int, salt: str = "") -> "Log":
        """Store `count` pages more."""
        for _ in range(count):
            body = f"body {self.size}{salt}".encode()
            self.bodies[hashlib.sha256(body).hexdigest()] = body
            self.time = Instant(self.time + 1)
            self.append(store_draft(self.size, body=ref_of(body), time=self.time))
        return self

    def rotate(self, seed: bytes) -> None:
        """Hand over to another key."""
        new = Signer(ORIGIN, seed)
        self.append(RotateDraft(self.signer, new, self.time))
        self.signer = new

    def checkpoint(self, size: int | None = None) -> Checkpoint:
        size = self.size if size is None else size
        return Checkpoint(self.signer.name, size, root_of(self.leaves[:size]))

    def note(self, size: int | None = None) -> bytes:
        return sign_checkpoint(self.checkpoint(size), self.signer)

    def cosigned(self, size: int, *cosigners: tuple[Signer, int]) -> bytes:
        """The note with cosignatures of these times."""
        message = self.checkpoint(size).text.encode()
        lines = [str(SignatureLine(each.name, each.key_id, each.sign(message, time))) for each, time in cosigners]
        return self.note(size) + "".join(lines).encode()

    def tile(self, tile: Tile) -> bytes | None:
        """The bytes of a tile or bundle; None when there are not so many blocks."""
        if (self.size >> 8 * tile.height) < tile.start + tile.width:
            return None
        if tile.level is None:
            return encode_bundle(self.blocks[tile.start : tile.start + tile.width])
        if tile.level == 0:
            return b"".join(self.leaves[tile.start : tile.start + tile.width])
        tree = TileTree()
        for leaf in self.leaves:
            tree.append(leaf)
        return b"".join(tree.items(tile.level, tile.index, tile.width))


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class LyingEdge:
    """What is served: `log`, but at the paths of `lies` whatever stands there (None: 404). `asked` are the paths in order."""

    log: Log
    lies: dict[str, bytes | Answer | None] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    base: str = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        self.asked.append(path)
        if path in self.lies:
            lie = self.lies[path]
            if callable(lie):
                return await lie(request)
            data = lie
        elif path == f"{PREFIX}checkpoint":
            data = self.log.note()
        elif path.startswith(f"{PREFIX}tile/"):
            data = self.log.tile(parse_tile_path(path.removeprefix(PREFIX)))
        else:
            data = self.log.bodies.get(path.removeprefix(BODIES))
        return web.Response(status=404) if data is None else web.Response(body=data)


@asynccontextmanager
async def lying_edge(log: Log, tls: ssl.SSLContext | None = None) -> AsyncIterator[LyingEdge]:
    """The server on a free port; over HTTPS with `tls`."""
    edge = LyingEdge(log)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", edge.answer)
    async with listening(app, tls=tls) as edge.base:
        yield edge


async def hang(request: web.Request) -> web.StreamResponse:
    """Never answers."""
    await asyncio.Event().wait()
    raise AssertionError("not reached")


async def drip(request: web.Request) -> web.StreamResponse:
    """Begins an answer and then says nothing."""
    response = web.StreamResponse(headers={"Content-Length": "32"})
    await response.prepare(request)
    await response.write(b"x")
    await asyncio.Event().wait()
    raise AssertionError("not reached")


async def flood(request: web.Request) -> web.StreamResponse:
    """Sends without end, and without saying how much."""
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(bytes(1 << 16))


async def redirect(request: web.Request) -> web.StreamResponse:
    """Sends the auditor to another host."""
    return web.Response(status=302, headers={"Location": "http://elsewhere.example/"})


async def overload(request: web.Request) -> web.StreamResponse:
    """Says that it cannot answer now."""
    return web.Response(status=503)


async def bomb(request: web.Request) -> web.StreamResponse:
    """A small answer that is 1 MiB once it is unpacked."""
    return web.Response(body=gzip.compress(bytes(1 << 20)), headers={"Content-Encoding": "gzip"})


__all__ = ["ORIGIN", "PREFIX", "WIDTH", "Log", "LyingEdge", "bomb", "drip", "flood", "hang", "lying_edge", "overload", "redirect"]
