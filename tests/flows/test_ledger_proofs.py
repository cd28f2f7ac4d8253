"""`ledger prove` and `ledger verify FILE`: evidence that leaves the machine, holds without it, and holds nothing else."""

import asyncio
import json
import shutil
import time
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeproxy import cli
from edgeproxy.caching.model import Digest
from edgeproxy.errors import ProofRefused
from edgeproxy.ledger.checkpoint import Checkpoint, sign_checkpoint
from edgeproxy.ledger.chunks import WHOLE_BODY_LIMIT
from edgeproxy.ledger.evidence import Clear, Evidence, check_evidence, encode_clear
from edgeproxy.ledger.merkle import root_of
from edgeproxy.ledger.note_keys import COSIGNATURE, Signer
from edgeproxy.ledger.notes import SignatureLine, parse_note
from edgeproxy.ledger.proof_file import ProofFile, parse_proof_file
from edgeproxy.sequencer.final import keep_final
from edgeproxy.sequencer.proving import prove
from edgeproxy.storage.bodies import BodyStore
from edgeproxy.storage.ledger_db import LEDGER_FILE
from edgeproxy.storage.ledger_key import KEY_FILE, read_key
from edgeproxy.storage.ledger_rows import connect_to_read, read_leaves
from edgeproxy.storage.shards import Shards
from tests.support.command_line import Command
from tests.support.edge import command, json_of, running_edge
from tests.support.ledgers import SITE, Ledger, store_draft
from tests.support.site import content, running_site

