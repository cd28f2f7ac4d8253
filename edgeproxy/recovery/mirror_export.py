"""`mirror export`: a site as files that any web server can serve and every browser can prove.

Owns: the order of an export. Reads a data folder and writes nothing in it, whether its edge is running or not. Blocking. What may
be in a mirror is `mirror_choice`'s, the files are `mirror_files`'.

The order, so that whatever ends it leaves a mirror in which everything holds: bodies, then the blocks that name them, tiles, then
the checkpoint over them, the control document; last of all what is no longer wanted goes, blocks before bodies.
"""

import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from edgeproxy.caching import tags
from edgeproxy.caching.key import KeyRules
from edgeproxy.caching.model import Digest, Policy
from edgeproxy.caching.storable import is_only_validated
from edgeproxy.errors import Corrupt, EdgeError, ProofRefused
from edgeproxy.ledger.block import Stored
from edgeproxy.ledger.block_document import encode_document
from edgeproxy.ledger.checkpoint import Checkpoint, open_checkpoint
from edgeproxy.ledger.control import sign_control
from edgeproxy.ledger.digests import site_salt, url_digest
from edgeproxy.ledger.evidence import Clear, encode_clear
from edgeproxy.ledger.fold import Fold, Version
from edgeproxy.ledger.note_keys import Signer
from edgeproxy.ledger.proof_file import ProofFile
from edgeproxy.ledger.proofs import inclusion_proof
from edgeproxy.ledger.replay import Replay
from edgeproxy.ledger.tiles import WIDTH, Tile, TileTree, encode_bundle, tiles_of
from edgeproxy.ledger.verify import verify_block, verify_stored
from edgeproxy.recovery.mirror_choice import Choosing
from edgeproxy.recovery.mirror_files import BLOCKS, BODIES, CONTROL, LEDGER, MirrorFolder
from edgeproxy.recovery.service_workers import control_of, is_of
from edgeproxy.recovery.worker_state import Kept, Orders, load_state
from edgeproxy.sequencer.final import read_final
from edgeproxy.storage.ledger_db import LEDGER_FILE
from edgeproxy.storage.ledger_key import read_key
from edgeproxy.storage.ledger_rows import UNREADABLE, connect_to_read, failure, read_rows, read_state, read_tile
from edgeproxy.storage.shards import Shards
from edgeproxy.wire.http1 import decode_stored_head

_TILES_AT_HAND: Final = 64

Progress = Callable[[str, int, int], None]
"""What is being done, how much of it is done, and of how much."""


class NothingToExport(EdgeError):
    """There is no such site, or no ledger yet."""


@dataclass(slots=True)
class Exported:
    """What an export came to. `left_out` counts versions whose head or body is damaged or gone, by reason."""

    site: str
    host: str
    size: int = 0
    urls: int = 0
    written: int = 0
    kept: int = 0
    removed: int = 0
    bytes: int = 0
    left_out: dict[str, int] = field(default_factory=dict)

    def leave_out(self, reason: str) -> None:
        self.left_out[reason] = self.left_out.get(reason, 0) + 1


@dataclass(frozen=True, slots=True)
class Source:
    """An opened ledger, as its last checkpoint has it."""

    connection: sqlite3.Connection
    signer: Signer
    note: bytes
    stated: Checkpoint
    fold: Fold
    tree: TileTree


def export(data: Path, target: Path, host: str | None = None, progress: Progress = lambda what, done, of: None) -> Exported:
    """Bring the mirror in `target` up to date with the site of `host`; without one, with the only site.

    Raises NothingToExport; StoreError, `Corrupt`, `ProofRefused` for a ledger that proves nothing, or a folder that cannot be
    written.
    """
    signer = read_key(data)
    if signer is None or not (data / LEDGER_FILE).is_file():
        raise NothingToExport("there is no ledger here yet: it begins at the first start of the edge", path=data)
    kept = load_state(data)
    site, host = which_site(kept, host)
    try:
        with closing(connect_to_read(data / LEDGER_FILE)) as connection:
            # Browsers that ask for a quorum take no other checkpoint.
            final = read_final(data) if kept.orders[site].validators is not None else None
            source = _open(connection, signer, final, progress)
            return _Export(source, kept, MirrorFolder(target), Shards(data), progress).run(site, host)
    except UNREADABLE as error:
        raise failure(error) from error


