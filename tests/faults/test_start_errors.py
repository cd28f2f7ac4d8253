"""What keeps the edge from starting, or from storing, is said in one clear line, and costs nobody anything else."""

import asyncio
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgeproxy.app import Edge
from edgeproxy.recovery.staging import STAGING_FILE, Staging
from edgeproxy.sequencer.audit import audit_now
from edgeproxy.storage.ledger_db import LEDGER_FILE
from tests.support.edge import Client, EdgeProcess, command, running_edge, until, write_config
from tests.support.raw_origin import RawConnection, RawOrigin
from tests.support.site import Site, content, running_site

ORIGIN = "http://127.0.0.1:9"
"""Nobody listens there; an edge starts all the same."""

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount file systems")


@dataclass(frozen=True)
class Refused:
    """How a start ended."""

    status: int
    lines: list[str]


def run_refused(config: Path, *arguments: str) -> Refused:
    """Start an edge that must not start: it ends by itself, says why on standard error, and nothing of how it is built."""
    done = command("run", "--config", str(config), *arguments, timeout=30)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert ".py" not in done.stderr
    return Refused(done.returncode, done.stderr.splitlines())


def assert_one_line(refused: Refused, *said: str) -> None:
    assert refused.status == 1
    (line,) = refused.lines
    assert all(each in line for each in said), line


@contextmanager
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True)
    if done.returncode != 0 and "CI" not in os.environ:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


# --- the start ---


def test_bad_configuration_is_told_fault_by_fault_with_status_2(tmp_path: Path) -> None:
    config = write_config(tmp_path, "ftp://127.0.0.1", more='[limits]\nhaed = "1KiB"\n[ledger]\nbatch_size = 0')
    refused = run_refused(config)
    assert refused.status == 2
    assert len(refused.lines) == 3
    for key, hint in (("limits.haed", "head"), ("ledger.batch_size", "1"), ("origins", "http")):
        assert any(key in line and hint in line for line in refused.lines), refused.lines


@pytest.mark.parametrize(
    ("text", "said"), [(None, "no such file"), ("[edge\n", "line 1"), ("", "site: none")], ids=["missing", "no TOML", "empty"]
)
def test_configuration_that_cannot_be_read_is_one_line_with_status_2(tmp_path: Path, text: str | None, said: str) -> None:
    config = tmp_path / "edge.toml"
    if text is not None:
        config.write_text(text)
    refused = run_refused(config)
    assert refused.status == 2
    (line,) = refused.lines
    assert said in line


def test_unknown_flag_is_wrong_usage_with_status_2() -> None:
    done = command("run", "--orgin", ORIGIN)
    assert done.returncode == 2
    assert "--origin" in done.stderr


def test_port_in_use_is_one_line_with_the_address(tmp_path: Path) -> None:
    with taken_port() as port:
        refused = run_refused(write_config(tmp_path, ORIGIN), "--listen", f"127.0.0.1:{port}")
    assert_one_line(refused, f"127.0.0.1:{port}", "address in use")


def test_admin_port_in_use_is_one_line_with_the_address(tmp_path: Path) -> None:
    with taken_port() as port:
        refused = run_refused(write_config(tmp_path, ORIGIN), "--admin", f"127.0.0.1:{port}")
    assert_one_line(refused, f"127.0.0.1:{port}", "address in use")
    assert not (tmp_path / "data" / "admin.json").exists(), "an edge that does not run is not announced"


def test_address_of_another_machine_is_one_line(tmp_path: Path) -> None:
    assert_one_line(run_refused(write_config(tmp_path, ORIGIN), "--listen", "192.0.2.1:8080"), "192.0.2.1:8080")