PAGE = f"http://{SITE}/page"
LARGE = f"http://{SITE}/large"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder at rest with 300 pages, two versions of one URL, and a large body."""
    data = tmp_path_factory.mktemp("data")

    async def fill() -> None:
        async with Ledger(data, BodyStore(data)) as ledger:
            for number in (1, 2):
                body = await ledger.body(b"version %d" % number)
                selecting = (("accept-language", "de"),)
                ledger.sequencer.append(store_draft(number, url=PAGE, body=body, selecting=selecting))
            await ledger.fill(300, start=10)
            large = await ledger.body(bytes(WHOLE_BODY_LIMIT + 9))
            await ledger.sequencer.append(store_draft(999, url=LARGE, body=large))

    asyncio.run(fill())
    return data


@pytest.fixture
def run(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)

    def at_command_line(*arguments: str, data: Path = folder) -> tuple[int, str, str]:
        status = cli.run(["ledger", *arguments, "--data", str(data)])
        return (status, *capsys.readouterr())

    return at_command_line


def _vkey(folder: Path) -> str:
    key = read_key(folder)
    assert key is not None
    return str(key.verifier)


def test_a_proof_is_checked_elsewhere_with_nothing_but_the_key(run: Command, folder: Path, tmp_path: Path) -> None:
    status, out, _ = run("prove", PAGE, "-o", "page.tlog-proof")
    assert status == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page.block", "page.body", "page.head", "page.tlog-proof"]
    assert (tmp_path / "page.body").read_bytes() == b"version 2"
    assert f"--key {_vkey(folder)}" in out
    elsewhere = tmp_path / "elsewhere"
    status, out, _ = run("verify", "page.tlog-proof", "--key", _vkey(folder), "--json", data=elsewhere)
    assert status == 0
    told = json.loads(out)
    assert (told["ok"], told["height"], told["size"], told["url"]) == (True, 2, 304, PAGE)
    assert (told["head"], told["body"], told["selecting"]) == (True, True, {"accept-language": "de"})
    status, out, _ = run("verify", "page.tlog-proof")  # on this machine its own key is known
    assert status == 0
    assert "the proof holds" in out
    assert "nothing newer" in out
    assert not elsewhere.exists()


def test_an_older_version_and_a_large_body_can_be_proved(run: Command, tmp_path: Path) -> None:
    assert json.loads(run("prove", PAGE, "--height", "1", "--json")[1])["files"][0] == "block-1.tlog-proof"
    assert (tmp_path / "block-1.body").read_bytes() == b"version 1"
    assert run("verify", "block-1.tlog-proof")[0] == 0
    assert run("prove", LARGE, "-o", "large")[0] == 0
    assert (tmp_path / "large.body").stat().st_size == WHOLE_BODY_LIMIT + 9
    assert json.loads(run("verify", "large", "--json")[1])["body"] is True
    for arguments in ((f"{PAGE}/none",), (PAGE, "--height", "3")):
        status, _, err = run("prove", *arguments)
        assert status == 1
        assert "no version of" in err
    assert run("prove", "page")[0] == 2
    assert run("prove", PAGE, "-o", "no/such/folder/page")[0] == 2
    assert run("prove", PAGE, data=tmp_path)[0] == 1


@pytest.mark.parametrize(
    ("part", "fault"),
    [("block", "does not lead to the root"), ("head", "stored head does not match"), ("body", "body does not match its digest")],
)
def test_another_block_head_or_body_is_refused(run: Command, tmp_path: Path, part: str, fault: str) -> None:
    run("prove", PAGE, "-o", "page.tlog-proof")
    path = tmp_path / f"page.{part}"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    status, _, err = run("verify", "page.tlog-proof")
    assert status == 1
    assert fault in err
    assert json.loads(run("verify", "page.tlog-proof", "--json")[1])["ok"] is False


def test_what_is_not_beside_the_proof_is_said_to_be_unchecked(run: Command, tmp_path: Path) -> None:
    run("prove", PAGE, "-o", "page.tlog-proof")
    (tmp_path / "page.body").unlink()
    status, out, _ = run("verify", "page.tlog-proof")
    assert status == 0
    assert "not beside the proof, not checked" in out
    (tmp_path / "page.block").unlink()
    status, _, err = run("verify", "page.tlog-proof")
    assert (status, "page.block is not beside the proof" in err) == (1, True)


def test_a_key_is_never_taken_from_the_proof(run: Command, folder: Path, tmp_path: Path) -> None:
    run("prove", PAGE, "-o", "page.tlog-proof")
    status, _, err = run("verify", "page.tlog-proof", data=tmp_path / "elsewhere")
    assert status == 2
    assert "--key" in err
    assert run("verify", "page.tlog-proof", "--key", "nonsense")[0] == 2
    assert run("verify", "--key", _vkey(folder))[0] == 2
    assert run("verify", "none.tlog-proof")[0] == 2
    other = Signer("edge-1/.edge/ledger", bytes(range(32))).verifier
    status, _, err = run("verify", "page.tlog-proof", "--key", str(other))
    assert (status, "no signature of a known key" in err) == (1, True)
    own, another = ("+".join(key.split("+")[:2]) for key in (_vkey(folder), str(other)))
    assert f"signed_by={own}, known={another}" in err
    assert "if the log has changed its key" in err
    renamed = Signer("other/.edge/ledger", bytes(range(32))).verifier
    assert run("verify", "page.tlog-proof", "--key", str(renamed))[0] == 1


@pytest.fixture(scope="module")
def rotated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A data folder whose log changed its key twice, with a page stored between, and its keys."""
    data = tmp_path_factory.mktemp("rotated")
    keys = []

    async def fill() -> None:
        async with Ledger(data, BodyStore(data)) as ledger:
            keys.append(str(ledger.sequencer.log))
            await ledger.fill(3)
            for number in (1, 2):
                await ledger.sequencer.rotate()
                keys.append(str(ledger.sequencer.log))
                body = await ledger.body(b"version %d" % number)
                await ledger.sequencer.append(store_draft(number, url=PAGE, body=body))

    asyncio.run(fill())
    return data, keys


def test_an_old_key_is_enough_when_the_rotations_are_beside_the_proof(
    run: Command, rotated: tuple[Path, list[str]], tmp_path: Path
) -> None:
    data, keys = rotated
    elsewhere = tmp_path / "elsewhere"
    assert run("prove", PAGE, "-o", "page.tlog-proof", data=data)[0] == 0
    lines = (tmp_path / "page.rotations").read_text().splitlines()
    assert (lines[0], sum(line.startswith("block ") for line in lines)) == ("edgeproxy ledger rotations v1", 2)
    for key in keys:
        status, out, _ = run("verify", "page.tlog-proof", "--key", key, "--json", data=elsewhere)
        assert (status, json.loads(out)["vkey"]) == (0, keys[-1])
        text = run("verify", "page.tlog-proof", "--key", key, data=elsewhere)[1]
        assert ("handed over" in text) is (key != keys[-1])
    (tmp_path / "page.rotations").write_bytes(b"\n")
    assert "not a file of rotations" in run("verify", "page.tlog-proof", "--key", keys[0], data=elsewhere)[2]
    (tmp_path / "page.rotations").unlink()
    assert run("verify", "page.tlog-proof", "--key", keys[-1], data=elsewhere)[0] == 0
    status, _, err = run("verify", "page.tlog-proof", "--key", keys[0], data=elsewhere)
    assert (status, "no signature of a known key" in err) == (1, True)


