"""How the versions of a URL stand now: whether their content is there, which of them is served, and why.

Owns: that account, for a running edge and for a data folder at rest. Must not read a store; trace ids are handed in.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from edgeproxy.caching.model import Height, Mark
from edgeproxy.ledger.fold import Fold, Version
from edgeproxy.ledger.rules import Rules

HasBody = Callable[[Version], bool]
"""Whether the content of a version is still there."""

_WHY = {Mark.NONE: "newest", Mark.SOFT: "newest, purged", Mark.MUST_VALIDATE: "newest, invalidated"}


@dataclass(frozen=True, slots=True)
class Standing:
    """One version. `why` it is served; or why no version of its variant is, when it is the newest of them."""

    version: Version
    trace: str
    body_there: bool
    served: bool
    why: str | None


def versions_of(fold: Fold, url: str, key: str) -> list[Version]:
    """All versions of `url`, oldest first: those of its primary `key`, and those that an older edge wrote under this spelling."""
    found = [version for spelling in {key, url} for version in fold.history(spelling)]
    return sorted(found, key=lambda version: version.height)


def namesakes(fold: Fold, url: str, most: int = 3) -> list[str]:
    """URLs with a version and the path of `url`, at another scheme, host or port: what visitors ask for is easily mistaken."""
    path = _path(url)
    return list(islice((known for known in fold.by_url if known != url and _path(known) == path), most))


def _path(url: str) -> str:
    return url.partition("://")[2].partition("/")[2].rstrip("/")


def standings(fold: Fold, key: str, versions: Sequence[Version], traces: Mapping[int, str], has_body: HasBody) -> list[Standing]:
    """How each of `versions` of one URL stands; `key` is its primary key."""
    found = []
    for version in versions:
        variant = fold.by_url[version.url][version.selecting]
        now, why = served(fold.rules, variant, key, has_body)
        is_served = now is version
        says_why = is_served or (now is None and variant[-1] is version)
        trace = traces.get(version.height, "")
        found.append(Standing(version, trace, has_body(version), is_served, why if says_why else None))
    return found


def served(rules: Rules, versions: list[Version], key: str, has_body: HasBody) -> tuple[Version | None, str]:
    """Which of `versions`, all of one variant and the newest last, is served now, and why; None and why not.

    Purges by tag are not looked at: what tags a version has stands in its head.
    """
    site = versions[0].site
    rule = rules.rolled_back(site, key)
    if rule is not None and (pinned := usable(versions, rule.to, has_body)) is not None:
        return pinned, str(rule)
    if rule is not None and rule.absent == "refuse":
        return None, f"{rule}, and not stored then"
    newest = usable(versions, None, has_body)
    if newest is None:
        return None, "no content is left"
    mark = rules.mark(newest.height, site=site, url=key)
    return (None, "purged for good") if mark is Mark.GONE else (newest, _WHY[mark])


def usable(versions: Sequence[Version], to: Height | None, has_body: HasBody) -> Version | None:
    """The newest version, at `to` at the latest, whose content is there."""
    return next((each for each in reversed(versions) if (to is None or each.height <= to) and has_body(each)), None)
