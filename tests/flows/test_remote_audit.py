"""`ledger verify --url`: a clean audit of a real edge, one that is killed and goes on, and every lie that an edge could tell."""

import asyncio
import contextlib
import json
import os
import pty
import select
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from edgeproxy import cli
from edgeproxy.admin.client import AdminClient
from edgeproxy.auditing import remote
from edgeproxy.auditing.fetching import reading_from
from edgeproxy.auditing.memory import Memory
from edgeproxy.auditing.remote import Order, RemoteAudit, Report
from edgeproxy.caching.model import Digest
from edgeproxy.clock import Instant, SystemClock
from edgeproxy.ledger.drafts import EraseDraft, EvictDraft
from edgeproxy.ledger.findings import FindingKind
from edgeproxy.ledger.mldsa import MldsaSigner
from edgeproxy.ledger.note_keys import COSIGNATURE, Signer, Verifier
from edgeproxy.ledger.policy import parse_policy
from edgeproxy.ledger.tiles import encode_bundle
from tests.support.certificates import authority, certificate
from tests.support.edge import ROOT, Client, EdgeProcess, running_edge, until, write_config
from tests.support.ledgers import SITE, store_draft
from tests.support.lying_edge import (
    BODIES,
    ORIGIN,
    PREFIX,
    Log,
    LyingEdge,
    bomb,
    drip,
    flood,
    hang,
    lying_edge,
    overload,
    redirect,
)
from tests.support.site import running_site
from tests.support.validators import ValidatorProcess, configured, introduce

SIZE = 600
BASE = Log().grow(SIZE - 1)
KEY = BASE.signer.verifier
W = [Signer(f"w{number}.example", bytes([number]) * 32, COSIGNATURE) for number in (2, 3, 4)]


async def _audit(edge: LyingEdge, state: Path, key: Verifier = KEY, *, timeout: float = 20.0, **order: object) -> Report:
    """One audit that tries everything once."""
    with closing(Memory(state, key.name)) as memory:
        async with reading_from(edge.base, timeout=timeout, delays=()) as source:
            return await RemoteAudit(source, memory, Order(key, **order), SystemClock()).run()  # type: ignore[arg-type]


Run = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """`ledger verify` in this process: status, output, errors."""

    async def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        line = ["ledger", "verify", *(() if "--data" in arguments else ("--data", str(tmp_path / "none"))), *arguments]
        status = await asyncio.to_thread(cli.run, line)
        done = capsys.readouterr()
        return status, done.out, done.err

    return call


def _kind(report: Report) -> FindingKind | None:
    return report.fault.kind if report.fault is not None else None


# -- a real edge -----------------------------------------------------------------------------------------------------------


async def test_a_real_edge_is_audited_and_then_only_what_is_new(tmp_path: Path, run: Run) -> None:
    async with running_site() as origin, aiohttp.ClientSession() as session:
        process = EdgeProcess(write_config(tmp_path, origin.url))
        base = await asyncio.to_thread(process.start)
        client, admin = Client(base, session), AdminClient.of_folder(process.data)
        line = ("--url", base, "--state", str(tmp_path / "state"))
        try:
            key = (await asyncio.to_thread(admin.ledger_head))["vkey"]

            async def audit(*flags: str) -> dict[str, Any]:
                status, out, err = await run(*line, "--json", *flags)
                assert status == 0, out + err
                told: dict[str, Any] = json.loads(out)
                return told

            async def has_grown_to(size: int) -> dict[str, Any] | None:
                told = await audit("--key", str(key))
                return told if told["size"] == size else None

            await client.ask("/a?max-age=60")
            first = await until(lambda: has_grown_to(2))
            assert (first["ok"], first["fault"], first["freshness_proved"]) == (True, None, False)
            await client.ask("/b?max-age=60")
            second = await until(lambda: has_grown_to(3))
            assert (second["blocks"], second["known_blocks"]) == (1, 2)
            # on the machine of the edge its own key is at hand
            anew = await audit("--data", str(process.data), "--anew", "--bodies")
            assert (anew["blocks"], anew["bodies"] + anew["missing_count"]) == (3, 2)
            rotated = await asyncio.to_thread(admin.ledger_rotate)
            followed = await until(lambda: has_grown_to(4))
            assert (followed["vkey"], followed["trusted"]) == (rotated["vkey"], key)
            assert await asyncio.to_thread(process.stop) == 0
            status, _, err = await run(*line, "--key", str(key), "--timeout", "0.2")
            assert status == 1
            assert "fault: unreachable" in err
            assert "what to do: Try again" in err
        finally:
            if process.process is not None and process.process.poll() is None:
                process.kill()


