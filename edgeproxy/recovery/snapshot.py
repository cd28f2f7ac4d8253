"""A whole site as at one height, out of a data folder, whether its edge is running or not.

Owns: which version of which URL that is, and its proof. Must not write, nor serve (`recovery.preview`). Blocking.

A site has been asked for under several names (with and without www, over http and https). A preview has one address, so a path
is looked for under the name that has most URLs first; an unknown path of that one may still be one of another.
"""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from edgeproxy.caching import vary
from edgeproxy.caching.model import Height, StoredResponse
from edgeproxy.clock import Instant
from edgeproxy.errors import Corrupt, EdgeError, Fault
from edgeproxy.ledger.chunks import CHUNK, chunk_count, chunk_length
from edgeproxy.ledger.digests import DIGEST_SIZE, site_salt
from edgeproxy.ledger.fold import Fold, Version
from edgeproxy.ledger.verify import verify_body, verify_chunk, verify_leaves, verify_stored
from edgeproxy.sequencer.recovery import replay
from edgeproxy.storage import ledger_rows
from edgeproxy.storage.durable import HeldFile, read_whole
from edgeproxy.storage.ledger_db import LEDGER_FILE
from edgeproxy.storage.shards import Shards, chunks_path
from edgeproxy.wire.messages import Request

T = TypeVar("T")


class NoSnapshot(EdgeError):
    """There is no such site, height or ledger; the text says which there are."""

    fault = Fault.OPERATOR


@dataclass(frozen=True, slots=True)
class Seen:
    """One proved response; `pieces` are its body, each proved before it is yielded, and raise Corrupt or StoreError."""

    stored: StoredResponse
    pieces: Iterator[bytes]


HeightOf = Callable[[sqlite3.Connection, int], Height]
"""(connection, size of the ledger): the height that is meant. Raises EdgeError."""


class Snapshot:
    """`site` is the name of the site that is shown."""

    def __init__(self, data: Path, fold: Fold, height: Height, site: str) -> None:
        self.height = height
        self.site = site
        self.time: Instant | None = None
        self._path = data / LEDGER_FILE
        self._shards = Shards(data)
        self._salt = site_salt(fold.genesis_salt, site)
        self._pages: dict[tuple[str, str], list[Version]] = {}
        self._ranked: list[str] = []
        self._collect(fold)

    @classmethod
    def open(cls, data: Path, height_of: HeightOf, host: str | None) -> "Snapshot":
        """Read the ledger of `data`. `host`: of the one site that is meant. Raises NoSnapshot, StoreError."""
        path = data / LEDGER_FILE
        if not path.is_file():
            raise NoSnapshot(f"there is no ledger in {data}")

        def work(connection: sqlite3.Connection) -> tuple[Fold, Height, Instant | None]:
            account = replay(connection)
            height = height_of(connection, account.head.size)
            return account.fold, height, ledger_rows.time_of(connection, height)

        fold, height, time = _read(path, work)
        snapshot = cls(data, fold, height, _site_of(fold, host))
        snapshot.time = time
        return snapshot

    def _collect(self, fold: Fold) -> None:
        urls: Counter[str] = Counter()
        for url, variants in fold.by_url.items():
            for versions in variants.values():
                then = next((each for each in reversed(versions) if each.height <= self.height), None)
                if then is not None and then.site == self.site:
                    authority, target = split(url)
                    self._pages.setdefault((authority, target), []).append(then)
                    urls[authority] += 1
        self._ranked = [authority for authority, _ in urls.most_common()]

    def __len__(self) -> int:
        return len(self._pages)

    @property
    def authorities(self) -> list[str]:
        """The names under which the site was asked for, the most used first."""
        return list(self._ranked)

    def find(self, request: Request) -> Version | None:
        """The version that answers `request`, by its target and selecting fields; None when nothing was stored then."""
        for authority in self._ranked:
            versions = self._pages.get((authority, request.target))
            if versions:
                there = sorted(versions, key=lambda version: version.height)
                return vary.select(there, request) or there[-1]
        return None

    def read(self, version: Version) -> Seen:
        """Prove one version. Raises Corrupt when something of it is damaged or gone; StoreError."""
        rows = _read(self._path, lambda connection: list(ledger_rows.read_rows(connection, version.height, version.height + 1)))
        if not rows or rows[0].head is None:
            raise Corrupt("block or stored head is missing", height=version.height)
        head = rows[0].head
        stored = verify_stored(rows[0].raw, version.leaf, head, version.url, version.selecting, self._salt).value
        body, path = version.body, self._shards.path(version.body.digest)
        if body.chunks is None:
            return Seen(stored, iter((verify_body(body, read_whole(path, body.length)).value,)))
        data = read_whole(chunks_path(path), chunk_count(body.length) * DIGEST_SIZE)
        hashes = tuple(data[start : start + DIGEST_SIZE] for start in range(0, len(data), DIGEST_SIZE))
        leaves = verify_leaves(body, hashes)
        file = HeldFile.open(path, body.length)

        def pieces() -> Iterator[bytes]:
            for index in range(chunk_count(body.length)):
                piece = file.read(index * CHUNK, chunk_length(body.length, index))
                yield verify_chunk(body, leaves, index, piece).value

        return Seen(stored, pieces())


def _read(path: Path, work: Callable[[sqlite3.Connection], T]) -> T:
    try:
        with closing(ledger_rows.connect_to_read(path)) as connection:
            return work(connection)
    except ledger_rows.UNREADABLE as error:
        raise ledger_rows.failure(error) from error


def _site_of(fold: Fold, host: str | None) -> str:
    """The site that `host` belongs to, by its name or by the URLs that were stored; the only one when none is given."""
    names: dict[str, set[str]] = {}
    for url, variants in fold.by_url.items():
        for versions in variants.values():
            names.setdefault(versions[0].site, set()).add(split(url)[0])
    if host is None and len(names) == 1:
        return next(iter(names))
    listed = ", ".join(sorted(names)) or "none"
    if host is None:
        raise NoSnapshot(f"name one site with --site; stored are: {listed}")
    wanted = host.lower()
    for name, authorities in names.items():
        if wanted == name or any(wanted in (authority, authority.rpartition(":")[0]) for authority in authorities):
            return name
    raise NoSnapshot(f"nothing is stored of a site {host!r}; stored are: {listed}")


def split(url: str) -> tuple[str, str]:
    """Authority and target of an absolute URL."""
    rest = url.partition("://")[2]
    start = rest.find("/")
    return (rest[:start], rest[start:]) if start >= 0 else (rest, "/")
