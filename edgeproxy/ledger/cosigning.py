"""What is said between a log and those who cosign its checkpoints (C2SP tlog-witness v1.0.0, add-checkpoint).

Owns: the bytes of the request and of the answer that names a size, for both sides. Must not decide what is answered, or send it.

  old <size>                      what the cosigner is believed to have cosigned last
  <base64 of a hash>              0 to 63 lines: the consistency proof from there to the checkpoint
  <empty line>
  <the signed checkpoint>
"""

from collections.abc import Sequence
from dataclasses import dataclass

from edgeproxy.caching.model import Digest
from edgeproxy.errors import ProofRefused
from edgeproxy.ledger.digests import sha256
from edgeproxy.ledger.proofs import MAX_PROOF
from edgeproxy.ledger.strict import decode_decimal, decode_hashes, decode_lines, encode_base64

MAX_REQUEST = 128 << 10
"""Bytes; room for thirty signatures with ML-DSA-44."""
MAX_ANSWER = 64 << 10
SIZE_TYPE = "text/x.tlog.size"

_MAX_HEAD = 4 << 10


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """A request, unverified. `note` is the checkpoint as it was sent."""

    old: int
    proof: tuple[Digest, ...]
    note: bytes


def encode_request(old: int, proof: Sequence[bytes], note: bytes) -> bytes:
    """The bytes to send."""
    return f"old {old}\n{''.join(f'{encode_base64(each)}{chr(10)}' for each in proof)}\n".encode() + note


def parse_request(data: bytes) -> AddCheckpoint:
    """The request in `data`. Raises `ProofRefused` for any byte that is not as the specification says."""
    if len(data) > MAX_REQUEST:
        raise ProofRefused("request is too long", length=len(data))
    head, empty, note = data.partition(b"\n\n")
    if not empty:
        raise ProofRefused("request has no empty line before its checkpoint")
    first, *hashes = decode_lines(head + b"\n", most=_MAX_HEAD)
    word, _, number = first.partition(" ")
    if word != "old":
        raise ProofRefused("request does not begin with the old size")
    return AddCheckpoint(decode_decimal(number), decode_hashes(hashes, most=MAX_PROOF), note)


def parse_size(data: bytes) -> int:
    """The size in the body of a 409. Raises `ProofRefused`."""
    lines = decode_lines(data, most=64)
    if len(lines) != 1:
        raise ProofRefused("answer is not one size")
    return decode_decimal(lines[0])


def monitoring_path(origin: str) -> str:
    """Where a cosigner shows the newest checkpoint of a log, below its monitoring prefix."""
    return f"{sha256(origin.encode()).hex()}/checkpoint"
