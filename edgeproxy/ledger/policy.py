"""Policy files (C2SP tlog-policy): which logs are trusted, and which cosignatures make a checkpoint final.

Owns: their form, and the judgement over an opened checkpoint. Must not fetch a checkpoint or judge how old it is.

  log <verifier key> [url]
  witness <name> <verifier key> [url]
  group <name> all|any|<number> <member> ...     members are witnesses and groups named above
  quorum <name>|none                             exactly once

Fields are separated by spaces and tabs. A line whose first field begins with # is a comment.
"""

import re
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from edgeproxy.errors import ProofRefused
from edgeproxy.ledger.checkpoint import Opened, open_checkpoint, read_checkpoint
from edgeproxy.ledger.note_keys import ED25519, Verifier, parse_verifier
from edgeproxy.ledger.strict import decode_decimal

MAX_POLICY = 1 << 18
"""Bytes."""

_is_allowed = re.compile(rb"[\t\n\x20-\x7e\x80-\xff]*").fullmatch


@dataclass(frozen=True, slots=True)
class Witness:
    """One who cosigns. `url` is where it is asked, None when nothing says."""

    verifier: Verifier
    url: str | None


@dataclass(frozen=True, slots=True)
class Group:
    """Met when `needed` of `members` are."""

    needed: int
    members: tuple[str, ...]


@dataclass(slots=True)
class Policy:
    """`logs` by origin; `witnesses` and `groups` by the names of the file. `quorum` None asks for no cosignature.

    `urls` says where logs publish, where the file does.
    """

    logs: dict[str, Verifier] = field(default_factory=dict)
    urls: dict[str, str] = field(default_factory=dict)
    witnesses: dict[str, Witness] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    quorum: str | None = None

    def is_met(self, cosigned: AbstractSet[str]) -> bool:
        """Whether these witnesses are a quorum."""
        return self.quorum is None or self._holds(self.quorum, cosigned)

    def _holds(self, name: str, cosigned: AbstractSet[str]) -> bool:
        group = self.groups.get(name)
        if group is None:
            return name in cosigned
        return sum(self._holds(member, cosigned) for member in group.members) >= group.needed

    def plain(self) -> tuple[int, tuple[Verifier, ...]] | None:
        """The quorum as a number and the keys that count for it; None when it takes groups of groups to say it, or is none."""
        if self.quorum is None:
            return None
        group = self.groups.get(self.quorum, Group(1, (self.quorum,)))
        if not all(member in self.witnesses for member in group.members):
            return None
        return group.needed, tuple(self.witnesses[member].verifier for member in group.members)

    def open(self, note: bytes) -> Opened:
        """The checkpoint in `note`, signed by a log of this policy and by a quorum. Raises `ProofRefused`."""
        claimed = read_checkpoint(note)
        log = self.logs.get(claimed.origin) if claimed is not None else None
        if claimed is None or log is None:
            raise ProofRefused("checkpoint is of no log that the policy names")
        opened = open_checkpoint(note, log, claimed.origin, [each.verifier for each in self.witnesses.values()])
        signed = [each.verifier for each in opened.cosigned]
        if not self.is_met({name for name, each in self.witnesses.items() if each.verifier in signed}):
            raise ProofRefused("checkpoint has not the cosignatures of a quorum", cosigned=len(signed))
        return opened


def parse_policy(data: bytes) -> Policy:
    """The policy in a file. Raises `ProofRefused` with the field `line`, counted from 1."""
    if len(data) > MAX_POLICY:
        raise ProofRefused("policy is too long", length=len(data))
    reader = _Reader()
    for number, line in enumerate(data.split(b"\n"), 1):
        try:
            reader.take(line)
        except ProofRefused as error:
            raise ProofRefused(error.text, **error.fields, line=number) from None
    if not reader.has_quorum:
        raise ProofRefused("policy has no quorum")
    return reader.policy


class _Reader:
    """What was read so far. A name can only be used after the line that makes it."""

    def __init__(self) -> None:
        self.policy = Policy()
        self.has_quorum = False
        self._members: set[str] = set()
        self._log_keys: set[bytes] = set()
        self._witness_keys: set[bytes] = set()

    def take(self, line: bytes) -> None:
        if _is_allowed(line) is None:
            raise ProofRefused("policy has a control character")
        # Names are bytes that mean nothing: read in a way that keeps each apart.
        words = [word for word in line.decode("latin-1").replace("\t", " ").split(" ") if word]
        if not words or words[0].startswith("#"):
            return
        match words:
            case ["log", key, *url] if len(url) < 2:
                self._log(_key(key), url[0] if url else None)
            case ["witness", name, key, *url] if len(url) < 2:
                self._witness(name, _key(key), url[0] if url else None)
            case ["group", name, needed, *members] if members:
                self._group(name, needed, tuple(members))
            case ["quorum", name]:
                self._quorum(name)
            case _:
                raise ProofRefused("line of the policy is not understood")

    def _log(self, verifier: Verifier, url: str | None) -> None:
        if verifier.kind != ED25519:
            raise ProofRefused("key of a log is not of the type that signs notes")
        if verifier.public in self._log_keys or verifier.name in self.policy.logs:
            raise ProofRefused("log is named twice", log=verifier.name)
        self._log_keys.add(verifier.public)
        self.policy.logs[verifier.name] = verifier
        if url is not None:
            self.policy.urls[verifier.name] = url

    def _witness(self, name: str, verifier: Verifier, url: str | None) -> None:
        self._new(name)
        if verifier.kind == ED25519:
            raise ProofRefused("key of a witness is not of a type that cosigns", witness=name)
        # One key, one vote, under whatever names.
        if verifier.public in self._witness_keys:
            raise ProofRefused("key of a witness is there twice", witness=name)
        self._witness_keys.add(verifier.public)
        self.policy.witnesses[name] = Witness(verifier, url)

    def _group(self, name: str, needed: str, members: tuple[str, ...]) -> None:
        self._new(name)
        for member in members:
            self._known(member)
            if member in self._members:
                raise ProofRefused("member of a group is one already", member=member)
            self._members.add(member)
        least = {"all": len(members), "any": 1}.get(needed)
        least = decode_decimal(needed) if least is None else least
        if not 1 <= least <= len(members):
            raise ProofRefused("group needs none, or more members than it has", group=name)
        self.policy.groups[name] = Group(least, members)

    def _quorum(self, name: str) -> None:
        if self.has_quorum:
            raise ProofRefused("policy has two quorums")
        if name != "none":
            self._known(name)
        self.has_quorum = True
        self.policy.quorum = None if name == "none" else name

    def _new(self, name: str) -> None:
        if name == "none" or name in self.policy.witnesses or name in self.policy.groups:
            raise ProofRefused("name is taken", name=name)

    def _known(self, name: str) -> None:
        if name not in self.policy.witnesses and name not in self.policy.groups:
            raise ProofRefused("name is not one of a line above", name=name)


def _key(text: str) -> Verifier:
    try:
        return parse_verifier(text.encode("latin-1").decode("utf-8"))
    except UnicodeDecodeError:
        raise ProofRefused("verifier key is not UTF-8") from None
