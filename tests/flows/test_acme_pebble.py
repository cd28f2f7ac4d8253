"""The ACME client against Pebble: every type of challenge, with refused nonces and reused authorizations."""

import datetime
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store

from edgeproxy.clock import SystemClock
from edgeproxy.errors import IssuanceFailed, Retry
from edgeproxy.tls.acme.chains import names_of
from edgeproxy.tls.acme.dns_hook import DnsHook
from edgeproxy.tls.acme.issuer import Authority, ExternalAccount, Issued, Issuer, Presenter
from tests.support.challenge_servers import HttpAnswers, alpn_answers, dns_hook_script, http_answers
from tests.support.parts import need
from tests.support.pebble import PROGRAMS, Pebble, running_pebble

CLOCK = SystemClock()


@pytest.fixture(scope="module", params=[0, 50, 100], ids=lambda reuse: f"authzreuse-{reuse}")
def pebble(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    need(*PROGRAMS)
    with running_pebble(tmp_path_factory.mktemp("pebble"), nonce_reject=20, authz_reuse=request.param) as running:
        yield running


@asynccontextmanager
async def presenters(pebble: Pebble, folder: Path) -> AsyncIterator[Mapping[str, Presenter]]:
    async with http_answers(pebble.http_port) as http, alpn_answers(pebble.tls_port, folder) as alpn:
        yield {"http-01": http, "tls-alpn-01": alpn, "dns-01": DnsHook([str(dns_hook_script(folder, pebble.dns))])}


@asynccontextmanager
async def issuer(pebble: Pebble, folder: Path, *challenges: str, **more: object) -> AsyncIterator[Issuer]:
    authority = Authority(pebble.directory, pebble.ca_file, "owner@example.com", challenges=challenges, **more)  # type: ignore[arg-type]
    async with presenters(pebble, folder) as given:
        made = Issuer(authority, folder / "data", given, CLOCK)
        try:
            yield made
        finally:
            await made.close()


def verify(issued: Issued, root: bytes, name: x509.GeneralName) -> x509.Certificate:
    """As a client would; returns the leaf."""
    leaf, *others = x509.load_pem_x509_certificates(issued.chain)
    builder = PolicyBuilder().store(Store(x509.load_pem_x509_certificates(root))).time(datetime.datetime.now(datetime.UTC))
    builder.build_server_verifier(name).verify(leaf, others)
    return leaf


@pytest.mark.parametrize("challenge", ["http-01", "tls-alpn-01"])
async def test_names_and_an_address_are_proved(pebble: Pebble, tmp_path: Path, challenge: str) -> None:
    async with issuer(pebble, tmp_path, challenge) as made:
        issued = await made.obtain(["www.made-up.test", "made-up.test"])
        assert set(names_of(verify(issued, pebble.roots(), x509.DNSName("www.made-up.test")))) == {
            "www.made-up.test",
            "made-up.test",
        }
        address = await made.obtain(["127.0.0.1"])
        assert names_of(x509.load_pem_x509_certificates(address.chain)[0]) == ["127.0.0.1"]
        assert address.key != issued.key


async def test_a_wildcard_is_proved_by_the_hook_beside_its_parent(pebble: Pebble, tmp_path: Path) -> None:
    async with issuer(pebble, tmp_path, "http-01", "dns-01") as made:
        issued = await made.obtain(["*.wild.test", "wild.test"])
    verify(issued, pebble.roots(), x509.DNSName("any.wild.test"))
    calls = tmp_path / "dns-hook.calls"
    if calls.exists():  # with reused authorizations there may be nothing to prove
        assert calls.read_text().splitlines() == ["present *.wild.test", "withdraw *.wild.test"]


async def test_a_blocked_name_is_refused_in_the_authoritys_words(pebble: Pebble, tmp_path: Path) -> None:
    async with issuer(pebble, tmp_path, "http-01") as made:
        with pytest.raises(IssuanceFailed, match=r"blocked\.test") as refused:
            await made.obtain(["www.blocked.test"])
    assert (refused.value.problem, refused.value.retry, refused.value.step) == (
        "rejectedIdentifier",
        Retry.OTHER_CA,
        "create",
    )


async def test_the_next_type_is_tried_within_one_attempt(tmp_path: Path) -> None:
    need(*PROGRAMS)
    with running_pebble(tmp_path / "ca", nonce_reject=20) as pebble:
        async with alpn_answers(pebble.tls_port, tmp_path) as alpn:  # nobody answers on the port for HTTP-01
            mute = HttpAnswers()
            authority = Authority(pebble.directory, pebble.ca_file)
            made = Issuer(authority, tmp_path / "data", {"http-01": mute, "tls-alpn-01": alpn}, CLOCK)
            issued = await made.obtain(["second.test"])
            await made.close()
    assert issued.failed_names == ("second.test",)
    assert (mute.presented, mute.withdrawn) == (["second.test"], ["second.test"])
    assert (alpn.presented, alpn.withdrawn) == (["second.test"], ["second.test"])


async def test_when_every_type_fails_the_words_of_each_are_told(tmp_path: Path) -> None:
    need(*PROGRAMS)
    with running_pebble(tmp_path / "ca") as pebble:
        authority = Authority(pebble.directory, pebble.ca_file)
        made = Issuer(authority, tmp_path / "data", {"http-01": HttpAnswers(), "tls-alpn-01": HttpAnswers()}, CLOCK)
        with pytest.raises(IssuanceFailed) as failed:
            await made.obtain(["nobody.test", "127.0.0.1"])
        await made.close()
    failure = failed.value
    assert sorted(failure.failed_names) == ["127.0.0.1", "127.0.0.1", "nobody.test", "nobody.test"]
    assert (failure.retry, failure.step) == (Retry.SOON, "validate")
    assert "nobody.test (http-01): connection:" in failure.detail
    assert "nobody.test (tls-alpn-01):" in failure.detail


KID, HMAC_KEY = "kid-1", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"


async def test_an_external_account_is_bound_where_one_is_required(tmp_path: Path) -> None:
    need(*PROGRAMS)
    with running_pebble(tmp_path / "ca", external_accounts={KID: HMAC_KEY}) as pebble:
        bound = ExternalAccount(KID, HMAC_KEY)
        async with issuer(pebble, tmp_path / "bound", "http-01", external_account=bound) as made:
            verify(await made.obtain(["eab.test"]), pebble.roots(), x509.DNSName("eab.test"))
        for number, (given, problem) in enumerate(
            [
                (None, "externalAccountRequired"),
                (ExternalAccount("kid-2", HMAC_KEY), "unauthorized"),
                (ExternalAccount(KID, "not base64!"), "badAccount"),
            ]
        ):
            async with issuer(pebble, tmp_path / f"refused-{number}", "http-01", external_account=given) as made:
                with pytest.raises(IssuanceFailed) as refused:
                    await made.obtain(["eab.test"])
            assert (refused.value.problem, refused.value.retry) == (problem, Retry.OPERATOR)


async def test_an_alternate_chain_is_taken_by_the_name_it_ends_at(tmp_path: Path) -> None:
    need(*PROGRAMS)
    with running_pebble(tmp_path / "ca", alternate_roots=2) as pebble:
        for index in range(3):
            (root,) = x509.load_pem_x509_certificates(pebble.roots(index))
            name = root.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value
            async with issuer(pebble, tmp_path, "http-01", preferred_chain=name) as made:
                verify(await made.obtain(["chain.test"]), pebble.roots(index), x509.DNSName("chain.test"))
        async with issuer(pebble, tmp_path, "http-01", preferred_chain="No Such Root") as made:
            verify(await made.obtain(["chain.test"]), pebble.roots(), x509.DNSName("chain.test"))


async def test_the_account_is_kept_and_a_certificate_can_be_revoked(tmp_path: Path) -> None:
    need(*PROGRAMS)
    with running_pebble(tmp_path / "ca") as pebble:
        async with issuer(pebble, tmp_path, "http-01") as made:
            first = await made.obtain(["kept.test"])
        (folder,) = (tmp_path / "data" / "accounts").iterdir()
        kept = {path.name: path.read_bytes() for path in folder.iterdir()}
        assert sorted(kept) == ["account.json", "key.pem"]
        assert all(path.stat().st_mode & 0o777 == 0o600 for path in folder.iterdir())
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "account.json").unlink()  # the account is found again by its key
        async with issuer(pebble, tmp_path, "http-01") as made:
            await made.obtain(["kept.test"])
            await made.revoke(first.chain)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == kept
        serial = x509.load_pem_x509_certificates(first.chain)[0].serial_number
        assert pebble.status(serial) == "Revoked"