@pytest.mark.parametrize("below", [".", "data"])
def test_data_folder_that_is_or_lies_below_a_file_is_a_fault_of_the_configuration(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("in the way")
    folder = tmp_path / "file" / below
    refused = run_refused(write_config(tmp_path, ORIGIN), "--data", str(folder))
    assert refused.status == 2
    (line,) = refused.lines
    assert str(folder) in line
    assert "allowed" in line


@only_root
def test_data_folder_on_a_read_only_file_system_is_one_line_with_the_path(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "ro,size=1m") as disk:
        assert_one_line(run_refused(write_config(tmp_path, ORIGIN), "--data", str(disk)), str(disk), "Read-only")


def _file_for_bodies(data: Path) -> None:
    (data / "bodies").write_text("in the way")


def _folder_for_the_ledger(data: Path) -> None:
    (data / "ledger.sqlite").mkdir()


def _folder_for_the_token(data: Path) -> None:
    (data / "admin-token").mkdir()


def _short_token(data: Path) -> None:
    (data / "admin-token").write_text("short\n")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_file_for_bodies, "bodies"),
        (_folder_for_the_ledger, "ledger"),
        (_folder_for_the_token, "admin-token"),
        (_short_token, "admin-token"),
    ],
)
def test_data_folder_with_something_in_the_way_is_one_line_that_names_it(
    tmp_path: Path, spoil: Callable[[Path], None], said: str
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    spoil(data)
    assert_one_line(run_refused(write_config(tmp_path, ORIGIN)), said)


def test_what_was_opened_before_a_failed_start_is_closed_again(tmp_path: Path) -> None:
    """The address and the data folder are free for the next try."""
    config = write_config(tmp_path, ORIGIN)
    with taken_port() as port:
        run_refused(config, "--admin", f"127.0.0.1:{port}")
    edge = EdgeProcess(config)
    edge.start()
    assert edge.stop() == 0
    assert audit_now(edge.data).is_clean


def test_folder_whose_restore_is_not_finished_is_refused_and_kept(tmp_path: Path) -> None:
    """A new ledger in it would be in the way of the rest of the restore, and delete the bodies that were taken."""
    data = tmp_path / "data"

    async def interrupted() -> None:
        staging = Staging(data)
        await staging.open()
        await staging.close()

    asyncio.run(interrupted())
    assert_one_line(run_refused(write_config(tmp_path, ORIGIN)), "restore", "run it again", str(data / STAGING_FILE))
    assert not (data / LEDGER_FILE).exists()


async def test_second_edge_on_a_data_folder_is_refused_and_leaves_the_first_alone(tmp_path: Path) -> None:
    """Above all what the first is just writing: to the second it looks like what a crash left."""
    half_sent, finish = asyncio.Event(), asyncio.Event()
    body = b"x" * 1_000_000

    async def in_two_halves(connection: RawConnection) -> None:
        await connection.read_head()
        head = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: %d\r\n\r\n" % len(body)
        await connection.send(head + body[:600_000])
        half_sent.set()
        await finish.wait()
        await connection.send(body[600_000:])

    async with RawOrigin(in_two_halves) as origin, running_edge(tmp_path, origin.url) as (edge, client):
        download = asyncio.get_running_loop().create_task(client.ask("/large"))
        await half_sent.wait()

        async def half_on_disk() -> bool | None:
            return any(path.stat().st_size for path in (tmp_path / "data" / "bodies" / "tmp").iterdir()) or None

        await until(half_on_disk)
        refused = await asyncio.to_thread(run_refused, write_config(tmp_path, ORIGIN, name="second.toml"))
        assert_one_line(refused, str(tmp_path / "data"), "in use", f"pid={os.getpid()}")
        finish.set()
        assert (await download).body == body
        again = await client.recorded("/large")
        assert again.body == body
        assert len(origin.heads) == 1, "what the first was writing is what it serves now"
        assert edge.recorder.failure is None
        status = await asyncio.to_thread(command, "status", "--data", str(tmp_path / "data"))
        assert status.returncode == 0, "the first is still the one that is announced"


# --- the disk is full ---


@asynccontextmanager
async def edge_on(disk: Path, tmp_path: Path) -> AsyncIterator[tuple[Edge, Client, Site]]:
    """An edge with its data on a small disk. The config lies elsewhere."""
    (tmp_path / "data").symlink_to(disk)
    async with running_site() as site, running_edge(tmp_path, site.url) as (edge, client):
        yield edge, client, site


def fill_up(disk: Path, *, leave: int) -> Path:
    """Take all space but `leave` bytes."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        file.truncate(0)
        left = shutil.disk_usage(disk).free - leave
        while left > 0:
            left -= file.write(b"\0" * min(left, 1 << 20))
    return filler


async def health(edge: Edge, client: Client) -> tuple[int, str]:
    async with client.session.get(f"http://{edge.admin_address}/healthz") as response:
        return response.status, await response.text()


def stored_files(disk: Path) -> list[Path]:
    return [path for path in (disk / "bodies").rglob("*") if path.is_file()]


@only_root
async def test_large_response_on_a_full_disk_reaches_the_client_and_is_not_half_stored(tmp_path: Path) -> None:
    target, size = "/large?max-age=600&size=12000000", 12_000_000
    with mounted(tmp_path / "disk", "size=8m") as disk:
        async with edge_on(disk, tmp_path) as (edge, client, site):
            await client.recorded("/small?max-age=600")
            kept = stored_files(disk)
            answer = await client.ask(target)
            assert (answer.status, answer.body) == (200, content(target, "1", size))

            async def unhealthy() -> str | None:
                status, text = await health(edge, client)
                return text if status == 503 else None

            assert "no space left" in await until(unhealthy)
            assert stored_files(disk) == kept
            assert (await client.ask("/small?max-age=600"))["Cache-Status"].startswith("edgeproxy;hit")
            again = await client.ask(target)
            assert again.body == answer.body
            assert site.seen.count(target) == 2, "what could not be stored is asked for again"
            # There is room for this one, and with it all is well again.
            await client.recorded("/next?max-age=600")
            assert (await health(edge, client))[0] == 200
        assert audit_now(disk).is_clean


@only_root
async def test_nothing_at_all_can_be_written_and_the_edge_goes_on_and_recovers(tmp_path: Path) -> None:
    """Neither a small body nor a block: answers go on, stored ones too, and with room again everything is stored as before."""
    with mounted(tmp_path / "disk", "size=8m") as disk:
        async with edge_on(disk, tmp_path) as (edge, client, _):
            await client.recorded("/kept?max-age=600")
            filler = fill_up(disk, leave=0)
            targets = [f"/page-{number}?max-age=600&size=20000" for number in range(20)]
            for target in targets:
                answer = await client.ask(target)
                assert (answer.status, answer.body) == (200, content(target, "1", 20_000))

            async def unhealthy() -> str | None:
                status, text = await health(edge, client)
                return text if status == 503 else None

            assert "no space left" in await until(unhealthy)
            await edge.sequencer.flush()
            size = edge.sequencer.head().size
            assert (await client.ask("/kept?max-age=600"))["Cache-Status"].startswith("edgeproxy;hit")
            for target in targets:
                answer = await client.ask(target)
                assert answer.body == content(target, "1", 20_000)
                assert "Edge-Block" not in answer.headers  # type: ignore[operator]

            filler.unlink()
            for target in targets:
                assert (await client.recorded(target)).body == content(target, "1", 20_000)
            assert edge.sequencer.head().size >= size + len(targets)
            assert (await health(edge, client))[0] == 200
        assert audit_now(disk).is_clean
        async with running_edge(tmp_path, ORIGIN) as (edge, client):
            assert len(edge.cache.index) == len(targets) + 1


async def test_body_over_max_object_is_no_fault_of_the_store(tmp_path: Path) -> None:
    """It is found out on the way, since the origin does not say the length; the client gets it, and the store is well."""
    body = b"x" * 300_000

    async def in_chunks(connection: RawConnection) -> None:
        while await connection.read_head():
            head = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nTransfer-Encoding: chunked\r\n\r\n"
            await connection.send(head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))

    site_tables = '[site.cache]\nmax_object = "100KiB"'
    async with RawOrigin(in_chunks) as origin, running_edge(tmp_path, origin.url, site=site_tables) as (edge, client):
        assert (await client.ask("/large")).body == body
        assert (await client.ask("/large")).body == body
        assert (await health(edge, client))[0] == 200
        assert stored_files(tmp_path / "data") == []


@only_root
async def test_start_on_a_full_disk_is_one_line_and_costs_nothing_of_what_is_stored(tmp_path: Path) -> None:
    """Filled by somebody else while the edge was down."""
    with mounted(tmp_path / "disk", "size=8m") as disk:
        async with edge_on(disk, tmp_path) as (_, client, _site):
            client.session.headers["Host"] = "site.test"
            await client.recorded("/kept?max-age=600")
        (tmp_path / "data").unlink()
        filler = fill_up(disk, leave=0)
        refused = await asyncio.to_thread(run_refused, write_config(tmp_path, ORIGIN), "--data", str(disk))
        assert_one_line(refused, "no space left")
        filler.unlink()
        async with edge_on(disk, tmp_path) as (_, client, site):
            client.session.headers["Host"] = "site.test"
            answer = await client.ask("/kept?max-age=600")
            assert answer.status == 200
            assert answer["Cache-Status"].startswith("edgeproxy;hit")
            assert site.seen == []
