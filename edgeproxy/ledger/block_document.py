"""One stored response as browsers and mirrors exchange it: a JSON object with the block, its proof, and the stored head.

Owns: the form of the object (`/.edge/api/v1/blocks?url=…`, `blocks/<hex>.json` of a mirror) and the order of its checks. Must not
read a store.

  {"block":B64 of the block's bytes,"proof":text of a tlog-proof file,"head":B64 of the stored head,"body":hex of its SHA-256,
   "length":bytes of the body,"height":number}
Nothing in it need be trusted: the proof leads from the block to a checkpoint of the log's key, the block to all the rest.
"""

from typing import Annotated

import msgspec

from edgeproxy.caching.model import Digest
from edgeproxy.errors import Corrupt, ProofRefused
from edgeproxy.ledger.block import MAX_BLOCK, Stored, decode
from edgeproxy.ledger.note_keys import Verifier
from edgeproxy.ledger.proof_file import MAX_PROOF_FILE, ProofFile, parse_proof_file, verify_proof
from edgeproxy.ledger.verify import check_head

MAX_HEAD = 1 << 20
MAX_DOCUMENT = 2 * (MAX_BLOCK + MAX_HEAD) + 2 * MAX_PROOF_FILE
"""Bytes."""

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]


class BlockDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the object says, unverified. `head` and `body` are None for a block that stores no response."""

    block: bytes
    proof: str
    head: bytes | None
    body: str | None
    length: _Count | None
    height: _Count


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(BlockDocument)


def encode_document(entry: Stored, raw: bytes, proof: ProofFile, head: bytes) -> bytes:
    """The bytes of the object for a store or refresh block; `raw` are the block's own."""
    return _encoder.encode(BlockDocument(raw, proof.encode().decode(), head, entry.body.hex(), entry.length, int(entry.height)))


def parse_document(data: bytes) -> BlockDocument:
    """The inverse. Raises `ProofRefused`."""
    if len(data) > MAX_DOCUMENT:
        raise ProofRefused("block document is too long", length=len(data), most=MAX_DOCUMENT)
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProofRefused("block document cannot be read", why=str(error)) from None


def check_document(data: bytes, digest: bytes, log: Verifier) -> Stored:
    """That `data` proves a response that was logged for the URL with this `digest`; answers its block's fields.

    The checks are those of the service worker, in its order. Raises `ProofRefused` naming the first fault.
    """
    document = parse_document(data)
    proof = parse_proof_file(document.proof.encode())
    verify_proof(proof, document.block, log, log.name)
    try:
        entry = decode(document.block).entry
        if not isinstance(entry, Stored):
            raise ProofRefused("block stores no response", height=document.height)
        if entry.height != proof.index or document.height != proof.index:
            raise ProofRefused("block has another height than its place in the log", height=entry.height)
        if entry.url != Digest(digest):
            raise ProofRefused("block is for another URL", height=entry.height)
        if document.head is None:
            raise ProofRefused("block document has no head", height=entry.height)
        check_head(entry, document.head)
    except Corrupt as error:
        raise ProofRefused(error.text, **error.fields) from None
    if (document.body, document.length) != (entry.body.hex(), entry.length):
        raise ProofRefused("block document names another body than its block", height=entry.height)
    return entry
