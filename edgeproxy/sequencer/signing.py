"""Which key signs the ledger, and whether it may: the log never states anything that contradicts what it stated before.

Owns: that judgement, at the start. Must not repair the ledger (`recovery`) or write blocks.

What the last checkpoint says is compared with the tree that recovery rebuilt from the blocks:
  the same root at its size                         the key goes on
  signed by another key, or there is none           the key goes on; a ledger of an older version gets its first checkpoint
  another root or fewer blocks, and no damage       somebody changed the ledger: a fork; the edge does not start
  another root or fewer blocks, after damage        the blocks are lost for good; visitors are served all the same, under a new
                                                    key; the old one is moved aside and never contradicts itself
"""

import logging
from collections.abc import Callable
from enum import Enum, auto
from pathlib import Path

from edgeproxy.errors import ProofRefused, StartError
from edgeproxy.ledger.checkpoint import Checkpoint, open_checkpoint
from edgeproxy.ledger.note_keys import Signer
from edgeproxy.sequencer.recovery import Recovered
from edgeproxy.storage.ledger_key import MLDSA_FILE, NEXT_FILE, drop_next, ensure_key, promote_next, read_key, retire_key

log = logging.getLogger("edgeproxy.sequencer")


class Verdict(Enum):
    """What a key may do with a recovered ledger."""

    GOES_ON = auto()
    """The kept checkpoint is that of the head."""
    SIGNS = auto()
    """It may sign the head; there is no checkpoint of it yet."""
    RETIRES = auto()
    """Its last checkpoint can no longer be honoured."""


def judge(recovered: Recovered, signer: Signer) -> Verdict:
    """What `signer` may do. Raises StartError for a fork."""
    head = recovered.head
    if recovered.is_behind:
        return Verdict.RETIRES
    stated = _stated(recovered.checkpoint, signer)
    if stated is None:
        return Verdict.SIGNS
    if stated.size == head.size and stated.root == head.root:
        # The head is what new blocks are chained to. Damage below it is named by every audit, and contradicts nothing.
        if recovered.watched in (stated.root, None) or recovered.faults_of_blocks:
            return Verdict.GOES_ON
    elif stated.size < head.size and recovered.watched == stated.root:
        return Verdict.SIGNS
    if recovered.faults_of_blocks:
        return Verdict.RETIRES
    raise StartError(
        "ledger is a fork of what was signed",
        signed=stated.size,
        blocks=head.size,
        hint="restore the data folder from a backup; or move ledger-key away, and a new log begins that nobody trusts yet",
    )


def _finish_rotation(folder: Path, recovered: Recovered) -> None:
    """A crash in a rotation left two keys: the one that signed the committed checkpoint is right."""
    following = read_key(folder, NEXT_FILE)
    if following is None:
        return
    if signed_by(recovered.checkpoint, following):
        promote_next(folder)
    else:
        drop_next(folder)


def signed_by(note: bytes | None, signer: Signer) -> bool:
    """Whether `note` is a checkpoint of this key."""
    try:
        return note is not None and open_checkpoint(note, signer.verifier, signer.name).log is signer.verifier
    except ProofRefused:
        return False


def _stated(note: bytes | None, signer: Signer) -> Checkpoint | None:
    """What this key signed last, as far as the ledger knows."""
    if note is None:
        return None
    try:
        return open_checkpoint(note, signer.verifier, signer.name).checkpoint
    except ProofRefused as error:
        log.warning("kept checkpoint is not one of this key (%s); the ledger is signed anew as %s", error, signer.verifier)
        return None


def open_key(folder: Path, name: str, recovered: Recovered, random_bytes: Callable[[int], bytes]) -> tuple[Signer, Verdict]:
    """The key that signs from now on, and whether the head is still to be signed. Blocking. Raises StartError.

    `name` is for a new key only: one that exists keeps its own.
    """
    _finish_rotation(folder, recovered)
    kept = read_key(folder)
    if kept is None or judge(recovered, kept) is Verdict.RETIRES:
        # The second key has signed the same heads, and must contradict none of them either.
        retire_key(folder, MLDSA_FILE)
    if kept is not None and judge(recovered, kept) is Verdict.RETIRES:
        aside = retire_key(folder)
        if recovered.head.size or recovered.moved is not None:
            log.error("blocks that %s has signed are lost; it was moved to %s and signs no more", kept.verifier, aside)
    signer = ensure_key(folder, name, random_bytes)
    if kept is None or signer.verifier != kept.verifier:
        if recovered.head.size:
            log.warning("from now on the ledger is signed by %s", signer.verifier)
        return signer, Verdict.SIGNS
    if signer.name != name:
        log.warning("the log keeps the name it began with, %s, whatever the configuration says now", signer.name)
    return signer, judge(recovered, signer)
