"""Does a name lead here? Looked at through real sockets on loopback."""

import asyncio
from pathlib import Path

import pytest

from edgeproxy.tls.challenges import Challenges
from edgeproxy.tls.self_check import SelfCheck, SelfCheckSettings
from tests.support.challenge_edge import http_edge, tls_edge


@pytest.fixture
def challenges(tmp_path: Path) -> Challenges:
    challenges = Challenges(tmp_path)
    challenges.open()
    return challenges


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
