"""When a certificate is renewed. Pure: times in Unix seconds and one random number are passed in.

Owns: the rules.

1. What the authority suggests (ACME renewal information, RFC 9773) comes first, whether earlier or later than our own choice.
   One instant is drawn evenly from the suggested window and kept; another is drawn only when the window itself changes (RFC
   9773 section 4.2), so that asking often does not make the renewal earlier.
2. Else at two thirds of its life; at half of it when the life is shorter than ten days.
3. Whatever the authority suggests, not later than when a twentieth of its life is left.
4. Whatever the authority suggests, not before a tenth of its life is over, or a day: one whose windows always lie in the past
   would otherwise be asked for one certificate after the other without end.
5. The authority is not asked about a certificate that has expired (RFC 9773 section 4.3.3).

All of it is in proportion to the certificate's life, so it holds for one of 20 seconds and for one of 90 days.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

DAY: Final = 86_400.0
SHORT_LIFE: Final = 10 * DAY
_LONG_SHARE: Final = 2 / 3
_SHORT_SHARE: Final = 1 / 2
_LAST_SHARE: Final = 19 / 20
_NEW_SHARE: Final = 1 / 10
ASK_AGAIN: Final = 6 * 3600.0
"""How long an authority that answered nothing is left alone, in seconds."""


class Life(Protocol):
    """What of a certificate matters here."""

    @property
    def not_before(self) -> float: ...
    @property
    def not_after(self) -> float: ...


class Window(Protocol):
    """What an authority suggests (`tls.acme.issuer.RenewalInfo`)."""

    @property
    def start(self) -> float: ...
    @property
    def end(self) -> float: ...
    @property
    def explanation_url(self) -> str: ...
    @property
    def check_after(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A window as it was last heard, and the instant drawn from it. Kept on disk with the certificate's state."""

    start: float
    end: float
    chosen: float
    check_after: float
    """The authority is asked again from this time on."""
    explanation_url: str = ""


class Reason(StrEnum):
    """Which rule sets the time."""

    SUGGESTED = "suggested by the authority"
    SHARE_OF_LIFE = "share of its life"
    LAST_RESORT = "last resort"
    TOO_NEW = "suggested by the authority, but it is new"


@dataclass(frozen=True, slots=True)
class Renewal:
    """From `at` on (Unix seconds) the certificate is due, because of `reason`."""

    at: float
    reason: Reason


def local_renewal(life: Life) -> float:
    """Rule 2: the time to renew when the authority suggests none."""
    length = life.not_after - life.not_before
    share = _SHORT_SHARE if length < SHORT_LIFE else _LONG_SHARE
    return life.not_before + length * share


def last_resort(life: Life) -> float:
    """Rule 3: later than this no suggestion counts."""
    return life.not_before + (life.not_after - life.not_before) * _LAST_SHARE


def renewal(life: Life, suggestion: Suggestion | None) -> Renewal:
    """When the certificate is due."""
    latest = last_resort(life)
    if suggestion is None:
        return Renewal(local_renewal(life), Reason.SHARE_OF_LIFE)
    if suggestion.chosen > latest:
        return Renewal(latest, Reason.LAST_RESORT)
    earliest = life.not_before + min(DAY, (life.not_after - life.not_before) * _NEW_SHARE)
    if suggestion.chosen < earliest:
        return Renewal(earliest, Reason.TOO_NEW)
    return Renewal(suggestion.chosen, Reason.SUGGESTED)


def take_suggestion(window: Window | None, kept: Suggestion | None, now: float, draw: float) -> Suggestion | None:
    """What to keep after the authority answered `window`; `draw` is an even random number in [0, 1).

    A window that ends before it begins is no window (RFC 9773 section 4.2), and an answer without one leaves what is kept, but
    asks again only after six hours.
    """
    if window is None or window.end <= window.start:
        if kept is None:
            return None
        return Suggestion(kept.start, kept.end, kept.chosen, now + ASK_AGAIN, kept.explanation_url)
    if kept is not None and (kept.start, kept.end) == (window.start, window.end):
        chosen = kept.chosen
    else:
        chosen = window.start + draw * (window.end - window.start)
    ask_after = window.check_after if window.check_after > now else now + ASK_AGAIN
    return Suggestion(window.start, window.end, chosen, ask_after, window.explanation_url)


def may_ask(life: Life, ask_after: float, now: float) -> bool:
    """Rule 5, and the time that the authority, or our own patience, set for the next question."""
    return life.not_before <= now <= life.not_after and now >= ask_after
