"""Checkpoints against those seen before, and by their cosignatures."""

import pytest

from edgeproxy.caching.model import Digest
from edgeproxy.ledger.checkpoint import Checkpoint, Opened, open_checkpoint, sign_checkpoint
from edgeproxy.ledger.findings import Finding, FindingKind
from edgeproxy.ledger.heads import MAX_AHEAD, has_quorum, judge_growth, judge_quorum
from edgeproxy.ledger.note_keys import COSIGNATURE, Signer
from edgeproxy.ledger.notes import SignatureLine
from edgeproxy.ledger.policy import Policy, parse_policy

ORIGIN = "edge.example/.edge/ledger"
LOG = Signer(ORIGIN, b"\1" * 32)
WITNESSES = [Signer(f"w{number}.example", bytes([number]) * 32, COSIGNATURE) for number in (2, 3, 4)]
NOW = 1_700_000_000


def _policy(quorum: str = "group two 2 w2 w3 w4\nquorum two\n") -> Policy:
    lines = [f"log {LOG.verifier}", *(f"witness w{number} {each.verifier}" for number, each in enumerate(WITNESSES, 2)), quorum]
    return parse_policy("\n".join(lines).encode())


def _opened(policy: Policy, *times: int | None) -> Opened:
    checkpoint = Checkpoint(ORIGIN, 5, Digest(b"r" * 32))
    note = sign_checkpoint(checkpoint, LOG).decode()
    for witness, time in zip(WITNESSES, times, strict=False):
        if time is not None:
            note += str(SignatureLine(witness.name, witness.key_id, witness.sign(checkpoint.text.encode(), time)))
    return open_checkpoint(note.encode(), LOG.verifier, ORIGIN, [each.verifier for each in policy.witnesses.values()])


def _head(size: int, root: bytes = b"a") -> Checkpoint:
    return Checkpoint(ORIGIN, size, Digest(root * 32))


def test_a_smaller_ledger_is_a_rollback_and_another_root_a_fork() -> None:
    assert judge_growth(_head(5), _head(6, b"b")) is True
    assert judge_growth(_head(5), _head(5)) is False
    for stated, kind in ((_head(4), FindingKind.ROLLBACK), (_head(0), FindingKind.ROLLBACK), (_head(5, b"b"), FindingKind.FORK)):
        with pytest.raises(Finding) as found:
            judge_growth(_head(5), stated)
        assert found.value.kind is kind


def test_a_quorum_counts_cosignatures_that_are_fresh() -> None:
    policy = _policy()
    fresh = _opened(policy, NOW - 100, NOW - 50)
    assert judge_quorum(policy, fresh, NOW, 100).names == ("w2", "w3")
    assert judge_quorum(policy, fresh, NOW, 100).oldest == NOW - 100
    assert judge_quorum(policy, _opened(policy, 1, 1), NOW, None).oldest == 1
    assert judge_quorum(policy, _opened(policy, NOW + MAX_AHEAD, NOW), NOW, 100).names == ("w2", "w3")
    for times, kind, words in (
        ((), FindingKind.QUORUM, "nobody"),
        ((NOW,), FindingKind.QUORUM, "cosigned=w2"),
        ((NOW - 101, NOW), FindingKind.STALE, "older"),
        ((NOW + MAX_AHEAD + 1, NOW), FindingKind.STALE, "future"),
        ((NOW + MAX_AHEAD + 1, NOW + MAX_AHEAD + 1), FindingKind.STALE, "future"),
    ):
        with pytest.raises(Finding, match=words) as found:
            judge_quorum(policy, _opened(policy, *times), NOW, 100)
        assert found.value.kind is kind
    assert has_quorum(policy, _opened(policy, 1, 1))
    assert not has_quorum(policy, _opened(policy, 1))


def test_without_a_quorum_nobody_is_asked_for_and_nobody_says_when() -> None:
    policy = _policy("quorum none")
    assert judge_quorum(policy, _opened(policy), NOW, None).oldest is None
    assert judge_quorum(policy, _opened(policy, None, 7), NOW, None).names == ("w3",)


def test_every_finding_has_words() -> None:
    for kind in FindingKind:
        finding = Finding(kind, "text", height=3, more=1)
        assert finding.meaning.endswith(".") or finding.meaning
        assert finding.advice
        assert str(finding) == "text (block=3, more=1)"
    assert str(Finding(FindingKind.KEY, "text")) == "text"
