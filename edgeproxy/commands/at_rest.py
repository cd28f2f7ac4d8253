"""The ledger of a data folder whose edge is not running, read without changing anything.

Owns: the same answers that a running edge gives (`admin.views`). Must not repair or write; that is for the next start.
"""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from edgeproxy.admin.views import block_view, head_view, history_view
from edgeproxy.caching.key import primary_key
from edgeproxy.caching.model import Digest
from edgeproxy.config import Edge
from edgeproxy.errors import Corrupt
from edgeproxy.exchange.standing import Standing, namesakes, standings, versions_of
from edgeproxy.ledger.block import decode
from edgeproxy.ledger.drafts import StoredNames, decode_names
from edgeproxy.ledger.fold import Fold, Version
from edgeproxy.ledger.replay import Account, Replay, TreeHead
from edgeproxy.ledger.verify import verify_block
from edgeproxy.sequencer.final import final_size
from edgeproxy.sequencer.sequencer import ORIGIN_PATH
from edgeproxy.storage import ledger_rows
from edgeproxy.storage.ledger_db import LEDGER_FILE
from edgeproxy.storage.ledger_key import read_key
from edgeproxy.storage.shards import Shards

T = TypeVar("T")
_ROW_TEXT = "; edgeproxy ledger verify says more"


class LedgerAtRest:
    """The ledger database at `path`. Every answer raises `StoreError`, or `Corrupt` when what is asked for is damaged."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def find(cls, data: Path) -> "LedgerAtRest | None":
        """The ledger of a data folder; None when there is none."""
        path = data / LEDGER_FILE
        return cls(path) if path.is_file() else None

    def ledger_head(self) -> dict[str, Any]:
        """Size and root as committed last; worked out anew from the blocks when that row is damaged."""

        def work(connection: sqlite3.Connection) -> tuple[TreeHead, str]:
            head = ledger_rows.read_state(connection).head or _replayed(connection).head
            rows = list(ledger_rows.read_rows(connection, max(0, head.size - 1), head.size))
            return head, decode(rows[0].raw).node if rows else Edge().node

        head, node = self._read(work)
        signer = read_key(self.path.parent)
        origin, vkey = (f"{node}{ORIGIN_PATH}", None) if signer is None else (signer.name, str(signer.verifier))
        return head_view(origin, vkey, head.size, head.root, head.time if head.size else None, final_size(self.path.parent))

    def ledger_show(self, height: int) -> dict[str, Any] | None:
        """One block, its bytes checked against its leaf hash."""
        rows = self._read(lambda connection: list(ledger_rows.read_rows(connection, height, height + 1)))
        names, standing = None, None
        if not rows:
            return None
        if len(rows[0].leaf) != 32:
            raise Corrupt(f"leaf hash of the block is damaged{_ROW_TEXT}", height=height)
        block = verify_block(rows[0].raw, Digest(rows[0].leaf))
        if rows[0].names is not None:
            names = decode_names(rows[0].names)
        if isinstance(names, StoredNames):
            fold = self._read(_replayed).fold
            versions = fold.by_url.get(names.url, {}).get(names.selecting, [])
            found = self._standings(fold, names.url, [version for version in versions if version.height == height])
            standing = found[0] if found else None
        return block_view(block, names, standing)

    def ledger_history(self, url: str, limit: int = 100) -> dict[str, Any]:
        """The versions of `url`, newest first, out of blocks that hold."""
        fold = self._read(_replayed).fold
        key = primary_key(url)
        # Which sites are configured is not known here; one is named by its first host.
        erased = fold.erased_at({url, key}, {*fold.sites(), urlsplit(url).hostname or "", "*"})
        versions = versions_of(fold, url, key)[::-1][:limit]
        near = [] if versions or erased is not None else namesakes(fold, key)
        return history_view(url, self._standings(fold, url, versions), erased, near)

    def _standings(self, fold: Fold, url: str, versions: list[Version]) -> list[Standing]:
        heights = [version.height for version in versions]
        traces = self._read(lambda connection: ledger_rows.traces_of(connection, heights))
        shards = Shards(self.path.parent)

        def has_body(version: Version) -> bool:
            return fold.has_body(version) and shards.path(version.body.digest).is_file()

        # The key as no site's own rules have it: the configuration is not at hand.
        return standings(fold, primary_key(url), versions, traces, has_body)

    def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            with closing(ledger_rows.connect_to_read(self.path)) as connection:
                return work(connection)
        except ledger_rows.UNREADABLE as error:
            raise ledger_rows.failure(error) from error


def _replayed(connection: sqlite3.Connection) -> Account:
    state = ledger_rows.read_state(connection)
    replay = Replay(state.head, state.genesis, None, state.restored)
    replay.feed(ledger_rows.read_rows(connection))
    return replay.finish()
