"""A block: the exact bytes of one change of the cache, and what they say.

Owns: the encoding (version 1), strict in both directions. Must not touch a store or a clock.

A block is one JSON object, UTF-8, keys in the order below, no spaces, numbers as plain decimals, digests and salts in standard
padded base64 ("B64"). Whoever verifies hashes the bytes as they are; nobody encodes anew.

Every block:   v (1), height, prev, time, node, op, and then by op:
  genesis      salt                          32 random bytes, B64; height 0 only. The salt of each site's digests follows from it.
  store        url, variant, status, head, body, length, chunks, trace       a response was stored
  refresh      the same                      a stored response was validated: new head, the body is that of an earlier block
  purge        kind, scope, mode, trace      a rule; kind is url, prefix, tag, group or site; mode is soft, invalidate or hard
  evict        body, length                  a body was deleted for space; earlier blocks that name it cannot be served
  rollback     kind, scope, to, absent, trace     a rule: from here on what it covers is served as it was at height `to`; kind is
               node, site or prefix; absent is what becomes of what was not stored then: fetch or refuse
  release      kind, scope, trace                 the end of the rollback of this scope
  erase        url, bodies, trace                 contents deleted for good: these bodies, and the stored heads and clear names of
               the blocks of this URL so far
  receipt      url, source, cause, block, served, count, trace   service workers served recovered content of a URL, `count` times;
               source is cache, edge, mirror or none; block is the height of what was served, or null; served is when, in ms
  rotate       old, new, signature           the log has another key from this block's checkpoint on (`ledger.rotation`)
where
  prev     leaf hash (RFC 6962) of the block before, 32 zero bytes at height 0
  time     milliseconds since the epoch; never less than that of the block before. For store and refresh it is the response time.
  url      SHA-256(site salt || URL): of store and refresh the absolute URL as the cache keys it (`caching.key`)
  variant  SHA-256 of the selecting fields' canonical form (`ledger.digests`)
  head     SHA-256 of the stored head;  body: SHA-256 of the body;  length: its bytes
  chunks   root over the body's chunks of 64 KiB when length > 262144, else null
  scope    SHA-256 of the site's salt, kind and value (`digests.scope_digest`, `rollback_scope`; a rule for every site is of the
           site ""); the clear value is in the private table
  bodies   list of SHA-256
  trace    32 lower-case hex digits, or empty
"""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec

from edgeproxy.caching.model import Digest, Height
from edgeproxy.clock import Instant
from edgeproxy.errors import Corrupt, ProofRefused, StoreError
from edgeproxy.ledger.chunks import WHOLE_BODY_LIMIT
from edgeproxy.ledger.digests import ZERO, rollback_scope, scope_digest, sha256, site_salt, url_digest, variant_digest
from edgeproxy.ledger.drafts import (
    Absent,
    BodyRef,
    Draft,
    EraseDraft,
    EvictDraft,
    PurgeDraft,
    PurgeKind,
    PurgeMode,
    ReceiptDraft,
    ReleaseDraft,
    RollbackDraft,
    RollbackKind,
    RotateDraft,
    Source,
    StoreDraft,
)
from edgeproxy.ledger.merkle import leaf_hash
from edgeproxy.ledger.rotation import check_rotation, rotation_statement

MAX_BLOCK = 65_535
"""Bytes; an entry of a C2SP entry bundle has a length of 16 bits."""

MAX_ERASED = 1_024
"""Bodies that one erase block names."""

TRACE_LENGTH = 32

# A number that every JSON reader, a browser's too, keeps exactly.
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
_Hash = Annotated[Digest, msgspec.Meta(min_length=32, max_length=32)]
_Trace = Annotated[str, msgspec.Meta(pattern=r"\A(?:[0-9a-f]{32})?\Z")]
_Node = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
_Key = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]


class _Common(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    v: Literal[1]
    height: Annotated[Height, msgspec.Meta(ge=0, le=2**53 - 1)]
    prev: _Hash
    time: Annotated[Instant, msgspec.Meta(ge=0, le=2**53 - 1)]
    node: _Node


class Genesis(_Common, frozen=True, forbid_unknown_fields=True):
    """The first block."""

    op: Literal["genesis"]
    salt: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]


class Stored(_Common, frozen=True, forbid_unknown_fields=True, gc=False):
    """A store or refresh block."""

    op: Literal["store", "refresh"]
    url: _Hash
    variant: _Hash
    status: Annotated[int, msgspec.Meta(ge=200, le=599)]
    head: _Hash
    body: _Hash
    length: _Count
    chunks: _Hash | None
    # Not `_Trace`: a pattern costs as much as all the rest of a block, and `are_traces` looks at many at once.
    trace: Annotated[str, msgspec.Meta(max_length=TRACE_LENGTH)]


class Purge(_Common, frozen=True, forbid_unknown_fields=True):
    """A purge block."""

    op: Literal["purge"]
    kind: PurgeKind
    scope: _Hash
    mode: PurgeMode
    trace: _Trace