def which_site(kept: Kept, host: str | None) -> tuple[str, str]:
    """The site that is meant, by its name, and the host that its control document is for. Raises NothingToExport."""
    if not kept.orders:
        raise NothingToExport("no site is known here yet: start the edge once with this data folder")
    if host is None:
        if len(kept.orders) > 1:
            raise NothingToExport("there are several sites: name one of their hosts with --site", sites=", ".join(kept.orders))
        (site,) = kept.orders
        host = next((each for each in kept.orders[site].hosts if "*" not in each), None)
        if host is None:
            raise NothingToExport("the site has no host of its own: name the one that visitors use with --site", site=site)
        return site, host
    host = host.lower()
    exact = [name for name, orders in kept.orders.items() if host in orders.hosts]
    covering = exact or [name for name, orders in kept.orders.items() if _covers(orders, host)]
    covering = covering or [name for name, orders in kept.orders.items() if "*" in orders.hosts]
    if not covering:
        raise NothingToExport("no site has this host", host=host, sites=", ".join(kept.orders))
    return covering[0], host


def _covers(orders: Orders, host: str) -> bool:
    return is_of(host, [pattern for pattern in orders.hosts if pattern != "*"])


def _open(connection: sqlite3.Connection, signer: Signer, final: bytes | None, progress: Progress) -> Source:
    """Replay the ledger up to `final`, else to its last checkpoint. Rows below it never change, so no snapshot is held."""
    state = read_state(connection)
    note = final or state.checkpoint
    if note is None:
        raise ProofRefused("ledger has no checkpoint yet; it gets one at the next start of the edge")
    stated = open_checkpoint(note, signer.verifier, signer.name).checkpoint
    replay = Replay(None, state.genesis, stated.size)
    for start in range(0, stated.size, 4096):
        progress("reading the ledger", start, stated.size)
        replay.feed(read_rows(connection, start, min(start + 4096, stated.size)))
    progress("reading the ledger", stated.size, stated.size)
    account = replay.finish()
    if account.watched != stated.root or account.tiles is None:
        raise Corrupt("ledger is damaged, edgeproxy ledger verify names what is", size=stated.size)
    return Source(connection, signer, note, stated, account.fold, account.tiles)


