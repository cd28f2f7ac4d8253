"""Which challenge to take for a name. Pure.

Owns: what each type can prove, and the order of trying. What has failed for a name in this attempt is not chosen again for it.
"""

import re
from collections.abc import Collection, Sequence

from edgeproxy.errors import IssuanceFailed
from edgeproxy.tls.acme.chains import is_address
from edgeproxy.tls.acme.problems import own_failure
from edgeproxy.tls.acme.resources import Authorization, Challenge

DNS = "dns-01"
_NAME = re.compile(r"(?=.{1,253}\Z)(\*\.)?[a-z0-9_:-]{1,63}(\.[a-z0-9_-]{1,63})*\Z")  # canonical; addresses as well


def possible(name: str, types: Sequence[str]) -> list[str]:
    """Those of `types`, in their order, that can prove control of `name`.

    A wildcard is proved in the DNS only (RFC 8555 section 8.3, RFC 8737 section 3), an address everywhere but there (RFC 8738
    section 7).
    """
    if name.startswith("*."):
        return [kind for kind in types if kind == DNS]
    if is_address(name):
        return [kind for kind in types if kind != DNS]
    return list(types)


def check_possible(names: Sequence[str], types: Sequence[str]) -> None:
    """Refuse what could never be issued before an authority is bothered: IssuanceFailed "badName" or "noChallenge"."""
    if not names:
        raise own_failure("badName", "a certificate without names")
    for name in names:
        if not _NAME.match(name):
            raise own_failure("badName", f"{name} is no name for a certificate; an international one is written as xn--...")
        if not possible(name, types):
            needs = " (a wildcard needs dns-01, and so a hook)" if name.startswith("*.") else ""
            raise own_failure("noChallenge", f"no challenge is configured that can prove {name}{needs}")


def choose(authorization: Authorization, types: Sequence[str], failed: Collection[str]) -> Challenge | None:
    """The challenge to answer for this name: the first type of ours that is offered and has not `failed`; None when none is."""
    offered = {challenge.type: challenge for challenge in reversed(authorization.challenges)}
    for kind in possible(authorization.name, types):
        if kind in offered and kind not in failed:
            return offered[kind]
    return None


def nothing_offered(authorization: Authorization, types: Sequence[str]) -> IssuanceFailed:
    """The error for a name for which the authority offers nothing that we can do."""
    offers = ", ".join(challenge.type for challenge in authorization.challenges) or "nothing"
    wanted = ", ".join(possible(authorization.name, types)) or "nothing"
    return own_failure("noChallenge", f"{authorization.name}: the authority offers {offers}, configured is {wanted}")
