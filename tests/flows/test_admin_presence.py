"""How commands find a running edge: the files by which it is announced, its token, and who answers there instead."""

import asyncio
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edgeproxy.admin.api import AdminServer
from edgeproxy.admin.client import AdminClient, NotRunning, reachable
from edgeproxy.admin.presence import Running, announce, ensure_token, find, read_token, withdraw
from edgeproxy.errors import StartError
from tests.support.admin_backend import StandInBackend
from tests.support.admin_server import TOKEN, Admin, running_admin


@pytest.fixture
async def admin() -> AsyncIterator[Admin]:
    async with running_admin() as made:
        yield made


async def test_a_port_in_use_is_a_start_error(admin: Admin) -> None:
    with pytest.raises(StartError, match="address in use") as caught:
        await AdminServer(StandInBackend(), TOKEN, admin.address).start()
    assert str(admin.address[1]) in str(caught.value)


# --- when nobody answers as expected


async def test_the_client_says_plainly_that_no_edge_runs(admin: Admin, tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match="no edge is running with data folder"):
        AdminClient.of_folder(tmp_path)
    with pytest.raises(NotRunning, match="is another edge"):
        await asyncio.to_thread(admin.client(token="x" * 43).status)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    announce(tmp_path, Running(f"127.0.0.1:{port}", 999_999))
    with pytest.raises(NotRunning, match=r"admin-token is missing .* it makes one at its next start"):
        AdminClient.of_folder(tmp_path)
    ensure_token(tmp_path)
    with pytest.raises(NotRunning, match="it is not running, or it was killed"):
        await asyncio.to_thread(AdminClient.of_folder(tmp_path).status)


@pytest.mark.parametrize("reply", [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", b"220 mail ready\r\n", b""])
async def test_the_client_knows_that_something_else_took_the_port(reply: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        host, port = server.sockets[0].getsockname()
        with pytest.raises(NotRunning, match=r"something else|no edge answers"):
            await asyncio.to_thread(AdminClient(Running(f"{host}:{port}", 1), TOKEN, timeout=5.0).status)
    finally:
        server.close()
        await server.wait_closed()


async def test_the_client_does_not_wait_for_ever() -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    try:
        host, port = server.sockets[0].getsockname()
        client = AdminClient(Running(f"{host}:{port}", 1), TOKEN, timeout=0.2)
        with pytest.raises(NotRunning, match=r"did not answer within 0\.2 seconds$"):
            await asyncio.to_thread(client.status)
        with pytest.raises(NotRunning, match="may still be carried out: ask `edgeproxy status` before"):
            await asyncio.to_thread(client.release, {})
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    ("host", "reached"),
    [("", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("127.0.0.1", "127.0.0.1"), ("localhost", "localhost")],
)
def test_who_listens_everywhere_is_reached_on_loopback(host: str, reached: str) -> None:
    assert reachable(host) == reached


# --- the files in the data folder


def test_the_token_is_made_once_and_is_for_its_owner_alone(tmp_path: Path) -> None:
    token = ensure_token(tmp_path)
    assert len(token) >= 43
    assert ensure_token(tmp_path) == token == read_token(tmp_path)
    assert stat.S_IMODE((tmp_path / "admin-token").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["admin-token"]


def test_a_token_left_open_to_others_is_closed_again(tmp_path: Path) -> None:
    ensure_token(tmp_path)
    (tmp_path / "admin-token").chmod(0o644)
    ensure_token(tmp_path)
    assert stat.S_IMODE((tmp_path / "admin-token").stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"", b"short\n", b"\xff" * 64])
def test_a_token_that_guards_nothing_stops_the_start(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "admin-token").write_bytes(content)
    with pytest.raises(StartError, match="admin token"):
        ensure_token(tmp_path)


def test_a_folder_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="admin token cannot be made"):
        ensure_token(tmp_path / "none")
    with pytest.raises(StartError, match="data folder is not writable"):
        announce(tmp_path / "none", Running("127.0.0.1:1", 1))


def test_an_edge_withdraws_only_its_own_announcement(tmp_path: Path) -> None:
    announce(tmp_path, Running("127.0.0.1:1", 10))
    announce(tmp_path, Running("127.0.0.1:2", 11))
    withdraw(tmp_path, 10)
    assert find(tmp_path) == Running("127.0.0.1:2", 11)
    withdraw(tmp_path, 11)
    assert find(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"address": "a:1", "pid": "x"}', b"\xff"])
def test_a_damaged_announcement_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "admin.json").write_bytes(content)
    assert find(tmp_path) is None
