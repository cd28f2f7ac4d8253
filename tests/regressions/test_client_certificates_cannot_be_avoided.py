"""A site that demands client certificates is never reached without one, by any of the ways that have worked elsewhere.

Choosing the site in the handshake (`sni_callback`) swaps the certificate but not the demand. A session ticket of another site
resumes where keys are shared, and a resumed handshake asks for nothing (nginx CVE-2025-23419, Traefik GHSA-gv8r-9rw9-9697).
Each test first shows that the way would be open, so that it proves something.
"""

import asyncio
import ssl
import tempfile
from pathlib import Path

import pytest

from edgeproxy.clock import SystemClock
from edgeproxy.tls.contexts import TlsPolicy
from edgeproxy.tls.tickets import TicketKeys
from tests.support.certificates import authority, certificate
from tests.support.front import client_context, fetch, front_door, mutual, site
from tests.support.serving import on_both_loops, on_uvloop, page

VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
SITES = {"a.test": site("a.test"), "b.test": site("b.test"), "m.test": site("m.test", policy=mutual())}
REFUSED = r"CERTIFICATE_REQUIRED|HANDSHAKE_FAILURE"


class SharedKeys(TicketKeys):
    """The mistake: one set of ticket keys for all sites."""

    def derive(self, scope: str, policy: bytes, length: int) -> bytes:
        return super().derive("", b"", length)


def shared_keys() -> SharedKeys:
    return SharedKeys.temporary(SystemClock())


def server_context(*names: str) -> ssl.SSLContext:
    leaf = certificate(*names)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "leaf.pem")
        file.write_bytes(leaf.key + leaf.chain)
        context.load_cert_chain(file)
    return context


class Answering(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(page(200, b"let in"))  # type: ignore[attr-defined]
        self.transport.close()


@on_both_loops
@pytest.mark.parametrize("version", VERSIONS)
async def test_the_demand_is_made_of_whoever_names_the_site(version: ssl.TLSVersion) -> None:
    demanding = server_context("m.test")
    demanding.verify_mode = ssl.CERT_REQUIRED
    demanding.load_verify_locations(cadata=authority().pem.decode())
    hole = server_context("a.test")

    def switch(connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        if name == "m.test":
            connection.context = demanding

    hole.sni_callback = switch  # type: ignore[assignment]
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0, ssl=hole)
    port = server.sockets[0].getsockname()[1]
    try:
        seen = await asyncio.to_thread(fetch, port, "m.test", context=client_context(maximum=version))
        assert seen.body == b"let in"  # the hole
    finally:
        server.close()

    async with front_door(SITES) as door:
        for name in ("m.test", "M.Test"):
            with pytest.raises(ssl.SSLError, match=REFUSED):
                await door.fetch(name, context=client_context(maximum=version))
        own = client_context(maximum=version, own=authority().issue("client.test", client=True))
        assert (await door.fetch("m.test", context=own)).status == 200


@on_uvloop
@pytest.mark.parametrize("version", VERSIONS)
async def test_a_ticket_of_another_site_does_not_replace_the_certificate(version: ssl.TLSVersion) -> None:
    async with front_door(SITES, tickets=shared_keys()) as door:
        context = client_context(maximum=version)
        session = (await door.fetch("a.test", context=context)).session
        assert (await door.fetch("b.test", context=context, session=session)).resumed  # the hole, where keys are shared
        with pytest.raises(ssl.SSLError, match=REFUSED):
            await door.fetch("m.test", context=context, session=session)

    async with front_door(SITES) as door:
        session = (await door.fetch("a.test", context=context)).session
        assert not (await door.fetch("b.test", context=context, session=session)).resumed
        with pytest.raises(ssl.SSLError, match=REFUSED):
            await door.fetch("m.test", context=context, session=session)


@on_uvloop
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("required", [True, False])
async def test_not_even_its_own_session_is_resumed_there(version: ssl.TLSVersion, required: bool) -> None:
    """By ticket or by session id, with keys that every site shares."""
    sites = {"m.test": site("m.test", policy=mutual(required=required))}
    async with front_door(sites, tickets=shared_keys()) as door:
        own = client_context(maximum=version, own=authority().issue("client.test", client=True))
        first = await door.fetch("m.test", context=own)
        assert first.status == 200
        assert first.session is None or not first.session.has_ticket
        again = await door.fetch("m.test", context=own, session=first.session)
        assert (again.status, again.resumed) == (200, False)


@on_uvloop
@pytest.mark.parametrize("version", VERSIONS)
async def test_a_demand_that_begins_later_is_made_of_old_sessions_too(version: ssl.TLSVersion) -> None:
    """The same site under the same name: its policy changes while clients hold tickets."""
    async with front_door({"a.test": site("a.test")}) as door:
        context = client_context(maximum=version)
        session = (await door.fetch("a.test", context=context)).session
        assert (await door.fetch("a.test", context=context, session=session)).resumed
        door.directory.replace({"a.test": site("a.test", policy=mutual())})
        with pytest.raises(ssl.SSLError, match=REFUSED):
            await door.fetch("a.test", context=context, session=session)


@on_uvloop
async def test_a_site_of_another_minimum_resumes_nothing() -> None:
    sites = {"a.test": site("a.test"), "new.test": site("new.test", policy=TlsPolicy(minimum="1.3", http2=False), scope="a.test")}
    async with front_door(sites) as door:
        context = client_context()
        session = (await door.fetch("a.test", context=context)).session
        assert not (await door.fetch("new.test", context=context, session=session)).resumed
