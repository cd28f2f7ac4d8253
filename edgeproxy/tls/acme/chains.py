"""Keys, requests and chains: what goes to an authority to be signed, and whether what comes back is what was asked for. Pure.

Owns: the new key of each certificate, its CSR, the choice among alternate chains, the check of an issued chain, and the name by
which renewal information knows a certificate. Nothing of an authority is believed before `check_chain` has looked at it.
"""

import base64
import ipaddress
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import pairwise

from acme import crypto_util
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from edgeproxy.tls.acme.problems import own_failure

LONGEST_CHAIN = 10


def is_address(name: str) -> bool:
    """Whether `name` is an IP address in text form."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def canonical(name: str) -> str:
    """`name` in the one form in which names are compared: lower case, addresses as RFC 5952 writes them."""
    name = name.strip().lower()
    return ipaddress.ip_address(name).compressed if is_address(name) else name.rstrip(".")


def new_key() -> bytes:
    """A new P-256 key, PEM in PKCS#8."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def signing_request(key: bytes, names: Iterable[str]) -> x509.CertificateSigningRequest:
    """The CSR for `names` (canonical; DNS names and addresses), with an empty subject."""
    names = list(names)
    addresses = [ipaddress.ip_address(name) for name in names if is_address(name)]
    pem = crypto_util.make_csr(key, [name for name in names if not is_address(name)], ipaddrs=addresses)
    return x509.load_pem_x509_csr(pem)


def check_chain(chain: bytes, key: bytes, names: Sequence[str], now: float) -> bytes:
    """`chain` as clean PEM, after a check: its leaf has our key and exactly the names (canonical) that were asked for, has not
    ended at `now` (Unix seconds), and each certificate is signed by the next. Raises IssuanceFailed "badCertificate".
    """
    certificates = _parse(chain)
    leaf = certificates[0]
    private = serialization.load_pem_private_key(key, password=None)
    if leaf.public_key() != private.public_key():
        raise own_failure("badCertificate", "the certificate is for another key than ours")
    if (found := set(names_of(leaf))) != set(names):
        raise own_failure("badCertificate", f"the certificate is for other names: {', '.join(sorted(found))}")
    if leaf.not_valid_after_utc <= datetime.fromtimestamp(now, UTC):
        raise own_failure("badCertificate", f"the certificate ended at {leaf.not_valid_after_utc.isoformat()}")
    for certificate, issuer in pairwise(certificates):
        try:
            certificate.verify_directly_issued_by(issuer)
        except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm) as error:
            text = f"the chain is broken between {_name(certificate.subject)} and {_name(issuer.subject)}"
            raise own_failure("badCertificate", text) from error
    return b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in certificates)


def ends_at(chain: bytes, common_name: str) -> bool:
    """Whether the last certificate of `chain` was issued by one with that common name; False when it is no chain."""
    try:
        issuer = x509.load_pem_x509_certificates(chain)[-1].issuer
    except (ValueError, IndexError):
        return False
    return any(each.value == common_name for each in issuer.get_attributes_for_oid(x509.NameOID.COMMON_NAME))


def names_of(certificate: x509.Certificate) -> list[str]:
    """The names a certificate is for, canonical."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    addresses = [address.compressed for address in names.get_values_for_type(x509.IPAddress)]
    return [canonical(name) for name in names.get_values_for_type(x509.DNSName)] + addresses


def renewal_id(chain: bytes) -> str | None:
    """The name of the leaf of `chain` for renewal information (RFC 9773 section 4.1): its issuer's key and its serial number.

    None where the leaf does not name its issuer's key, or there is no leaf.
    """
    try:
        leaf = x509.load_pem_x509_certificates(chain)[0]
        issuer = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except (ValueError, IndexError, x509.ExtensionNotFound):
        return None
    if issuer is None:
        return None
    serial = leaf.serial_number
    # The content of the DER INTEGER: two's complement, so a number whose top bit is set begins with a zero byte.
    return f"{_base64url(issuer)}.{_base64url(serial.to_bytes(serial.bit_length() // 8 + 1, 'big'))}"


def expiry(chain: bytes) -> float | None:
    """When the leaf of `chain` ends, in Unix seconds; None when there is no leaf."""
    try:
        return x509.load_pem_x509_certificates(chain)[0].not_valid_after_utc.timestamp()
    except (ValueError, IndexError):
        return None


def _parse(chain: bytes) -> list[x509.Certificate]:
    try:
        certificates = x509.load_pem_x509_certificates(chain)
    except ValueError as error:
        raise own_failure("badCertificate", "what was issued is not a chain of certificates") from error
    if len(certificates) > LONGEST_CHAIN:
        raise own_failure("badCertificate", f"a chain of {len(certificates)} certificates")
    return certificates


def _name(name: x509.Name) -> str:
    return name.rfc4514_string() or "a certificate without a subject"


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
