"""The digests that a block carries instead of clear text, and the one canonical form of what is digested.

Owns: how a URL, a set of selecting fields and the value of a purge become 32 bytes. Must not know blocks.

Blocks are public. A URL is hashed with a salt of its site, so that one who knows a URL can look it up and nobody can list them or
compare two sites; the salt of a site follows from the salt in the genesis block.
"""

import hashlib
from collections.abc import Callable, Iterable
from functools import lru_cache
from itertools import pairwise
from typing import Protocol

import msgspec

from edgeproxy.caching.model import Digest, Selecting
from edgeproxy.errors import Corrupt

DIGEST_SIZE = 32
ZERO = Digest(bytes(DIGEST_SIZE))

# Prefixes keep hashes of different purposes apart: no input of one can be an input of another.
_SITE_SALT = b"edgeproxy site salt v1\n"
_SCOPE = b"edgeproxy purge scope v1\n"


class _Hash(Protocol):
    def digest(self) -> Digest: ...


# Said once for all: to call `Digest` on each result would cost a tenth of the hash.
_sha256: Callable[[bytes | bytearray | memoryview], _Hash] = hashlib.sha256  # type: ignore[assignment]

_encoder = msgspec.json.Encoder()
_selecting_decoder = msgspec.json.Decoder(tuple[tuple[str, str | None], ...])


def sha256(data: bytes | bytearray | memoryview) -> Digest:
    """SHA-256 of `data`."""
    return _sha256(data).digest()


@lru_cache(maxsize=1024)
def site_salt(genesis_salt: bytes, site: str) -> Digest:
    """The salt of one site: SHA-256 over a prefix, the 32 bytes of the genesis block's `salt`, and the site's name."""
    return sha256(_SITE_SALT + genesis_salt + site.encode())


def url_digest(salt: bytes, url: str) -> Digest:
    """`url` of a block: SHA-256 over the site's salt and the absolute URL."""
    return _sha256(salt + url.encode()).digest()


def sha256_all(pieces: Iterable[bytes]) -> list[Digest]:
    """`sha256` of each, without a call for each."""
    sha256 = _sha256
    return [sha256(piece).digest() for piece in pieces]


def scope_digest(salt: bytes, kind: str, value: str) -> Digest:
    """`scope` of a purge: SHA-256 over a prefix, the site's salt, the kind, a line feed, and the value."""
    return sha256(b"".join((_SCOPE, salt, kind.encode(), b"\n", value.encode())))


def rollback_scope(salt: bytes, kind: str, value: str) -> Digest:
    """`scope` of a rollback or release: as of a purge, with "rollback:" before the kind."""
    return scope_digest(salt, f"rollback:{kind}", value)


@lru_cache(maxsize=4096)
def variant_digest(selecting: Selecting) -> Digest:
    """`variant` of a block: SHA-256 of the selecting fields' canonical form; raises ValueError as `encode_selecting` does."""
    return sha256(encode_selecting(selecting))


@lru_cache(maxsize=4096)
def encode_selecting(selecting: Selecting) -> bytes:
    """The selecting fields as a JSON array of [name, value or null], without spaces: what `JSON.stringify` writes.

    Raises ValueError unless the names are in ascending order without repetition.
    """
    names = [name for name, _ in selecting]
    if any(first >= second for first, second in pairwise(names)):
        raise ValueError("selecting fields are not in order")
    return _encoder.encode(selecting)


def decode_selecting(data: bytes) -> Selecting:
    """The inverse of `encode_selecting`; raises `Corrupt` for anything it would not have written."""
    try:
        selecting = _selecting_decoder.decode(data)
        canonical = encode_selecting(selecting)
    except (msgspec.DecodeError, ValueError) as error:
        raise Corrupt("selecting fields cannot be read", why=str(error)) from None
    if canonical != data:
        raise Corrupt("selecting fields are not in canonical form")
    return selecting