def test_the_final_checkpoint_goes_into_the_proof_when_it_covers_the_page(
    run: Command, folder: Path, tmp_path: Path
) -> None:
    data = tmp_path / "copy"
    shutil.copytree(folder, data)
    key = read_key(data)
    assert key is not None
    witness = Signer("w.example", b"\7" * 32, COSIGNATURE)

    def finish(size: int, signer: Signer, root: bytes | None = None) -> bytes:
        with closing(connect_to_read(data / LEDGER_FILE)) as connection:
            leaves = [Digest(leaf) for leaf in read_leaves(connection, size)]
        stated = Checkpoint(key.name, size, Digest(root) if root else root_of(leaves))
        blob = witness.sign(stated.text.encode(), 1_700_000_000)
        note = sign_checkpoint(stated, signer) + str(SignatureLine(witness.name, witness.key_id, blob)).encode()
        keep_final(data, note)
        return note

    note = finish(100, key)
    status, out, _ = run("prove", PAGE, "-o", "page.tlog-proof", data=data)
    assert (status, "final: cosigned by w.example" in out) == (0, True)
    assert (tmp_path / "page.tlog-proof").read_bytes().endswith(note)
    assert json.loads(run("prove", PAGE, "-o", "page.tlog-proof", "--json", data=data)[1])["cosigned_by"] == ["w.example"]
    assert run("verify", "page.tlog-proof", data=data)[0] == 0
    # a newer page, a note of another tree or key, nonsense: the newest checkpoint does, and it is said
    assert "its checkpoint is not final" in run("prove", LARGE, "-o", "page.tlog-proof", data=data)[1]
    for wrong in ((100, key, bytes(32)), (100, Signer(key.name, b"\5" * 32), None), (9_999, key, None)):
        finish(*wrong)
        status, out, _ = run("prove", PAGE, "-o", "page.tlog-proof", data=data)
        assert (status, "final: cosigned" in out, "its checkpoint is not final" in out) == (0, False, True)
    keep_final(data, b"nonsense")
    assert run("prove", PAGE, "-o", "page.tlog-proof", data=data)[0] == 0


def test_a_policy_asks_for_cosignatures_that_are_fresh(run: Command, folder: Path, tmp_path: Path) -> None:
    run("prove", PAGE, "-o", "page.tlog-proof")
    proof = tmp_path / "page.tlog-proof"
    witness = Signer("w.example", b"\7" * 32, COSIGNATURE)
    (tmp_path / "policy").write_text(f"log {_vkey(folder)}\nwitness w {witness.verifier}\nquorum w\n")
    (tmp_path / "open").write_text(f"log {_vkey(folder)}\nwitness w {witness.verifier}\nquorum none\n")
    line = ("verify", "page.tlog-proof", "--policy", "policy")
    elsewhere = tmp_path / "elsewhere"
    assert "cosignatures of a quorum" in run(*line, data=elsewhere)[2]
    assert run(*line[:-1], "open", data=elsewhere)[0] == 0
    plain = proof.read_bytes()
    message = parse_note(parse_proof_file(plain).note).message

    def cosigned(at: int) -> None:
        proof.write_bytes(plain + str(SignatureLine(witness.name, witness.key_id, witness.sign(message, at))).encode())

    cosigned(1_700_000_000)
    status, out, _ = run(*line, "--json", data=elsewhere)
    assert (status, json.loads(out)["cosigned_by"], json.loads(out)["cosigned_at"]) == (0, ["w"], 1_700_000_000)
    assert "cosigned by w, first 2023-11-14" in run(*line, data=elsewhere)[1]
    status, _, err = run(*line, "--max-age", "7d", data=elsewhere)
    assert (status, "older than is allowed" in err) == (1, True)
    cosigned(int(time.time()))
    assert run(*line, "--max-age", "7d", data=elsewhere)[0] == 0
    assert run("verify", "page.tlog-proof", "--key", _vkey(folder), "--max-age", "7d")[0] == 2
    assert run("verify", "page.tlog-proof", "--anew")[0] == 2


