"""New connections against the plain TLS server: sessions are taken up where they should be, and nowhere else."""

import asyncio
import os
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from benchmarks import client, connects
from benchmarks.authority import CIPHER, IdentityFiles, client_context, make_identity, write_identity
from benchmarks.peers import ALL
from benchmarks.peers.peer import Place
from benchmarks.plain_tls import start_plain
from benchmarks.scenarios import PLAIN, SECURE


@pytest.fixture
def identity(tmp_path: Path) -> IdentityFiles:
    return write_identity(make_identity(), tmp_path / "identity")


@pytest.fixture
async def port(identity: IdentityFiles) -> AsyncIterator[int]:
    async with await start_plain(identity.chain_and_key) as server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize("mode", connects.MODES)
async def test_connections_are_full_or_resumed_as_asked_for(port: int, mode: str) -> None:
    tally = await asyncio.to_thread(connects.hammer, port, mode, 0.2)
    assert tally.latencies
    assert (tally.wrong, tally.errors) == (0, 0)
    assert tally.spoken.startswith("TLSv1.3 ")


async def test_server_that_resumes_is_known(port: int) -> None:
    assert await asyncio.to_thread(connects.resumes, port)


async def test_client_verifies_the_certificate_of_the_authority_and_nobody_elses(
    port: int, identity: IdentityFiles, tmp_path: Path
) -> None:
    got = await client.get(port, connects.PATH, tls=client_context(identity, "http/1.1"))
    assert (got.status, len(got.body)) == (200, connects.SIZE)
    stranger = write_identity(make_identity(), tmp_path / "stranger")
    with pytest.raises(ssl.SSLCertVerificationError):
        await client.get(port, connects.PATH, tls=client_context(stranger, "http/1.1"))


def test_every_peer_can_be_asked_for_something_and_its_name_is_its_own() -> None:
    assert len({peer.name.lower() for peer in ALL}) == len(ALL)
    for peer in ALL:
        assert any(peer.lacks(key) is None for key in (*PLAIN, *SECURE))


def test_peers_write_ports_and_certificate_into_their_configuration(tmp_path: Path, identity: IdentityFiles) -> None:
    for peer in ALL:
        if peer.name == "edgeproxy":  # it imports its certificate, by a process of its own
            continue
        folder = tmp_path / peer.name
        folder.mkdir()
        command = peer.command(Place(folder, 10_001, 10_002, 10_003, identity))
        written = " ".join(path.read_text() for path in folder.iterdir() if path.is_file()) + " ".join(command)
        assert ("10002" in written) is (peer.lacks("handshake") is None), peer.name
        assert ("10001" in written) is (peer.lacks("hit-10k") is None), peer.name


def test_clients_offer_one_cipher_of_tls_1_3(identity: IdentityFiles) -> None:
    ask = "import ssl; print(*(one['name'] for one in ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).get_ciphers()))"
    environ = {**os.environ, "OPENSSL_CONF": str(identity.client_conf)}
    said = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True, env=environ).stdout.split()
    assert [name for name in said if name.startswith("TLS_")] == [CIPHER]