async def test_a_new_ledger_in_a_new_folder_is_not_taken_for_the_one_before(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have the name of the node, as two demos have."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name, pages in (("first", 3), ("second", 1)):
        folder = tmp_path / name
        folder.mkdir()
        async with running_site() as site, running_edge(folder, site.url) as (edge, client):
            for number in range(pages):
                await client.recorded(f"/{number}?max-age=60")
            data = str(edge.config.edge.data)
            status, _, err = await run("--url", client.base, "--data", data)
            assert status == 0, err


async def test_what_validators_made_final_is_audited_and_proved_by_policy(tmp_path: Path, run: Run) -> None:
    validators = [ValidatorProcess(tmp_path / f"v{number}", f"v{number}.example") for number in (1, 2)]
    try:
        for each in validators:
            each.start()
        async with (
            running_site() as origin,
            running_edge(tmp_path, origin.url, more=configured(validators, 2)) as (edge, client),
        ):
            introduce(edge, client.base, validators)
            policy = tmp_path / "policy"
            lines = [f"log {edge.sequencer.log}", *(f"witness v{n} {each.vkey}" for n, each in enumerate(validators))]
            policy.write_text("\n".join([*lines, "group both all v0 v1", "quorum both"]))
            line = ("--url", client.base, "--policy", str(policy), "--state", str(tmp_path / "state"), "--json")
            await client.recorded("/page?max-age=60")

            async def is_final() -> dict[str, Any] | None:
                told: dict[str, Any] = json.loads((await run(*line))[1])
                return told if told["ok"] and told["final_size"] == told["size"] >= 2 else None

            told = await until(is_final)
            assert (sorted(told["cosigned_by"]), told["freshness_proved"]) == (["v0", "v1"], True)
            # nobody cosigns any more: what was final stays so, and what came after is audited too
            for each in validators:
                each.kill()
            await client.recorded("/other?max-age=60")
            await edge.sequencer.flush()
            status, out, _ = await run(*line)
            later = json.loads(out)
            assert (status, later["final_size"], later["size"]) == (0, told["size"], edge.sequencer.head().size)
            assert later["size"] > later["final_size"]
            data, proof = str(edge.config.edge.data), str(tmp_path / "page.tlog-proof")
            prove = ["ledger", "prove", f"{client.base}/page?max-age=60", "-o", proof, "--data", data]
            assert await asyncio.to_thread(cli.run, prove) == 0
        status, out, err = await run(proof, "--policy", str(policy), "--max-age", "1h", "--json")
        assert (status, sorted(json.loads(out)["cosigned_by"])) == (0, ["v0", "v1"]), err
    finally:
        for each in validators:
            each.stop()


# -- going on --------------------------------------------------------------------------------------------------------------


async def test_an_audit_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    log = Log().grow(32 * 256 + 43)
    async with lying_edge(log) as edge:
        edge.lies[f"{PREFIX}tile/entries/025"] = hang
        line = ("ledger", "verify", "--url", edge.base, "--key", str(KEY), "--state", str(tmp_path), "--json")
        auditor = subprocess.Popen([sys.executable, "-m", "edgeproxy", *line], cwd=ROOT, stdout=subprocess.DEVNULL)

        async def is_beyond_a_step() -> bool | None:
            # Reading ahead is eight bundles, so the first sixteen were checked and committed by now.
            return f"{PREFIX}tile/entries/030" in edge.asked or None

        try:
            await until(is_beyond_a_step)
        finally:
            auditor.send_signal(signal.SIGKILL)
            await asyncio.to_thread(auditor.wait, 20)
        edge.lies.clear()
        edge.asked.clear()
        report = await _audit(edge, tmp_path)
        assert (report.fault, report.known, report.read) == (None, 16 * 256, 16 * 256 + 44)
        assert min(path for path in edge.asked if "entries" in path) == f"{PREFIX}tile/entries/016"
        edge.asked.clear()
        again = await _audit(edge, tmp_path)
        assert (again.fault, again.read, again.known) == (None, 0, log.size)
        assert not any("entries" in path for path in edge.asked)


async def test_a_longer_ledger_is_read_from_the_first_new_block(tmp_path: Path) -> None:
    log = Log().grow(99)
    async with lying_edge(log) as edge:
        for size in (100, 101, 255, 256, 257, 700):
            log.grow(size - log.size)
            report = await _audit(edge, tmp_path)
            assert (report.fault, report.known + report.read) == (None, size)
        edge.asked.clear()
        anew = await _audit(edge, tmp_path, anew=True)
        assert (anew.fault, anew.known, anew.read) == (None, 0, 700)
        too_long = await _audit(edge, tmp_path / "other", most_blocks=699)
        assert _kind(too_long) is FindingKind.LIMIT


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
        report = await _audit(edge, tmp_path, timeout=0.2 if lie in (hang, drip) else 20.0)
        assert _kind(report) is kind, report.fault
        assert words in str(report.fault)
        # a lie leaves nothing behind that the truth would stumble over
        edge.lies.clear()
        honest = await _audit(edge, tmp_path)
        assert (honest.fault, honest.known + honest.read) == (None, SIZE)


async def test_a_key_or_a_name_that_is_not_the_logs_is_refused(tmp_path: Path) -> None:
    async with lying_edge(BASE) as edge:
        stranger = Signer(ORIGIN, b"\x09" * 32)
        report = await _audit(edge, tmp_path / "a", stranger.verifier)
        assert (_kind(report), "no block hands over" in str(report.fault)) == (FindingKind.KEY, True)
        other = await _audit(edge, tmp_path / "b", Signer("other.example/.edge/ledger", b"\1" * 32).verifier)
        assert (_kind(other), "of=edge.example" in str(other.fault)) == (FindingKind.ORIGIN, True)
        # the stranger's ledger is read to its end, and nothing of it is remembered
        honest = await _audit(edge, tmp_path / "a")
        assert (honest.fault, honest.known, honest.read) == (None, 0, SIZE)
        forged = Log(stranger).grow(10)
        edge.log = forged
        report = await _audit(edge, tmp_path / "a")
        assert _kind(report) is FindingKind.KEY
        assert "contradicts what was seen" in str(report.fault)
        assert report.evidence == []


async def test_rollback_and_fork_are_refused_and_both_notes_kept(tmp_path: Path) -> None:
    shrunk = Log().grow(400)
    fork = shrunk.copy().grow(SIZE - 401, "another")
    rewritten = Log().grow(10, "another").grow(SIZE + 200)
    async with lying_edge(BASE) as edge:
        assert (await _audit(edge, tmp_path)).fault is None
        for log, kind, words in (
            (shrunk, FindingKind.ROLLBACK, "become smaller"),
            (fork, FindingKind.FORK, "two signed roots"),
            (rewritten, FindingKind.FORK, "not the beginning"),
        ):
            edge.log = log
            report = await _audit(edge, tmp_path)
            assert _kind(report) is kind
            assert words in str(report.fault)
            assert sorted(path.read_bytes() for path in report.evidence) == sorted((BASE.note(), log.note()))
            # it is refused for as long as it is shown, and the truth is taken all the time
            assert _kind(await _audit(edge, tmp_path, anew=True)) is kind
            edge.log = BASE
            assert (await _audit(edge, tmp_path)).fault is None


def _breaking(change: Callable[[Log], None]) -> Log:
    """A log whose block 300 breaks a rule, under the true key and with a true tree."""
    log = Log().grow(299)
    change(log)
    return log.grow(50)


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


def _nonsense(log: Log) -> None:
    log.append_raw(b"nonsense")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_wrong_height, "at another height"),
        (_wrong_prev, "does not name"),
        (_back_in_time, "older than the one before"),
        (_not_canonical, "canonical"),
        (_unknown_op, "unknown op"),
        (_nonsense, "cannot be read"),
    ],
)
async def test_a_signed_block_that_breaks_the_rules_is_named(tmp_path: Path, change: Callable[[Log], None], words: str) -> None:
    async with lying_edge(_breaking(change)) as edge:
        for _ in range(2):  # it does not go away by asking again
            report = await _audit(edge, tmp_path)
            assert (_kind(report), report.fault and report.fault.height) == (FindingKind.BLOCK, 300)
            assert words in str(report.fault)


