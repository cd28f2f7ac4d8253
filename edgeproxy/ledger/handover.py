"""The rotations of a log in a file beside a proof, so that one who trusts an older key is led to the one that signed.

Owns: the form of that file, and its check against the checkpoint of the proof. Must not read a file, nor take a key from it that
the trusted one did not hand over to.

  edgeproxy ledger rotations v1
  <empty line>                       before each rotation, lowest block first
  block <base64 of the bytes of a rotate block>
  <base64 of a hash>                 each hash of its path to the root of the proof's checkpoint, the leaf's sibling first

The index of a block in the tree is its height, which it says itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from edgeproxy.caching.model import Digest
from edgeproxy.errors import Corrupt, ProofRefused
from edgeproxy.ledger.block import decode
from edgeproxy.ledger.checkpoint import Checkpoint
from edgeproxy.ledger.merkle import leaf_hash
from edgeproxy.ledger.proofs import MAX_PROOF, verify_inclusion
from edgeproxy.ledger.strict import decode_base64, decode_hashes, decode_lines, encode_base64
from edgeproxy.ledger.succession import Rotated, rotation_in

MAX_ROTATIONS = 256
MAX_ROTATIONS_FILE = 1 << 20
"""Bytes."""

_FIRST = "edgeproxy ledger rotations v1"


@dataclass(frozen=True, slots=True)
class Handover:
    """One rotation, unverified: the block's bytes and its path to the root."""

    block: bytes
    path: tuple[Digest, ...]


def encode_rotations(handovers: Sequence[Handover]) -> bytes:
    """The bytes of the file. Raises ValueError when there is nothing to write, or more than a reader takes."""
    if not 0 < len(handovers) <= MAX_ROTATIONS:
        raise ValueError("no rotations, or too many")
    lines = [_FIRST]
    for each in handovers:
        lines += ["", f"block {encode_base64(each.block)}", *(encode_base64(one) for one in each.path)]
    return "".join(f"{line}\n" for line in lines).encode()


def parse_rotations(data: bytes) -> tuple[Handover, ...]:
    """The inverse. Raises `ProofRefused` for any byte that the other would not have written."""
    lines = decode_lines(data, most=MAX_ROTATIONS_FILE)
    if lines[0] != _FIRST:
        raise ProofRefused("not a file of rotations of version 1")
    groups: list[list[str]] = []
    for line in lines[1:]:
        if not line:
            groups.append([])
        elif not groups:
            raise ProofRefused("rotation does not begin with an empty line")
        else:
            groups[-1].append(line)
    if not 0 < len(groups) <= MAX_ROTATIONS:
        raise ProofRefused("file has no rotations, or too many", count=len(groups))
    return tuple(_handover(group) for group in groups)


def _handover(lines: list[str]) -> Handover:
    if not lines or not lines[0].startswith("block "):
        raise ProofRefused("rotation has no block")
    return Handover(decode_base64(lines[0].removeprefix("block ")), decode_hashes(lines[1:], most=MAX_PROOF))


def rotations_of(handovers: Sequence[Handover]) -> tuple[Rotated, ...]:
    """What the blocks say. The old keys' signatures in them are verified, their places are not. Raises `ProofRefused`."""
    rotations: list[Rotated] = []
    for each in handovers:
        try:
            rotated = rotation_in(decode(each.block))
        except Corrupt as error:
            raise ProofRefused(f"block of a rotation: {error.text}", **error.fields) from None
        if rotated is None:
            raise ProofRefused("block of a rotation is another block")
        if rotations and rotated.height <= rotations[-1].height:
            raise ProofRefused("rotations are out of order", height=rotated.height)
        rotations.append(rotated)
    return tuple(rotations)


def verify_rotations(handovers: Sequence[Handover], rotations: Sequence[Rotated], tree: Checkpoint) -> None:
    """That these blocks are in the tree of the checkpoint. Raises `ProofRefused`."""
    for each, rotated in zip(handovers, rotations, strict=True):
        verify_inclusion(rotated.height, tree.size, leaf_hash(each.block), each.path, tree.root)
