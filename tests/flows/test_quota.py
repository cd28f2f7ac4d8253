"""The quota of the disk: what is evicted first, and a block for each."""

from pathlib import Path

import pytest

from edgeproxy import app as edge_app
from edgeproxy.ledger.block import Evict, decode
from edgeproxy.sequencer.audit import audit_now
from tests.support.edge import running_edge, until
from tests.support.lives import soon
from tests.support.site import content, running_site

MEGABYTE = 1 << 20


def bodies_on_disk(data: Path) -> set[str]:
    return {path.name for path in (data / "bodies").glob("??/*") if path.suffix != ".chunks"}


async def test_quota_evicts_superseded_bodies_first_and_writes_a_block_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge_app, "HOUSEKEEPING_SECONDS", 0.05)
    changing = [f"/changing-{number}?cc=max-age=0&size={3 * MEGABYTE}" for number in range(2)]
    lasting = [f"/lasting-{number}?max-age=600&size={3 * MEGABYTE}" for number in range(4)]
    async with running_site() as site:
        async with running_edge(tmp_path, site.url, edge='disk = "20MiB"') as (edge, client):
            for target in (lasting[0], *changing):
                await client.ask(target)
            await until(lambda: soon(edge.sequencer.head().size == 4))
            before = bodies_on_disk(tmp_path / "data")
            site.version = "2"
            for target in changing:
                await client.ask(target)
            await until(lambda: soon(edge.sequencer.head().size == 6))
            assert edge.retention.evicted == 0, "15 of 20 MiB are used"
            for target in lasting[1:]:
                await client.ask(target)
            await until(lambda: soon(edge.retention.evicted == 2))
            await edge.sequencer.flush()
            rows = [await edge.db.load(height) for height in range(edge.sequencer.head().size)]
            evicted = {entry.body.hex() for row in rows if isinstance(entry := decode(row.raw).entry, Evict)}
            assert len(evicted) == 2
            # Deleted once the block that says so is committed, never before.
            await until(lambda: soon(before - bodies_on_disk(tmp_path / "data") == evicted))
            asked = len(site.seen)
            for target in lasting:
                answer = await client.ask(target)
                assert answer.body == content(target, "2" if target != lasting[0] else "1", 3 * MEGABYTE)
            assert len(site.seen) == asked, "what is current is all there, the longest unused as well"
            assert edge.bodies.total_bytes <= 20 * MEGABYTE
        assert audit_now(tmp_path / "data").is_clean
        async with running_edge(tmp_path, site.url, edge='disk = "20MiB"') as (edge, _):
            assert edge.retention.evicted == 0
            assert len(edge.cache.index) == len(changing + lasting)


async def test_quota_evicts_the_longest_unused_when_nothing_is_superseded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge_app, "HOUSEKEEPING_SECONDS", 0.05)
    targets = [f"/page-{number}?max-age=600&size={3 * MEGABYTE}" for number in range(6)]
    from_disk = '[site.cache]\nmemory_object = "1KiB"'
    async with running_site() as site, running_edge(tmp_path, site.url, edge='disk = "16MiB"', site=from_disk) as (edge, client):
        for number, target in enumerate(targets[:5]):
            await client.ask(target)
            await until(lambda number=number: soon(edge.sequencer.head().size == number + 2))
        await client.ask(targets[0])
        await client.ask(targets[5])
        await until(lambda: soon(edge.retention.evicted >= 1 and edge.bodies.total_bytes <= 16 * MEGABYTE))
        site.failing = 503
        statuses = [(await client.ask(target)).status for target in targets]
        assert statuses[0] == statuses[5] == 200, "asked for last"
        assert statuses[1] == 503, "the longest unused is gone"
        assert edge.retention.evicted == statuses.count(503) <= 2
