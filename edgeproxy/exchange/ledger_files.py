"""The ledger as files for strangers: what is below /.edge/ledger/ on the public side (C2SP tlog-tiles).

Owns: those paths, their fields, and how long each may be kept. Must not make a tile or a checkpoint (`sequencer.publication`).

Everything a full tile is made of is committed and proved, so it never changes; a checkpoint says what is true now, so nobody may
keep it. Any site's pages may read all of it: nothing here depends on who asks.
"""

import asyncio
import logging
import zlib
from typing import Protocol

from edgeproxy.errors import ProofRefused, StoreError
from edgeproxy.exchange.pages import Page, error_page
from edgeproxy.exchange.public import FOR_ALL, NOT_KEPT, other_method, tagged
from edgeproxy.ledger.tiles import WIDTH, Tile, parse_tile_path
from edgeproxy.sequencer.publication import Publication
from edgeproxy.storage.memory import MemoryTier
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.messages import Request
from edgeproxy.wire.negotiate import select_coding

log = logging.getLogger("edgeproxy.exchange")

PREFIX = "/.edge/ledger/"

_CODED_BYTES = 8 << 20
_GZIP_LEVEL = 6
_KEPT = ("Cache-Control", "public, max-age=604800, immutable")
_NOTE_TYPE = ("Content-Type", "text/plain; charset=utf-8")
_TILE_TYPE = ("Content-Type", "application/octet-stream")


class Finality(Protocol):
    """What validators have made of the checkpoints (`sequencer.validators`)."""

    @property
    def final(self) -> bytes | None:
        """The newest note with the cosignatures of a quorum."""
        ...

    def newest(self, note: bytes) -> bytes:
        """The log's own newest note with the cosignatures that it has so far."""
        ...


class LedgerFiles:
    """`is_published` may be switched off for a private site, at any time: then all of it is not there."""

    def __init__(self, publication: Publication, *, is_published: bool = True, finality: Finality | None = None) -> None:
        self.is_published = is_published
        self._finality = finality
        self._publication = publication
        self._coded: MemoryTier[bytes] = MemoryTier(_CODED_BYTES)

    async def answer(self, request: Request) -> Page | None:
        """The whole answer to a request below `PREFIX`; None when there is no such file."""
        path = request.target.partition("?")[0]
        if not self.is_published or not path.startswith(PREFIX):
            return None
        name = path.removeprefix(PREFIX)
        tile = None
        if name not in ("checkpoint", "checkpoint.final"):
            try:
                tile = parse_tile_path(name)
            except ProofRefused:
                return None
        if (page := other_method(request)) is not None:
            return page
        if name == "checkpoint.final":
            note = self._finality.final if self._finality is not None else None
            return None if note is None else tagged(request, note, Fields((_NOTE_TYPE, NOT_KEPT, *FOR_ALL)))
        try:
            return self._checkpoint(request) if tile is None else await self._tile(request, tile)
        except StoreError as error:
            log.error("part of the ledger cannot be published: %s: %s", name, error)
            return error_page(503, detail="This part of the ledger cannot be read at the moment.")

    def _checkpoint(self, request: Request) -> Page:
        note = self._publication.checkpoint
        if note is None:
            raise StoreError("the ledger is not signed, since its checkpoint could not be kept")
        if self._finality is not None:
            note = self._finality.newest(note)
        return tagged(request, note, Fields((_NOTE_TYPE, NOT_KEPT, *FOR_ALL)))

    async def _tile(self, request: Request, tile: Tile) -> Page | None:
        data = await self._publication.read(tile)
        if data is None:
            return None
        fields = Fields((_TILE_TYPE, _KEPT, *FOR_ALL))
        if tile.level is not None or tile.width < WIDTH:
            return tagged(request, data, fields)
        fields = fields.plus(("Vary", "Accept-Encoding"))
        if select_coding(request.fields.get("accept-encoding"), ("gzip",)) != "gzip":
            return tagged(request, data, fields)
        coded = self._coded.get(tile.path)
        if coded is None:
            coded = await asyncio.to_thread(zlib.compress, data, _GZIP_LEVEL, zlib.MAX_WBITS | 16)
            self._coded.put(tile.path, coded, len(coded))
        return tagged(request, coded, fields.plus(("Content-Encoding", "gzip")))
