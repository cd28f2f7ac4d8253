"""Rounds of cosigning over a real ledger: who is asked for what, and what makes a checkpoint final."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edgeproxy.errors import StoreFull
from edgeproxy.ledger.checkpoint import Checkpoint, open_checkpoint, parse_checkpoint, read_checkpoint, sign_checkpoint
from edgeproxy.ledger.cosigning import parse_request
from edgeproxy.ledger.note_keys import COSIGNATURE, Signer
from edgeproxy.ledger.notes import SignatureLine, parse_note
from edgeproxy.ledger.policy import Group, Policy, Witness
from edgeproxy.ledger.proofs import verify_consistency
from edgeproxy.sequencer import final as final_module
from edgeproxy.sequencer import validators as module
from edgeproxy.sequencer.asking import Answer, Asked, Outcome
from edgeproxy.sequencer.final import FINAL_FILE, final_size, keep_evidence, keep_final, read_evidence
from edgeproxy.sequencer.validators import REFRESH_SECONDS, Validators
from edgeproxy.storage.ledger_key import read_key
from tests.support.edge import until
from tests.support.ledgers import Ledger


class Cosigner:
    """The far end of a line: keeps what it was asked, and cosigns once `gate` is open."""

    def __init__(self, number: int) -> None:
        self.signer = Signer(f"v{number}.example", bytes([10 + number]) * 32, COSIGNATURE)
        self.asked: list[tuple[int, int]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.size = 0
        self.shown: bytes | None = None
        self.answer: Callable[[int], Answer | None] = lambda size: None
        self.running = 0

    async def submit(self, request: bytes, message: bytes, seconds: Callable[[], float]) -> Answer:
        parsed, stated = parse_request(request), parse_checkpoint(message)
        assert parse_note(parsed.note).message == message
        self.asked.append((parsed.old, stated.size))
        assert self.running == 0, "asked twice at a time"
        self.running += 1
        try:
            await self.gate.wait()
        finally:
            self.running -= 1
        if (told := self.answer(stated.size)) is not None:
            return told
        if parsed.old != self.size:
            return Answer(Outcome.ELSEWHERE, size=self.size)
        if self.size:
            verify_consistency(self.size, stated.size, self.root, stated.root, parsed.proof)
        self.size, self.root = stated.size, stated.root
        now = int(seconds())
        line = SignatureLine(self.signer.name, self.signer.key_id, self.signer.sign(message, now))
        return Answer(Outcome.COSIGNED, line=line, time=now)

    async def newest(self, origin: str) -> bytes | None:
        return self.shown


@asynccontextmanager
async def asking(ledger: Ledger, cosigners: list[Cosigner], quorum: int) -> AsyncIterator[Validators]:
    names = {each.signer.name: Witness(each.signer.verifier, "http://x") for each in cosigners}
    policy = Policy(witnesses=names, groups={"q": Group(quorum, tuple(names))}, quorum="q")
    asked = [Asked(each.signer.name, each.signer.verifier, "http://127.0.0.1:1") for each in cosigners]
    validators = Validators(ledger.sequencer, policy, asked, ledger.clock, ledger.data)
    ledger.sequencer.on_commit = lambda committed: validators.on_head()
    ledger.clock.advance(1)

    def lines(*_: object) -> Cosigner:
        return next(each for each in cosigners if each.signer.name == _[1].name)  # type: ignore[attr-defined]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "Line", lines)
        patch.setattr(module, "ROUND_SECONDS", 0.0)
        await validators.start()
        try:
            yield validators
        finally:
            await validators.stop()


async def final(validators: Validators, size: int) -> bytes:
    async def reached() -> bytes | None:
        return validators.final if (validators.final_size or 0) >= size else None

    return await until(reached)


async def test_a_checkpoint_is_final_once_the_quorum_cosigned_that_very_one(tmp_path: Path) -> None:
    cosigners = [Cosigner(number) for number in range(3)]
    async with Ledger(tmp_path) as ledger:
        cosigners[1].gate.clear()
        cosigners[2].gate.clear()
        async with asking(ledger, cosigners, 2) as validators:
            await ledger.fill(3)

            async def one_has() -> bool | None:
                return True if validators.standings[0].size else None

            await until(one_has)
            assert (validators.final, final_size(tmp_path)) == (None, None)
            own = ledger.sequencer.publication.checkpoint
            assert own is not None
            cosigners[1].gate.set()
            note = await final(validators, 4)
            keys = [each.signer.verifier for each in cosigners]
            log = ledger.sequencer.log
            assert {each.verifier.name for each in open_checkpoint(note, log, log.name, keys).cosigned} == {
                "v0.example",
                "v1.example",
            }
            assert (tmp_path / FINAL_FILE).read_bytes() == note
            cosigners[2].gate.set()

            async def all_have() -> bool | None:
                shown = open_checkpoint(validators.newest(own), log, log.name, keys)
                return True if len(shown.cosigned) == 3 and shown.checkpoint.size == 4 else None

            await until(all_have)


async def test_while_one_round_runs_heads_wait_and_the_newest_is_next(tmp_path: Path) -> None:
    cosigner = Cosigner(0)
    async with Ledger(tmp_path) as ledger, asking(ledger, [cosigner], 1) as validators:
        await final(validators, 1)
        cosigner.gate.clear()
        await ledger.fill(1)

        async def asked() -> bool | None:
            return True if cosigner.running else None

        await until(asked)
        for number in range(5):
            await ledger.fill(1, start=10 + number)
        cosigner.gate.set()
        await final(validators, 7)
        assert [size for _, size in cosigner.asked] == [1, 2, 7]
        assert cosigner.asked[-1] == (2, 7)


async def test_one_that_is_slow_is_asked_for_what_there_is_when_it_comes_back(tmp_path: Path) -> None:
    fast, slow = Cosigner(0), Cosigner(1)
    slow.gate.clear()
    async with Ledger(tmp_path) as ledger, asking(ledger, [fast, slow], 1) as validators:
        for number in range(4):
            await ledger.fill(1, start=number)
            await final(validators, number + 2)
        slow.gate.set()

        async def level() -> bool | None:
            return True if slow.size == 5 else None

        await until(level)
        assert [size for _, size in slow.asked] == [1, 5]


async def test_a_validator_that_knows_more_than_we_remember_tells_where_to_go_on(tmp_path: Path) -> None:
    cosigner = Cosigner(0)
    async with Ledger(tmp_path) as ledger:
        async with asking(ledger, [cosigner], 1) as validators:
            await ledger.fill(9)
            await final(validators, 10)
        await ledger.fill(300, start=20)
        async with asking(ledger, [cosigner], 1) as validators:
            # What was final is so from the start.
            assert validators.final_size == 10
            await final(validators, 310)
            assert cosigner.asked[-2:] == [(0, 310), (10, 310)]
            assert validators.state == "final"


async def test_lag_is_counted_from_the_oldest_block_that_is_not_final(tmp_path: Path) -> None:
    cosigner = Cosigner(0)
    async with Ledger(tmp_path) as ledger, asking(ledger, [cosigner], 1) as validators:
        await final(validators, 1)
        assert (validators.lag().blocks, validators.lag().seconds, validators.state) == (0, 0.0, "final")
        cosigner.gate.clear()
        await ledger.fill(2)
        ledger.clock.advance(4)
        await ledger.fill(3, start=10)
        assert (validators.lag().blocks, validators.state) == (5, "final")
        ledger.clock.advance(4)
        assert (validators.lag().blocks, validators.lag().seconds, validators.state) == (5, 8.0, "lagging")
        cosigner.gate.set()
        await final(validators, 3)
        validators._wake.set()
        await final(validators, 6)
        assert (validators.lag().blocks, validators.state) == (0, "final")


async def test_without_new_blocks_the_same_checkpoint_is_cosigned_anew_after_a_while(tmp_path: Path) -> None:
    cosigner = Cosigner(0)
    async with Ledger(tmp_path) as ledger, asking(ledger, [cosigner], 1) as validators:
        first = await final(validators, 1)
        ledger.clock.advance(REFRESH_SECONDS + 1)
        validators.on_head()

        async def refreshed() -> bool | None:
            return True if validators.final != first else None

        await until(refreshed)
        assert cosigner.asked == [(0, 1), (1, 1)]
        stated, now = read_checkpoint(validators.final), read_checkpoint(first)
        assert stated == now


async def test_what_cannot_be_kept_is_not_final(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(folder: Path, note: bytes) -> None:
        raise StoreFull("no space left")

    cosigner = Cosigner(0)
    async with Ledger(tmp_path) as ledger:
        monkeypatch.setattr(module, "keep_final", full)
        async with asking(ledger, [cosigner], 1) as validators:
            await ledger.fill(2)

            async def cosigned() -> bool | None:
                return True if cosigner.size == 3 and not cosigner.running else None

            await until(cosigned)
            assert validators.final is None
            monkeypatch.setattr(module, "keep_final", keep_final)
            await ledger.fill(1, start=10)
            await final(validators, 4)


async def test_failures_are_told_and_the_others_go_on(tmp_path: Path) -> None:
    good, bad = Cosigner(0), Cosigner(1)
    bad.answer = lambda size: Answer(Outcome.REFUSED, "404: who are you")
    async with Ledger(tmp_path) as ledger, asking(ledger, [good, bad], 1) as validators:
        await ledger.fill(1)
        await final(validators, 2)

        async def told() -> bool | None:
            return True if validators.standings[1].failures else None

        await until(told)
        standing = validators.standings[1]
        assert (standing.problem, standing.alarm, standing.size) == ("404: who are you", None, None)
        assert standing.retry_at > ledger.clock.monotonic()
        assert validators.alarms == []


async def test_a_note_of_our_key_that_contradicts_the_ledger_ends_everything_final(tmp_path: Path) -> None:
    good, other = Cosigner(0), Cosigner(1)
    async with Ledger(tmp_path) as ledger:
        key = read_key(tmp_path)
        assert key is not None
        other.answer = lambda size: Answer(Outcome.FORK, "422: no") if size > 1 else None
        other.shown = sign_checkpoint(Checkpoint(key.name, 1, bytes(32)), key)  # type: ignore[arg-type]
        async with asking(ledger, [good, other], 1) as validators:
            await final(validators, 1)
            await ledger.fill(1)

            async def forked() -> bool | None:
                return True if validators.fork else None

            await until(forked)
            before = validators.final_size
            await ledger.fill(1, start=10)

            async def asked() -> bool | None:
                return True if good.size == 3 else None

            await until(asked)
            assert (validators.final_size, validators.state) == (before, "fork")
            assert "another root for 1 blocks" in validators.alarms[0]
        # It is known at the next start, before anybody is asked.
        async with asking(ledger, [good], 1) as validators:
            assert validators.state == "fork"


async def test_a_claim_without_proof_is_an_alarm_and_no_more(tmp_path: Path) -> None:
    good, other = Cosigner(0), Cosigner(1)
    other.answer = lambda size: Answer(Outcome.ELSEWHERE, size=1000)
    stranger = Signer("somebody", bytes([3]) * 32)
    other.shown = sign_checkpoint(Checkpoint("somebody", 1000, bytes(32)), stranger)  # type: ignore[arg-type]
    async with Ledger(tmp_path) as ledger, asking(ledger, [good, other], 1) as validators:
        await ledger.fill(1)
        await final(validators, 2)

        async def told() -> bool | None:
            return True if validators.alarms else None

        await until(told)
        assert validators.alarms[0].startswith("v1.example: has cosigned 1000 blocks, and this ledger has ")
        assert validators.fork is None


async def test_one_that_has_gone_back_is_not_asked_any_more(tmp_path: Path) -> None:
    good, other = Cosigner(0), Cosigner(1)
    async with Ledger(tmp_path) as ledger, asking(ledger, [good, other], 2) as validators:
        await ledger.fill(4)
        await final(validators, 5)
        other.size = 2
        await ledger.fill(1, start=10)

        async def told() -> bool | None:
            return True if validators.alarms else None

        await until(told)
        assert "lost its state" in validators.alarms[0]
        before = len(other.asked)
        await ledger.fill(1, start=20)

        async def asked() -> bool | None:
            return True if good.size == 7 else None

        await until(asked)
        assert (validators.final_size, len(other.asked)) == (5, before)


@pytest.mark.parametrize("size", [1, 100])
async def test_what_was_final_and_is_not_of_this_ledger_is_a_fork(tmp_path: Path, size: int) -> None:
    async with Ledger(tmp_path) as ledger:
        key = read_key(tmp_path)
        assert key is not None
        keep_final(tmp_path, sign_checkpoint(Checkpoint(key.name, size, bytes(32)), key))  # type: ignore[arg-type]
        async with asking(ledger, [Cosigner(0)], 1) as validators:
            assert validators.state == "fork"
            assert validators.final is None


@pytest.mark.parametrize("change", ["damage", "quorum"])
async def test_what_was_final_counts_only_as_long_as_its_cosignatures_do(tmp_path: Path, change: str) -> None:
    cosigners = [Cosigner(number) for number in range(2)]
    cosigners[1].answer = lambda size: Answer(Outcome.UNREACHABLE, "not here")
    async with Ledger(tmp_path) as ledger:
        await ledger.fill(2)
        async with asking(ledger, cosigners, 1) as validators:
            note = await final(validators, 3)
        async with asking(ledger, cosigners, 1) as again:
            assert again.final == note
        if change == "damage":
            root = note.split(b"\n")[2]
            keep_final(tmp_path, note.replace(root, b"A" + root[1:] if root[:1] != b"A" else b"B" + root[1:]))
        cosigners[0].gate.clear()
        async with asking(ledger, cosigners, 1 if change == "damage" else 2) as others:
            assert (others.final, others.fork) == (None, None)
            assert others.state == "lagging"
            cosigners[0].gate.set()
            if change == "damage":
                assert parse_checkpoint(parse_note(await final(others, 3)).message).size == 3


def test_evidence_is_kept_once_and_bounded(tmp_path: Path) -> None:
    assert keep_evidence(tmp_path, b"note") is not None
    assert keep_evidence(tmp_path, b"note") is None
    for number in range(40):
        keep_evidence(tmp_path, b"note %d" % number)
    assert len(list((tmp_path / "ledger-evidence").iterdir())) == 16


async def test_a_block_that_is_about_to_be_final_is_waited_for(tmp_path: Path) -> None:
    cosigner = Cosigner(0)
    async with Ledger(tmp_path) as ledger, asking(ledger, [cosigner], 1) as validators:
        await final(validators, 1)
        assert await validators.covers(0, 0.0)
        cosigner.gate.clear()
        await ledger.fill(1)
        assert not await validators.covers(1, 0.0)
        waiting = asyncio.ensure_future(validators.covers(1, 30.0))
        await asyncio.sleep(0)
        assert not waiting.done()
        cosigner.gate.set()
        assert await waiting
        # Who is behind anyway, or on a fork, is not waited for.
        cosigner.gate.clear()
        await ledger.fill(1)
        ledger.clock.advance(module.LAGGING_SECONDS + 1)
        assert not await validators.covers(2, 30.0)
        validators.fork = "a fork"
        assert not await validators.covers(2, 30.0)
        cosigner.gate.set()


def test_evidence_that_a_crash_cut_short_is_kept_the_next_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = final_module.write_synced

    def killed(path: Path, data: bytes) -> None:
        write(path, data[:2])
        raise SystemExit

    monkeypatch.setattr(final_module, "write_synced", killed)
    with pytest.raises(SystemExit):
        keep_evidence(tmp_path, b"note")
    monkeypatch.undo()
    assert list(read_evidence(tmp_path)) == []
    assert keep_evidence(tmp_path, b"note") is not None
    assert list(read_evidence(tmp_path)) == [b"note"]
    assert len(list((tmp_path / "ledger-evidence").iterdir())) == 1
