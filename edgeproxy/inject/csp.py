"""What a page's Content Security Policies must allow so that our tag and our worker run, and not a bit more (CSP Level 3).

Owns: the table of docs/injection.md, line by line, for enforced and for reporting policies. Must not look into a page.

Two things are needed: the scripts under `/.edge/ui/` load, and `/.edge/sw.js` may be registered. A policy that allows both is
left as it is. Otherwise, where the site is set to `extend`, it gets what is missing of two sources: the prefix of our scripts,
the URL of our worker. Never 'self', never 'unsafe-…'. Adding `worker-src` ends a fallback, so what held before is copied into it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from edgeproxy.inject.injector import LONGEST_TAG, tag
from edgeproxy.inject.reasons import Skip
from edgeproxy.inject.sources import (
    Place,
    allows_nothing,
    allows_url,
    has_strict_dynamic,
    is_keyword,
    nonce_of,
    place,
)
from edgeproxy.wire.fields import Fields

ENFORCED = "content-security-policy"
REPORTED = "content-security-policy-report-only"

SCRIPTS = "/.edge/ui/"
WORKER = "/.edge/sw.js"
TYPES_POLICY = "edge-sw"
"""Name of the Trusted Types policy that our script makes."""

Choice = Literal["respect", "extend"]

_SCRIPT_CHAIN = ("script-src-elem", "script-src", "default-src")
_WORKER_CHAIN = ("worker-src", "child-src", "script-src", "default-src")


class Change(StrEnum):
    """What was done to a policy, or to the tag for its sake."""

    NONCE = "nonce"
    """The tag carries the page's own nonce; the policy is as it was."""
    SCRIPT = "script-src"
    NEW_SCRIPT = "script-src-added"
    """There was only `default-src`."""
    WORKER = "worker-src"
    NEW_WORKER = "worker-src-added"
    TYPES = "trusted-types"


@dataclass(frozen=True, slots=True)
class Amended:
    """`fields` with all policies amended; as given when `skip` says why nothing may be injected."""

    fields: Fields
    nonce: str | None = None
    changes: tuple[Change, ...] = ()
    skip: Skip | None = None


@dataclass(slots=True)
class _Policy:
    """One policy: its directives in order, as (name as written, sources). The first of two with one name counts."""

    directives: list[tuple[str, list[str]]]
    enforced: bool
    changes: list[Change] = field(default_factory=list)

    def find(self, chain: Sequence[str]) -> tuple[str, list[str]] | None:
        """The first directive of `chain` that there is: the one that has a say."""
        for wanted in chain:
            for name, sources in self.directives:
                if name.lower() == wanted:
                    return wanted, sources
        return None

    def get(self, name: str) -> list[str] | None:
        found = self.find((name,))
        return None if found is None else found[1]

    def __str__(self) -> str:
        return "; ".join(" ".join((name, *sources)) for name, sources in self.directives)


def amend(fields: Fields, origin: str, choice: Choice) -> Amended:
    """`fields` of a page at `origin` ("https://host" or "http://host:port") with policies that allow our tag and our worker."""
    if ENFORCED not in fields and REPORTED not in fields:
        return Amended(fields)
    lines = [(name, value, _parse(name, value)) for name, value in fields.lines]
    policies = [policy for _, _, parsed in lines for policy in parsed]
    ours = _Ours.at(origin)
    nonce = _nonce(policies, ours)
    for policy in policies:
        skip = _refusal(policy) or _allow_script(policy, ours, nonce) or _allow_worker(policy, ours) or _allow_types(policy)
        if skip is None and choice == "respect" and policy.changes:
            skip = Skip.CSP_RESPECTED
        if skip is not None:
            return Amended(fields, skip=skip)
    changes = tuple(change for policy in policies for change in policy.changes)
    if nonce is not None:
        changes = (Change.NONCE, *changes)
    written = (
        (name, ", ".join(map(str, parsed)) if any(policy.changes for policy in parsed) else value)
        for name, value, parsed in lines
    )
    return Amended(Fields(written), nonce, changes)


