"""An export read back: what is whole becomes the same ledger, and what was touched is refused at the block it concerns."""

import asyncio
import gzip
import json
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest
from warcio.archiveiterator import ArchiveIterator

from edgeproxy.caching.model import Height
from edgeproxy.errors import ProofRefused, StartError
from edgeproxy.ledger.chunks import WHOLE_BODY_LIMIT
from edgeproxy.ledger.drafts import EraseDraft, EvictDraft, PurgeDraft, ReceiptDraft
from edgeproxy.ledger.note_keys import Signer
from edgeproxy.ledger.tiles import decode_bundle, encode_bundle
from edgeproxy.recovery import staging
from edgeproxy.recovery.export import Report, Wanted, export
from edgeproxy.recovery.restore import Restore
from edgeproxy.recovery.restore_file import FileSource
from edgeproxy.recovery.staging import STAGING_FILE
from edgeproxy.sequencer.audit import audit_now
from edgeproxy.storage.bodies import BodyStore
from edgeproxy.storage.ledger_db import LEDGER_FILE
from edgeproxy.storage.ledger_key import KEY_FILE, read_key
from tests.support.exports import Part, changed, read_parts, restored, write_parts
from tests.support.ledgers import NOW, SITE, Ledger, store_draft
from tests.support.traces import traces

ERASED = f"http://{SITE}/erased"
LARGE = 302
"""Height of the block with a large body; the bundle before it is full, and 301 shares its body with 1."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with 300 pages, a shared body, a large one, an evicted one, an erased URL, and a purge."""
    data = tmp_path_factory.mktemp("export") / "data"

    async def fill() -> None:
        async with Ledger(data, BodyStore(data)) as ledger:
            append = ledger.sequencer.append
            for number in range(1, 301):
                append(store_draft(number, body=await ledger.body(b"page %d" % number)))
            append(store_draft(301, body=await ledger.body(b"page 1")))
            append(store_draft(LARGE, body=await ledger.body(bytes(WHOLE_BODY_LIMIT + 9))))
            evicted, erased = await ledger.body(b"evicted"), await ledger.body(b"erased body")
            append(store_draft(303, body=evicted))
            append(store_draft(304, url=ERASED, body=erased))
            append(EvictDraft(evicted.digest, evicted.length, NOW))
            append(EraseDraft(SITE, ERASED, (erased.digest,), NOW))
            append(PurgeDraft(SITE, "url", f"http://{SITE}/page/7", "soft", NOW))
            await ledger.sequencer.rotate()

    asyncio.run(fill())
    return data


@pytest.fixture(scope="module")
def file(folder: Path) -> Path:
    path = folder.parent / "whole.warc.gz"
    export(folder, path, Wanted(), NOW)
    return path


def _rows(folder: Path) -> list[list[tuple[object, ...]]]:
    with sqlite3.connect(folder / LEDGER_FILE) as connection:
        return [connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() for table in ("blocks", "heads", "private")]


def _bodies(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "bodies").rglob("*") if path.is_file()}


async def test_what_is_restored_is_the_same_ledger(folder: Path, file: Path, tmp_path: Path) -> None:
    outcome = await restored(tmp_path / "new", file)
    assert (outcome.size, outcome.bodies, outcome.fetched) == (309, 301, 301)
    assert (outcome.missing_heads, outcome.missing_bodies, outcome.keeps_key) == (0, 0, False)
    assert _rows(tmp_path / "new") == _rows(folder)
    assert _bodies(tmp_path / "new") == _bodies(folder)
    assert not (tmp_path / "new" / KEY_FILE).exists()
    assert audit_now(tmp_path / "new").is_clean
    async with Ledger(tmp_path / "new", BodyStore(tmp_path / "new")) as ledger:
        assert ledger.sequencer.recovered is not None
        assert ledger.sequencer.recovered.faults == ()
        own = read_key(folder)
        assert own is not None
        assert ledger.sequencer.log != own.verifier, "the old key did not come along, so this is a log of its own"
        block = await ledger.sequencer.append(store_draft(1, body=await ledger.body(b"page 1")))
        assert block.height == 309
    assert audit_now(tmp_path / "new", bodies=False).is_clean


