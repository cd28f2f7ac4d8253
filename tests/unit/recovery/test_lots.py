"""Lots: one goes to the disk while the next is gathered, and what went wrong with it is told."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path

import pytest

from edgeproxy.caching.model import Height
from edgeproxy.errors import ProofRefused, StoreFull
from edgeproxy.ledger.chunks import ref_of
from edgeproxy.ledger.drafts import BodyRef
from edgeproxy.recovery import lots
from edgeproxy.recovery.lots import Lot
from edgeproxy.recovery.staging import Staging


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def _add(lot: Lot, number: int) -> BodyRef:
    data = b"body %d" % number
    await lot.body(Height(number), ref_of(data), _pieces(data))
    return ref_of(data)


async def test_the_next_lot_is_gathered_while_one_goes_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lots, "MOST", 2)
    staging, let_go, sent = Staging(tmp_path), asyncio.Event(), list[int]()
    await staging.open()
    make_durable = staging.bodies.make_durable

    async def slow(refs: Sequence[BodyRef]) -> None:
        sent.append(len(refs))
        await let_go.wait()
        await make_durable(refs)

    monkeypatch.setattr(staging.bodies, "make_durable", slow)
    lot = Lot(staging)
    refs = [await _add(lot, number) for number in range(3)]
    assert not any(staging.bodies.exists(ref.digest) for ref in refs)
    assert all(lot.has_body(ref.digest) for ref in refs)
    # A third lot must wait: no more than two are lost in a crash.
    waiting = asyncio.ensure_future(_add(lot, 3))
    await asyncio.sleep(0)
    assert not waiting.done()
    let_go.set()
    refs.append(await waiting)
    await lot.flush()
    assert all(staging.bodies.exists(ref.digest) for ref in refs)
    assert sent == [2, 2]
    await staging.close()


async def test_a_lot_that_cannot_be_kept_is_told_with_the_next_or_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lots, "MOST", 1)
    staging = Staging(tmp_path)
    await staging.open()

    async def full(_: Sequence[BodyRef]) -> None:
        raise StoreFull("no space left for a body")

    monkeypatch.setattr(staging.bodies, "make_durable", full)
    lot = Lot(staging)
    first = await _add(lot, 1)
    with pytest.raises(StoreFull):
        await lot.flush()
    assert not lot.has_body(first.digest)
    assert not caplog.records
    await staging.close()


async def test_a_lot_on_its_way_is_waited_for_when_something_else_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder is closed right after; a lot that only then began would end in a traceback, and be lost."""
    monkeypatch.setattr(lots, "MOST", 1)
    staging = Staging(tmp_path)
    await staging.open()
    kept: list[BodyRef] = []

    async def take() -> None:
        async with aclosing(Lot(staging)) as lot:
            kept.append(await _add(lot, 1))
            raise ProofRefused("file is damaged")

    with pytest.raises(ProofRefused):
        await take()
    assert staging.bodies.exists(kept[0].digest)
    await staging.close()
