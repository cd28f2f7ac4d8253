"""`ledger verify --url` as operators run it: a clean audit of a real edge, one that is killed and goes on, and what they read."""

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
from edgeproxy.auditing.memory import Memory
from edgeproxy.ledger.findings import FindingKind
from edgeproxy.ledger.note_keys import Signer
from tests.support.audited import BASE, KEY, W, audited, broken_by, kind_of, with_nonsense
from tests.support.certificates import authority, certificate
from tests.support.edge import ROOT, Client, EdgeProcess, running_edge, until, write_config
from tests.support.lying_edge import (
    PREFIX,
    Log,
    hang,
    lying_edge,
)
from tests.support.site import running_site
from tests.support.validators import ValidatorProcess, configured, introduce

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
        report = await audited(edge, tmp_path)
        assert (report.fault, report.known, report.read) == (None, 16 * 256, 16 * 256 + 44)
        assert min(path for path in edge.asked if "entries" in path) == f"{PREFIX}tile/entries/016"
        edge.asked.clear()
        again = await audited(edge, tmp_path)
        assert (again.fault, again.read, again.known) == (None, 0, log.size)
        assert not any("entries" in path for path in edge.asked)


async def test_a_longer_ledger_is_read_from_the_first_new_block(tmp_path: Path) -> None:
    log = Log().grow(99)
    async with lying_edge(log) as edge:
        for size in (100, 101, 255, 256, 257, 700):
            log.grow(size - log.size)
            report = await audited(edge, tmp_path)
            assert (report.fault, report.known + report.read) == (None, size)
        edge.asked.clear()
        anew = await audited(edge, tmp_path, anew=True)
        assert (anew.fault, anew.known, anew.read) == (None, 0, 700)
        too_long = await audited(edge, tmp_path / "other", most_blocks=699)
        assert kind_of(too_long) is FindingKind.LIMIT


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
        edge.log = broken_by(with_nonsense)
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
