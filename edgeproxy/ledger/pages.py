"""A page of rows judged as a whole, at a fraction of what the rows cost one by one.

Owns: the question whether anything at all is wrong with a page. Must not be more lenient than `ledger.replay`, which judges row
by row whatever is not clean, and knows what came before.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from edgeproxy.caching.model import Digest
from edgeproxy.clock import Instant
from edgeproxy.errors import Corrupt
from edgeproxy.ledger.batches import read_all
from edgeproxy.ledger.block import Block, Entry, Evict, Purge, Receipt, Release, Rollback, Stored
from edgeproxy.ledger.digests import decode_selecting, sha256_all, site_salt, variant_digest
from edgeproxy.ledger.drafts import ErasedNames, Names, StoredNames, decode_names
from edgeproxy.ledger.merkle import leaf_hashes
from edgeproxy.ledger.tiles import WIDTH, root_of_tile
from edgeproxy.ledger.verify import check_names

Columns = tuple[Any, ...]
"""A row as the store has it, of any types: height, raw, leaf, head, and site, value and extra of the names."""

_PLAIN = frozenset((Stored, Purge, Evict, Rollback, Release, Receipt))
"""Others change how rows around them are judged, and are rare."""


class CleanPage(msgspec.Struct, frozen=True):
    """Rows [`start`, `start` + `count`): a chain of good blocks. What it follows on is not looked at.

    `prev` is what the first block names, `last` the leaf hash of the last. `tiles` are the roots of the full tiles, when it
    begins with one, `leaves` the hashes behind those.
    """

    start: int
    count: int
    prev: Digest
    last: Digest
    first_time: Instant
    last_time: Instant
    tiles: list[Digest]
    leaves: list[Digest]

    @property
    def end(self) -> int:
        """The height behind the last row."""
        return self.start + self.count


class KeptPage(CleanPage, frozen=True):
    """The same with what is in the rows."""

    blocks: list[Block]
    names: list[Names | None]


def judge_page(rows: Sequence[Columns], start: int, genesis_salt: bytes, *, keep: bool) -> CleanPage | None:
    """The page, when `rows` are those from height `start` on and nothing is wrong with any; else None. Block 0 is in no page.

    `keep`: a `KeptPage` is wanted.
    """
    if not rows or start < 1:
        return None
    heights, raws, leaves, *_ = zip(*rows, strict=True)
    if list(heights) != list(range(start, start + len(rows))) or not _are_bytes(raws):
        return None
    computed = leaf_hashes(raws)
    if list(leaves) != computed:
        return None
    blocks = read_all(raws, computed)
    if blocks is None:
        return None
    entries = [block.entry for block in blocks]
    times = [entry.time for entry in entries]
    if (
        [entry.height for entry in entries] != list(heights)
        or [entry.prev for entry in entries[1:]] != computed[:-1]
        or times != sorted(times)
    ):
        return None
    names = _names(entries, rows, genesis_salt, keep=keep)
    if names is None:
        return None
    full = len(computed) - len(computed) % WIDTH if start % WIDTH == 0 else 0
    tiles = [root_of_tile(computed[place : place + WIDTH]) for place in range(0, full, WIDTH)]
    ends = (entries[0].prev, computed[-1], times[0], times[-1])
    if keep:
        return KeptPage(start, len(rows), *ends, tiles, computed[full:], blocks, names)
    return CleanPage(start, len(rows), *ends, tiles, computed[full:])


def _are_bytes(values: Sequence[object]) -> bool:
    return set(map(type, values)) <= {bytes}


def _names(entries: Sequence[Entry], rows: Sequence[Columns], genesis_salt: bytes, *, keep: bool) -> list[Names | None] | None:
    """The names of each row, when they and the heads are good."""
    kinds = set(map(type, entries))
    try:
        if kinds == {Stored}:
            return _stored(entries, rows, genesis_salt, keep=keep)  # type: ignore[arg-type]
        if not kinds <= _PLAIN:
            return None
        stored = [(entry, row) for entry, row in zip(entries, rows, strict=True) if isinstance(entry, Stored)]
        found = _stored([entry for entry, _ in stored], [row for _, row in stored], genesis_salt, keep=True)
        if found is None:
            return None
        following = iter(found)
        return [
            next(following) if isinstance(entry, Stored) else _other(entry, row, genesis_salt)
            for entry, row in zip(entries, rows, strict=True)
        ]
    except (Corrupt, ValueError):
        return None


def _stored(entries: Sequence[Stored], rows: Sequence[Columns], genesis_salt: bytes, *, keep: bool) -> list[Names | None] | None:
    """As `_names`. Raises `Corrupt` and ValueError too."""
    if not entries:
        return []
    _, _, _, heads, sites, values, extras = zip(*rows, strict=True)
    if not all(map(_are_bytes, (heads, sites, values, extras))):
        return None
    if sha256_all(heads) != [entry.head for entry in entries]:
        return None
    # Many rows, few sites and few variants.
    salts = {site: site_salt(genesis_salt, site.decode()) for site in set(sites)}
    if sha256_all([salts[site] + value for site, value in zip(sites, values, strict=True)]) != [entry.url for entry in entries]:
        return None
    selecting = {extra: decode_selecting(extra) for extra in set(extras)}
    variants = {extra: variant_digest(fields) for extra, fields in selecting.items()}
    if [variants[extra] for extra in extras] != [entry.variant for entry in entries]:
        return None
    urls = [value.decode() for value in values]
    if not keep:
        return []
    hosts = {site: site.decode() for site in salts}
    return [StoredNames(hosts[site], url, selecting[extra]) for site, url, extra in zip(sites, urls, extras, strict=True)]


def _other(entry: Entry, row: Columns, genesis_salt: bytes) -> Names | None:
    """Names of a block that stores nothing. Raises `Corrupt`."""
    columns = row[4:]
    if columns == (None, None, None):
        names = None
    elif _are_bytes(columns):
        names = decode_names(columns)
    else:
        raise Corrupt("private row is damaged")
    if isinstance(names, ErasedNames):
        raise Corrupt("a later block must say that these names were erased")
    check_names(entry, names, genesis_salt)
    return names
