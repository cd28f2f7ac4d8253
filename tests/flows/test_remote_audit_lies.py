"""An audit from outside finds every lie that an edge could tell, and names it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from edgeproxy.auditing import remote
from edgeproxy.auditing.remote import Report
from edgeproxy.caching.model import Digest
from edgeproxy.clock import Instant, SystemClock
from edgeproxy.ledger.drafts import EraseDraft, EvictDraft
from edgeproxy.ledger.findings import FindingKind
from edgeproxy.ledger.mldsa import MldsaSigner
from edgeproxy.ledger.note_keys import COSIGNATURE, Signer
from edgeproxy.ledger.policy import parse_policy
from edgeproxy.ledger.tiles import encode_bundle
from tests.support.audited import BASE, KEY, SIZE, W, audited, broken_by, kind_of, with_nonsense
from tests.support.ledgers import SITE, store_draft
from tests.support.lying_edge import (
    BODIES,
    ORIGIN,
    PREFIX,
    Log,
    bomb,
    drip,
    flood,
    hang,
    lying_edge,
    overload,
    redirect,
)

# -- lies ------------------------------------------------------------------------------------------------------------------


def _flipped(data: bytes | None, place: int = 0) -> bytes:
    assert data is not None
    changed = bytearray(data)
    changed[place] ^= 1
    return bytes(changed)


def _tile(path: str) -> bytes:
    from edgeproxy.ledger.tiles import parse_tile_path

    data = BASE.tile(parse_tile_path(path))
    assert data is not None
    return data


def _swapped() -> bytes:
    blocks = BASE.blocks[:256]
    blocks[7], blocks[8] = blocks[8], blocks[7]
    return encode_bundle(blocks)


LIES: list[tuple[str, object, FindingKind, str]] = [
    ("tile/0/001", _flipped(_tile("tile/0/001"), 40), FindingKind.TILE, "tile/0/001"),
    ("tile/0/001", _tile("tile/0/000"), FindingKind.TILE, "tile/0/001"),
    ("tile/0/001", _tile("tile/0/001")[:-32], FindingKind.TILE, "another length"),
    ("tile/0/001", b"", FindingKind.TILE, "another length"),
    ("tile/0/001", None, FindingKind.UNPUBLISHED, "tile/0/001"),
    ("tile/0/002.p/88", _flipped(_tile("tile/0/002.p/88")), FindingKind.TILE, "right edge"),
    ("tile/1/000.p/2", _flipped(_tile("tile/1/000.p/2")), FindingKind.TILE, "right edge"),
    ("tile/entries/000", _flipped(_tile("tile/entries/000"), 300), FindingKind.BUNDLE, "block=1"),
    ("tile/entries/000", _swapped(), FindingKind.BUNDLE, "block=7"),
    ("tile/entries/002.p/88", _flipped(_tile("tile/entries/002.p/88"), -1), FindingKind.BUNDLE, "block=599"),
    ("tile/entries/001", _tile("tile/entries/001")[:-1], FindingKind.BUNDLE, "ends within an entry"),
    ("tile/entries/001", _tile("tile/entries/001") + b"\0", FindingKind.BUNDLE, "bytes behind"),
    ("tile/entries/001", None, FindingKind.UNPUBLISHED, "tile/entries/001"),
    ("tile/0/000", bytes(8193), FindingKind.TOO_LARGE, "larger than it may be"),
    ("checkpoint", flood, FindingKind.TOO_LARGE, "larger than it may be"),
    ("tile/0/000", bomb, FindingKind.TOO_LARGE, "larger than it may be"),
    ("checkpoint", None, FindingKind.UNPUBLISHED, "no checkpoint"),
    ("checkpoint", b"", FindingKind.CHECKPOINT, "line feed"),
    ("checkpoint", b"<html>\n", FindingKind.CHECKPOINT, "no text"),
    ("checkpoint", BASE.note().replace(b"\n600\n", b"\n599\n"), FindingKind.CHECKPOINT, "does not verify"),
    ("checkpoint", redirect, FindingKind.REDIRECTED, "elsewhere.example"),
    ("tile/0/000", redirect, FindingKind.REDIRECTED, "elsewhere.example"),
    ("checkpoint", hang, FindingKind.UNREACHABLE, "in time"),
    ("tile/entries/001", drip, FindingKind.UNREACHABLE, "in time"),
    ("tile/0/001", overload, FindingKind.UNREACHABLE, "503"),
]


@pytest.mark.parametrize(("path", "lie", "kind", "words"), LIES, ids=[f"{n}-{lie[0]}-{lie[2]}" for n, lie in enumerate(LIES)])
async def test_each_lie_is_found_and_named(tmp_path: Path, path: str, lie: object, kind: FindingKind, words: str) -> None:
    async with lying_edge(BASE) as edge:
        edge.lies[PREFIX + path] = lie  # type: ignore[assignment]
        report = await audited(edge, tmp_path, timeout=0.2 if lie in (hang, drip) else 20.0)
        assert kind_of(report) is kind, report.fault
        assert words in str(report.fault)
        # a lie leaves nothing behind that the truth would stumble over
        edge.lies.clear()
        honest = await audited(edge, tmp_path)
        assert (honest.fault, honest.known + honest.read) == (None, SIZE)


async def test_a_key_or_a_name_that_is_not_the_logs_is_refused(tmp_path: Path) -> None:
    async with lying_edge(BASE) as edge:
        stranger = Signer(ORIGIN, b"\x09" * 32)
        report = await audited(edge, tmp_path / "a", stranger.verifier)
        assert (kind_of(report), "no block hands over" in str(report.fault)) == (FindingKind.KEY, True)
        other = await audited(edge, tmp_path / "b", Signer("other.example/.edge/ledger", b"\1" * 32).verifier)
        assert (kind_of(other), "of=edge.example" in str(other.fault)) == (FindingKind.ORIGIN, True)
        # the stranger's ledger is read to its end, and nothing of it is remembered
        honest = await audited(edge, tmp_path / "a")
        assert (honest.fault, honest.known, honest.read) == (None, 0, SIZE)
        forged = Log(stranger).grow(10)
        edge.log = forged
        report = await audited(edge, tmp_path / "a")
        assert kind_of(report) is FindingKind.KEY
        assert "contradicts what was seen" in str(report.fault)
        assert report.evidence == []


async def test_rollback_and_fork_are_refused_and_both_notes_kept(tmp_path: Path) -> None:
    shrunk = Log().grow(400)
    fork = shrunk.copy().grow(SIZE - 401, "another")
    rewritten = Log().grow(10, "another").grow(SIZE + 200)
    async with lying_edge(BASE) as edge:
        assert (await audited(edge, tmp_path)).fault is None
        for log, kind, words in (
            (shrunk, FindingKind.ROLLBACK, "become smaller"),
            (fork, FindingKind.FORK, "two signed roots"),
            (rewritten, FindingKind.FORK, "not the beginning"),
        ):
            edge.log = log
            report = await audited(edge, tmp_path)
            assert kind_of(report) is kind
            assert words in str(report.fault)
            assert sorted(path.read_bytes() for path in report.evidence) == sorted((BASE.note(), log.note()))
            # it is refused for as long as it is shown, and the truth is taken all the time
            assert kind_of(await audited(edge, tmp_path, anew=True)) is kind
            edge.log = BASE
            assert (await audited(edge, tmp_path)).fault is None


def _wrong_height(log: Log) -> None:
    log.append_raw(log.copy().grow(1).blocks[-1].replace(b'"height":300', b'"height":301'))


def _wrong_prev(log: Log) -> None:
    other = log.copy()
    other.leaves[-1] = Digest(b"x" * 32)
    log.append_raw(other.grow(1).blocks[-1])


def _back_in_time(log: Log) -> None:
    log.time = Instant(log.time - 5)
    log.append(store_draft(1))


def _not_canonical(log: Log) -> None:
    log.append_raw(log.copy().grow(1).blocks[-1].replace(b'"v":1,', b'"v":1, '))


def _unknown_op(log: Log) -> None:
    log.append_raw(log.copy().grow(1).blocks[-1].replace(b'"op":"store"', b'"op":"admit"'))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_wrong_height, "at another height"),
        (_wrong_prev, "does not name"),
        (_back_in_time, "older than the one before"),
        (_not_canonical, "canonical"),
        (_unknown_op, "unknown op"),
        (with_nonsense, "cannot be read"),
    ],
)
async def test_a_signed_block_that_breaks_the_rules_is_named(tmp_path: Path, change: Callable[[Log], None], words: str) -> None:
    async with lying_edge(broken_by(change)) as edge:
        for _ in range(2):  # it does not go away by asking again
            report = await audited(edge, tmp_path)
            assert (kind_of(report), report.fault and report.fault.height) == (FindingKind.BLOCK, 300)
            assert words in str(report.fault)


# -- keys that follow each other -------------------------------------------------------------------------------------------


async def test_whoever_trusts_an_old_key_is_led_to_the_present_one(tmp_path: Path) -> None:
    log = Log().grow(300)
    keys = [log.signer.verifier]
    async with lying_edge(log) as edge:
        assert (await audited(edge, tmp_path / "kept")).signer == str(keys[0])
        for seed in (b"\x11" * 32, b"\x12" * 32):
            log.rotate(seed)
            keys.append(log.signer.verifier)
            log.grow(100)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(remote, "MAX_ROTATIONS", 1)
            assert "too often" in str((await audited(edge, tmp_path / "few")).fault)
        for key in keys:
            report = await audited(edge, tmp_path / key.key_id.hex(), key)
            assert (report.fault, report.signer) == (None, str(keys[-1]))
            known = await audited(edge, tmp_path / "kept", key)
            assert (known.fault, known.signer) == (None, str(keys[-1]))
        # the retired key goes on: what it signs counts no more
        log.grow(1)
        newest, log.signer = log.signer, Signer(ORIGIN, b"\1" * 32)
        for state in ("fresh", "kept"):
            report = await audited(edge, tmp_path / state)
            assert kind_of(report) is FindingKind.KEY
        log.signer = newest
        assert (await audited(edge, tmp_path / "kept")).fault is None


# -- cosignatures ----------------------------------------------------------------------------------------------------------


async def test_a_quorum_that_is_fresh_makes_it_final(tmp_path: Path) -> None:
    lines = [f"log {KEY}", *(f"witness w{number} {each.verifier}" for number, each in enumerate(W, 2))]
    policy = parse_policy("\n".join([*lines, "group two 2 w2 w3 w4", "quorum two"]).encode())
    now = int(SystemClock().seconds())
    async with lying_edge(BASE) as edge:

        async def audit() -> Report:
            return await audited(edge, tmp_path, policy=policy, max_age=600)

        assert kind_of(await audit()) is FindingKind.QUORUM
        edge.lies[f"{PREFIX}checkpoint.final"] = BASE.cosigned(500, (W[0], now), (W[2], now - 5))
        report = await audit()
        assert (report.fault, report.final_size, report.read) == (None, 500, SIZE)
        assert report.quorum is not None
        assert (report.quorum.names, report.quorum.oldest) == (("w2", "w4"), now - 5)
        for note, kind in (
            (BASE.cosigned(500, (W[0], now)), FindingKind.QUORUM),
            (BASE.cosigned(500, (W[0], now), (Signer("w3.example", b"\x33" * 32, COSIGNATURE), now)), FindingKind.QUORUM),
            (BASE.cosigned(500, (W[0], now), (W[1], now - 700)), FindingKind.STALE),
            (BASE.cosigned(500, (W[0], now), (W[1], now + 700)), FindingKind.STALE),
            (BASE.cosigned(500, (W[0], now), (W[1], now)).replace(b"\n500\n", b"\n501\n"), FindingKind.CHECKPOINT),
            (Log().grow(10, "x").grow(500).cosigned(500, (W[0], now), (W[1], now)), FindingKind.FORK),
        ):
            edge.lies[f"{PREFIX}checkpoint.final"] = note
            assert kind_of(await audit()) is kind
        # the plain one has it: nothing else is asked for
        edge.lies = {f"{PREFIX}checkpoint": BASE.cosigned(SIZE, (W[0], now), (W[1], now))}
        assert (await audit()).final_size == SIZE


async def test_a_second_signature_of_the_log_can_be_asked_for(tmp_path: Path) -> None:
    second = MldsaSigner(ORIGIN, b"\4" * 32)
    policy = parse_policy(f"log {KEY}\nwitness pq {second.verifier}\nquorum pq\n".encode())
    async with lying_edge(BASE) as edge:
        assert kind_of(await audited(edge, tmp_path, policy=policy, max_age=600)) is FindingKind.QUORUM
        line = str(second.line(BASE.checkpoint(), int(SystemClock().seconds()))).encode()
        edge.lies[f"{PREFIX}checkpoint"] = BASE.note() + line
        report = await audited(edge, tmp_path, policy=policy, max_age=600)
        assert (report.fault, report.final_size) == (None, SIZE)
        # a key that is not asked for: the line is ignored, and the rest holds
        assert (await audited(edge, tmp_path / "other")).fault is None


# -- bodies ----------------------------------------------------------------------------------------------------------------


async def test_bodies_are_those_of_their_blocks(tmp_path: Path) -> None:
    log = Log().grow(20)
    digests = list(log.bodies)
    gone, erased, absent, wrong = digests[3], digests[4], digests[5], digests[6]
    log.append(EvictDraft(Digest(bytes.fromhex(gone)), 6, log.time))
    page = store_draft(5).url
    log.append(EraseDraft(SITE, page, (Digest(bytes.fromhex(erased)),), log.time, ""))
    async with lying_edge(log) as edge:
        edge.lies[BODIES + absent] = None
        report = await audited(edge, tmp_path, bodies=True)
        assert (report.fault, report.bodies, report.missing) == (None, 17, [absent])
        assert not {BODIES + gone, BODIES + erased} & set(edge.asked)
        edge.asked.clear()
        del edge.lies[BODIES + absent]
        again = await audited(edge, tmp_path, bodies=True)
        assert (again.bodies, [path for path in edge.asked if path.startswith(BODIES)]) == (1, [BODIES + absent])
        truth = log.bodies[wrong]
        for lie, words in ((_flipped(truth), "digest"), (truth[:-1], "shorter"), (truth + b"x", "longer"), (flood, "longer")):
            edge.lies[BODIES + wrong] = lie
            report = await audited(edge, tmp_path, bodies=True, anew=True)
            assert kind_of(report) is FindingKind.BODY
            assert words in str(report.fault)
            assert wrong in str(report.fault)