# -- keys that follow each other -------------------------------------------------------------------------------------------


async def test_whoever_trusts_an_old_key_is_led_to_the_present_one(tmp_path: Path) -> None:
    log = Log().grow(300)
    keys = [log.signer.verifier]
    async with lying_edge(log) as edge:
        assert (await _audit(edge, tmp_path / "kept")).signer == str(keys[0])
        for seed in (b"\x11" * 32, b"\x12" * 32):
            log.rotate(seed)
            keys.append(log.signer.verifier)
            log.grow(100)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(remote, "MAX_ROTATIONS", 1)
            assert "too often" in str((await _audit(edge, tmp_path / "few")).fault)
        for key in keys:
            report = await _audit(edge, tmp_path / key.key_id.hex(), key)
            assert (report.fault, report.signer) == (None, str(keys[-1]))
            known = await _audit(edge, tmp_path / "kept", key)
            assert (known.fault, known.signer) == (None, str(keys[-1]))
        # the retired key goes on: what it signs counts no more
        log.grow(1)
        newest, log.signer = log.signer, Signer(ORIGIN, b"\1" * 32)
        for state in ("fresh", "kept"):
            report = await _audit(edge, tmp_path / state)
            assert _kind(report) is FindingKind.KEY
        log.signer = newest
        assert (await _audit(edge, tmp_path / "kept")).fault is None