class _Export:
    """One run."""

    def __init__(self, source: Source, kept: Kept, folder: MirrorFolder, shards: Shards, progress: Progress) -> None:
        self._source = source
        self._kept = kept
        self._folder = folder
        self._shards = shards
        self._progress = progress
        self._policy = Policy()
        self._tiles: OrderedDict[int, list[tuple[bytes, bytes]]] = OrderedDict()

    def run(self, site: str, host: str) -> Exported:
        source, folder, orders = self._source, self._folder, self._kept.orders[site]
        done = Exported(site, host, size=source.stated.size)
        folder.open()
        salt = site_salt(source.fold.genesis_salt, site)
        self._policy = Policy(tag_fields=orders.tag_fields, override=orders.override)
        choosing = Choosing(site, KeyRules(ignore_query=orders.ignore_query), self._marks)
        versions = list(choosing.versions(source.fold))
        blocks: set[str] = set()
        bodies: set[str] = set()
        for number, version in enumerate(versions):
            self._progress("writing pages", number, len(versions))
            digest = url_digest(salt, version.url)
            if self._put(version, digest, salt, done):
                blocks.add(folder.block_name(digest))
                bodies.add(version.body.digest.hex())
        self._progress("writing pages", len(versions), len(versions))
        self._put_ledger()
        control = control_of(self._kept, site, host, salt)
        assert control is not None, "the site has orders"
        folder.put(CONTROL, sign_control(control, source.signer))
        folder.retain(BLOCKS, blocks)
        folder.retain(BODIES, bodies)
        done.urls = len(blocks)
        done.written, done.kept, done.removed, done.bytes = folder.written, folder.kept, folder.removed, folder.bytes
        return done

    def _put(self, version: Version, digest: Digest, salt: bytes, done: Exported) -> bool:
        """Body, then block; False when there is nothing that would hold, or may be shown."""
        folder, log = self._folder, self._source.signer.verifier
        if self._needs_the_origin(version, salt):
            done.leave_out("shown to nobody without the origin")
            return False
        if folder.has_body(version.body.digest, version.body.length):
            folder.kept += 1
        else:
            try:
                folder.put_body(version.body.digest, version.body.length, self._shards.path(version.body.digest))
            except Corrupt:
                done.leave_out("body is damaged or gone")
                return False
        if folder.block_height(digest, log) == version.height:
            folder.kept += 1
            return True
        rows = list(read_rows(self._source.connection, version.height, version.height + 1))
        if not rows or rows[0].head is None:
            done.leave_out("head is gone")
            return False
        try:
            entry = verify_block(rows[0].raw, version.leaf).entry
            assert isinstance(entry, Stored), "only such a block makes a version"
            proof = ProofFile(version.height, self._path(version.height), self._source.note, self._clear(version, salt))
            folder.put_block(digest, encode_document(entry, rows[0].raw, proof, rows[0].head), log)
        except (Corrupt, ProofRefused):
            done.leave_out("block or head is damaged")
            return False
        return True

    def _needs_the_origin(self, version: Version, salt: bytes) -> bool:
        """Whether the edge itself never shows it unasked; under a rollback it does. What cannot be read is judged later."""
        if self._source.fold.rules.rolled_back(version.site, version.url) is not None:
            return False
        for row in read_rows(self._source.connection, version.height, version.height + 1):
            with suppress(Corrupt):
                stored = verify_stored(row.raw, version.leaf, row.head or b"", version.url, version.selecting, salt).value
                return is_only_validated(stored, self._policy)
        return False

    def _clear(self, version: Version, salt: bytes) -> bytes | None:
        """What a browser needs besides, to know a variant; nothing where every request selects it: no URL stands there then."""
        return encode_clear(Clear(version.url, version.selecting, salt)) if version.selecting else None

    def _marks(self, version: Version) -> tuple[Iterable[str], Iterable[str]]:
        for row in read_rows(self._source.connection, version.height, version.height + 1):
            try:
                fields = decode_stored_head(row.head or b"").fields
            except ValueError:
                break  # damaged: it is left out when its head is looked at
            return tags.tags(fields, self._policy), tags.cache_groups(fields)
        return (), ()

    # --- the ledger itself, for whoever audits

    def _put_ledger(self) -> None:
        tiles = list(tiles_of(self._source.stated.size))
        for number, tile in enumerate(tiles):
            self._progress("writing tiles", number, len(tiles))
            name = f"{LEDGER}/{tile.path}"
            # A full tile never changes; its length is that of no other.
            if tile.level is not None and tile.width == WIDTH and self._folder.has(name, WIDTH * 32):
                self._folder.kept += 1
            else:
                self._folder.put(name, self._tile(tile))
        self._folder.put(f"{LEDGER}/checkpoint", self._source.note)
        self._progress("writing tiles", len(tiles), len(tiles))

    def _tile(self, tile: Tile) -> bytes:
        if tile.height:
            return b"".join(self._source.tree.items(tile.height, tile.index, tile.width))
        rows = self._rows(tile.index)[: tile.width]
        if tile.level == 0:
            return b"".join(leaf for _, leaf in rows)
        return encode_bundle([raw for raw, _ in rows])

    def _rows(self, index: int) -> list[tuple[bytes, bytes]]:
        """Bytes and leaf hash of the blocks of a tile of level 0; the last ones read are at hand."""
        rows = self._tiles.get(index)
        if rows is None:
            rows = self._tiles[index] = read_tile(self._source.connection, index)
            if len(self._tiles) > _TILES_AT_HAND:
                self._tiles.popitem(last=False)
        return rows

    def _path(self, height: int) -> tuple[Digest, ...]:
        tree = self._source.tree

        def leaf_tile(index: int) -> list[Digest]:
            return [Digest(leaf) for _, leaf in self._rows(index)]

        return inclusion_proof(lambda level, index: tree.node(level, index, leaf_tile), height, self._source.stated.size)
