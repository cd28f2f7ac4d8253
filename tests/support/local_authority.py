"""A certificate authority in the test's own process: it really signs, counts what it was asked, fails when told.

It speaks no ACME; it stands where an `Issuer` stands, for tests of what decides when to ask. Orders may be counted in a file, so
that several processes share one count.
"""

import asyncio
import datetime
import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from edgeproxy.clock import Clock
from edgeproxy.errors import IssuanceFailed
from edgeproxy.tls.certificate import Certificate, is_address, parse_certificate

DAY = 86_400.0


@dataclass(frozen=True)
class Issued:
    chain: bytes
    key: bytes
    directory: str
    failed_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Window:
    start: float
    end: float
    explanation_url: str = ""
    check_after: float = 0.0


def pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def moment(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(int(seconds), datetime.UTC)


@dataclass
class LocalAuthority:
    """One authority. `lifetime` in seconds; `delay` is awaited before it answers."""

    clock: Clock
    directory: str = "https://ca.lab/directory"
    lifetime: float = 90 * DAY
    counter: Path | None = None
    delay: Callable[[], object] | None = None
    failures: list[IssuanceFailed] = field(default_factory=list)
    """Answered first, one for each order."""
    always: IssuanceFailed | None = None
    window: Window | None = None
    ask_again: float = 2 * DAY
    only_first: bool = True
    """The window is for the first certificate; the others have none."""
    orders: list[tuple[float, tuple[str, ...], bytes | None]] = field(default_factory=list)
    issued: list[Certificate] = field(default_factory=list)
    asked: list[float] = field(default_factory=list)
    """When it was asked for renewal information."""

    def __post_init__(self) -> None:
        self.root_key = ec.generate_private_key(ec.SECP256R1())
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.root = self._ca("Lab Root", self.root_key, "Lab Root", self.root_key)
        self.intermediate = self._ca("Lab Intermediate", self.key, "Lab Root", self.root_key)
        self.running = 0
        self.most_running = 0

    @property
    def root_pem(self) -> bytes:
        return self.root.public_bytes(serialization.Encoding.PEM)

    async def obtain(self, names: Sequence[str], *, replaces: bytes | None = None) -> Issued:
        self.orders.append((self.clock.seconds(), tuple(names), replaces))
        if self.counter is not None:
            with self.counter.open("a") as file:
                file.write(" ".join(names) + "\n")
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        try:
            if self.delay is not None:
                await self.delay()  # type: ignore[misc]
            else:
                await asyncio.sleep(0)
        finally:
            self.running -= 1
        if self.failures:
            raise self.failures.pop(0)
        if self.always is not None:
            raise self.always
        issued = self.sign(names)
        self.issued.append(parse_certificate(issued.chain, issued.key, directory=self.directory))
        return issued

    async def renewal_info(self, chain: bytes) -> Window | None:
        self.asked.append(self.clock.seconds())
        if self.window is None or (self.only_first and self.issued and chain != self.issued[0].chain):
            return None
        return replace(self.window, check_after=self.clock.seconds() + self.ask_again)

    def sign(self, names: Sequence[str], *, begins: float | None = None, lifetime: float | None = None) -> Issued:
        """A chain of leaf and intermediate, with a new key."""
        key = ec.generate_private_key(ec.SECP256R1())
        start = self.clock.seconds() if begins is None else begins
        alternative = x509.SubjectAlternativeName(
            [x509.IPAddress(ipaddress.ip_address(name)) if is_address(name) else x509.DNSName(name) for name in names]
        )
        leaf = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.intermediate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(moment(start))
            .not_valid_after(moment(start + (self.lifetime if lifetime is None else lifetime)))
            .add_extension(alternative, critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        chain = leaf.public_bytes(serialization.Encoding.PEM) + self.intermediate.public_bytes(serialization.Encoding.PEM)
        return Issued(chain, pem(key), self.directory)

    def certificate(self, *names: str, begins: float | None = None, lifetime: float | None = None, directory: str | None = None):
        """A parsed one, as if it had been obtained earlier."""
        issued = self.sign(names, begins=begins, lifetime=lifetime)
        return parse_certificate(issued.chain, issued.key, directory=self.directory if directory is None else directory)

    @staticmethod
    def fingerprint(pair: bytes) -> str:
        """Of the certificate in `pair`, key and chain in one."""
        return parse_certificate(pair, pair).fingerprint

    def _ca(
        self, subject: str, key: ec.EllipticCurvePrivateKey, issuer: str, issuer_key: ec.EllipticCurvePrivateKey
    ) -> x509.Certificate:
        now = self.clock.seconds()
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(moment(now - DAY))
            .not_valid_after(moment(now + 3_650 * DAY))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(issuer_key, hashes.SHA256())
        )