# -- cosignatures ----------------------------------------------------------------------------------------------------------


async def test_a_quorum_that_is_fresh_makes_it_final(tmp_path: Path) -> None:
    lines = [f"log {KEY}", *(f"witness w{number} {each.verifier}" for number, each in enumerate(W, 2))]
    policy = parse_policy("\n".join([*lines, "group two 2 w2 w3 w4", "quorum two"]).encode())
    now = int(SystemClock().seconds())
    async with lying_edge(BASE) as edge:

        async def audit() -> Report:
            return await _audit(edge, tmp_path, policy=policy, max_age=600)

        assert _kind(await audit()) is FindingKind.QUORUM
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
            assert _kind(await audit()) is kind
        # the plain one has it: nothing else is asked for
        edge.lies = {f"{PREFIX}checkpoint": BASE.cosigned(SIZE, (W[0], now), (W[1], now))}
        assert (await audit()).final_size == SIZE


async def test_a_second_signature_of_the_log_can_be_asked_for(tmp_path: Path) -> None:
    second = MldsaSigner(ORIGIN, b"\4" * 32)
    policy = parse_policy(f"log {KEY}\nwitness pq {second.verifier}\nquorum pq\n".encode())
    async with lying_edge(BASE) as edge:
        assert _kind(await _audit(edge, tmp_path, policy=policy, max_age=600)) is FindingKind.QUORUM
        line = str(second.line(BASE.checkpoint(), int(SystemClock().seconds()))).encode()
        edge.lies[f"{PREFIX}checkpoint"] = BASE.note() + line
        report = await _audit(edge, tmp_path, policy=policy, max_age=600)
        assert (report.fault, report.final_size) == (None, SIZE)
        # a key that is not asked for: the line is ignored, and the rest holds
        assert (await _audit(edge, tmp_path / "other")).fault is None


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
        report = await _audit(edge, tmp_path, bodies=True)
        assert (report.fault, report.bodies, report.missing) == (None, 17, [absent])
        assert not {BODIES + gone, BODIES + erased} & set(edge.asked)
        edge.asked.clear()
        del edge.lies[BODIES + absent]
        again = await _audit(edge, tmp_path, bodies=True)
        assert (again.bodies, [path for path in edge.asked if path.startswith(BODIES)]) == (1, [BODIES + absent])
        truth = log.bodies[wrong]
        for lie, words in ((_flipped(truth), "digest"), (truth[:-1], "shorter"), (truth + b"x", "longer"), (flood, "longer")):
            edge.lies[BODIES + wrong] = lie
            report = await _audit(edge, tmp_path, bodies=True, anew=True)
            assert _kind(report) is FindingKind.BODY
            assert words in str(report.fault)
            assert wrong in str(report.fault)