def test_a_body_that_is_gone_leaves_the_proof_of_its_block(run: Command, folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    evidence, _ = prove(copy, PAGE)
    assert evidence.body == b"version 2"
    digest = json.loads(run("history", PAGE, "--json", data=copy)[1])["versions"][0]["body"]
    path = Shards(copy).path(bytes.fromhex(digest))  # type: ignore[arg-type]
    path.unlink()
    status, out, _ = run("prove", PAGE, "-o", "page.tlog-proof", data=copy)
    assert status == 0
    assert "the body is not there any more" in out
    (copy / KEY_FILE).unlink()
    assert run("prove", PAGE, data=copy)[0] == 1


def test_evidence_of_another_page_or_place_is_refused(folder: Path) -> None:
    evidence, log = prove(folder, PAGE)
    other, _ = prove(folder, f"http://{SITE}/page/10")
    proven = check_evidence(evidence, log)
    assert proven.clear is not None

    def with_extra(extra: bytes | None) -> Evidence:
        proof = evidence.proof
        return Evidence(ProofFile(proof.index, proof.path, proof.note, extra), evidence.block, evidence.head, evidence.body)

    assert check_evidence(with_extra(None), log).clear is None
    clear = proven.clear
    for wrong, fault in (
        (encode_clear(Clear(f"{PAGE}2", clear.selecting, clear.salt)), "another URL"),
        (encode_clear(Clear(clear.url, (), clear.salt)), "another variant"),
        (encode_clear(Clear(clear.url, clear.selecting, bytes(32))), "another URL"),
        (encode_clear(clear) + b" ", "canonical"),
        (b"{}", "cannot be read"),
        (b"\xff", "cannot be read"),
    ):
        with pytest.raises(ProofRefused, match=fault):
            check_evidence(with_extra(wrong), log)
    with pytest.raises(ProofRefused, match="does not lead"):
        check_evidence(Evidence(evidence.proof, other.block), log)
    with pytest.raises(ProofRefused, match="head does not match"):
        check_evidence(Evidence(evidence.proof, evidence.block, other.head), log)
    with pytest.raises(ProofRefused, match="body"):
        check_evidence(Evidence(evidence.proof, evidence.block, evidence.head, other.body), log)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_byte_of_the_evidence_can_be_changed(folder: Path, data: st.DataObject) -> None:
    evidence, log = prove(folder, PAGE)
    assert evidence.head is not None
    assert evidence.body is not None
    parts = [evidence.block, evidence.head, evidence.body]
    number = data.draw(st.integers(0, 2))
    place = data.draw(st.integers(0, len(parts[number]) - 1))
    changed = bytearray(parts[number])
    changed[place] ^= data.draw(st.integers(1, 255))
    parts[number] = bytes(changed)
    with pytest.raises(ProofRefused):
        check_evidence(Evidence(evidence.proof, *parts), log)


async def test_a_running_edge_is_proved_from_its_folder(tmp_path: Path) -> None:
    async with running_site() as origin, running_edge(tmp_path, origin.url) as (edge, client):
        answer = await client.recorded("/a?max-age=60")
        data, target = str(edge.config.edge.data), str(tmp_path / "a.tlog-proof")
        proved = await asyncio.to_thread(command, "ledger", "prove", f"{client.base}/a?max-age=60", "-o", target, "--data", data)
        assert proved.returncode == 0, proved.stderr
        told = json_of(await asyncio.to_thread(command, "ledger", "verify", target, "--json", "--data", data))
    assert (told["ok"], told["height"]) == (True, int(answer["Edge-Block"]))
    assert (tmp_path / "a.body").read_bytes() == content("/a?max-age=60")