class Evict(_Common, frozen=True, forbid_unknown_fields=True):
    """An evict block."""

    op: Literal["evict"]
    body: _Hash
    length: _Count


class Rollback(_Common, frozen=True, forbid_unknown_fields=True):
    """A rollback block."""

    op: Literal["rollback"]
    kind: RollbackKind
    scope: _Hash
    to: Annotated[Height, msgspec.Meta(ge=0, le=2**53 - 1)]
    absent: Absent
    trace: _Trace


class Release(_Common, frozen=True, forbid_unknown_fields=True):
    """A release block."""

    op: Literal["release"]
    kind: RollbackKind
    scope: _Hash
    trace: _Trace


class Erase(_Common, frozen=True, forbid_unknown_fields=True):
    """An erase block."""

    op: Literal["erase"]
    url: _Hash
    bodies: Annotated[tuple[_Hash, ...], msgspec.Meta(max_length=MAX_ERASED)]
    trace: _Trace


class Receipt(_Common, frozen=True, forbid_unknown_fields=True):
    """A receipt block."""

    op: Literal["receipt"]
    url: _Hash
    source: Source
    cause: Annotated[str, msgspec.Meta(pattern=r"\A[a-z][a-z0-9-]{0,31}\Z")]
    block: Annotated[Height, msgspec.Meta(ge=0, le=2**53 - 1)] | None
    served: Annotated[Instant, msgspec.Meta(ge=0, le=2**53 - 1)]
    count: Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]
    trace: _Trace


class Rotate(_Common, frozen=True, forbid_unknown_fields=True):
    """A rotate block: verifier keys, and the old one's signature."""

    op: Literal["rotate"]
    old: _Key
    new: _Key
    signature: Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]


Entry = Genesis | Stored | Purge | Evict | Rollback | Release | Erase | Receipt | Rotate


_are_hexadecimal = re.compile(r"[0-9a-f]*", re.ASCII).fullmatch


class _Peek(msgspec.Struct):
    op: str


encoder = msgspec.json.Encoder()
_peek = msgspec.json.Decoder(_Peek)
stored_decoder = msgspec.json.Decoder(Stored)
_decoders: dict[str, msgspec.json.Decoder[Any]] = {
    "genesis": msgspec.json.Decoder(Genesis),
    "store": stored_decoder,
    "refresh": stored_decoder,
    "purge": msgspec.json.Decoder(Purge),
    "evict": msgspec.json.Decoder(Evict),
    "rollback": msgspec.json.Decoder(Rollback),
    "release": msgspec.json.Decoder(Release),
    "erase": msgspec.json.Decoder(Erase),
    "receipt": msgspec.json.Decoder(Receipt),
    "rotate": msgspec.json.Decoder(Rotate),
}


class Block(msgspec.Struct, frozen=True, gc=False):
    """The bytes, their leaf hash, and what they say."""

    raw: bytes
    leaf: Digest
    entry: Entry

    @property
    def height(self) -> Height:
        return self.entry.height

    @property
    def prev(self) -> Digest:
        return self.entry.prev

    @property
    def time(self) -> Instant:
        return self.entry.time

    @property
    def node(self) -> str:
        return self.entry.node

    @property
    def op(self) -> str:
        return self.entry.op


class Place(msgspec.Struct, frozen=True, gc=False):
    """Where a new block goes: its height, the leaf hash before it, its time, and who writes it."""

    height: Height
    prev: Digest
    time: Instant
    node: str


def decode(raw: bytes) -> Block:
    """The block in `raw`. Raises `Corrupt` for bytes that this module would not have written."""
    if len(raw) > MAX_BLOCK:
        raise Corrupt("block is too long", length=len(raw))
    try:
        decoder = _decoders.get(_peek.decode(raw).op)
        if decoder is None:
            raise Corrupt("block has an unknown op")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Corrupt("block cannot be read", why=str(error)) from None
    return _decode_as(raw, decoder)


def _decode_as(raw: bytes, decoder: msgspec.json.Decoder[Any]) -> Block:
    if len(raw) > MAX_BLOCK:
        raise Corrupt("block is too long", length=len(raw))
    try:
        entry: Entry = decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Corrupt("block cannot be read", why=str(error)) from None
    # Whatever slips through a lenient reader (order, spaces, escapes, repeated keys, sloppy base64) does not survive this.
    if encoder.encode(entry) != raw:
        raise Corrupt("block is not in canonical form")
    check_meaning(entry)
    return Block(raw, leaf_hash(raw), entry)


def are_traces(traces: Sequence[str]) -> bool:
    """Whether each of them is 32 hexadecimal digits in lower case, or empty."""
    return set(map(len, traces)) <= {0, TRACE_LENGTH} and _are_hexadecimal("".join(traces)) is not None


