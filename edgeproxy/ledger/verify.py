"""Proof that stored bytes are what their block says, and the type that only a proof can make.

Owns: `Verified` and every function that makes one. Must not read a store: bytes come in, a proof or `Corrupt` goes out. One
about a body has the field `digest`; one about block, head or names has `height`.
"""

from typing import Generic, NoReturn, TypeVar, final

from edgeproxy.caching.model import Digest, Selecting, StoredResponse
from edgeproxy.clock import Instant
from edgeproxy.errors import Corrupt
from edgeproxy.ledger.block import Block, Entry, Genesis, Purge, Receipt, Release, Rollback, Stored, body_of, decode
from edgeproxy.ledger.chunks import BodyHasher, chunk_length, root_of_chunks
from edgeproxy.ledger.digests import rollback_scope, scope_digest, sha256, site_salt, url_digest, variant_digest
from edgeproxy.ledger.drafts import BodyRef, ErasedNames, Names, PurgeNames, ReceiptNames, ScopeNames, StoredNames, StoreDraft
from edgeproxy.ledger.merkle import leaf_hash
from edgeproxy.wire.http1 import decode_stored_head
from edgeproxy.wire.messages import ResponseHead

T = TypeVar("T")

_TOKEN = object()


@final
class Verified(Generic[T]):
    """A value that was proved against its block. Only this module can make one, and nobody can change it."""

    __slots__ = ("value",)

    value: T

    def __init__(self, value: T, token: object) -> None:
        if token is not _TOKEN:
            raise TypeError("only ledger.verify makes a Verified")
        object.__setattr__(self, "value", value)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a Verified does not change")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a Verified does not change")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Verified is not copied or sent: its proof holds where it was made")

    def __repr__(self) -> str:
        return f"Verified({self.value!r})"


def verify_block(raw: bytes, leaf: Digest) -> Block:
    """The block in `raw`, whose leaf hash must be `leaf`."""
    if leaf_hash(raw) != leaf:
        raise Corrupt("block does not match its leaf hash")
    return decode(raw)


def verify_stored(raw: bytes, leaf: Digest, head: bytes, url: str, selecting: Selecting, salt: bytes) -> Verified[StoredResponse]:
    """The response that a store or refresh block names, from its stored head.

    `leaf` is the block's leaf hash as known from elsewhere (the index in memory), `salt` that of the site. Raises `Corrupt`.
    """
    block = verify_block(raw, leaf)
    entry = block.entry
    if not isinstance(entry, Stored):
        raise Corrupt("block stores no response", height=block.height)
    check_stored_names(entry, url, selecting, salt)
    check_head(entry, head)
    read = _read_head(head, entry.status)
    return Verified(_response(url, selecting, read, entry.time, body_of(entry), block), _TOKEN)


def verify_draft(draft: StoreDraft) -> Verified[StoredResponse]:
    """The response of a draft that this process made from what the origin sent; it has no height yet.

    Raises `Corrupt` when the draft's head is not one that could be read back.
    """
    head = _read_head(draft.head, draft.status)
    return Verified(_response(draft.url, draft.selecting, head, draft.time, draft.body, None), _TOKEN)


def _response(
    url: str, selecting: Selecting, head: ResponseHead, time: Instant, body: BodyRef, block: Block | None
) -> StoredResponse:
    return StoredResponse(
        url=url,
        status=head.status,
        fields=head.fields,
        response_time=time,
        initial_age=_age(head),
        body=body.digest,
        length=body.length,
        selecting=selecting,
        height=block.height if block else None,
    )


def _read_head(head: bytes, status: int) -> ResponseHead:
    try:
        read = decode_stored_head(head)
    except ValueError as error:
        raise Corrupt("stored head cannot be read", why=str(error)) from None
    if read.status != status:
        raise Corrupt("stored head has another status than its block", status=read.status)
    return read


def _age(head: ResponseHead) -> int:
    """`Age` of a stored head is the corrected initial age at the block's time; absent means 0 (RFC 9111 section 4.2.3)."""
    value = head.fields.get("age")
    return int(value) if value is not None and value.isascii() and value.isdigit() and len(value) < 11 else 0


def check_head(entry: Stored, head: bytes) -> None:
    """Raises `Corrupt` unless `head` is the stored head that the block names."""
    if sha256(head) != entry.head:
        raise Corrupt("stored head does not match its block", height=entry.height)