async def test_an_export_with_the_key_goes_on_as_the_same_log(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "key.warc.gz"
    export(folder, file, Wanted(with_key=True), NOW)
    assert file.stat().st_mode & 0o777 == 0o600
    assert (await restored(tmp_path / "new", file)).keeps_key
    own = read_key(folder)
    assert own is not None
    assert read_key(tmp_path / "new").verifier == own.verifier  # type: ignore[union-attr]
    async with Ledger(tmp_path / "new") as ledger:
        assert ledger.sequencer.log == own.verifier
    plain = tmp_path / "plain.warc.gz"
    export(folder, plain, Wanted(), NOW)
    assert own.private() not in "".join(part.content.decode("latin-1") for part in read_parts(plain))


async def test_a_key_from_before_a_rotation_is_followed_and_another_is_refused(folder: Path, file: Path, tmp_path: Path) -> None:
    aside = read_key(folder, f"{KEY_FILE}.retired-1")
    assert aside is not None
    for key in (aside.verifier, Signer(aside.name, bytes(range(32))).verifier):
        work = Restore(tmp_path / str(key.key_id.hex()), key, False, lambda log: None)
        with closing(FileSource(file)) as source:
            if key == aside.verifier:
                assert (await work.run([source])).size == 309
            else:
                with pytest.raises(ProofRefused, match="no signature of a known key"):
                    await work.run([source])


async def test_later_exports_go_on_from_earlier_ones(folder: Path, file: Path, tmp_path: Path) -> None:
    async with Ledger(shutil.copytree(folder, tmp_path / "older"), BodyStore(tmp_path / "older")) as ledger:
        await ledger.sequencer.append(store_draft(400, body=await ledger.body(b"news")))
        first = read_parts(file)[5].field("Edgeproxy-Block")
        assert first == "256"
    later = tmp_path / "later.warc.gz"
    export(tmp_path / "older", later, Wanted(since=309), NOW)
    assert sum(part.kind == "response" for part in read_parts(later)) == 1
    outcome = await restored(tmp_path / "new", file, later)
    assert (outcome.size, outcome.bodies) == (310, 302)
    assert _rows(tmp_path / "new") == _rows(tmp_path / "older")
    with pytest.raises(ProofRefused, match="blocks before this one are missing"):
        await restored(tmp_path / "alone", later)


async def test_names_that_an_erasure_took_out_stay_out(tmp_path: Path) -> None:
    data, before, after = tmp_path / "data", tmp_path / "before.warc.gz", tmp_path / "after.warc.gz"
    async with Ledger(data, BodyStore(data)) as ledger:
        body = await ledger.body(b"secret")
        ledger.sequencer.append(store_draft(1, url=ERASED, body=body))
        ledger.sequencer.append(PurgeDraft(SITE, "url", ERASED, "hard", NOW))
        ledger.sequencer.append(ReceiptDraft(SITE, ERASED, "cache", "network", Height(1), NOW, 1, NOW))
        await ledger.sequencer.flush()
        export(data, before, Wanted(), NOW)
        await ledger.sequencer.append(EraseDraft(SITE, ERASED, (body.digest,), NOW))
    export(data, after, Wanted(), NOW)
    assert ERASED.encode() in gzip.decompress(before.read_bytes())
    assert ERASED.encode() not in gzip.decompress(after.read_bytes())
    for number, files in enumerate([(after,), (before, after)]):
        new = tmp_path / str(number)
        await restored(new, *files)
        assert _rows(new) == _rows(data)
        assert traces(new, ERASED.encode()) == []
        assert audit_now(new).is_clean


async def test_without_bodies_it_is_a_ledger_that_says_so(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "bare.warc.gz"
    report = export(folder, file, Wanted(bodies=False), NOW)
    assert report.bodies == 0
    outcome = await restored(tmp_path / "new", file)
    assert (outcome.bodies, outcome.missing_bodies) == (0, 301)
    assert audit_now(tmp_path / "new").is_clean, "what the source did not have is no fault"


async def test_a_second_run_takes_only_what_is_missing(file: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.warc.gz"
    parts = read_parts(file)
    cut.write_bytes(b"".join(part.encode() for part in parts[:150]))
    with pytest.raises(ProofRefused, match="last record is missing"):
        await restored(tmp_path / "new", cut)
    assert (tmp_path / "new" / STAGING_FILE).exists()
    there = len(_bodies(tmp_path / "new"))
    assert there > 100
    outcome = await restored(tmp_path / "new", file)
    assert (outcome.bodies, outcome.fetched) == (301, 301 - there)


# -- archive tools ---------------------------------------------------------------------------------------------------------------


def test_another_reader_finds_the_pages(file: Path) -> None:
    pages: dict[str, tuple[str, bytes]] = {}
    with file.open("rb") as opened:
        for record in ArchiveIterator(opened, check_digests="raise"):
            if record.rec_type in ("response", "revisit"):
                uri = record.rec_headers.get_header("WARC-Target-URI")
                pages[uri] = (record.http_headers.get_statuscode(), record.content_stream().read())
    assert pages[f"http://{SITE}/page/7"] == ("200", b"page 7")
    assert pages[f"http://{SITE}/page/301"] == ("200", b"")
    assert len(pages[f"http://{SITE}/page/{LARGE}"][1]) == WHOLE_BODY_LIMIT + 9
    assert ERASED not in pages
    assert len(pages) == 302


def test_a_revisit_names_the_response_that_has_its_body(file: Path) -> None:
    parts = read_parts(file)
    (revisit,) = [part for part in parts if part.kind == "revisit"]
    (first,) = [part for part in parts if part.field("Edgeproxy-Block") == "1" and part.kind == "response"]
    assert revisit.field("WARC-Payload-Digest") == first.field("WARC-Payload-Digest")
    assert revisit.field("WARC-Refers-To-Target-URI") == first.field("WARC-Target-URI")
    assert revisit.field("WARC-Refers-To-Date") == first.field("WARC-Date")
    assert revisit.content.endswith(b"\r\n\r\n")
    assert {part.head.split("\r\n")[0] for part in parts} == {"WARC/1.1"}


# -- tampering -------------------------------------------------------------------------------------------------------------------


def _of(block: int, *kinds: str) -> Callable[[Part], bool]:
    return lambda part: part.field("Edgeproxy-Block") == str(block) and part.kind in (kinds or ("response", "revisit", "head"))


def _flipped(place: int) -> Callable[[bytes], bytes]:
    def flip(data: bytes) -> bytes:
        at = place % len(data)
        return data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]

    return flip


def _with_block(height: int, change: Callable[[bytes], bytes]) -> Callable[[list[Part]], list[Part]]:
    def tamper(parts: list[Part]) -> list[Part]:
        def bundle(data: bytes) -> bytes:
            entries = decode_bundle(data, min(256, 309 - height // 256 * 256))
            entries[height % 256] = change(entries[height % 256])
            return encode_bundle(entries)

        return changed(parts, _of(height // 256 * 256, "blocks"), bundle)

    return tamper


def _is_checkpoint(part: Part) -> bool:
    return part.kind == "checkpoint"


def _swapped(parts: list[Part]) -> list[Part]:
    places = [next(number for number, part in enumerate(parts) if _of(height, "response")(part)) for height in (40, 41)]
    heads, bodies = zip(*(parts[place].content.split(b"\r\n\r\n", 1) for place in places), strict=True)
    mixed = list(parts)
    for place, head, body in zip(places, heads, reversed(bodies), strict=True):
        mixed[place] = parts[place].with_content(head + b"\r\n\r\n" + body)
    return mixed


def _without(wanted: Callable[[Part], bool]) -> Callable[[list[Part]], list[Part]]:
    return lambda parts: [part for part in parts if not wanted(part)]


def _other_name(data: bytes) -> bytes:
    return data.replace(b"/page/30\"", b"/page/31\"", 1)


def _far_name(data: bytes) -> bytes:
    return data.replace(b"[[1, ", b"[[%d, " % 2**70, 1)


def _same_length(data: bytes) -> bytes:
    return data.replace(b'"status":200', b'"status":201')


TAMPERED: list[tuple[str, Callable[[list[Part]], list[Part]], int | None, str]] = [
    ("a byte of a block", _with_block(17, _flipped(3)), 17, "block is not one"),
    ("another block", _with_block(17, _same_length), 17, "not the one that the next was chained to"),
    ("another block before a bundle's end", _with_block(255, _same_length), 255, "not the one that the next was chained to"),
    ("another last block", _with_block(307, lambda data: data.replace(b'"soft"', b'"hard"')), 307, "not the one that the next"),
    ("a byte of a head", lambda parts: changed(parts, _of(20), _flipped(20)), 20, "stored head is not that of the block"),
    ("a byte of a body", lambda parts: changed(parts, _of(21), _flipped(-1)), 21, "body is not that of the block"),
    ("a byte of a large body", lambda parts: changed(parts, _of(LARGE), _flipped(-9)), LARGE, "body is not that of the block"),
    ("a body cut short", lambda parts: changed(parts, _of(22), lambda data: data[:-1]), 22, "body has another length"),
    ("a body made longer", lambda parts: changed(parts, _of(23), lambda data: data + b"!"), 23, "body has another length"),
    ("swapped bodies", _swapped, 40, "body is not that of the block"),
    ("a missing response", _without(_of(60)), 60, "stored head of the block is missing"),
    ("a missing revisit", _without(_of(301)), 301, "stored head of the block is missing"),
    ("a missing bundle", _without(_of(0, "blocks")), 0, "blocks are missing"),
    ("another name", lambda parts: changed(parts, _of(0, "names"), _other_name), 30, "names are not those of the block"),
    ("a name of no block", lambda parts: changed(parts, _of(0, "names"), _far_name), 2**70, "no such block"),
    ("no end", lambda parts: parts[:-1], None, "last record is missing"),
    ("something behind the end", lambda parts: [*parts, parts[-2]], None, "last record is missing"),
    ("no checkpoint", _without(_is_checkpoint), None, "begins without a checkpoint"),
    ("no key", _without(lambda part: part.kind == "key"), None, "whose ledger is it"),
    ("a byte of the checkpoint", lambda parts: changed(parts, _is_checkpoint, _flipped(-20)), None, "signature|base64"),
    ("a record of nobody", lambda parts: changed(parts, _of(5), lambda _: b"no head at all"), 5, "no HTTP head"),
]


@pytest.mark.parametrize(("tamper", "block", "text"), [case[1:] for case in TAMPERED], ids=[case[0] for case in TAMPERED])
async def test_a_tampered_export_is_refused_at_the_block_concerned(
    file: Path, tmp_path: Path, tamper: Callable[[list[Part]], list[Part]], block: int | None, text: str
) -> None:
    path = write_parts(tmp_path / "tampered.warc.gz", tamper(read_parts(file)))
    with pytest.raises(ProofRefused, match=text) as refused:
        await restored(tmp_path / "new", path)
    assert refused.value.fields.get("block") == block
    assert not (tmp_path / "new" / LEDGER_FILE).exists()
    # The true one is taken all the same, after it.
    if block in (17, 21):
        assert (await restored(tmp_path / "new", file)).size == 309


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95, 0.9999])
async def test_a_file_that_breaks_off_is_refused(file: Path, tmp_path: Path, share: float) -> None:
    data = file.read_bytes()
    path = tmp_path / "short.warc.gz"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ProofRefused):
        await restored(tmp_path / "new", path)


@pytest.mark.parametrize("data", [b"", b"no gzip", bytes(100), b"\x1f\x8b\x08" + bytes(40)])
async def test_what_is_no_export_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(ProofRefused) as refused:
        await restored(tmp_path / "new", path)
    assert "first line" not in str(refused.value)  # which is any bytes, on somebody's terminal
    with pytest.raises(ProofRefused, match="cannot be read"):
        FileSource(tmp_path / "none")


# -- folders ---------------------------------------------------------------------------------------------------------------------


async def test_only_an_empty_folder_that_nobody_uses_is_taken(folder: Path, file: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    with pytest.raises(StartError, match="holds a ledger already"):
        await restored(copy, file)
    (copy / LEDGER_FILE).unlink()
    with pytest.raises(StartError, match="holds the key of another ledger"):
        await restored(copy, file)
    async with Ledger(tmp_path / "used") as _:
        (tmp_path / "used" / LEDGER_FILE).rename(tmp_path / "moved")
        with pytest.raises(StartError, match="in use by another process"):
            await restored(tmp_path / "used", file)
        (tmp_path / "moved").rename(tmp_path / "used" / LEDGER_FILE)


async def test_a_body_that_was_lost_is_said_to_be(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    digest = next(path for path in (copy / "bodies").rglob("*") if path.is_file() and path.read_bytes() == b"page 9")
    digest.write_bytes(b"page X")
    file = tmp_path / "lossy.warc.gz"
    report: Report = export(copy, file, Wanted(), NOW)
    assert report.without_bodies == [9, 303]
    assert json.loads(read_parts(file)[-1].content)["without_bodies"] == [9, 303]
    outcome = await restored(tmp_path / "new", file)
    assert outcome.missing_bodies == 1
    assert audit_now(tmp_path / "new").is_clean


def test_an_export_of_a_damaged_ledger_is_not_made(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    with sqlite3.connect(copy / LEDGER_FILE) as connection:
        connection.execute("UPDATE blocks SET raw = replace(raw, ?, ?) WHERE height = 9", (b'"status":200', b'"status":201'))
    file = tmp_path / "file.warc.gz"
    file.write_bytes(b"the last one")
    with pytest.raises(Exception, match="does not match its leaf hash"):
        export(copy, file, Wanted(), NOW)
    assert file.read_bytes() == b"the last one", "it is replaced only by a whole one"
    assert [path.name for path in tmp_path.iterdir() if ".part" in path.name] == []


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder with three blocks, and its export."""
    data = tmp_path_factory.mktemp("small") / "data"

    async def fill() -> None:
        async with Ledger(data, BodyStore(data)) as ledger:
            await ledger.fill(2)

    asyncio.run(fill())
    export(data, data.parent / "small.warc.gz", Wanted(), NOW)
    return data, data.parent / "small.warc.gz"


async def test_whatever_byte_of_the_file_is_changed_nothing_false_comes_of_it(
    small: tuple[Path, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, file = small
    whole, path, new = file.read_bytes(), tmp_path / "changed.warc.gz", tmp_path / "new"
    key = read_key(folder)
    assert key is not None
    for seed in range(40):
        chance, data = random.Random(seed), bytearray(whole)
        for _ in range(chance.randrange(1, 4)):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
        with suppress(ProofRefused), closing(FileSource(path)) as source:
            await Restore(new, key.verifier, False, lambda log: None).run([source])
            assert _rows(new) == _rows(folder)
            assert _bodies(new) == _bodies(folder)
            shutil.rmtree(new)
    assert "Traceback" not in capfd.readouterr().err


async def test_a_file_that_unpacks_to_no_end_is_refused(small: tuple[Path, Path], tmp_path: Path) -> None:
    path = tmp_path / "bomb.warc.gz"
    for bomb in (b"WARC/1.1\r\n" + b"X" * (64 << 20), b"WARC/1.1\r\n" + b"X: y\r\n" * (1 << 20)):
        path.write_bytes(gzip.compress(bomb))
        with pytest.raises(ProofRefused, match="too long"):
            await restored(tmp_path / "new", path)
    parts = read_parts(small[1])
    names = changed(parts, lambda part: part.kind == "names", lambda _: b"[" + b" " * (65 << 20) + b"]")
    with pytest.raises(ProofRefused, match="record is too long"):
        await restored(tmp_path / "new", write_parts(path, names))
    deep = changed(parts, lambda part: part.kind == "names", lambda _: b"[" * 100_000)
    with pytest.raises(ProofRefused, match="names in the export cannot be read"):
        await restored(tmp_path / "new", write_parts(path, deep))


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("step", ["keep_key", "sync_folder", "encode_restored", "ledger_rows.put_tree_head"])
async def test_a_restore_that_ends_at_its_last_steps_is_finished_by_the_next(
    folder: Path, tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "key.warc.gz"
    export(folder, file, Wanted(with_key=True, bodies=False), NOW)
    owner = staging.ledger_rows if "." in step else staging
    done = getattr(owner, step.rpartition(".")[2])
    for after in (False, True):
        new = tmp_path / f"new-{after}"

        def deadly(*arguments: object, after: bool = after) -> object:
            if after:
                done(*arguments)
            raise Killed

        with monkeypatch.context() as patched:
            patched.setattr(owner, step.rpartition(".")[2], deadly)
            with pytest.raises(Killed):
                await restored(new, file)
        if step == "sync_folder":
            assert (new / LEDGER_FILE).exists(), "this was the last step"
        else:
            assert (await restored(new, file)).keeps_key
        assert audit_now(new).is_clean
        assert _rows(new) == _rows(folder)
        assert read_key(new).verifier == read_key(folder).verifier  # type: ignore[union-attr]
