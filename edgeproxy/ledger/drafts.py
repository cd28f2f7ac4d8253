"""What the exchange hands to the sequencer: a change of the cache that has no height yet.

Owns: the drafts and the names that go with a block into the private table. Must not encode a block; that is `ledger.block`.
"""

from dataclasses import dataclass
from typing import Literal

import msgspec

from edgeproxy.caching.model import Digest, Selecting
from edgeproxy.clock import Instant
from edgeproxy.errors import Corrupt
from edgeproxy.ledger.digests import decode_selecting, encode_selecting
from edgeproxy.ledger.note_keys import Signer

PurgeKind = Literal["url", "prefix", "tag", "group", "site"]
"""What a purge covers. `url`: every variant of one URL. `prefix`: all URLs that start with the value, or whose path does when
the value starts with "/". `tag`, `group`: what carries the tag (cache tags) or group (RFC 9875).
`site`: everything of the site."""

PurgeMode = Literal["soft", "invalidate", "hard"]
"""What becomes of it: `Mark.SOFT`, `Mark.MUST_VALIDATE`, `Mark.GONE`."""


@dataclass(frozen=True, slots=True)
class BodyRef:
    """A body by its digest; `length` in bytes; `chunks` is the root over its chunks, None for bodies that are hashed whole."""

    digest: Digest
    length: int
    chunks: Digest | None


@dataclass(frozen=True, slots=True)
class StoreDraft:
    """A response was stored, or (`refresh`) a stored one was validated and its head renewed.

    `head` is the stored head (status line and field lines). `trace` is 32 hex digits or empty. `time` is the response's
    `response_time`; the block may carry a later one, never an earlier.
    """

    op: Literal["store", "refresh"]
    site: str
    url: str
    selecting: Selecting
    status: int
    head: bytes
    body: BodyRef
    time: Instant
    trace: str = ""


@dataclass(frozen=True, slots=True)
class PurgeDraft:
    """A rule: what it covers is stale, invalid or gone if it was stored before this."""

    site: str
    kind: PurgeKind
    value: str
    mode: PurgeMode
    time: Instant
    trace: str = ""


@dataclass(frozen=True, slots=True)
class EvictDraft:
    """A body is about to be deleted for space: no version before this can be used any more."""

    body: Digest
    length: int
    time: Instant


@dataclass(frozen=True, slots=True)
class RotateDraft:
    """The log's key `old` hands over to `new`, which signs from this block's checkpoint on."""

    old: Signer
    new: Signer
    time: Instant


Draft = StoreDraft | PurgeDraft | EvictDraft | RotateDraft


@dataclass(frozen=True, slots=True)
class StoredNames:
    """The clear text behind a store or refresh block."""

    site: str
    url: str
    selecting: Selecting


@dataclass(frozen=True, slots=True)
class PurgeNames:
    """The clear text behind a purge. `kind` and `mode` stand in the block too; here they survive damage to the block."""

    site: str
    kind: PurgeKind
    value: str
    mode: PurgeMode


Names = StoredNames | PurgeNames

NameColumns = tuple[bytes, bytes, bytes]
"""A row of the private table: site, URL or value, and JSON: the selecting fields, or kind and mode of a purge."""

_encoder = msgspec.json.Encoder()
_purge_decoder = msgspec.json.Decoder(tuple[Literal["purge"], PurgeKind, PurgeMode])


def names_of(draft: Draft) -> Names | None:
    """What goes into the private table for `draft`."""
    match draft:
        case StoreDraft():
            return StoredNames(draft.site, draft.url, draft.selecting)
        case PurgeDraft():
            return PurgeNames(draft.site, draft.kind, draft.value, draft.mode)
        case EvictDraft() | RotateDraft():
            return None


def encode_names(names: Names) -> NameColumns:
    """The names as columns. Raises ValueError for text that UTF-8 cannot carry or selecting fields out of order."""
    if isinstance(names, StoredNames):
        return names.site.encode(), names.url.encode(), encode_selecting(names.selecting)
    return names.site.encode(), names.value.encode(), _encoder.encode(("purge", names.kind, names.mode))


def decode_names(columns: NameColumns) -> Names:
    """The inverse; raises `Corrupt`. Whether the names are those of the block is for `ledger.verify` to check."""
    site, value, extra = columns
    try:
        if extra.startswith(b'["purge"'):
            _, kind, mode = _purge_decoder.decode(extra)
            return PurgeNames(site.decode(), kind, value.decode(), mode)
        return StoredNames(site.decode(), value.decode(), decode_selecting(extra))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Corrupt("private row cannot be read", why=str(error)) from None