# -- words -----------------------------------------------------------------------------------------------------------------


async def test_an_operator_reads_what_it_means_and_what_to_do(run: Run, tmp_path: Path) -> None:
    state = ("--state", str(tmp_path / "state"))
    async with lying_edge(BASE) as edge:
        status, out, err = await run("--url", edge.base, "--key", str(KEY), *state)
        assert (status, err) == (0, "")
        assert "600 read and proved" in out
        assert "bodies" not in out
        for said in ("600 known from earlier audits", "bodies        none that is new"):
            assert said in (await run("--url", edge.base, "--key", str(KEY), *state, "--bodies"))[1]
        assert "no faults" in out
        assert "not proved: no policy" in out
        edge.log = Log().grow(400)
        status, out, err = await run("--url", f"{edge.base}/.edge/ledger/", "--key", str(KEY), *state)
        assert status == 1
        told = [line.split(": ")[1] for line in err.splitlines()]
        assert told == ["fault", "what it means", "what to do", "evidence", "evidence"]
        assert "no faults" not in out
        edge.log = _breaking(_nonsense)
        status, out, _ = await run("--url", edge.base, "--key", str(KEY), "--state", str(tmp_path / "other"), "--json")
        view = json.loads(out)
        assert (status, view["ok"], view["fault"]["kind"], view["fault"]["height"]) == (1, False, "block", 300)


async def test_a_certificate_must_verify_and_the_authority_may_be_named(run: Run, tmp_path: Path) -> None:
    issued, ca = certificate("127.0.0.1"), tmp_path / "ca.pem"
    ca.write_bytes(authority().pem)
    (tmp_path / "chain.pem").write_bytes(issued.chain + issued.key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "chain.pem")
    async with lying_edge(BASE, context) as edge:
        line = ("--url", edge.base, "--key", str(KEY), "--state", str(tmp_path / "state"))
        status, _, err = await run(*line)
        assert (status, "certificate does not verify (--ca" in err) == (1, True)
        assert (await run(*line, "--ca", str(ca)))[0] == 0
    async with lying_edge(BASE) as edge:
        status, _, err = await run("--url", edge.base.replace("http:", "https:"), *line[2:])
        assert (status, "no TLS could be agreed on" in err, "certificate" in err) == (1, True, False)


