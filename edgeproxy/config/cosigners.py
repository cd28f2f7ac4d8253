"""Who cosigns the ledger, out of `[ledger]`: a policy and the addresses, and what is wrong with them.

Owns: how `validators` with `quorum`, or a policy file, become one `Policy`. Must not ask anybody.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeproxy.config.model import Ledger, LedgerValidator
from edgeproxy.errors import ConfigError, ProofRefused
from edgeproxy.ledger.note_keys import parse_verifier
from edgeproxy.ledger.policy import MAX_POLICY, Group, Policy, Witness, parse_policy
from edgeproxy.sequencer.asking import Asked

_QUORUM = "quorum"


def cosigners_of(ledger: Ledger) -> tuple[Policy, list[Asked]] | None:
    """What makes a checkpoint final, and who is asked; None when nobody is. Raises ConfigError for a policy file gone wrong."""
    if ledger.policy is not None:
        policy = _read(ledger.policy)
        known = ((name, each.verifier, each.url) for name, each in policy.witnesses.items())
        return policy, [Asked(name, verifier, url) for name, verifier, url in known if url is not None]
    if not ledger.validators:
        return None
    asked = [_asked(each) for each in ledger.validators]
    return _policy(asked, ledger.quorum or majority(len(asked))), asked


def majority(count: int) -> int:
    """More than half: with fewer, two trees could both be final without anybody lying."""
    return count // 2 + 1


def _asked(one: LedgerValidator) -> Asked:
    verifier = parse_verifier(one.vkey)
    return Asked(verifier.name, verifier, one.url, one.ca_file)


def _policy(asked: Sequence[Asked], quorum: int) -> Policy:
    witnesses = {each.name: Witness(each.verifier, each.url) for each in asked}
    # A name of its own, which no key can have.
    name = f" {_QUORUM}"
    return Policy(witnesses=witnesses, groups={name: Group(quorum, tuple(witnesses))}, quorum=name)


def _read(path: Path) -> Policy:
    try:
        with path.open("rb") as file:
            return parse_policy(file.read(MAX_POLICY + 1))
    except OSError as error:
        raise ConfigError([f"ledger.policy: {path} cannot be read: {error.strerror}"]) from error
    except ProofRefused as error:
        raise ConfigError([f"ledger.policy: {path} is not understood: {error}; allowed: a C2SP tlog-policy file"]) from None


def cosigner_faults(table: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong between the keys of the raw table `[ledger]`, each of which may be wrong by itself."""
    validators, policy, quorum = table.get("validators"), table.get("policy"), table.get("quorum")
    given = validators if isinstance(validators, list) else []
    if given and policy is not None:
        yield "ledger.policy: names the validators, and so does [[ledger.validators]]; allowed: one of the two"
    if quorum is not None and not given:
        yield "ledger.quorum: there is nobody to count; allowed: together with [[ledger.validators]]"
    elif isinstance(quorum, int) and quorum > len(given):
        yield f"ledger.quorum: {quorum} is more than there are validators; allowed: up to {len(given)}"
    if (given or policy is not None) and table.get("publish") is False:
        yield "ledger.publish: false hides the blocks from the validators too; allowed: true where there are validators"
    yield from _repeated(given)
    if isinstance(policy, str) and Path(policy).is_file():
        yield from _policy_faults(Path(policy))


def _repeated(given: Sequence[Any]) -> Iterator[str]:
    """One key, one vote, and names are what the operator is told."""
    seen: set[object] = set()
    for index, each in enumerate(given):
        try:
            verifier = parse_verifier(str(each.get("vkey")) if isinstance(each, dict) else "")
        except ProofRefused:
            continue
        for same, what in ((verifier.public, "key"), (verifier.name, "name of the key")):
            if same in seen:
                yield f"ledger.validators[{index}].vkey: the {what} is there twice; allowed: each validator once"
                break
        seen |= {verifier.public, verifier.name}


def _policy_faults(path: Path) -> Iterator[str]:
    try:
        policy = _read(path)
    except ConfigError as error:
        yield from error.faults
        return
    asked = {name for name, each in policy.witnesses.items() if each.url is not None}
    if policy.quorum is None:
        yield f"ledger.policy: {path} has the quorum none, with which everything is final; allowed: a quorum of witnesses"
    elif not policy.is_met(asked):
        yield f"ledger.policy: {path} has too few witnesses with a url for its quorum; allowed: a url behind the key of each"
