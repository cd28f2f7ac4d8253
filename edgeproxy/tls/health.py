"""How good the certificates are that clients are being shown. Pure.

Owns: the colours and the numbers. It is given what is served, not what the vault holds or what the keeper means to do: an edge
whose renewals work and whose new certificates never reach a client is as broken as one whose renewals fail.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from edgeproxy.tls.certificate import SELF_SIGNED, Certificate

RED_SHARE: Final = 1 / 10
YELLOW_SHARE: Final = 1 / 5


class Colour(StrEnum):
    """Worst last."""

    GREEN = "green"
    YELLOW = "yellow"
    RED = "red"


@dataclass(frozen=True, slots=True)
class Served:
    """One certificate that clients are being shown."""

    certificate: Certificate
    is_placeholder: bool = False
    """Self-signed, for names that should have one of an authority."""


@dataclass(frozen=True, slots=True)
class Health:
    """The verdict on all of them."""

    colour: Colour
    reasons: tuple[str, ...]
    """One for each certificate that is not green."""
    seconds_left: dict[str, float]
    """By name: until the end of the certificate shown for it; negative when that is past. Of several, the one that ends first."""


def judge(served: Iterable[Served], now: float) -> Health:
    """Red: under a tenth of its life is left, or it has expired. Yellow: under a fifth (a renewal is late), or a placeholder."""
    worst = Colour.GREEN
    reasons: list[str] = []
    left: dict[str, float] = {}
    order = list(Colour)
    for one in served:
        colour, why = colour_of(one, now)
        if colour is not Colour.GREEN:
            reasons.append(f"{one.certificate.names[0]}: {why}")
        worst = max(worst, colour, key=order.index)
        for name in one.certificate.names:
            left[name] = min(left.get(name, float("inf")), one.certificate.not_after - now)
    return Health(worst, tuple(reasons), left)


def colour_of(served: Served, now: float) -> tuple[Colour, str]:
    """The colour of one, and why."""
    certificate = served.certificate
    share = (certificate.not_after - now) / certificate.lifetime
    if share < 0:
        return Colour.RED, "expired"
    if now < certificate.not_before:
        return Colour.RED, "not valid yet"
    if share < RED_SHARE:
        return Colour.RED, "under a tenth of its life is left"
    if served.is_placeholder and certificate.directory == SELF_SIGNED:
        return Colour.YELLOW, "a self-signed placeholder is served"
    if share < YELLOW_SHARE:
        return Colour.YELLOW, "under a fifth of its life is left"
    return Colour.GREEN, ""
