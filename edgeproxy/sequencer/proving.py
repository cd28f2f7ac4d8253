"""`ledger prove`: the evidence of one version of a URL, out of a data folder, whether its edge is running or not.

Owns: what is read for it. Must not write, nor decide where evidence goes. Reads the leaf hash of every block once (about a second
for a million): a tree in memory has only a running edge.
"""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from edgeproxy.caching.key import primary_key
from edgeproxy.caching.model import Digest
from edgeproxy.errors import Corrupt, ProofRefused
from edgeproxy.ledger.block import Genesis, Stored, body_of, decode
from edgeproxy.ledger.checkpoint import Checkpoint, open_checkpoint, read_checkpoint
from edgeproxy.ledger.digests import site_salt
from edgeproxy.ledger.drafts import StoredNames, decode_names
from edgeproxy.ledger.evidence import Clear, Evidence, check_evidence, encode_clear
from edgeproxy.ledger.handover import MAX_ROTATIONS, Handover, rotations_of
from edgeproxy.ledger.note_keys import Verifier, parse_verifier
from edgeproxy.ledger.proof_file import ProofFile
from edgeproxy.ledger.proofs import inclusion_proof
from edgeproxy.ledger.replay import RawRow
from edgeproxy.ledger.succession import key_at, rotation_in
from edgeproxy.ledger.tiles import TileTree
from edgeproxy.ledger.verify import verify_block, verify_body
from edgeproxy.sequencer.final import read_final
from edgeproxy.storage.ledger_db import LEDGER_FILE
from edgeproxy.storage.ledger_key import read_key
from edgeproxy.storage.ledger_rows import (
    UNREADABLE,
    connect_to_read,
    failure,
    read_leaves,
    read_mentioning,
    read_rows,
    read_state,
    read_tile,
)
from edgeproxy.storage.shards import Shards


class NoVersion(ProofRefused):
    """The ledger has no version of the URL, or none at the height that was asked for."""


def prove(data: Path, url: str, height: int | None = None) -> tuple[Evidence, Verifier]:
    """Evidence of the newest version of `url`, or of the one at `height`, and the key it is to be checked with. Blocking.

    The checkpoint is the final one when that covers the version, else the newest. It is checked as a stranger would. The body is
    left out when it is not there any more. Raises NoVersion; `ProofRefused`, `Corrupt` or StoreError for a ledger that proves
    nothing.
    """
    signer = read_key(data)
    if signer is None:
        raise ProofRefused("ledger has no key yet; it gets one at the next start of the edge")
    log = signer.verifier
    final = read_final(data)
    try:
        with closing(connect_to_read(data / LEDGER_FILE)) as connection:
            # One snapshot: a checkpoint, and the blocks that it is about.
            connection.execute("BEGIN")
            newest = read_state(connection).checkpoint
            if newest is None:
                raise ProofRefused("ledger has no checkpoint yet; it gets one at the next start of the edge")
            version = _version(connection, url, height, open_checkpoint(newest, log, log.name).checkpoint.size)
            evidence = _final_evidence(connection, data, version, log, final) if final is not None else None
            if evidence is None:
                evidence = _evidence(connection, data, version, log, newest)
                check_evidence(evidence, log)
    except UNREADABLE as error:
        raise failure(error) from error
    return evidence, log


_Row = tuple[RawRow, StoredNames]


def _final_evidence(connection: sqlite3.Connection, data: Path, version: _Row, log: Verifier, note: bytes) -> Evidence | None:
    """With the final checkpoint; None when that is older than the version, or than the key, or not of this ledger."""
    claimed = read_checkpoint(note)
    if claimed is None or claimed.size <= version[0].height:
        return None
    try:
        evidence = _evidence(connection, data, version, log, note)
        check_evidence(evidence, log)
    except (ProofRefused, Corrupt):
        return None  # what is wrong with it `validators` says; the newest checkpoint proves as much
    return evidence


def _evidence(connection: sqlite3.Connection, data: Path, version: _Row, log: Verifier, note: bytes) -> Evidence:
    row, names = version
    rotations = _rotations(connection)
    claimed = read_checkpoint(note)
    # One that was made final before a rotation is of the key before.
    key = parse_verifier(key_at(str(log), rotations_of(rotations), claimed.size)) if claimed is not None else log
    stated = open_checkpoint(note, key, log.name).checkpoint
    block = verify_block(row.raw, Digest(row.leaf))
    assert isinstance(block.entry, Stored), "only such a row has names with a URL"
    clear = Clear(names.url, names.selecting, site_salt(_genesis_salt(connection), names.site))
    path = _paths(connection, stated)
    proof = ProofFile(row.height, path(row.height), note, encode_clear(clear))
    told = tuple(Handover(each.block, path(height)) for each in rotations if (height := decode(each.block).height) < stated.size)
    return Evidence(proof, row.raw, row.head, _body(Shards(data), block.entry), told[-MAX_ROTATIONS:])


def _rotations(connection: sqlite3.Connection) -> tuple[Handover, ...]:
    """The rotate blocks of the ledger, without paths; damaged ones prove nothing and are left out."""
    found = []
    for row in read_mentioning(connection, b'"op":"rotate"'):
        try:
            if rotation_in(verify_block(row.raw, Digest(row.leaf))) is not None:
                found.append(Handover(row.raw, ()))
        except Corrupt:
            continue
    return tuple(found)


def _version(connection: sqlite3.Connection, url: str, height: int | None, size: int) -> _Row:
    found = connection.execute(
        "SELECT height FROM private WHERE value IN (?, ?) ORDER BY height DESC", (url.encode(), primary_key(url).encode())
    ).fetchall()
    for (each,) in found:
        if each < size and height in (None, each):
            for row in read_rows(connection, each, each + 1):
                names = decode_names(row.names) if row.names is not None else None
                if isinstance(names, StoredNames):
                    return row, names
    raise NoVersion("ledger has no such version", url=url, **({} if height is None else {"height": height}))


def _genesis_salt(connection: sqlite3.Connection) -> bytes:
    genesis = read_state(connection).genesis
    entry = decode(genesis).entry if genesis is not None else None
    if not isinstance(entry, Genesis):
        raise Corrupt("second copy of block 0 is missing or damaged")
    return entry.salt


def _paths(connection: sqlite3.Connection, stated: Checkpoint) -> Callable[[int], tuple[Digest, ...]]:
    """From a height to its path in the tree of the checkpoint."""
    tree = TileTree()
    for leaf in read_leaves(connection, stated.size):
        tree.append(Digest(leaf) if len(leaf) == 32 else None)
    if tree.size != stated.size:
        raise Corrupt("rows of the ledger are missing; edgeproxy ledger verify names them", rows=tree.size, size=stated.size)

    def leaf_tile(index: int) -> list[Digest]:
        return [Digest(leaf) for _, leaf in read_tile(connection, index)]

    return lambda height: inclusion_proof(lambda level, index: tree.node(level, index, leaf_tile), height, stated.size)


def _body(shards: Shards, entry: Stored) -> bytes | None:
    try:
        return verify_body(body_of(entry), shards.path(entry.body).read_bytes()).value
    except (OSError, Corrupt):
        return None  # evicted, or damaged: the proof of the block holds all the same
