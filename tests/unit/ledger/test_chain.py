"""The rules of the chain: each broken one is named with its block, and nothing that the sequencer writes breaks one."""

from collections.abc import Callable

import pytest

from edgeproxy.clock import Instant
from edgeproxy.ledger.block import decode
from edgeproxy.ledger.chain import Chain
from edgeproxy.ledger.drafts import PurgeDraft, ReceiptDraft, ReleaseDraft, RollbackDraft, RotateDraft
from edgeproxy.ledger.merkle import MerkleFrontier
from edgeproxy.ledger.note_keys import Signer
from tests.support.logs import ORIGIN, START, Log, altered


def chain_of(log: Log, chain: Chain | None = None) -> Chain:
    chain = chain or Chain.empty()
    for raw in log.raws[chain.size :]:
        chain.take(raw)
    return chain


def test_every_kind_of_block_that_is_written_keeps_the_rules() -> None:
    log = Log()
    log.grow(3)
    log.add(RollbackDraft("a", "site", "a", 2, "fetch", START, ""))
    log.add(ReleaseDraft("a", "site", "a", START, ""))
    log.add(ReceiptDraft("a", "http://a/", "cache", "network", 3, Instant(START), 1, START, ""))
    log.rotate(bytes([2]) * 32)
    log.grow(300)
    chain = chain_of(log)
    assert chain.fault is None
    assert (chain.size, chain.root(), chain.key) == (log.size, log.root(), log.vkey)
    assert chain.handed_over == {str(Signer(ORIGIN, bytes([1]) * 32).verifier)}


def test_a_chain_goes_on_from_what_was_kept_of_it() -> None:
    log = Log()
    log.grow(300)
    early = chain_of(log.fork(77))
    kept = Chain(MerkleFrontier(77, early.peaks), early.last, early.time, early.key)
    other = early.copy()
    assert chain_of(log, kept).root() == log.root() == chain_of(log, other).root()
    assert (kept.fault, early.size) == (None, 77)


def _another_height(log: Log) -> bytes:
    return altered(log.raws[-1], b'"height":4', b'"height":5')


def _another_prev(log: Log) -> bytes:
    other = log.fork(3)
    other.grow(1, "other")
    other.grow(1)
    return other.raws[-1]


def _older(log: Log) -> bytes:
    log.raws.pop()
    log.add(PurgeDraft("a", "url", "http://a/", "soft", START), time=START)
    return log.raws[-1]


def _spaced(log: Log) -> bytes:
    return log.raws[-1].replace(b",", b", ", 1)


def _unknown(log: Log) -> bytes:
    return log.raws[-1].replace(b'"purge"', b'"merge"')


def _of_a_foreign_key(log: Log) -> bytes:
    log.raws.pop()
    log.add(RotateDraft(Signer(ORIGIN, bytes([8]) * 32), Signer(ORIGIN, bytes([9]) * 32), START))
    return log.raws[-1]


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (_another_height, "another height"),
        (_another_prev, "does not name the one before"),
        (_older, "older than the one before"),
        (_spaced, "not in canonical form"),
        (_unknown, "unknown op"),
        (_of_a_foreign_key, "a key that the log does not have"),
        (lambda log: b"{", "cannot be read"),
        (lambda log: b"", "cannot be read"),
    ],
)
def test_a_broken_rule_is_found_at_its_block(make: Callable[[Log], bytes], what: str) -> None:
    log = Log()
    log.grow(4)
    log.raws[-1] = make(log)
    log.grow(1)
    chain = Chain.empty()
    chain.key = str(log.signer.verifier)
    chain_of(log, chain)
    assert chain.fault is not None
    assert what in str(chain.fault)
    assert (chain.fault.height, chain.fault.raw) == (4, log.raws[4])
    # It is hashed nevertheless: whether the log signed it, its root says.
    assert chain.root() == log.root()


def test_a_rotation_that_does_not_hold_is_a_broken_rule() -> None:
    log = Log()
    log.rotate(bytes([2]) * 32)
    signature = decode(log.raws[1]).entry.signature  # type: ignore[union-attr]
    from edgeproxy.ledger.strict import encode_base64

    forged = encode_base64(signature[:-1] + bytes([signature[-1] ^ 1])).encode()
    log.raws[1] = log.raws[1].replace(encode_base64(signature).encode(), forged)
    chain = chain_of(log)
    assert chain.fault is not None
    assert "rotation" in str(chain.fault)
    assert chain.key is None
