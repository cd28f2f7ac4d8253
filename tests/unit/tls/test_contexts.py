"""How contexts are set up, and which are kept."""

import os
import ssl
from dataclasses import replace
from pathlib import Path

import pytest

from edgeproxy.clock import ManualClock
from edgeproxy.errors import ContextRefused
from edgeproxy.tls.contexts import Contexts, SiteContext, TlsPolicy
from edgeproxy.tls.openssl import OpenSsl, find_openssl
from edgeproxy.tls.tickets import EPOCH_SECONDS, TicketKeys
from tests.support.certificates import TestCertificate, authority, certificate

MUTUAL = TlsPolicy(client_ca=authority().pem, client_auth="required")


class WatchedOpenSsl:
    """Remembers which ticket keys a context got."""

    def __init__(self) -> None:
        found = find_openssl()
        assert found is not None
        self._found = found
        self.keys: list[tuple[ssl.SSLContext, bytes]] = []
        self.set_groups = found.set_groups
        self.forget_sessions = found.forget_sessions

    def set_ticket_keys(self, context: ssl.SSLContext, keys: bytes) -> None:
        self._found.set_ticket_keys(context, keys)
        self.keys.append((context, keys))


def contexts(openssl: object = None, clock: ManualClock | None = None, **options: int) -> Contexts:
    clock = clock or ManualClock()
    tickets = TicketKeys(bytes(32), int(clock.seconds()) // EPOCH_SECONDS, clock)
    return Contexts(tickets, openssl, **options)  # type: ignore[arg-type]


@pytest.fixture
def leaf() -> TestCertificate:
    return certificate("a.test")


def test_only_forward_secret_authenticated_suites(leaf: TestCertificate) -> None:
    made = contexts(find_openssl()).context(leaf, TlsPolicy(), "a")
    names = {cipher["name"] for cipher in made.get_ciphers()}
    assert names == {
        *("TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256"),
        *(f"ECDHE-{key}-{suite}" for key in ("ECDSA", "RSA") for suite in ("AES128-GCM-SHA256", "AES256-GCM-SHA384")),
        *(f"ECDHE-{key}-CHACHA20-POLY1305" for key in ("ECDSA", "RSA")),
    }
    assert made.minimum_version is ssl.TLSVersion.TLSv1_2
    assert made.options & ssl.OP_NO_RENEGOTIATION
    assert made.options & ssl.OP_NO_COMPRESSION
    assert made.options & ssl.OP_CIPHER_SERVER_PREFERENCE
    assert not made.options & ssl.OP_NO_TICKET
    assert (made.scope, made.protocols) == ("a", (b"h2", b"http/1.1", b"http/1.0"))


def test_policies_are_in_the_context(leaf: TestCertificate) -> None:
    kept = contexts(find_openssl())
    strict = kept.context(leaf, TlsPolicy(minimum="1.3", http2=False), "a")
    assert strict.minimum_version is ssl.TLSVersion.TLSv1_3
    assert strict.protocols[0] == b"http/1.1"
    assert kept.context(leaf, MUTUAL, "a").verify_mode is ssl.CERT_REQUIRED
    assert kept.context(leaf, replace(MUTUAL, client_auth="optional"), "a").verify_mode is ssl.CERT_OPTIONAL
    assert len(kept) == 3


@pytest.mark.parametrize("client_auth", ["required", "optional"])
def test_who_is_asked_for_a_certificate_gets_no_ticket(leaf: TestCertificate, client_auth: str) -> None:
    openssl = WatchedOpenSsl()
    made = contexts(openssl).context(leaf, replace(MUTUAL, client_auth=client_auth), "a")
    assert made.num_tickets == 0
    assert made.options & ssl.OP_NO_TICKET
    assert openssl.keys == []


def test_contexts_are_built_once_and_the_least_used_goes(leaf: TestCertificate) -> None:
    kept = contexts(find_openssl(), kept=2)
    first = kept.context(leaf, TlsPolicy(), "one")
    second = kept.context(leaf, TlsPolicy(), "two")
    assert kept.context(leaf, TlsPolicy(), "one") is first
    kept.context(leaf, TlsPolicy(), "three")
    assert len(kept) == 2
    assert kept.context(leaf, TlsPolicy(), "one") is first
    assert kept.context(leaf, TlsPolicy(), "two") is not second


def test_ticket_keys_outlive_a_certificate_and_belong_to_one_scope_and_policy(leaf: TestCertificate) -> None:
    openssl = WatchedOpenSsl()
    kept = contexts(openssl)
    renewed = authority().issue("a.test")
    kept.context(leaf, TlsPolicy(), "a")
    kept.context(renewed, TlsPolicy(), "a")
    kept.context(leaf, TlsPolicy(), "b")
    kept.context(leaf, TlsPolicy(minimum="1.3"), "a")
    kept.context(leaf, TlsPolicy(http2=False), "a")
    first, after_renewal, *others = [keys for _, keys in openssl.keys]
    assert first == after_renewal
    assert len({first, *others}) == 4


def test_ticket_keys_change_in_place_with_the_epoch(leaf: TestCertificate) -> None:
    clock, openssl = ManualClock(), WatchedOpenSsl()
    kept = contexts(openssl, clock)
    made = kept.context(leaf, TlsPolicy(), "a")
    kept.context(leaf, TlsPolicy(), "a")
    assert len(openssl.keys) == 1
    clock.advance(EPOCH_SECONDS)
    assert kept.context(leaf, TlsPolicy(), "a") is made
    (one, early), (two, late) = openssl.keys
    assert one is two is made
    assert early != late


def test_without_openssl_everything_else_works(leaf: TestCertificate) -> None:
    kept = contexts(None)
    assert isinstance(kept.context(leaf, TlsPolicy(), "a"), SiteContext)
    assert kept.context(leaf, MUTUAL, "a").num_tickets == 0


def test_a_challenge_speaks_only_its_protocol(leaf: TestCertificate) -> None:
    kept = contexts(find_openssl())
    made = kept.challenge_context(leaf.chain, leaf.key)
    assert made.protocols == (b"acme-tls/1",)
    assert made.num_tickets == 0
    assert kept.challenge_context(leaf.chain, leaf.key) is made


def test_no_key_on_disk(leaf: TestCertificate, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    load = ssl.SSLContext.load_cert_chain

    def watched(self: ssl.SSLContext, certfile: str, *args: object, **options: object) -> None:
        loaded.append(os.readlink(certfile))
        load(self, certfile, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", watched)
    before = set(os.listdir("/proc/self/fd"))
    contexts(find_openssl()).context(leaf, TlsPolicy(), "a")
    assert loaded == ["/memfd:certificate (deleted)"]
    assert set(os.listdir("/proc/self/fd")) == before


def encrypted(leaf: TestCertificate) -> bytes:
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(leaf.key, None)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret")
    )


@pytest.mark.parametrize("fault", ["another key", "no key", "no certificate", "encrypted key"])
def test_what_openssl_does_not_take_is_named(leaf: TestCertificate, fault: str, tmp_path: Path) -> None:
    broken = {
        "another key": replace(leaf, key=certificate("b.test").key),
        "no key": replace(leaf, key=b""),
        "no certificate": replace(leaf, chain=b""),
        "encrypted key": replace(leaf, key=encrypted(leaf)),
    }[fault]
    with pytest.raises(ContextRefused, match="certificate and key cannot be used"):
        contexts(find_openssl()).context(broken, TlsPolicy(), "a")


@pytest.mark.parametrize("authorities", [b"x", b"\xff", b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"])
def test_a_client_ca_that_is_none(leaf: TestCertificate, authorities: bytes) -> None:
    with pytest.raises(ContextRefused, match="client CA cannot be used"):
        contexts(find_openssl()).context(leaf, TlsPolicy(client_ca=authorities, client_auth="required"), "a")


def test_impossible_policies_are_refused() -> None:
    for options in ({"minimum": "1.1"}, {"client_auth": "maybe"}, {"client_auth": "required"}):
        with pytest.raises(ContextRefused):
            TlsPolicy(**options)


def test_the_groups_are_set(leaf: TestCertificate, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(OpenSsl, "set_groups", lambda self, context, groups: asked.append(groups))
    contexts(find_openssl()).context(leaf, TlsPolicy(), "a")
    assert asked[-1] == "X25519:P-256:P-384"
