"""A validator without a network: what it looks at before it cosigns, what it keeps, and what it keeps to itself."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgeproxy.clock import ManualClock
from edgeproxy.ledger.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from edgeproxy.ledger.cosigning import encode_request, monitoring_path
from edgeproxy.ledger.merkle import EMPTY_ROOT
from edgeproxy.ledger.note_keys import COSIGNATURE, Signer
from edgeproxy.ledger.notes import Note, SignatureLine, parse_note, parse_signature_lines
from edgeproxy.validator import evidence as evidence_module
from edgeproxy.validator import service as service_module
from edgeproxy.validator.evidence import Evidence
from edgeproxy.validator.folder import KnownLog
from edgeproxy.validator.service import Reply, Service
from edgeproxy.validator.state import State, create_state
from tests.support.edge import until
from tests.support.logs import ORIGIN, START, Log, Source, altered

OWN = Signer("v.example", bytes([5]) * 32, COSIGNATURE)


@dataclass
class Bench:
    folder: Path
    log: Log
    clock: ManualClock
    source: Source
    state: State
    service: Service

    async def ask(self, body: bytes) -> Reply:
        return await self.service.add_checkpoint(body)

    async def accepts(self, old: int, size: int | None = None, log: Log | None = None) -> int:
        """Submit, and verify the cosignature; answers its time."""
        log = log or self.log
        reply = await self.ask(log.request(old, size))
        assert reply.status == 200, reply
        (line,) = parse_signature_lines(reply.body)
        note = log.note(size) + reply.body
        opened = open_checkpoint(note, log.signer.verifier, ORIGIN, (OWN.verifier,))
        assert (line.name, line.key_id) == (OWN.name, OWN.key_id)
        (vouched,) = opened.cosigned
        assert vouched.timestamp is not None
        return vouched.timestamp

    def evidence(self, kind: str) -> list[dict[str, object]]:
        return [json.loads(path.read_text()) for path in (self.folder / "evidence").glob(f"{kind}-*.json")]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    log = Log()
    log.grow(4)
    create_state(tmp_path, str(OWN.verifier))
    state, source, clock = State(tmp_path, str(OWN.verifier)), Source(log), ManualClock(START)
    service = Service(OWN, state, Evidence(tmp_path), clock, lambda url: source)  # type: ignore[arg-type, return-value]
    await service.validate([KnownLog(log.signer.verifier, "http://log.example")])
    yield Bench(tmp_path, log, clock, source, state, service)
    await service.close()
    state.close()


async def test_a_log_is_cosigned_as_it_grows_and_each_block_is_looked_at_once(bench: Bench) -> None:
    await bench.accepts(0)
    bench.log.grow(300)
    bench.clock.advance(2)
    assert await bench.accepts(5) == START // 1000 + 2
    bench.log.grow(1)
    await bench.accepts(305)
    assert bench.source.asked == [(0, 5), (5, 305), (305, 306)]


async def test_the_same_checkpoint_gets_a_new_time_and_never_an_older_one(bench: Bench) -> None:
    first = await bench.accepts(0)
    bench.clock.advance(60)
    assert await bench.accepts(5) == first + 60
    bench.clock.advance(-2)
    assert await bench.accepts(5) == first + 60
    bench.clock.advance(-60)
    reply = await bench.ask(bench.log.request(5))
    assert (reply.status, b"clock" in reply.body) == (503, True)


async def test_monitoring_shows_what_was_cosigned_and_nothing_before(bench: Bench) -> None:
    path = monitoring_path(ORIGIN)
    assert bench.service.checkpoint(path) is None
    note = parse_note(bench.log.note())
    stranger = SignatureLine("stranger", b"1234", b"x" * 64)
    crowd = Note(note.text, (*note.signatures, stranger)).encode()
    reply = await bench.ask(encode_request(0, (), crowd))
    assert reply.status == 200
    assert bench.service.checkpoint(path) == bench.log.note() + reply.body
    assert bench.service.checkpoint(monitoring_path("another")) is None


async def test_of_racing_requests_one_wins_and_the_others_are_told_the_size(bench: Bench) -> None:
    body = bench.log.request(0)
    replies = await asyncio.gather(*(bench.ask(body) for _ in range(6)))
    assert sorted(reply.status for reply in replies) == [200, 409, 409, 409, 409, 409]
    assert {(reply.body, reply.media) for reply in replies if reply.status == 409} == {(b"5\n", "text/x.tlog.size")}


async def test_too_many_requests_of_one_log_are_sent_away(bench: Bench) -> None:
    body = bench.log.request(0)
    replies = await asyncio.gather(*(bench.ask(body) for _ in range(12)))
    assert [reply.status for reply in replies].count(503) == 12 - service_module.MOST_WAITING


async def test_blocks_that_are_not_published_yet_are_asked_for_again(bench: Bench) -> None:
    behind = bench.log.fork(3)
    bench.source.log = behind
    reply = await bench.ask(bench.log.request(0))
    assert (reply.status, reply.retry_after) == (503, 1)
    bench.source.log = bench.log
    await bench.accepts(0)


async def test_blocks_other_than_the_signed_ones_prove_nothing_against_the_log(bench: Bench) -> None:
    tampered = bench.log.fork(5)
    tampered.raws[2] = altered(tampered.raws[2], b'"soft"', b'"hard"')
    bench.source.log = tampered
    reply = await bench.ask(bench.log.request(0))
    assert (reply.status, b"do not have the root" in reply.body) == (503, True)
    assert bench.evidence("fork") == []
    bench.source.log = bench.log
    await bench.accepts(0)


async def test_a_signed_block_that_breaks_a_rule_is_refused_with_evidence(bench: Bench) -> None:
    await bench.accepts(0)
    bench.log.grow(3)
    bench.log.raws[6] = bench.log.raws[6].replace(b'"purge"', b'"merge"')
    for _ in range(2):
        reply = await bench.ask(bench.log.request(5))
        assert (reply.status, reply.body) == (422, b"block 6 breaks a rule of the chain: block has an unknown op (height=6)\n")
    (case,) = bench.evidence("fork")
    assert (case["height"], case["status"], case["size"]) == (6, 422, 8)
    # Up to the block before it nothing is wrong.
    await bench.accepts(5, 6)


async def test_two_heads_of_one_size_are_evidence(bench: Bench) -> None:
    await bench.accepts(0)
    other = bench.log.fork(4)
    other.grow(1, "other")
    body = encode_request(5, (), other.note())
    assert (await bench.ask(body)).status == 422
    (case,) = bench.evidence("fork")
    assert case["cosigned"]["note"].startswith(ORIGIN)  # type: ignore[index]
    (request,) = (bench.folder / "evidence").glob("fork-*.request")
    assert request.read_bytes() == body
    assert (await bench.ask(bench.log.request(5))).status == 200


async def test_a_shrunk_and_a_rewritten_tree_are_refused(bench: Bench) -> None:
    await bench.accepts(0)
    shrunk = bench.log.fork(3)
    assert (await bench.ask(shrunk.request(3))).status == 409
    assert (await bench.ask(encode_request(5, (), shrunk.note()))).status == 400
    rewritten = bench.log.fork(3)
    rewritten.grow(6, "other")
    bench.source.log = rewritten
    for proof in ((), rewritten.proof(5, 9)):
        assert (await bench.ask(encode_request(5, proof, rewritten.note()))).status == 422
    assert len(bench.evidence("conflict")) == 3


async def test_evidence_is_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence_module, "MOST_FORKS", 4)
    monkeypatch.setattr(evidence_module, "MOST_CONFLICTS", 3)
    await bench.accepts(0)
    for number in range(7):
        other = bench.log.fork(4)
        other.grow(1, f"other{number}")
        assert (await bench.ask(encode_request(5, (), other.note()))).status == 422
        assert (await bench.ask(encode_request(number + 6, (), bench.log.note()))).status == 400
        bench.log.grow(1)
        assert (await bench.ask(bench.log.request(0))).status == 409
    assert len(bench.evidence("fork")) == 4
    assert len(bench.evidence("conflict")) == 3


async def test_conflicts_that_anybody_can_make_are_kept_at_a_bounded_rate(bench: Bench) -> None:
    await bench.accepts(0)
    bench.log.grow(1)
    for old in range(40):
        assert (await bench.ask(encode_request(old % 5, (), bench.log.note()))).status == 409
        bench.log.grow(1)
    assert len(bench.evidence("conflict")) == service_module.KEPT_AT_ONCE
    bench.clock.advance(2)
    for _ in range(4):
        bench.log.grow(1)
        assert (await bench.ask(bench.log.request(0))).status == 409
    assert len(bench.evidence("conflict")) == service_module.KEPT_AT_ONCE + 2


async def test_an_empty_log_is_cosigned_too(bench: Bench) -> None:
    empty = sign_checkpoint(Checkpoint(ORIGIN, 0, EMPTY_ROOT), bench.log.signer)
    for _ in range(2):
        reply = await bench.ask(encode_request(0, (), empty))
        assert reply.status == 200
        assert bench.service.checkpoint(monitoring_path(ORIGIN)) == empty + reply.body
    assert bench.source.asked == []
    wrong = sign_checkpoint(Checkpoint(ORIGIN, 0, bench.log.root()), bench.log.signer)
    assert (await bench.ask(encode_request(0, (), wrong))).status == 422
    await bench.accepts(0)


async def test_a_rotation_is_followed(bench: Bench) -> None:
    await bench.accepts(0)
    old = bench.log.signer
    bench.log.grow(2)
    bench.log.rotate(bytes([2]) * 32)
    bench.log.grow(2)
    # The old key signs nothing after its rotation.
    new, bench.log.signer = bench.log.signer, old
    assert (await bench.ask(bench.log.request(5))).status == 403
    bench.log.signer = new
    await bench.accepts(5)
    bench.log.rotate(bytes([3]) * 32)
    await bench.accepts(10)
    kept = bench.state.logs()[0]
    assert (kept.given, kept.key) == (str(old.verifier), bench.log.vkey)


async def test_a_key_that_nobody_handed_over_to_is_refused_and_searched_for_seldom(bench: Bench) -> None:
    await bench.accepts(0)
    bench.log.grow(2)
    bench.log.signer = Signer(ORIGIN, bytes([9]) * 32)
    for _ in range(3):
        assert (await bench.ask(bench.log.request(5))).status == 403
    assert bench.source.asked == [(0, 5), (5, 7)]
    bench.clock.advance(2)
    assert (await bench.ask(encode_request(5, (), bench.log.note(5)))).status == 403


@pytest.mark.parametrize(("trusted", "status"), [(1, 200), (2, 200), (3, 200), (4, 403)])
async def test_at_first_contact_the_trusted_key_is_one_of_those_that_the_log_had(
    tmp_path: Path, trusted: int, status: int
) -> None:
    log = Log()
    log.rotate(bytes([2]) * 32)
    log.rotate(bytes([3]) * 32)
    create_state(tmp_path, str(OWN.verifier))
    state = State(tmp_path, str(OWN.verifier))
    service = Service(OWN, state, Evidence(tmp_path), ManualClock(START), lambda url: Source(log))  # type: ignore[arg-type, return-value]
    await service.validate([KnownLog(Signer(ORIGIN, bytes([trusted]) * 32).verifier, "http://log.example")])
    assert (await service.add_checkpoint(log.request(0))).status == status
    await service.close()
    state.close()


async def test_a_cosignature_of_ours_that_we_do_not_remember_stops_everything(bench: Bench) -> None:
    await bench.accepts(0, 3)
    note = parse_note(bench.log.note())
    blob = OWN.sign(note.message, START // 1000)
    ahead = Note(note.text, (*note.signatures, SignatureLine(OWN.name, OWN.key_id, blob))).encode()
    reply = await bench.ask(encode_request(3, bench.log.proof(3, 5), ahead))
    assert (reply.status, b"lost its state" in reply.body) == (503, True)
    assert bench.state.logs()[0].size == 3


async def test_a_first_look_that_takes_too_long_goes_on_where_it_was(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.log.grow(600)

    async def slowly(start: int, end: int) -> AsyncIterator[list[bytes]]:
        bench.source.asked.append((start, end))
        yield bench.log.raws[start : min(end, start + 256)]
        if start + 256 < end:
            await asyncio.sleep(60)

    monkeypatch.setattr(bench.source, "blocks", slowly)
    monkeypatch.setattr(service_module, "LOOK_SECONDS", 0.05)
    body = bench.log.request(0)
    assert [(await bench.ask(body)).status for _ in range(3)] == [503, 503, 200]
    assert bench.source.asked == [(0, 605), (256, 605), (512, 605)]


async def test_a_client_that_goes_away_leaves_disk_and_memory_in_agreement(bench: Bench) -> None:
    for wait in range(12):
        task = asyncio.get_running_loop().create_task(bench.ask(bench.log.request(bench.state.logs()[0].size)))
        for _ in range(wait):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        bench.log.grow(1)

    async def settled() -> int | None:
        reply = await bench.ask(bench.log.request(0))
        return int(reply.body) if reply.status == 409 else None

    # Before anything was cosigned a request from 0 would be; so wait for those that go on by themselves.
    await asyncio.gather(*bench.service._running)
    await bench.ask(bench.log.request(0))
    size = await until(settled)
    assert size == bench.state.logs()[0].size
    bench.log.grow(1)
    await bench.accepts(size)


async def test_a_log_that_is_not_validated_any_more_is_not_known(bench: Bench) -> None:
    await bench.accepts(0)
    await bench.service.validate([])
    assert (await bench.ask(bench.log.request(5))).status == 404
    await bench.service.validate([KnownLog(bench.log.signer.verifier, "http://log.example")])
    await bench.accepts(5)
    assert bench.service.counts == {200: 2, 404: 1}
