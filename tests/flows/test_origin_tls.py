"""TLS to the origin: verified by default, with its own authority and name where configured."""

import asyncio
from pathlib import Path

import pytest

from edgeproxy.errors import OriginUntrusted
from edgeproxy.origin.messages import Origin
from tests.support.origin_client import ask, asking, whole
from tests.support.raw_origin import AUTHORITY, RawConnection, RawOrigin, TlsServer, always, answer

OK = answer(b"ok")


async def test_a_trusted_certificate_with_the_configured_name() -> None:
    """The address, the name in TLS and the Host field are three different things."""
    server = TlsServer()
    async with RawOrigin(always(OK), tls=server.context) as origin:
        place = Origin(origin.url, ca_file=AUTHORITY, server_name="origin.test")
        async with asking(place) as client:
            for _ in range(3):
                assert await whole(await client.fetch(ask("/"))) == b"ok"
            assert len(origin.connections) == 1
    assert server.names == ["origin.test"]
    assert origin.heads[0] == b"GET / HTTP/1.1\r\nHost: www.example.org\r\n\r\n"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"ca_file": AUTHORITY, "server_name": "other.test"}, "another name"),
        ({"ca_file": AUTHORITY}, "an address where the certificate has a name"),
        ({"server_name": "origin.test"}, "an authority that is not trusted"),
    ],
    ids=["name", "address", "authority"],
)
async def test_a_certificate_that_does_not_verify_is_refused_before_anything_is_sent(
    options: dict[str, object], why: str
) -> None:
    async with RawOrigin(always(OK), tls=TlsServer().context) as origin:
        async with asking(Origin(origin.url, **options)) as client:  # type: ignore[arg-type]
            with pytest.raises(OriginUntrusted):
                await client.fetch(ask("/"))
        assert origin.heads == []


@pytest.mark.parametrize("content", [None, b"no certificate"], ids=["missing", "broken"])
async def test_an_authority_file_that_cannot_be_used_trusts_nobody(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "authority.pem"
    if content is not None:
        file.write_bytes(content)
    async with asking(Origin("https://127.0.0.1:1", ca_file=file)) as client:
        with pytest.raises(OriginUntrusted):
            await client.fetch(ask("/"))
        with pytest.raises(OriginUntrusted):
            await client.open_tunnel(ask("/"), "websocket")


async def test_verification_can_be_turned_off() -> None:
    async with RawOrigin(always(OK), tls=TlsServer().context) as origin, asking(Origin(origin.url, tls_verify=False)) as client:
        assert await whole(await client.fetch(ask("/"))) == b"ok"


async def test_an_origin_that_speaks_no_tls_is_untrusted() -> None:
    async def serve(connection: RawConnection) -> None:
        await connection.reader.read(100)
        await connection.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with RawOrigin(serve) as origin, asking(origin.url.replace("http", "https")) as client:
        with pytest.raises(OriginUntrusted):
            await client.fetch(ask("/"))


async def test_an_unasked_answer_on_an_idle_tls_connection_is_nobodys() -> None:
    """RFC 9112 section 9.2, in ciphertext: the bytes lie in the kernel when the next request is about to go out."""

    async def serve(connection: RawConnection) -> None:
        while head := await connection.read_head():
            await connection.send(answer(b"%b %d" % (head.split(b" ")[1], connection.number)))

    async with RawOrigin(serve, tls=TlsServer().context) as origin, asking(Origin(origin.url, tls_verify=False)) as client:
        assert await whole(await client.fetch(ask("/1"))) == b"/1 1"
        origin.connections[0].writer.write(answer(b"EVIL"))
        assert await whole(await client.fetch(ask("/2"))) == b"/2 2"
        await asyncio.wait_for(origin.connections[0].ended.wait(), 2)