@dataclass(frozen=True, slots=True)
class _Ours:
    """The URLs of what must run."""

    origin: str
    scripts: tuple[Place, ...]
    worker: Place

    @classmethod
    def at(cls, origin: str) -> "_Ours":
        scripts = (place(f"{origin}{SCRIPTS}register.js"), place(f"{origin}{SCRIPTS}banner.js"))
        return cls(origin, scripts, place(f"{origin}{WORKER}"))

    def scripts_pass(self, sources: Sequence[str]) -> bool:
        return not has_strict_dynamic(sources) and all(allows_url(sources, script) for script in self.scripts)


def _parse(name: str, value: str) -> list[_Policy]:
    """The policies of one field line (section 2.2): several are separated by commas. None for any other field."""
    lower = name.lower()
    if lower not in (ENFORCED, REPORTED):
        return []
    policies = []
    for text in value.split(","):
        directives = [(words[0], words[1:]) for part in text.split(";") if (words := part.split())]
        if directives:
            policies.append(_Policy(directives, enforced=lower == ENFORCED))
    return policies


def _nonce(policies: Sequence[_Policy], ours: _Ours) -> str | None:
    """The page's own nonce, when some policy lets nothing else through; the first one, for a tag has room for one."""
    for policy in policies:
        found = policy.find(_SCRIPT_CHAIN)
        if found is None or ours.scripts_pass(found[1]):
            continue
        for nonce in filter(None, map(nonce_of, found[1])):
            if len(tag(nonce)) <= LONGEST_TAG:
                return nonce
    return None


def _refusal(policy: _Policy) -> Skip | None:
    """What is respected whatever the site is set to. A sandbox is not enforced by a policy that only reports (section 6.3.2)."""
    sandbox = policy.get("sandbox")
    if policy.enforced and sandbox is not None:
        flags = {flag.lower() for flag in sandbox}
        if not flags >= {"allow-same-origin", "allow-scripts"}:
            return Skip.CSP_SANDBOX
    worker = policy.get("worker-src")
    return Skip.CSP_WORKER if worker is not None and allows_nothing(worker) else None


def _allow_script(policy: _Policy, ours: _Ours, nonce: str | None) -> Skip | None:
    found = policy.find(_SCRIPT_CHAIN)
    if found is None:
        return None
    name, sources = found
    if ours.scripts_pass(sources) or (nonce is not None and nonce in map(nonce_of, sources)):
        return None
    if has_strict_dynamic(sources):
        return Skip.CSP_STRICT
    prefix = f"{ours.origin}{SCRIPTS}"
    if name == "default-src":
        policy.directives.append(("script-src", [*_real(sources), prefix]))
        policy.changes.append(Change.NEW_SCRIPT)
    else:
        sources[:] = [*_real(sources), prefix]
        policy.changes.append(Change.SCRIPT)
    return None


def _allow_worker(policy: _Policy, ours: _Ours) -> Skip | None:
    """Judged by the list as it stands: what `_allow_script` put there covers no worker, and copies all that did."""
    found = policy.find(_WORKER_CHAIN)
    if found is None:
        return None
    name, sources = found
    # A worker is started by a script that runs already, so 'strict-dynamic' lets it through where scripts are judged.
    if allows_url(sources, ours.worker) or (name in ("script-src", "default-src") and has_strict_dynamic(sources)):
        return None
    url = f"{ours.origin}{WORKER}"
    if name == "worker-src":
        sources.append(url)
        policy.changes.append(Change.WORKER)
        return None
    prefix = f"{ours.origin}{SCRIPTS}"
    copied = [source for source in sources if source != prefix and (not is_keyword(source) or source.lower() == "'self'")]
    policy.directives.append(("worker-src", [*copied, url]))
    policy.changes.append(Change.NEW_WORKER)
    return None


def _allow_types(policy: _Policy) -> Skip | None:
    """Trusted Types: our script makes one policy. No `trusted-types` means that any may be made."""
    named = policy.get("trusted-types")
    if named is None or "*" in named or TYPES_POLICY in named:
        return None
    if allows_nothing(named):
        return Skip.CSP_TYPES
    named.append(TYPES_POLICY)
    policy.changes.append(Change.TYPES)
    return None


def _real(sources: Sequence[str]) -> list[str]:
    """Without a 'none', which counts only where it stands alone."""
    return [source for source in sources if source.lower() != "'none'"]


def origin_of(url: str) -> str:
    """The origin of an absolute URL, as it is written in a source list."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}"
