"""What the vault held at one moment, and which of it is the best for a name set. Pure.

Owns: `Version`, and the ranking of certificates that cover the same names.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edgeproxy.tls.certificate import IMPORTED, Certificate, canonical_names, wildcard_of


@dataclass(frozen=True, slots=True)
class Version:
    """One version on disk, read and verified."""

    certificate: Certificate
    stored: float
    """Unix seconds."""


class Snapshot:
    """The newest good version of every name set."""

    __slots__ = ("_by_name", "versions")

    def __init__(self, versions: Iterable[Version]) -> None:
        self.versions = tuple(versions)
        self._by_name: dict[str, list[Version]] = {}
        for version in self.versions:
            for name in version.certificate.names:
                self._by_name.setdefault(name, []).append(version)

    def find(self, names: Sequence[str], now: float) -> Certificate | None:
        """The best certificate that covers all of `names`, None when there is none.

        1. One that is valid `now`, over one that is not.
        2. One that clients trust, over a staging one.
        3. One for exactly these names, or an imported one, over one that only happens to cover them.
        4. The one stored last.
        """
        wanted = canonical_names(names)
        if not wanted:
            return None

        def rank(version: Version) -> tuple[bool, bool, bool, float]:
            found = version.certificate
            is_meant = found.directory == IMPORTED or canonical_names(found.names) == wanted
            return found.is_valid(now), not found.is_trial, is_meant, version.stored

        first = wanted[0]
        candidates = [*self._by_name.get(first, ()), *self._by_name.get(wildcard_of(first) or "", ())]
        covering = [version for version in candidates if version.certificate.covers(wanted)]
        return max(covering, key=rank).certificate if covering else None

    def find_parts(self, names: Sequence[str], now: float) -> list[Certificate]:
        """For names that no certificate covers together: the best for each of them, each certificate once."""
        found = (self.find((name,), now) for name in canonical_names(names))
        return list({one.fingerprint: one for one in found if one is not None}.values())
