"""How an attempt goes on: another type of challenge, profiles, external accounts, renewal windows, and its end at any moment.

The authority is the stub of `tests.support.acme_stub`; its log is the proof. Time is a manual clock that moves by the waits that
the client asks for, so the log shows them and no test sleeps.
"""

import asyncio
from pathlib import Path

import pytest
from cryptography import x509

from edgeproxy.clock import ManualClock
from edgeproxy.errors import IssuanceFailed, Retry
from edgeproxy.tasks import spawn
from edgeproxy.tls.acme.chains import names_of, renewal_id
from edgeproxy.tls.acme.issuer import Authority, ExternalAccount, Issuer, RenewalInfo, Waits
from tests.support.acme_stub import Logged, page, problem
from tests.support.acme_world import NAME, World, world
from tests.support.cancelling import each_wait
from tests.support.challenge_servers import HttpAnswers, alpn_answers, http_answers

# --- validation


FAILING = {"type": "urn:ietf:params:acme:error:connection", "detail": "refused by the host"}


async def test_another_type_is_tried_with_a_new_order_for_the_names_that_failed(tmp_path: Path) -> None:
    async with world(tmp_path, failing={("a.test", "http-01"): FAILING}) as it:
        issued = await it.obtain("a.test", "b.test")
        assert it.stub.count("newOrder") == 2
        assert sorted(it.http.presented) == ["a.test", "b.test", "b.test"]
        assert it.alpn.presented == ["a.test"]
        assert issued.failed_names == ("a.test",)
        assert it.left == []


async def test_a_failure_that_no_other_type_can_mend_is_final(tmp_path: Path) -> None:
    caa = {"type": "urn:ietf:params:acme:error:caa", "detail": "CAA record for a.test prevents issuance"}
    async with world(tmp_path, failing={("a.test", "http-01"): caa}) as it:
        failure = await it.refused("a.test", "b.test")
        assert (failure.problem, failure.retry, failure.failed_names) == ("caa", Retry.OTHER_CA, ("a.test",))
        assert failure.detail == "a.test (http-01): caa: CAA record for a.test prevents issuance"
        assert it.stub.count("newOrder") == 1
        assert it.left == []


async def test_a_failure_after_a_failed_validation_still_counts_it(tmp_path: Path) -> None:
    async with world(tmp_path, failing={(NAME, "http-01"): FAILING}) as it:
        it.stub.plan("newOrder", None, problem(429, "rateLimited", retry_after="60"))
        failure = await it.refused()
        assert (failure.problem, failure.failed_names) == ("rateLimited", (NAME,))


