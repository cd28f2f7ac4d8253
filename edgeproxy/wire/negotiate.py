"""Content codings: which one to send and which ones a message has (RFC 9110 sections 8.4 and 12.5.3).

Owns: the reading of Accept-Encoding and Content-Encoding. Must not code or decode.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from edgeproxy.wire.fields import Fields
from edgeproxy.wire.grammar import TOKEN, token_list

PREFERENCE = ("br", "zstd", "gzip", "identity")
"""The server's own order among codings that the client likes equally."""

_ALIASES = {"x-gzip": "gzip", "x-compress": "compress"}
_MEMBER = re.compile(
    rf"[ \t]*({TOKEN})[ \t]*(?:;[ \t]*[qQ]=(0(?:\.[0-9]{{0,3}})?|1(?:\.0{{0,3}})?)[ \t]*)?",
)
_IMPLIED = 0.0001
"""Weight of identity where nothing names it: acceptable, but less than anything that is named with a weight above zero."""


def select_coding(accept_encoding: str | None, available: Sequence[str]) -> str | None:
    """The best of `available` (and "identity", which always is) for a client that sent `accept_encoding`.

    Without the field "identity". None when the client accepts nothing that there is; "identity" is then sent all the same.
    """
    if accept_encoding is None:
        return "identity"
    weights = _weights(accept_encoding) if len(accept_encoding) <= 256 else _weights.__wrapped__(accept_encoding)
    best: tuple[float, int, str] | None = None
    for coding in {*available, "identity"}:
        weight = weights.get(coding, weights.get("*", _IMPLIED if coding == "identity" else 0.0))
        rank = PREFERENCE.index(coding) if coding in PREFERENCE else len(PREFERENCE)
        if weight > 0 and (best is None or (-weight, rank, coding) < best):
            best = (-weight, rank, coding)
    return best[2] if best is not None else None


@lru_cache(maxsize=512)
def _weights(value: str) -> Mapping[str, float]:
    """The weight of each coding that `value` names; malformed members are left out; the first of two weights counts."""
    weights: dict[str, float] = {}
    for member in value.split(","):
        match = _MEMBER.fullmatch(member)
        if match is not None:
            coding = match[1].lower()
            weights.setdefault(_ALIASES.get(coding, coding), 1.0 if match[2] is None else float(match[2]))
    return weights


def content_codings(fields: Fields) -> tuple[str, ...]:
    """The codings of a message's content in the order applied, in lower case, "identity" left out."""
    values = fields.all("content-encoding")
    if not values:
        return ()
    return tuple(_ALIASES.get(coding, coding) for coding in token_list(values) if coding != "identity")
