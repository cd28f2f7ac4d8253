"""What the answers of validators mean, and how long they are left alone after a failure."""

import pytest

from edgeproxy.ledger.note_keys import COSIGNATURE, Signer
from edgeproxy.ledger.notes import SignatureLine
from edgeproxy.sequencer.asking import LONGEST_WAIT, Asked, Outcome, cosignature, meaning, wait_after
from tests.support.logs import Log

NOW = 1_764_000_000
KEY = Signer("v.example", bytes([5]) * 32, COSIGNATURE)
ASKED = Asked("v", KEY.verifier, "http://v.example")
LOG = Log()
MESSAGE = LOG.note().partition(b"\n\n")[0] + b"\n"


@pytest.mark.parametrize(
    ("status", "body", "outcome", "size"),
    [
        (409, b"17\n", Outcome.ELSEWHERE, 17),
        (409, b"0\n", Outcome.ELSEWHERE, 0),
        (409, b"seventeen\n", Outcome.INVALID, 0),
        (409, b"", Outcome.INVALID, 0),
        (422, b"the consistency proof\n", Outcome.FORK, 0),
        (503, b"still looking\n", Outcome.BUSY, 0),
        (429, b"", Outcome.BUSY, 0),
        (400, b"", Outcome.REFUSED, 0),
        (403, b"", Outcome.REFUSED, 0),
        (404, b"unknown\n", Outcome.REFUSED, 0),
        (301, b"", Outcome.REFUSED, 0),
        (500, b"\xff", Outcome.REFUSED, 0),
    ],
)
def test_each_status_has_its_meaning(status: int, body: bytes, outcome: Outcome, size: int) -> None:
    answer = meaning(status, body, None)
    assert answer is not None
    assert (answer.outcome, answer.size) == (outcome, size)
    assert answer.problem is None or len(answer.problem) < 400


@pytest.mark.parametrize(("given", "seconds"), [("3", 3.0), ("99999", LONGEST_WAIT), ("soon", None), ("-1", None), (None, None)])
def test_a_busy_one_says_when_to_come_back_within_bounds(given: str | None, seconds: float | None) -> None:
    answer = meaning(503, b"", given)
    assert answer is not None
    assert answer.retry_after == seconds


def line(signer: Signer = KEY, *, at: int = NOW, message: bytes = MESSAGE) -> bytes:
    return str(SignatureLine(signer.name, signer.key_id, signer.sign(message, at))).encode()


def test_a_cosignature_counts_when_it_is_of_this_key_over_this_text_and_of_now() -> None:
    stranger = Signer("w.example", bytes([6]) * 32, COSIGNATURE)
    answer = cosignature(ASKED, MESSAGE, line(stranger) + line(), NOW)
    assert (answer.outcome, answer.time) == (Outcome.COSIGNED, NOW)
    assert answer.line is not None
    assert str(answer.line).encode() == line()


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"", "line feed"),
        (line(Signer("w.example", bytes([6]) * 32, COSIGNATURE)), "no cosignature of the validator"),
        (line() + line(), "two signatures"),
        (line(message=MESSAGE + b"more\n"), "does not verify"),
        (line(at=0), "time"),
        (line(at=NOW + 31), "+31 s"),
        (line(at=NOW - 301), "-301 s"),
    ],
)
def test_another_line_counts_for_nothing(body: bytes, what: str) -> None:
    answer = cosignature(ASKED, MESSAGE, body, NOW)
    assert answer.outcome is Outcome.INVALID
    assert what in (answer.problem or "")


def test_waits_grow_up_to_a_bound_and_are_not_all_the_same() -> None:
    assert [wait_after(failures, lambda: 0.5) for failures in (1, 2, 3, 4)] == [0.25, 0.5, 1.0, 2.0]
    assert wait_after(1000, lambda: 0.5) == LONGEST_WAIT
    assert wait_after(3, lambda: 0.0) == 0.75
    assert wait_after(3, lambda: 1.0) == 1.25
