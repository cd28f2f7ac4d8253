"""One byte of the ledger's files is changed, anywhere: nothing wrong is used, next to nothing is lost, and the audit names it."""

import os
import random
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgeproxy.caching.model import Mark
from edgeproxy.errors import Corrupt, EdgeError
from edgeproxy.ledger.chunks import ref_of
from edgeproxy.ledger.digests import site_salt
from edgeproxy.ledger.drafts import EvictDraft, PurgeDraft
from edgeproxy.ledger.fold import Fold, Version
from edgeproxy.ledger.verify import verify_stored
from edgeproxy.sequencer.audit import audit_now
from edgeproxy.storage.ledger_db import LEDGER_FILE, LedgerDb
from tests.support.ledgers import NOW, SITE, Ledger, head_for, store_draft

POSITIONS = int(os.environ.get("EDGEPROXY_DAMAGE_POSITIONS", "200"))
PURGED = f"http://{SITE}/page/3"


@dataclass(frozen=True)
class Original:
    """A whole ledger, and what is true of it."""

    folder: Path
    size: int
    salt: bytes
    rows: dict[int, tuple[bytes, bytes, str]]
    """By height of each store or refresh: block bytes, stored head, URL."""


async def _fill(ledger: Ledger) -> None:
    append = ledger.sequencer.append
    for number in range(1, 40):
        append(store_draft(number, head=head_for(number, padding=9000 if number == 20 else 0)))
    append(store_draft(41, url=f"http://{SITE}/page/5", op="refresh", body=ref_of(b"body 5")))
    append(store_draft(42, selecting=(("accept-language", "de"), ("x-absent", None))))
    append(PurgeDraft(SITE, "url", PURGED, "hard", NOW))
    append(PurgeDraft(SITE, "tag", "news", "soft", NOW, "ab" * 16))
    append(EvictDraft(ref_of(b"body 6").digest, 6, NOW))
    append(store_draft(43))
    await ledger.sequencer.flush()


async def _truth(ledger: Ledger) -> dict[int, tuple[bytes, bytes, str]]:
    rows = {}
    for version in _versions(ledger.fold):
        row = await ledger.db.load(version.height)
        rows[version.height] = (row.raw, row.head, version.url)
    return rows


def _versions(fold: Fold) -> list[Version]:
    return [version for variants in fold.by_url.values() for versions in variants.values() for version in versions]


async def _proved(db: LedgerDb, fold: Fold) -> dict[int, tuple[bytes, bytes, str]]:
    """What the edge would use: every version that passes the proof."""
    proved = {}
    for version in _versions(fold):
        try:
            row = await db.load(version.height)
            salt = site_salt(fold.genesis_salt, version.site)
            stored = verify_stored(row.raw, version.leaf, row.head, version.url, version.selecting, salt).value
        except Corrupt:
            continue
        assert stored.height == version.height
        proved[version.height] = (row.raw, row.head, stored.url)
    return proved


@pytest.fixture
async def original(tmp_path: Path) -> Original:
    folder = tmp_path / "original"
    async with Ledger(folder) as ledger:
        await _fill(ledger)
        rows = await _truth(ledger)
        return Original(folder, ledger.sequencer.head().size, ledger.fold.genesis_salt, rows)


@pytest.fixture
async def killed(tmp_path: Path) -> Original:
    """As a kill leaves it: everything but the genesis block is in the log, none of it in the database."""
    running, folder = tmp_path / "running", tmp_path / "killed"
    async with Ledger(running) as ledger:
        await _fill(ledger)
        rows = await _truth(ledger)
        shutil.copytree(running, folder)
        (folder / (LEDGER_FILE + "-shm")).unlink()
        return Original(folder, ledger.sequencer.head().size, ledger.fold.genesis_salt, rows)


async def _after_damage(original: Original, folder: Path) -> tuple[int, bool]:
    """Audit, start, prove, append, start again; how many versions were lost, and whether the audit named a fault."""
    named = not audit_now(folder, bodies=False).is_clean
    async with Ledger(folder) as ledger:
        fold, faults = ledger.fold, ledger.sequencer.recovered.faults
        proved = await _proved(ledger.db, fold)
        assert proved.items() <= original.rows.items()
        lost = len(original.rows) - len(proved)
        assert ledger.sequencer.head().size == original.size, faults
        assert lost == 0 or (named and faults)
        # A hard purge is obeyed even when its row or its block is the damaged place, and covers nothing else.
        for number, mark in ((3, Mark.GONE), (4, Mark.NONE)):
            url = f"http://{SITE}/page/{number}"
            for version in fold.history(url):
                assert fold.rules.mark(version.height, site=SITE, url=url) is mark
        block = await ledger.sequencer.append(store_draft(99))
        assert block.height == original.size
        left = len(proved)
    async with Ledger(folder) as ledger:
        again = await _proved(ledger.db, ledger.fold)
        assert len(again) == left + 1
        if lost:
            assert not audit_now(folder, bodies=False).is_clean
    return lost, named


def _flip(path: Path, position: int, bits: int) -> None:
    with path.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes((byte ^ bits,)))


async def _damage_everywhere(original: Original, tmp_path: Path, name: str, positions: list[int], chance: random.Random) -> None:
    for position in positions:
        folder = tmp_path / "damaged"
        shutil.copytree(original.folder, folder)
        bits = chance.choice((1, 0x80, 0xFF, chance.randrange(1, 256)))
        _flip(folder / name, position, bits)
        try:
            lost, named = await _after_damage(original, folder)
        except (AssertionError, EdgeError, LookupError, ValueError) as error:
            raise AssertionError(f"byte {position} of {name} changed by {bits:#x}: {error!r}") from error
        assert lost <= 1, f"byte {position} of {name} changed by {bits:#x} cost {lost} versions"
        assert lost == 0 or named
        shutil.rmtree(folder)


@pytest.mark.timeout(600)
async def test_one_changed_byte_anywhere_in_the_database_costs_at_most_one_version(original: Original, tmp_path: Path) -> None:
    chance = random.Random(20)
    size = (original.folder / LEDGER_FILE).stat().st_size
    # All of the file's header and of the first page's, then anywhere.
    positions = [*range(108), *(chance.randrange(size) for _ in range(max(0, POSITIONS - 108)))]
    await _damage_everywhere(original, tmp_path, LEDGER_FILE, positions, chance)


@pytest.mark.timeout(600)
async def test_one_changed_byte_in_the_log_of_a_killed_edge_costs_at_most_one_version(killed: Original, tmp_path: Path) -> None:
    chance = random.Random(21)
    name = LEDGER_FILE + "-wal"
    size = (killed.folder / name).stat().st_size
    # All of the log's header and of the first frame's, then anywhere.
    positions = [*range(56), *(chance.randrange(size) for _ in range(max(0, POSITIONS // 2 - 56)))]
    await _damage_everywhere(killed, tmp_path, name, positions, chance)
