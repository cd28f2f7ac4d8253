"""A certificate with its key: read, checked, and asked about.

Owns: what a usable pair is, and the words for what is wrong with an unusable one. Pure: bytes in, values out. Whether a client
would trust the certificate is not judged here; an operator may import one of a private authority.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from edgeproxy.errors import CertificateFault

SELF_SIGNED: Final = "self-signed"
IMPORTED: Final = ""
MAX_PEM: Final = 256 * 1024
MAX_NAMES: Final = 1000
_MIN_RSA_BITS: Final = 2048

SigningKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey


@dataclass(frozen=True, slots=True)
class Certificate:
    """A chain with its key, verified to belong together when it was loaded."""

    names: tuple[str, ...]
    """DNS names in lower case (wildcards as `*.x`), IP addresses in canonical text; from the leaf's subject alternative name."""
    chain: bytes
    """PEM, leaf first."""
    key: bytes
    """PEM, PKCS#8."""
    not_before: float
    """Unix seconds."""
    not_after: float
    """Unix seconds. The certificate is good up to and including this second (RFC 5280 section 4.1.2.5)."""
    serial: int
    issuer: str
    """RFC 4514 name of the leaf's issuer."""
    directory: str
    """Directory URL of the authority it came from; empty for an imported one, `self-signed` for our own."""
    fingerprint: str
    """SHA-256 of the leaf's DER, in hex."""

    def __repr__(self) -> str:
        return f"<Certificate {', '.join(self.names[:3])} serial={self.serial:x} not_after={self.not_after:.0f} of {self.source}>"

    @property
    def lifetime(self) -> float:
        """From its first to its last second, in seconds."""
        return self.not_after - self.not_before

    @property
    def source(self) -> str:
        """Where it came from, in a word for people."""
        return self.directory or "import"

    @property
    def is_trial(self) -> bool:
        """No client is expected to trust it: self-signed, or of an authority's staging directory."""
        return self.directory == SELF_SIGNED or is_staging(self.directory)

    def is_valid(self, now: float) -> bool:
        """`now` (Unix seconds) lies within its life."""
        return self.not_before <= now <= self.not_after

    def covers(self, names: Iterable[str]) -> bool:
        """Each of `names` (canonical) is one of its names, or matches one of its wildcards."""
        own = frozenset(self.names)
        return all(name in own or wildcard_of(name) in own for name in names)


def wildcard_of(name: str) -> str | None:
    """The wildcard that covers `name`, by its first label (RFC 6125 section 6.4.3). None for addresses and single labels."""
    if name.startswith("*.") or is_address(name):
        return None
    _, dot, rest = name.partition(".")
    return f"*.{rest}" if dot else None


def is_address(name: str) -> bool:
    """`name` is the text of an IP address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


# The same names are asked about at every look at all certificates; the text of an address is dear to find out.
@lru_cache(maxsize=8_192)
def canonical_name(name: str) -> str:
    """`name` as `Certificate.names` has it: lower case, no final dot, brackets or zone; addresses in their shortest text."""
    bare = name.lower().rstrip(".")
    with suppress(ValueError):
        return str(ipaddress.ip_address(bare.strip("[]")))
    return bare


def canonical_names(names: Iterable[str]) -> tuple[str, ...]:
    """A name set: canonical, each once, sorted, so that two spellings of one set are equal."""
    return tuple(sorted({canonical_name(name) for name in names}))


def split_directory(directory: str) -> tuple[str, str]:
    """Host and path of a directory's URL, in lower case; both empty for what is no URL."""
    try:
        parts = urlsplit(directory.lower())
        return (parts.hostname or "").removesuffix("."), parts.path
    except ValueError:  # brackets that hold no address
        return "", ""


@lru_cache(maxsize=256)
def is_staging(directory: str) -> bool:
    """`directory` (URL) is an authority's place for trials: nobody trusts what it signs.

    Known by the word `staging` in host or path (Let's Encrypt, Actalis), or a host label that begins with `test` before the last
    two (Google: `dv.acme-v02.test-api.pki.goog`, Buypass: `api.test4.buypass.no`).
    """
    host, path = split_directory(directory)
    if "staging" in host or "staging" in path:
        return True
    return any(label.startswith("test") for label in host.split(".")[:-2])


def parse_certificate(chain: bytes, key: bytes, *, directory: str = IMPORTED) -> Certificate:
    """The pair as a value. Raises `CertificateFault` that says what is wrong.

    Checked: both are PEM, the key is of a usable kind and belongs to the first certificate, each certificate is signed by the
    next one, and the leaf names somebody (RFC 9110 section 4.3.4: the common name counts for nothing). An expired one is read:
    it may have to be served until there is a better one; see `check_import`.
    """
    certificates = _read_chain(chain)
    private = _read_key(key)
    try:
        return _describe(certificates, private, directory)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:  # the library reads most fields only when they are asked for
        raise CertificateFault("the certificate's content is broken", error=str(error)[:200]) from error