async def test_wrong_usage_is_status_2_and_says_what_is_right(run: Run, tmp_path: Path) -> None:
    policy, foreign = tmp_path / "policy", tmp_path / "foreign"
    policy.write_text(f"log {KEY}\nwitness w {W[0].verifier}\nquorum w\n")
    foreign.write_text(f"log {Signer('a', b'1' * 32).verifier}\nlog {Signer('b', b'2' * 32).verifier}\nquorum none\n")
    url = ("--url", "http://127.0.0.1:1")
    for arguments, words in (
        ((*url,), "--key"),
        ((*url, "--key", "nonsense"), "not a verifier key"),
        ((*url, "--key", str(W[0].verifier)), "who cosigns"),
        (("--url", "edge.example", "--key", str(KEY)), "allowed: https://HOST"),
        (("--url", "https://h/path", "--key", str(KEY)), "root of a host"),
        (("--url", "https://user@h", "--key", str(KEY)), "allowed: https://HOST"),
        ((*url, "--key", str(KEY), "--max-age", "1h"), "quorum"),
        ((*url, "--policy", str(policy), "--max-age", "soon"), "duration"),
        ((*url, "--policy", str(tmp_path / "no")), "cannot be read"),
        ((*url, "--policy", str(foreign)), "--key which one"),
        ((*url, "--policy", str(foreign), "--key", str(KEY)), "does not name"),
        ((*url, "--policy", __file__), "is not a policy"),
        ((*url, "--key", str(KEY), "--ca", __file__), "no certificates"),
        ((*url, "--key", str(KEY), "--ca", str(tmp_path / "no")), "cannot be read"),
        (("x.tlog-proof", *url), "not both"),
        (("--anew",), "go with --url"),
        (("--policy", str(policy)), "go with"),
    ):
        status, _, err = await run(*arguments)
        assert (status, words in err) == (2, True), (arguments, err)


async def test_what_is_remembered_can_be_damaged_or_in_use(run: Run, tmp_path: Path) -> None:
    state = tmp_path / "state"
    async with lying_edge(BASE) as edge:
        line = ("--url", edge.base, "--key", str(KEY), "--state", str(state))
        with closing(Memory(state, KEY.name)) as held:
            status, _, err = await run(*line)
            assert (status, "another audit" in err) == (1, True)
        held.path.write_bytes(b"nonsense" * 1000)
        status, _, err = await run(*line)
        assert (status, str(held.path) in err, "what to do" in err) == (1, True, True)
        held.path.unlink()
        assert (await run(*line))[0] == 0
        (tmp_path / "file").touch()
        status, _, err = await run(*line[:-1], str(tmp_path / "file" / "below"))
        assert (status, "cannot be made" in err) == (1, True)


def _interrupted_on_a_terminal(line: tuple[str, ...], text: str) -> str:
    """What a terminal shows until `text` is there, and from the Ctrl-C that comes then to the end."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "edgeproxy", *line], cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    shown, deadline = b"", time.monotonic() + 30
    try:
        while text.encode() not in shown:
            assert time.monotonic() < deadline, shown
            assert select.select([ours], [], [], 30)[0], shown
            shown += os.read(ours, 65536)
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):  # the end of a terminal is EIO
            while piece := os.read(ours, 65536):
                shown += piece
        assert process.wait(30) == 130
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    return shown.decode()


@pytest.mark.parametrize("line", [("ledger", "verify", "--url"), ("restore", "--data", "new", "--from")], ids=" ".join)
async def test_whoever_waits_for_a_silent_edge_sees_for_what(tmp_path: Path, line: tuple[str, ...]) -> None:
    line = tuple(str(tmp_path / part) if part == "new" else part for part in line)
    async with lying_edge(BASE) as edge:
        edge.lies[f"{PREFIX}checkpoint"] = hang
        shown = await asyncio.to_thread(
            _interrupted_on_a_terminal, (*line, edge.base, "--key", str(KEY)), f"waiting for {edge.base}"
        )
    assert "interrupted; what was" in shown