async def test_what_cannot_be_proved_bothers_no_authority(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        failure = await it.refused("*.wild.test")
        assert (failure.problem, failure.retry) == ("noChallenge", Retry.OPERATOR)
        assert it.stub.log == []


async def test_an_authority_that_offers_nothing_we_can_do(tmp_path: Path) -> None:
    async with world(tmp_path, offered=("dns-01",)) as it:
        failure = await it.refused()
        assert (failure.problem, failure.retry) == ("noChallenge", Retry.OPERATOR)
        assert "offers dns-01, configured is http-01, tls-alpn-01" in failure.detail


async def test_the_stub_validates_for_real(tmp_path: Path) -> None:
    async with http_answers(0) as http, alpn_answers(0, tmp_path) as alpn, world(tmp_path, validating=True) as it:
        it.stub.settings.http_port, it.stub.settings.tls_port = http.port, alpn.port
        authority = it.issuer.authority
        for kind, presenter in (("http-01", http), ("tls-alpn-01", alpn)):
            issuer = Issuer(authority, tmp_path, {kind: presenter}, it.clock, Waits(sleep=it.sleep))
            issued = await issuer.obtain(["real.test", "127.0.0.1"])
            await issuer.close()
            assert set(names_of(x509.load_pem_x509_certificates(issued.chain)[0])) == {"real.test", "127.0.0.1"}
        failure = await it.refused("real.test")  # its presenters answer nowhere
        assert failure.problem in ("unauthorized", "connection")


async def test_a_profile_is_asked_for_where_it_is_offered(tmp_path: Path) -> None:
    offered = {"classic": "90 days", "shortlived": "6 days"}
    async with world(tmp_path, authority={"profile": "shortlived"}, profiles=offered) as it:
        await it.obtain()
        assert _orders(it)[0].payload["profile"] == "shortlived"
    async with world(tmp_path / "unknown", authority={"profile": "tlsserver"}, profiles=offered) as it:
        failure = await it.refused()
        assert (failure.problem, failure.retry) == ("invalidProfile", Retry.OPERATOR)
        assert failure.detail.endswith("it offers: classic, shortlived")
        assert it.stub.steps() == ["directory"]
    async with world(tmp_path / "none", authority={"profile": "shortlived"}) as it:
        await it.obtain()
        assert "profile" not in _orders(it)[0].payload


async def test_an_external_account_is_bound(tmp_path: Path) -> None:
    external = ExternalAccount("kid-1", "c2VjcmV0LXNlY3JldC1zZWNyZXQ")
    bound = {"external_accounts": {"kid-1": "c2VjcmV0LXNlY3JldC1zZWNyZXQ"}}
    async with world(tmp_path, authority={"external_account": external}, **bound) as it:
        await it.obtain()
    async with world(tmp_path / "without", **bound) as it:
        failure = await it.refused()
        assert (failure.problem, failure.retry) == ("externalAccountRequired", Retry.OPERATOR)
        assert "newAccount" not in it.stub.steps()


def _orders(it: World) -> list[Logged]:
    return [logged for logged in it.stub.log if logged.step == "newOrder"]


# --- renewal information (RFC 9773)


async def test_the_window_is_told_with_its_reason_and_the_time_of_the_next_look(tmp_path: Path) -> None:
    window = ("2026-01-01T00:00:00Z", "2026-01-02T02:00:00+02:00")
    async with world(tmp_path, window=window, explanation="https://ca.test/incident", window_retry_after="7200") as it:
        issued = await it.obtain()
        info = await it.issuer.renewal_info(issued.chain)
        assert info == RenewalInfo(1_767_225_600.0, 1_767_312_000.0, "https://ca.test/incident", it.clock.seconds() + 7200)
        assert it.stub.log[-1].target == f"/renewalInfo/{renewal_id(issued.chain)}"
        it.stub.settings.window_retry_after = "5"
        assert (await it.issuer.renewal_info(issued.chain)).check_after == it.clock.seconds() + 60  # type: ignore[union-attr]
        it.stub.settings.window_retry_after = None
        assert (await it.issuer.renewal_info(issued.chain)).check_after == it.clock.seconds() + 21_600  # type: ignore[union-attr]
        looks = it.stub.count("renewalInfo")
        it.clock.advance(91 * 86_400)
        assert await it.issuer.renewal_info(issued.chain) is None
        assert it.stub.count("renewalInfo") == looks


async def test_an_authority_without_renewal_information_says_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        issued = await it.obtain()
        assert await it.issuer.renewal_info(issued.chain) is None
        assert it.stub.count("renewalInfo") == 0


async def test_a_window_that_cannot_be_had_is_a_failure_with_its_time(tmp_path: Path) -> None:
    async with world(tmp_path, window=("2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z")) as it:
        issued = await it.obtain()
        with pytest.raises(IssuanceFailed, match="ends before it starts"):
            await it.issuer.renewal_info(issued.chain)
        it.stub.plan("renewalInfo", page(503, "", retry_after="900"))
        with pytest.raises(IssuanceFailed) as failed:
            await it.issuer.renewal_info(issued.chain)
        assert failed.value.not_before == it.clock.seconds() + 900


# --- cancelled, closed


async def test_cancelled_at_any_wait_nothing_stays_presented(tmp_path: Path) -> None:
    async with world(tmp_path, validating=False) as it:

        async def nothing_left() -> None:
            # Withdrawal goes on by itself when its caller is cancelled; it is over when the loop has had its turn.
            for _ in range(20):
                await asyncio.sleep(0)
            assert it.left == []

        runs = [at async for at in each_wait(it.obtain, nothing_left)]
        assert len(runs) > 10
        assert len(it.stub.accounts) == 1


async def test_closing_ends_what_is_going_on_at_once(tmp_path: Path) -> None:
    held = asyncio.Event()

    async def never(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.set()
        try:
            await asyncio.Event().wait()
        finally:
            writer.close()

    server = await asyncio.start_server(never, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    issuer = Issuer(Authority(f"http://127.0.0.1:{port}/directory"), tmp_path, {"http-01": HttpAnswers()}, ManualClock())

    async def ask() -> IssuanceFailed:
        with pytest.raises(IssuanceFailed) as failed:
            await issuer.obtain([NAME])
        return failed.value

    asking = spawn(ask(), name="asking")
    await held.wait()
    await issuer.close()
    assert (await asyncio.wait_for(asking, 10)).problem == "closed"
    assert (await ask()).problem == "closed"
    server.close()
