"""An edge killed while it obtains, and a disk without room: the next start goes on, and nobody is asked without need."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from edgeproxy.clock import SystemClock
from edgeproxy.tls.vault import Vault
from tests.support.acme_stub import AcmeStub
from tests.support.edge import until
from tests.support.https import PATIENCE, SecureEdge, secure_edge, site
from tests.support.scripted import page, scripted

NAME = "a.test"


@asynccontextmanager
async def edge_and_authority(folder: Path) -> AsyncIterator[tuple[SecureEdge, AcmeStub]]:
    """An edge that is configured and not started, and the authority that it will ask, which validates."""
    with secure_edge(folder) as edge:
        stub = AcmeStub(SystemClock(), http_port=edge.http, tls_port=edge.https)
        async with stub.running(), scripted({"/": page("hello", Cache_Control="no-store")}) as origin:
            edge.roots = lambda: stub.authority.root
            edge.configure(site(origin.url, NAME), acme=f'directory = "{stub.directory}"')
            yield edge, stub


async def is_gone(edge: SecureEdge) -> None:
    async def look() -> bool | None:
        return (edge.process.process is not None and edge.process.process.poll() is not None) or None

    await until(look, PATIENCE)


@pytest.mark.parametrize(
    ("step", "orders"), [("newAccount", 1), ("newOrder", 2), ("challenge", 2), ("finalize", 2), ("certificate", 2)]
)
async def test_killed_before_an_answer_arrives_it_goes_on_at_the_next_start(tmp_path: Path, step: str, orders: int) -> None:
    async with edge_and_authority(tmp_path) as (edge, stub):

        def kill(done: str) -> None:
            if done == step:
                stub.after = lambda _: None
                assert edge.process.process is not None
                edge.process.process.kill()

        stub.after = kill
        with suppress(AssertionError):  # it may be gone before it has said that it runs
            await edge.start()
        await is_gone(edge)
        await edge.start()
        assert (await edge.verified(NAME)).status == 200
        assert stub.count("newOrder") == orders
        assert len(stub.accounts) == 1, "the account is the one that was registered before"
        await asyncio.to_thread(edge.process.kill)
        is_sound(edge, stub)


async def test_killed_once_the_certificate_is_stored_it_asks_for_no_other(tmp_path: Path) -> None:
    async with edge_and_authority(tmp_path) as (edge, stub):
        await edge.start()
        pattern = "tls/certificates/*/*.pem"

        def wait_and_kill() -> None:
            while not list(edge.data.glob(pattern)):
                pass
            edge.process.kill()

        await asyncio.to_thread(wait_and_kill)
        await edge.start()
        assert (await edge.ask(NAME)).leaf.serial_number == stub.issued[0].serial_number
        assert (await edge.certificate(NAME))["state"] == "served"
        assert await edge.stop() == 0
        assert stub.count("newOrder") == 1
        is_sound(edge, stub)


def is_sound(edge: SecureEdge, stub: AcmeStub) -> None:
    """What is on disk is whole, and closed to others."""
    vault = Vault(edge.data / "tls", SystemClock())
    held = vault.load((NAME,))
    assert held is not None
    assert held.serial == stub.issued[-1].serial_number
    assert vault.damages == {}
    for path in (edge.data / "tls").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    assert "Traceback" not in edge.log


# --- a full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own for the vault."""
    folder = tmp_path / "data" / "tls"
    folder.mkdir(mode=0o700, parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)], capture_output=True, text=True)
    if mounted.returncode != 0 and os.environ.get("CI") != "true":
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.strip()}")
    assert mounted.returncode == 0, mounted.stderr
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Take all of the space that is left."""
    path = folder / "filling"
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(b"x" * 4096):
            pass
    return path


async def test_with_a_full_disk_it_starts_serves_and_bothers_no_authority(tmp_path: Path, small_disk: Path) -> None:
    async with edge_and_authority(tmp_path) as (edge, stub):
        filling = fill(small_disk)
        await edge.start()
        leaf = await edge.shown(NAME)
        assert leaf.issuer == leaf.subject
        await edge.says("certificate failed")
        assert (await edge.certificate(NAME))["last_failure"]["problem"] == "storage"
        assert stub.count("newOrder") == 0
        filling.unlink()
        await edge.command("certs", "renew", NAME)
        assert (await edge.verified(NAME)).status == 200
        assert stub.count("newOrder") == 1


async def test_what_could_not_be_stored_is_served_and_stored_later(tmp_path: Path, small_disk: Path) -> None:
    async with edge_and_authority(tmp_path) as (edge, stub):
        fillings: list[Path] = []
        stub.after = lambda step: fillings.append(fill(small_disk)) if step == "certificate" else None
        await edge.start()
        assert (await edge.verified(NAME)).status == 200
        await edge.says("certificate unsaved")
        assert not list(small_disk.glob("certificates/*/*.pem"))
        stub.after = lambda step: None
        fillings[0].unlink()
        os.utime(small_disk / "changed")  # the vault is looked at anew, as it is once a minute

        async def stored() -> bool | None:
            return bool(list(small_disk.glob("certificates/*/*.pem"))) or None

        await until(stored, PATIENCE)
        await asyncio.to_thread(edge.process.kill)
        await edge.start()
        assert (await edge.ask(NAME)).status == 200
        assert stub.count("newOrder") == 1
