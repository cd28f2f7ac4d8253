"""Which stored response fits a request when the origin varies (RFC 9111 section 4.1).

Owns: `Vary`, the selecting values and how they are normalised, and the choice among variants. Must not judge freshness.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol, TypeVar

from edgeproxy.caching.model import Selecting
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.messages import Request

_SINGLE = frozenset({"authorization", "cookie", "date", "from", "if-modified-since", "origin", "referer", "user-agent"})
"""Fields that are not lists: a comma in them is only text."""

_MEMO_LENGTH = 256
"""Longer values are normalised each time, so that a client cannot fill the memo with them."""

_NEGOTIATED = frozenset({"accept-language", "accept-encoding"})
"""Fields whose order means nothing and whose names have no case, so that equal preferences can be written alike."""


_SAID_BY_MANY = frozenset(
    {"device-memory", "dnt", "downlink", "dpr", "ect", "host", "origin", "prefer", "rtt", "save-data", "user-agent"}
    | {"upgrade-insecure-requests", "viewport-width", "width"}
    | {"x-forwarded-host", "x-forwarded-port", "x-forwarded-proto", "x-requested-with"}
)
_SAID_BY_MANY_PREFIXES = ("accept", "sec-ch-", "sec-fetch-")


class Variant(Protocol):
    """What the choice needs to know of a stored response."""

    @property
    def selecting(self) -> Selecting: ...


V = TypeVar("V", bound=Variant)


def vary_names(fields: Fields, *, keep_accept_encoding: bool = False) -> frozenset[str] | None:
    """The lower-case names that `Vary` lists; None for "*", which no request matches.

    Accept-Encoding is left out when the edge keeps the body in identity coding: it then makes the coded forms itself.
    """
    value = fields.get("vary")
    if value is None:
        return frozenset()
    names = frozenset(name for item in value.lower().split(",") if (name := item.strip()))
    if "*" in names:
        return None
    return names if keep_accept_encoding else names - {"accept-encoding"}


def selecting(request: Request, names: frozenset[str]) -> Selecting:
    """What `request` selects by under `names`: sorted pairs of name and normalised value, None where it has no such field."""
    return tuple((name, normalised(name, request.fields.get(name))) for name in sorted(names))


def matches(stored: Selecting, request: Request) -> bool:
    """Whether every selecting field of the stored request matches that of `request`."""
    fields = request.fields
    return all(normalised(name, fields.get(name)) == value for name, value in stored)


def is_for_all(stored: Selecting) -> bool:
    """Whether the variant may be shown to those who do not select it themselves: no value in it says who somebody is.

    Of cookies, credentials and fields that nobody knows, only the lack of one is the same for all.
    """
    return all(value is None or name in _SAID_BY_MANY or name.startswith(_SAID_BY_MANY_PREFIXES) for name, value in stored)


def normalised(name: str, value: str | None) -> str | None:
    """`value` in the form that is compared: without optional white space, lists of preferences in one order and one case.

    Quoted text stays as it is, for a comma in it separates nothing.
    """
    if value is None:
        return None
    if name in _NEGOTIATED:
        return _preferences_text(value)
    value = value.strip(" \t")
    if name in _SINGLE or '"' in value or "," not in value:
        return value
    return ",".join(item.strip(" \t") for item in value.split(","))


def select(variants: Sequence[V], request: Request) -> V | None:
    """The variant to answer `request` with, out of all of one key, oldest first; None when none fits.

    1. The newest whose selecting fields all match.  2. One without selecting fields only while it is the newest of all: origins
    leave `Vary` off their default answer by mistake (section 4.1).  3. One in the language that the request prefers to all
    others.
    """
    if len(variants) == 1 and not variants[0].selecting:
        return variants[0]
    newest = True
    for variant in reversed(variants):
        if (variant.selecting or newest) and matches(variant.selecting, request):
            return variant
        newest = False
    if "accept-language" not in request.fields:
        return None
    preferred = _preferred(request.fields.get("accept-language") or "")
    if preferred is None:
        return None
    return next((variant for variant in reversed(variants) if _speaks(variant, preferred, request)), None)


def _speaks(variant: Variant, language: str, request: Request) -> bool:
    """Whether `variant` differs from what `request` asks for in nothing but the way it asked for `language`."""
    fields = getattr(variant, "fields", None)
    content_language = fields.get("content-language") if isinstance(fields, Fields) else None
    if content_language is None or content_language.strip().lower() != language:
        return False
    others = tuple(pair for pair in variant.selecting if pair[0] != "accept-language")
    return len(others) < len(variant.selecting) and matches(others, request)


def _preferences(value: str) -> tuple[tuple[float, str], ...]:
    """(minus the weight, what is preferred), best first (RFC 9110 section 12.4.2). A weight that does not parse counts as 1."""
    found = set()
    for item in value.lower().split(","):
        what, *parameters = (part.strip() for part in item.split(";"))
        if not what:
            continue
        weight = 1.0
        for parameter in parameters:
            name, _, number = parameter.partition("=")
            if name.strip() == "q" and re.fullmatch(r"[01](\.[0-9]{0,3})?", number.strip()):
                weight = min(1.0, float(number))
        found.add((-weight, what))
    return tuple(sorted(found))


def _preferences_text(value: str) -> str:
    return _remembered_text(value) if len(value) <= _MEMO_LENGTH else _written(value)


@lru_cache(maxsize=4096)
def _remembered_text(value: str) -> str:
    return _written(value)


def _written(value: str) -> str:
    return ",".join(what if weight == -1.0 else f"{what};q={-weight:g}" for weight, what in _preferences(value))


def _preferred(value: str) -> str | None:
    """The language that `value` prefers to every other, None when there is no single one."""
    ranked = _preferences(value)
    if not ranked or ranked[0][0] == 0 or ranked[0][1] == "*":
        return None
    return None if len(ranked) > 1 and ranked[1][0] == ranked[0][0] else ranked[0][1]