async def test_an_authority_that_forgot_everything_is_introduced_to_the_same_account(tmp_path: Path) -> None:
    need(*PROGRAMS)
    with running_pebble(tmp_path / "ca") as pebble:
        ports = {"port": pebble.port, "http_port": pebble.http_port, "tls_port": pebble.tls_port}
        async with issuer(pebble, tmp_path, "http-01") as made:
            await made.obtain(["before.test"])
    with running_pebble(tmp_path / "ca", **ports) as again:
        async with issuer(again, tmp_path, "http-01") as made:
            verify(await made.obtain(["after.test"]), again.roots(), x509.DNSName("after.test"))
    assert len(list((tmp_path / "data" / "accounts").glob("*/key*"))) == 1


async def test_an_authority_that_is_not_trusted_is_told_nothing(tmp_path: Path) -> None:
    need(*PROGRAMS)
    with running_pebble(tmp_path / "ca") as pebble:
        for ca_file, words in ((None, "certificate"), (tmp_path / "missing.pem", "missing.pem")):
            made = Issuer(Authority(pebble.directory, ca_file), tmp_path / "data", {"http-01": HttpAnswers()}, CLOCK)
            with pytest.raises(IssuanceFailed, match=words) as failed:
                await made.obtain(["untrusted.test"])
            await made.close()
            assert (failed.value.problem, failed.value.retry) == ("untrusted", Retry.OPERATOR)
    assert not (tmp_path / "data").exists()
