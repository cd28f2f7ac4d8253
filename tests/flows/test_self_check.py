"""Does a name lead here? Looked at through real sockets on loopback."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edgeproxy.tls.challenges import Challenges
from edgeproxy.tls.self_check import SelfCheck, SelfCheckSettings


@pytest.fixture
def challenges(tmp_path: Path) -> Challenges:
    challenges = Challenges(tmp_path)
    challenges.open()
    return challenges


@contextlib.asynccontextmanager
async def http_edge(challenges: Challenges | None) -> AsyncIterator[int]:
    """Answers tokens of `challenges`, or everything with a page of somebody else."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        token = head.split(b" ")[1].decode().rpartition("/")[2]
        body = challenges.http_answer(token) if challenges is not None else None
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + (body or b"<h1>a router</h1>"))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@contextlib.asynccontextmanager
async def tls_edge(challenges: Challenges, tmp_path: Path, alpn: str = "acme-tls/1") -> AsyncIterator[int]:
    """Shows the challenge's certificate for the name that is asked for."""
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    def choose(connection: ssl.SSLObject, sni: str, _: ssl.SSLContext) -> None:
        if found := challenges.alpn_certificate(sni):
            pair = tmp_path / "pair.pem"
            pair.write_bytes(found[1] + found[0])
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pair)
            context.set_alpn_protocols([alpn])
            connection.context = context

    served.sni_callback = choose
    served.set_alpn_protocols([alpn])

    async def nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(nothing, "127.0.0.1", 0, ssl=served)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_good_when_our_own_token_comes_back_over_http(challenges):
    async with http_edge(challenges) as port:
        check = SelfCheck(challenges, SelfCheckSettings(http_port=port, tls_port=0))
        assert (await check.look(["127.0.0.1"])).is_good
        assert (await check.look(["*.example.com"])).is_good


async def test_bad_with_a_reason_when_somebody_else_answers(challenges):
    async with http_edge(None) as port:
        advice = await SelfCheck(challenges, SelfCheckSettings(http_port=port, tls_port=0)).look(["127.0.0.1"])
    assert not advice.is_good
    assert advice.text == f"127.0.0.1: 127.0.0.1 port {port} is answered by something else (HTTP/1.1 200 OK)"


async def test_bad_with_a_reason_when_nobody_answers(challenges):
    async with http_edge(None) as port:
        pass
    advice = await SelfCheck(challenges, SelfCheckSettings(http_port=port, tls_port=0)).look(["127.0.0.1"])
    assert not advice.is_good
    assert f"127.0.0.1 port {port}: " in advice.text


async def test_bad_when_the_name_has_no_address(challenges):
    advice = await SelfCheck(challenges, SelfCheckSettings()).look(["no-such-name.invalid"])
    assert not advice.is_good


async def test_bad_after_a_bounded_time_when_nothing_is_said(challenges):
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        check = SelfCheck(challenges, SelfCheckSettings(http_port=port, tls_port=port, seconds=0.2))
        advice = await check.look(["127.0.0.1"])
    assert not advice.is_good
    assert "no answer within 0.2 seconds" in advice.text


async def test_good_when_our_own_challenge_is_shown_in_a_handshake(challenges, tmp_path):
    async with http_edge(None) as http, tls_edge(challenges, tmp_path) as tls:
        check = SelfCheck(challenges, SelfCheckSettings(http_port=http, tls_port=tls))
        assert (await check.look(["127.0.0.1"])).is_good
    assert challenges.alpn_certificate("1.0.0.127.in-addr.arpa") is None, "withdrawn"


async def test_what_an_authority_is_about_to_see_is_not_replaced(challenges):
    await challenges.present_alpn("127.0.0.1", "of.the-order")
    shown = challenges.alpn_certificate("1.0.0.127.in-addr.arpa")
    assert (await SelfCheck(challenges, SelfCheckSettings(http_port=0, tls_port=9)).look(["127.0.0.1"])).is_good
    assert challenges.alpn_certificate("1.0.0.127.in-addr.arpa") == shown


async def test_what_cannot_be_presented_is_no_reason_against_a_name(tmp_path):
    check = SelfCheck(Challenges(tmp_path / "nowhere"), SelfCheckSettings())
    advice = await check.look(["127.0.0.1"])
    assert advice.is_good
    assert advice.text.startswith("not looked")
