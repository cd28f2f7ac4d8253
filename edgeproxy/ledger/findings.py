"""What an audit of somebody else's ledger can find, and what each finding means to the one who asked.

Owns: the kinds of findings and their words. Must not judge anything.
"""

from enum import StrEnum
from typing import ClassVar

from edgeproxy.errors import EdgeError, Fault


class FindingKind(StrEnum):
    """What is wrong with a remote ledger, or keeps it from being checked."""

    UNREACHABLE = "unreachable"
    UNPUBLISHED = "unpublished"
    REDIRECTED = "redirected"
    TOO_LARGE = "too-large"
    CHECKPOINT = "checkpoint"
    KEY = "key"
    ORIGIN = "origin"
    QUORUM = "quorum"
    STALE = "stale"
    ROLLBACK = "rollback"
    FORK = "fork"
    TILE = "tile"
    BUNDLE = "bundle"
    BLOCK = "block"
    BODY = "body"
    LIMIT = "limit"
    MEMORY = "memory"


class Finding(EdgeError):
    """The first thing that is wrong. `height`: the block concerned, when it is one."""

    fault: ClassVar[Fault] = Fault.STORE

    def __init__(self, kind: FindingKind, text: str, *, height: int | None = None, **fields: object) -> None:
        super().__init__(text, **({} if height is None else {"block": height}), **fields)
        self.kind = kind
        self.height = height

    @classmethod
    def of(cls, kind: FindingKind, error: EdgeError, height: int | None = None) -> "Finding":
        """What `error` says, as a finding of this kind."""
        return cls(kind, error.text, height=height, **{name: value for name, value in error.fields.items() if name != "height"})

    @property
    def meaning(self) -> str:
        """What it means, in one sentence for an operator."""
        return _WORDS[self.kind][0]

    @property
    def advice(self) -> str:
        """What to do, in one sentence."""
        return _WORDS[self.kind][1]


_WORDS = {
    FindingKind.UNREACHABLE: (
        "The edge could not be read to the end. This says nothing about its ledger.",
        "Try again: the audit goes on where it stopped. --timeout allows a slow edge more time.",
    ),
    FindingKind.UNPUBLISHED: (
        "Nothing can be audited from outside: a part of the ledger that the edge's own checkpoint covers is not there.",
        "Is the address right, and does the edge publish its ledger (ledger.publish)? Its operator must say why a part is gone.",
    ),
    FindingKind.REDIRECTED: (
        "The edge sends the auditor elsewhere; that is not followed, since another host is not the edge that you asked about.",
        "Give the address where the ledger is, with --url.",
    ),
    FindingKind.TOO_LARGE: (
        "The edge answered with more than any such answer may hold; reading was stopped.",
        "Whoever answers there is broken or hostile. Compare the address with the one that the operator published.",
    ),
    FindingKind.CHECKPOINT: (
        "The statement of the edge about its ledger cannot be believed: it is damaged, or was changed after it was signed.",
        "Try again from another network. If it stays, ask the operator of the edge.",
    ),
    FindingKind.KEY: (
        "Whoever answers there does not hold the key that you trust, and no block hands over from it to the one that signed.",
        "Compare --key with what the operator published. After the loss of a ledger there is a new key, to be asked for there.",
    ),
    FindingKind.ORIGIN: (
        "The checkpoint is of another log than the one that your key belongs to.",
        "Compare the address with the name in front of the key: they belong together.",
    ),
    FindingKind.QUORUM: (
        "Too few of the independent parties that your policy asks for have confirmed this state: they are behind, or refuse it.",
        "Try again later. If it stays, ask those parties what they saw: a forked ledger looks like this.",
    ),
    FindingKind.STALE: (
        "The newest confirmation is too old: this may be an old state, shown to hide what was written since.",
        "Ask the operator why the validators confirm nothing; --max-age allows more.",
    ),
    FindingKind.ROLLBACK: (
        "The edge shows a shorter ledger than it showed before: blocks that were signed have disappeared.",
        "Keep both notes (named below). An old copy was restored there, or history is being rewritten: the operator must say.",
    ),
    FindingKind.FORK: (
        "The log's key signed two histories that exclude each other: somebody was deceived, or two copies of the edge ran.",
        "Keep both notes (named below): they convince anyone. Trust nothing that this key signed since.",
    ),
    FindingKind.TILE: (
        "Hashes that the edge served are not those that its signed checkpoint stands for.",
        "Its disk, or something on the way, changes data. Try from another network; its operator runs: edgeproxy ledger verify",
    ),
    FindingKind.BUNDLE: (
        "Blocks that the edge served are not those that its signed checkpoint stands for.",
        "Its disk, or something on the way, changes data. Try from another network; its operator runs: edgeproxy ledger verify",
    ),
    FindingKind.BLOCK: (
        "The edge signed a block that breaks the rules of the chain. No edge that works as it should writes one.",
        "Take the ledger as worthless from this block on, and ask the operator which program wrote it.",
    ),
    FindingKind.BODY: (
        "The content that the edge hands out is not what its ledger says was stored.",
        "The copy there is damaged or was exchanged. Its operator runs: edgeproxy ledger verify",
    ),
    FindingKind.LIMIT: (
        "The ledger is longer than this audit was allowed to read.",
        "Allow more with --max-blocks; what was read so far is kept.",
    ),
    FindingKind.MEMORY: (
        "What earlier audits kept on this machine cannot be used.",
        "Nothing is known about the edge yet. Without the file the next audit begins anew, with nothing to compare with.",
    ),
}