def check_meaning(entry: Entry) -> None:
    """Raises `Corrupt` for what no single field shows to be wrong."""
    if (entry.op == "genesis") != (entry.height == 0):
        raise Corrupt("the genesis block is the one at height 0", height=entry.height)
    if entry.height == 0 and entry.prev != ZERO:
        raise Corrupt("block 0 names a block before it")
    if isinstance(entry, Stored):
        if (entry.chunks is not None) != (entry.length > WHOLE_BODY_LIMIT):
            raise Corrupt("only a long body has chunks", height=entry.height)
        if not are_traces((entry.trace,)):
            raise Corrupt("trace is not 32 hexadecimal digits", height=entry.height)
    if isinstance(entry, Rollback) and entry.to >= entry.height:
        raise Corrupt("rollback is to a height that was not there yet", height=entry.height)
    if isinstance(entry, Receipt) and entry.block is not None and entry.block >= entry.height:
        raise Corrupt("receipt is of a block that was not there yet", height=entry.height)
    if isinstance(entry, Rotate):
        try:
            check_rotation(entry.old, entry.new, entry.signature, entry.height, entry.prev)
        except ProofRefused as error:
            raise Corrupt("rotation of the key does not hold", height=entry.height, why=error.text) from None


def seal_genesis(time: Instant, node: str, salt: bytes) -> Block:
    """Block 0. `salt` is 32 random bytes."""
    return _sealed(Genesis(1, Height(0), ZERO, time, node, "genesis", salt))


def seal(place: Place, draft: Draft, genesis_salt: bytes) -> Block:
    """The block of `draft` at `place`. Raises StoreError when the draft says something that no block may say."""
    try:
        entry = entry_of(place, draft, genesis_salt)
    except ValueError as error:  # text that UTF-8 cannot carry, selecting fields out of order
        raise StoreError("draft cannot become a block", why=str(error)) from None
    return _sealed(entry)


def entry_of(place: Place, draft: Draft, genesis_salt: bytes) -> Entry:
    """What the block of `draft` says, unchecked. Raises ValueError for text that has no digest."""
    height, prev, time, node = place.height, place.prev, place.time, place.node
    match draft:
        case StoreDraft():
            return stored_of(height, prev, time, node, draft, genesis_salt)
        case PurgeDraft(kind=kind, mode=mode, trace=trace):
            scope = scope_digest(site_salt(genesis_salt, draft.site), kind, draft.value)
            return Purge(1, height, prev, time, node, "purge", kind, scope, mode, trace)
        case EvictDraft():
            return Evict(1, height, prev, time, node, "evict", draft.body, draft.length)
        case RollbackDraft(kind=covered):
            scope = rollback_scope(site_salt(genesis_salt, draft.site), covered, draft.value)
            return Rollback(1, height, prev, time, node, "rollback", covered, scope, draft.to, draft.absent, draft.trace)
        case ReleaseDraft(kind=covered):
            scope = rollback_scope(site_salt(genesis_salt, draft.site), covered, draft.value)
            return Release(1, height, prev, time, node, "release", covered, scope, draft.trace)
        case EraseDraft():
            url = url_digest(site_salt(genesis_salt, draft.site), draft.url)
            return Erase(1, height, prev, time, node, "erase", url, draft.bodies, draft.trace)
        case ReceiptDraft():
            return _receipt(place, draft, genesis_salt)
        case RotateDraft(old=old_key, new=new_key):
            old, new = str(old_key.verifier), str(new_key.verifier)
            signature = old_key.sign_bytes(rotation_statement(old, new, height, prev))
            return Rotate(1, height, prev, time, node, "rotate", old, new, signature)


def stored_of(height: Height, prev: Digest, time: Instant, node: str, draft: StoreDraft, genesis_salt: bytes) -> Stored:
    """`entry_of` a stored response, of which there are many: at its place, without the `Place`."""
    url, variant = url_digest(site_salt(genesis_salt, draft.site), draft.url), variant_digest(draft.selecting)
    status, head, body, length, chunks = draft.status, sha256(draft.head), draft.body.digest, draft.body.length, draft.body.chunks
    # Each by its place: keywords or a star would double what this costs.
    return Stored(1, height, prev, time, node, draft.op, url, variant, status, head, body, length, chunks, draft.trace)


def _receipt(place: Place, draft: ReceiptDraft, genesis_salt: bytes) -> Receipt:
    url = url_digest(site_salt(genesis_salt, draft.site), draft.url)
    said = (draft.source, draft.cause, draft.block, draft.served, draft.count, draft.trace)
    return Receipt(1, place.height, place.prev, place.time, place.node, "receipt", url, *said)


def _sealed(entry: Entry) -> Block:
    try:
        # Reading it back is what makes sure that everybody else can.
        return _decode_as(encoder.encode(entry), _decoders[entry.op])
    except (Corrupt, ValueError, TypeError, OverflowError) as error:
        raise StoreError("draft cannot become a block", why=str(error)) from None


def body_of(entry: Stored) -> BodyRef:
    """The body that a block names."""
    return BodyRef(entry.body, entry.length, entry.chunks)