def check_stored_names(entry: Stored, url: str, selecting: Selecting, salt: bytes) -> None:
    """Raises `Corrupt` unless the block is for this URL and variant. `salt` is that of the site."""
    try:
        if url_digest(salt, url) != entry.url:
            raise Corrupt("block is for another URL", height=entry.height)
        if variant_digest(selecting) != entry.variant:
            raise Corrupt("block is for another variant", height=entry.height)
    except ValueError as error:
        raise Corrupt("names cannot be digested", height=entry.height, why=str(error)) from None


def check_names(entry: Entry, names: Names | None, genesis_salt: bytes) -> None:
    """Raises `Corrupt` unless `names` are those that the block has digests of."""
    match entry, names:
        case Stored(), StoredNames():
            check_stored_names(entry, names.url, names.selecting, site_salt(genesis_salt, names.site))
        case Purge(), PurgeNames():
            if scope_digest(site_salt(genesis_salt, names.site), names.kind, names.value) != entry.scope:
                raise Corrupt("purge is for another scope", height=entry.height)
            if (names.kind, names.mode) != (entry.kind, entry.mode):
                raise Corrupt("purge is of another kind", height=entry.height)
        case Purge(kind="url"), ErasedNames():
            pass  # a later block must say so: for `ledger.replay`, which reads all of them
        case (Rollback() | Release()), ScopeNames():
            _check_scope_names(entry, names, genesis_salt)
        case Receipt(), ReceiptNames():
            if url_digest(site_salt(genesis_salt, names.site), names.url) != entry.url:
                raise Corrupt("receipt is for another URL", height=entry.height)
        case ((Stored() | Purge() | Rollback() | Release() | Receipt()), _):
            raise Corrupt("private row is missing or of another kind", height=entry.height)
        case Genesis(), None:
            pass
        case _:
            if names is not None:
                raise Corrupt("private row for a block that has none", height=entry.height)


def _check_scope_names(entry: Rollback | Release, names: ScopeNames, genesis_salt: bytes) -> None:
    if rollback_scope(site_salt(genesis_salt, names.site), names.kind, names.value) != entry.scope:
        raise Corrupt("rule is for another scope", height=entry.height)
    if (names.op, names.kind) != (entry.op, entry.kind):
        raise Corrupt("rule is of another kind", height=entry.height)
    if names.to is not None and (not isinstance(entry, Rollback) or (names.to, names.absent) != (entry.to, entry.absent)):
        raise Corrupt("rule is to another height", height=entry.height)


def measure_body(data: bytes) -> tuple[BodyRef, Verified[bytes]]:
    """The reference of a body that this process holds whole, and the body as verified: it is what the reference was made from."""
    hasher = BodyHasher()
    hasher.update(data)
    return hasher.finish(), Verified(data, _TOKEN)


def verify_body(ref: BodyRef, data: bytes) -> Verified[bytes]:
    """The whole body, of any length. Raises `Corrupt` with the field `digest`."""
    if len(data) != ref.length:
        raise Corrupt("body has another length than its block says", digest=ref.digest.hex(), length=len(data))
    if sha256(data) != ref.digest:
        raise Corrupt("body does not match its digest", digest=ref.digest.hex())
    return Verified(data, _TOKEN)


def verify_leaves(ref: BodyRef, leaves: tuple[bytes, ...]) -> Verified[tuple[bytes, ...]]:
    """The leaf hashes of a body's chunks, proved against the root in its block; with them `verify_chunk` proves each chunk."""
    if ref.chunks is None:
        raise Corrupt("body has no chunks", digest=ref.digest.hex())
    if any(len(leaf) != 32 for leaf in leaves) or root_of_chunks(leaves) != ref.chunks:
        raise Corrupt("hashes of the chunks do not give the root in the block", digest=ref.digest.hex())
    return Verified(leaves, _TOKEN)


def verify_chunk(ref: BodyRef, leaves: Verified[tuple[bytes, ...]], index: int, data: bytes) -> Verified[bytes]:
    """Chunk `index` of a body. Raises `Corrupt` with the fields `digest` and `chunk`."""
    try:
        expected = chunk_length(ref.length, index)
        matches = len(data) == expected and leaf_hash(data) == leaves.value[index]
    except (ValueError, IndexError):
        matches = False
    if not matches:
        raise Corrupt("chunk does not match its hash", digest=ref.digest.hex(), chunk=index)
    return Verified(data, _TOKEN)
