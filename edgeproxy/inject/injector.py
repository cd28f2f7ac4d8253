"""Puts the tag into a page that passes by in pieces.

Owns: the tag, and the few bytes that wait until it is known whether they come before it. Must not judge the page; `scanner` does.
"""

from edgeproxy.inject.reasons import INJECTED, Skip
from edgeproxy.inject.scanner import TAG_PATH, Scanner, Verdict

LONGEST_TAG = 160


def tag(nonce: str | None = None) -> bytes:
    """The element that goes into a page. `nonce` must be one by the grammar of CSP (`csp.is_nonce`): it is written as it is."""
    mark = "" if nonce is None else f' nonce="{nonce}"'
    return b'<script src="%b"%b defer></script>' % (TAG_PATH, mark.encode("ascii"))


class Injector:
    """One page. What `feed` and `finish` give is the page with the tag in it, or the very same page."""

    def __init__(self, inserted: bytes) -> None:
        self._inserted = inserted
        self._scanner = Scanner()
        self._held = b""
        self._sent = 0
        """Bytes of the page that were given out; `_held` begins there."""

    @property
    def outcome(self) -> str | None:
        """`INJECTED`, or why not (a `Skip`); None while that is open."""
        verdict = self._scanner.verdict
        return INJECTED if isinstance(verdict, int) else verdict

    def feed(self, data: bytes) -> bytes:
        """What can go on with this piece."""
        if self._scanner.verdict is not None:
            return data
        verdict = self._scanner.feed(data)
        return self._pass_on(self._held + data, verdict)

    def finish(self) -> bytes:
        """The rest."""
        if self._scanner.verdict is not None:
            return b""
        return self._pass_on(self._held, self._scanner.finish())

    def _pass_on(self, data: bytes, verdict: Verdict | None) -> bytes:
        if isinstance(verdict, int):
            place = verdict - self._sent
            self._held = b""
            return b"".join((data[:place], self._inserted, data[place:]))
        if isinstance(verdict, Skip):
            self._held = b""
            return data
        ready = self._scanner.settled - self._sent
        self._held = data[ready:]
        self._sent += ready
        return data[:ready]
