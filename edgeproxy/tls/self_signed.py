"""Certificates that this edge signs itself: for names that no public authority knows, and as a placeholder until one answers.

Owns: which names these are, the signing, and DATA/tls/self-signed, a vault of its own, so that a placeholder never stands beside
a certificate that clients trust. Each has a P-256 key of its own, and is renewed like any other.
"""

import asyncio
import datetime
import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edgeproxy.clock import Clock
from edgeproxy.tls.certificate import SELF_SIGNED, Certificate, canonical_names, parse_certificate, split_directory
from edgeproxy.tls.schedule import DAY, local_renewal
from edgeproxy.tls.vault import Vault

LIFETIME: Final = 90 * DAY
_CLOCKS_DIFFER: Final = 3_600.0
"""Seconds by which it begins before it is made, for clients whose clock is behind."""
_LONGEST_COMMON_NAME: Final = 64

_PRIVATE_SUFFIXES: Final = (".internal", ".local", ".test", ".localhost", ".home.arpa", ".example", ".invalid", ".lan")
"""RFC 6761, RFC 6762, RFC 8375, ICANN's `internal`, and what home routers call their network."""

_PUBLIC_AUTHORITIES: Final = (
    "letsencrypt.org",
    "zerossl.com",
    "pki.goog",
    "buypass.com",
    "buypass.no",
    "ssl.com",
    "sectigo.com",
    "digicert.com",
    "globalsign.com",
    "actalis.it",
)


def is_localhost(name: str) -> bool:
    """`name` is `localhost` or lies below it: always this machine (RFC 6761 section 6.3)."""
    return name == "localhost" or name.endswith(".localhost")


def is_private(name: str) -> bool:
    """No public authority may certify `name` (canonical): a private or single-label name, or an address that is not global."""
    try:
        return not ipaddress.ip_address(name).is_global
    except ValueError:
        bare = name.removeprefix("*.")
        return "." not in bare or bare.endswith(_PRIVATE_SUFFIXES)


def is_public_authority(directory: str) -> bool:
    """`directory` (URL) belongs to an authority that is bound to refuse private names."""
    host, _ = split_directory(directory)
    return any(host == known or host.endswith("." + known) for known in _PUBLIC_AUTHORITIES)


def signs_itself(name: str, chosen: Sequence[str]) -> bool:
    """The certificate of `name` (canonical) is signed here, and no authority is asked.

    `chosen`: the directory URLs that the operator wrote down, not the ones that hold by default.

    1. `localhost` and names below it: always.
    2. Other private names and addresses: unless the operator chose an authority that may certify them, which is any but the well
       known public ones. So 127.0.0.1 or app.internal with the directory of a company's or a test's own authority is obtained
       there, and app.internal beside Let's Encrypt is not asked for in vain.
    3. Public names and addresses: never; for them a self-signed certificate is only a placeholder.
    """
    if is_localhost(name):
        return True
    return is_private(name) and all(is_public_authority(directory) for directory in chosen)


def make_certificate(names: Sequence[str], now: float, lifetime: float = LIFETIME) -> Certificate:
    """A new self-signed certificate for `names` (DNS names or IP addresses) with a new P-256 key, good for `lifetime` seconds."""
    ordered = canonical_names(names)
    key = ec.generate_private_key(ec.SECP256R1())
    begins = now - min(_CLOCKS_DIFFER, lifetime / 10)
    subject = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "edgeproxy self-signed")]
    if len(ordered[0]) <= _LONGEST_COMMON_NAME:
        subject.append(x509.NameAttribute(NameOID.COMMON_NAME, ordered[0]))
    name = x509.Name(subject)
    builder = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(_date(begins))
        .not_valid_after(_date(now + lifetime))
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in ordered]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_KEY_USAGE, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    signed = builder.sign(key, hashes.SHA256())
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return parse_certificate(signed.public_bytes(serialization.Encoding.PEM), private, directory=SELF_SIGNED)


_KEY_USAGE: Final = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


def _date(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(int(seconds), datetime.UTC)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


class SelfSigned:
    """The self-signed certificates of one data folder; one for each name set, made when first asked for."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        """`folder`: that of the vault."""
        self._vault = Vault(folder / SELF_SIGNED, clock)
        self._clock = clock
        self._made: dict[tuple[str, ...], Certificate] = {}

    def open(self) -> None:
        """Make the folders. Raises StartError."""
        self._vault.open()

    def get(self, names: Sequence[str]) -> Certificate:
        """One that is not due for renewal: the kept one, or a new one, which `keep` has yet to put on disk."""
        ordered = canonical_names(names)
        # The disk comes first, so that all processes come to show the same one.
        for known in (self._vault.load(ordered), self._made.get(ordered)):
            if known is not None and known.not_before <= self._clock.seconds() < local_renewal(known):
                return known
        return self.renew(ordered)

    def renew(self, names: Sequence[str]) -> Certificate:
        """A new one, which `keep` has yet to put on disk."""
        ordered = canonical_names(names)
        self._made[ordered] = made = make_certificate(ordered, self._clock.seconds())
        return made

    async def keep(self, certificate: Certificate) -> None:
        """Put `certificate` on disk unless it is there, so that a restart shows clients the same. Raises `StoreError`."""
        if await asyncio.to_thread(self._vault.load, certificate.names) != certificate:
            await self._vault.store(certificate)
