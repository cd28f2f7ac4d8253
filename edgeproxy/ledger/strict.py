"""The forms in which transparency logs write bytes and numbers, read without any leniency.

Owns: base64 and decimals as C2SP documents want them. A value has one spelling; every other one is refused, so that nobody can
change a byte of a note or proof that two readers then understand differently. Must not know what a value means.
"""

import binascii
import re
from collections.abc import Sequence

from edgeproxy.caching.model import Digest
from edgeproxy.errors import ProofRefused
from edgeproxy.ledger.digests import DIGEST_SIZE

MAX_NUMBER = 2**63 - 1
"""Largest tree size and timestamp."""

_is_decimal = re.compile(r"(?:0|[1-9][0-9]{0,18})", re.ASCII).fullmatch
_has_control = re.compile(r"[\x00-\x09\x0b-\x1f]").search


def encode_base64(data: bytes) -> str:
    """Standard alphabet, padded (RFC 4648 section 4)."""
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def decode_base64(text: str) -> bytes:
    """The inverse. Raises `ProofRefused` for any other spelling: padding left out, stray characters, idle bits set."""
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        raise ProofRefused("base64 cannot be read") from None
    if encode_base64(data) != text:
        raise ProofRefused("base64 is not canonical")
    return data


def decode_hash(text: str) -> Digest:
    """A hash in base64. Raises `ProofRefused`."""
    data = decode_base64(text)
    if len(data) != DIGEST_SIZE:
        raise ProofRefused("hash has not 32 bytes", length=len(data))
    return Digest(data)


def decode_decimal(text: str) -> int:
    """A number without sign, leading zeros or digits of other scripts, up to `MAX_NUMBER`. Raises `ProofRefused`."""
    if _is_decimal(text) is None or int(text) > MAX_NUMBER:
        raise ProofRefused("number is not a plain decimal")
    return int(text)


def decode_lines(data: bytes, *, most: int) -> list[str]:
    """The lines of a text file of at most `most` bytes, each ended by one line feed. Raises `ProofRefused`."""
    if len(data) > most:
        raise ProofRefused("text is too long", length=len(data), most=most)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise ProofRefused("text is not UTF-8") from None
    if not text.endswith("\n"):
        raise ProofRefused("last line does not end in a line feed")
    if _has_control(text) is not None:
        raise ProofRefused("text has a control character")
    # Not `splitlines`: that knows nine more ends of a line.
    return text[:-1].split("\n")


def decode_hashes(lines: Sequence[str], *, most: int) -> tuple[Digest, ...]:
    """A proof's hashes, one a line. Raises `ProofRefused`."""
    if len(lines) > most:
        raise ProofRefused("proof has too many hashes", count=len(lines), most=most)
    return tuple(decode_hash(line) for line in lines)