def _describe(certificates: Sequence[x509.Certificate], private: SigningKey, directory: str) -> Certificate:
    leaf = certificates[0]
    _check_pair(certificates, private)
    _check_order(certificates)
    names = _names(leaf)
    begins, ends = leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()
    if ends <= begins:
        raise CertificateFault("the certificate ends before it begins", not_before=begins, not_after=ends)
    return Certificate(
        names=names,
        chain=b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in certificates),
        key=private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        not_before=begins,
        not_after=ends,
        serial=leaf.serial_number,
        issuer=leaf.issuer.rfc4514_string(),
        directory=directory,
        fingerprint=leaf.fingerprint(hashes.SHA256()).hex(),
    )


def check_import(certificate: Certificate, name: str, now: float) -> None:
    """Raise `CertificateFault` when `certificate` is of no use for `name`: it does not name it, or is not valid `now`."""
    if not certificate.covers((canonical_name(name),)):
        raise CertificateFault("the certificate is for other names", wanted=name, names=", ".join(certificate.names[:10]))
    if now > certificate.not_after:
        raise CertificateFault("the certificate has expired", seconds_ago=round(now - certificate.not_after))
    if now < certificate.not_before:
        raise CertificateFault("the certificate is not valid yet", seconds_left=round(certificate.not_before - now))


def _read_chain(chain: bytes) -> Sequence[x509.Certificate]:
    if len(chain) > MAX_PEM:
        raise CertificateFault("the certificate file is too long", limit_bytes=MAX_PEM)
    if b"-----BEGIN CERTIFICATE-----" not in chain:
        said = "a private key instead of a certificate" if b"PRIVATE KEY-----" in chain else "no BEGIN CERTIFICATE line"
        raise CertificateFault("the certificate is not PEM", found=said)
    try:
        return x509.load_pem_x509_certificates(chain)
    except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm) as error:
        raise CertificateFault("the certificate's PEM is broken", error=str(error)[:200]) from error


def _read_key(key: bytes) -> SigningKey:
    if len(key) > MAX_PEM:
        raise CertificateFault("the key file is too long", limit_bytes=MAX_PEM)
    if b"PRIVATE KEY-----" not in key:
        raise CertificateFault("the key is not PEM", found="no BEGIN PRIVATE KEY line")
    try:
        private = serialization.load_pem_private_key(key, password=None)
    except TypeError as error:  # what the library raises for an encrypted key when there is no password
        raise CertificateFault("the key is encrypted with a password; store it without one") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateFault("the key's PEM is broken", error=str(error)[:200]) from error
    if not isinstance(private, SigningKey):
        raise CertificateFault("the key is of a kind that TLS cannot use", kind=type(private).__name__.removeprefix("_"))
    if isinstance(private, rsa.RSAPrivateKey) and private.key_size < _MIN_RSA_BITS:
        raise CertificateFault("the RSA key is too short", bits=private.key_size, least=_MIN_RSA_BITS)
    return private


def _public_bytes(key: CertificatePublicKeyTypes) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _check_pair(certificates: Sequence[x509.Certificate], private: SigningKey) -> None:
    own = _public_bytes(private.public_key())
    try:
        at = [_public_bytes(certificate.public_key()) == own for certificate in certificates]
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateFault("the certificate holds a key of an unknown kind", error=str(error)[:200]) from error
    if at[0]:
        return
    if any(at):
        position = at.index(True) + 1
        raise CertificateFault("the chain is in the wrong order: the key belongs to a later certificate", position=position)
    raise CertificateFault("the key does not belong to the certificate", subject=certificates[0].subject.rfc4514_string())


def _check_order(certificates: Sequence[x509.Certificate]) -> None:
    for position, (signed, signer) in enumerate(pairwise(certificates), 1):
        try:
            signed.verify_directly_issued_by(signer)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as error:
            raise CertificateFault(
                "the chain is in the wrong order or has a gap: a certificate is not signed by the next one",
                position=position,
                subject=signed.subject.rfc4514_string(),
                issuer=signed.issuer.rfc4514_string(),
                next=signer.subject.rfc4514_string(),
            ) from error


def _names(leaf: x509.Certificate) -> tuple[str, ...]:
    try:
        alternative = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound as error:
        subject = leaf.subject.rfc4514_string()
        raise CertificateFault(
            "the certificate has no subject alternative name; clients ignore the common name", subject=subject
        ) from error
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise CertificateFault("the certificate's extensions are broken", error=str(error)[:200]) from error
    dns = alternative.get_values_for_type(x509.DNSName)
    addresses = [str(address) for address in alternative.get_values_for_type(x509.IPAddress)]
    names = tuple(dict.fromkeys(canonical_name(name) for name in (*dns, *addresses)))
    if not names:
        raise CertificateFault("the certificate's subject alternative name has neither a DNS name nor an address")
    if len(names) > MAX_NAMES:
        raise CertificateFault("the certificate has too many names", names=len(names), limit=MAX_NAMES)
    return names
