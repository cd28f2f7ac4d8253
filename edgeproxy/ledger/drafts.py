"""What the exchange hands to the sequencer: a change of the cache that has no height yet.

Owns: the drafts and the names that go with a block into the private table. Must not encode a block; that is `ledger.block`.
"""

from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec

from edgeproxy.caching.model import Digest, Height, Selecting
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


RollbackKind = Literal["node", "site", "prefix"]
"""What a rollback covers. `node`: every site; site and value are empty. `site`: everything of one; the value is its name.
`prefix`: as for a purge; with an empty site the prefix of a path, on every site."""

Absent = Literal["fetch", "refuse"]
"""What becomes of a URL under a rollback that was not stored at its height: asked of the origin as ever, or not found."""

Source = Literal["cache", "edge", "mirror", "none"]
"""Where a service worker got what it served instead: its own store, the edge's block API, a mirror; or it had nothing."""


class BodyRef(msgspec.Struct, frozen=True, gc=False):
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
class RollbackDraft:
    """A rule: what it covers is served as it was at height `to`, until it is released."""

    site: str
    kind: RollbackKind
    value: str
    to: Height
    absent: Absent
    time: Instant
    trace: str = ""


@dataclass(frozen=True, slots=True)
class ReleaseDraft:
    """The end of the rollback of exactly this scope."""

    site: str
    kind: RollbackKind
    value: str
    time: Instant
    trace: str = ""


@dataclass(frozen=True, slots=True)
class EraseDraft:
    """The contents of a URL, all its versions so far, are deleted for good. `bodies` are those that go with them."""

    site: str
    url: str
    bodies: tuple[Digest, ...]
    time: Instant
    trace: str = ""


@dataclass(frozen=True, slots=True)
class ReceiptDraft:
    """Service workers served recovered content of one URL. `served` is when, the last time, in milliseconds since the epoch;
    `block` the height of what they served; `cause` why the network was not good enough, lower case letters and hyphens."""

    site: str
    url: str
    source: Source
    cause: str
    block: Height | None
    served: Instant
    count: int
    time: Instant
    trace: str = ""


@dataclass(frozen=True, slots=True)
class RotateDraft:
    """The log's key `old` hands over to `new`, which signs from this block's checkpoint on."""

    old: Signer
    new: Signer
    time: Instant


Draft = StoreDraft | PurgeDraft | EvictDraft | RollbackDraft | ReleaseDraft | EraseDraft | ReceiptDraft | RotateDraft


class StoredNames(msgspec.Struct, frozen=True, gc=False):
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


@dataclass(frozen=True, slots=True)
class ScopeNames:
    """The clear text behind a rollback or a release. `to` and `absent` stand in a rollback's block too; here they survive damage
    to the block. `to` is None for a release, and in a row of an older version."""

    op: Literal["rollback", "release"]
    site: str
    kind: RollbackKind
    value: str
    to: Height | None = None
    absent: Absent = "fetch"


@dataclass(frozen=True, slots=True)
class ReceiptNames:
    """The clear text behind a receipt."""

    site: str
    url: str


@dataclass(frozen=True, slots=True)
class ErasedNames:
    """What is left of the names of a purge of one URL when that URL is erased: the digest that the erase block has, so that who
    reads the ledger knows which block took them out."""

    url: Digest


Names = StoredNames | PurgeNames | ScopeNames | ReceiptNames | ErasedNames

NameColumns = tuple[bytes, bytes, bytes]
"""A row of the private table: site, URL or value, and JSON: the selecting fields, or a list that begins with the block's op."""

_encoder = msgspec.json.Encoder()
_purge_decoder = msgspec.json.Decoder(tuple[Literal["purge"], PurgeKind, PurgeMode])
_scope_decoder = msgspec.json.Decoder(tuple[Literal["rollback", "release"], RollbackKind])
_rollback_decoder = msgspec.json.Decoder(
    tuple[Literal["rollback"], RollbackKind, Annotated[Height, msgspec.Meta(ge=0, le=2**53 - 1)], Absent]
)
_RECEIPT = b'["receipt"]'
_ERASED = b'["erased"]'


def names_of(draft: Draft) -> Names | None:
    """What goes into the private table for `draft`."""
    match draft:
        case StoreDraft():
            return StoredNames(draft.site, draft.url, draft.selecting)
        case PurgeDraft():
            return PurgeNames(draft.site, draft.kind, draft.value, draft.mode)
        case RollbackDraft():
            return ScopeNames("rollback", draft.site, draft.kind, draft.value, draft.to, draft.absent)
        case ReleaseDraft():
            return ScopeNames("release", draft.site, draft.kind, draft.value)
        case ReceiptDraft():
            return ReceiptNames(draft.site, draft.url)
        case EvictDraft() | EraseDraft() | RotateDraft():
            # What is erased is not named again either.
            return None


def encode_names(names: Names) -> NameColumns:
    """The names as columns. Raises ValueError for text that UTF-8 cannot carry or selecting fields out of order."""
    match names:
        case StoredNames():
            return names.site.encode(), names.url.encode(), encode_selecting(names.selecting)
        case PurgeNames():
            return names.site.encode(), names.value.encode(), _encoder.encode(("purge", names.kind, names.mode))
        case ScopeNames():
            said = () if names.to is None else (names.to, names.absent)
            return names.site.encode(), names.value.encode(), _encoder.encode((names.op, names.kind, *said))
        case ReceiptNames():
            return names.site.encode(), names.url.encode(), _RECEIPT
        case ErasedNames():
            return b"", b64encode(names.url), _ERASED


def decode_names(columns: NameColumns) -> Names:
    """The inverse; raises `Corrupt`. Whether the names are those of the block is for `ledger.verify` to check."""
    site, value, extra = columns
    try:
        if extra.startswith(b'["purge"'):
            _, kind, mode = _purge_decoder.decode(extra)
            return PurgeNames(site.decode(), kind, value.decode(), mode)
        if extra.startswith(b'["r') and extra != _RECEIPT:
            if extra.count(b",") > 1:
                _, covered, to, absent = _rollback_decoder.decode(extra)
                return ScopeNames("rollback", site.decode(), covered, value.decode(), to, absent)
            op, covered = _scope_decoder.decode(extra)
            return ScopeNames(op, site.decode(), covered, value.decode())
        if extra == _RECEIPT:
            return ReceiptNames(site.decode(), value.decode())
        if extra == _ERASED:
            return ErasedNames(Digest(b64decode(value, validate=True)))
        return StoredNames(site.decode(), value.decode(), decode_selecting(extra))
    except (msgspec.DecodeError, ValueError) as error:
        raise Corrupt("private row cannot be read", why=str(error)) from None
