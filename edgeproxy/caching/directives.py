"""Cache-Control and its targeted relatives, parsed once (RFC 9111 section 5.2, RFC 9213, RFC 5861, RFC 8246).

Owns: the syntax of directives and `Directives`, their parsed form. Must not decide what they lead to: that is `storable`,
`freshness` and `plan`. Parsing is forgiving where a mistake makes the cache more careful, and strict where it would make it
bolder.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from edgeproxy.wire import structured
from edgeproxy.wire.fields import Fields

DELTA_MAX = 2**31
"""What larger numbers of seconds count as (RFC 9111 section 1.2.2)."""

SURROGATE = "surrogate-control"
"""The W3C note's field: Cache-Control syntax, each directive with an optional `;name` of the one device that it is meant for."""

DEVICE = "edgeproxy"

_MEMO_LENGTH = 256
"""Longer values are parsed each time, so that a client cannot fill the memo with them."""

_DIGITS = re.compile(r"[0-9]+")


@dataclass(frozen=True, slots=True)
class Directives:
    """Known directives of one request or response. Numbers are seconds, None when absent.

    In a response a number that does not parse is 0, so that what carries it is stale (RFC 9111 section 4.2.1); in a request
    such a directive is absent. Of several values the first counts. `no_cache` and `private` are the forms without field names;
    `unlisted` are the names that their qualified forms list. `source` is the field that all of this was read from, None when
    there was none.
    """

    source: str | None = None
    max_age: int | None = None
    s_maxage: int | None = None
    stale_while_revalidate: int | None = None
    stale_if_error: int | None = None
    max_stale: int | None = None
    min_fresh: int | None = None
    no_store: bool = False
    no_cache: bool = False
    private: bool = False
    public: bool = False
    must_revalidate: bool = False
    proxy_revalidate: bool = False
    must_understand: bool = False
    no_transform: bool = False
    only_if_cached: bool = False
    unlisted: frozenset[str] = frozenset()

    @property
    def is_targeted(self) -> bool:
        """Whether a targeted field was read, which hides Cache-Control and Expires (RFC 9213 section 2.2)."""
        return self.source is not None and self.source != "cache-control"


NONE = Directives()

_NUMBERS = {
    "max-age": "max_age",
    "s-maxage": "s_maxage",
    "stale-while-revalidate": "stale_while_revalidate",
    "stale-if-error": "stale_if_error",
    "max-stale": "max_stale",
    "min-fresh": "min_fresh",
}
_FLAGS = {
    "no-store": "no_store",
    "public": "public",
    "must-revalidate": "must_revalidate",
    "proxy-revalidate": "proxy_revalidate",
    "must-understand": "must_understand",
    "no-transform": "no_transform",
    "only-if-cached": "only_if_cached",
}
_QUALIFIED = {"no-cache": "no_cache", "private": "private"}


def delta_seconds(text: str) -> int | None:
    """A non-negative decimal number of seconds, at most `DELTA_MAX`; None for anything else (RFC 9111 section 1.2.2)."""
    if _DIGITS.fullmatch(text) is None:
        return None
    digits = text.lstrip("0")
    return DELTA_MAX if len(digits) > 10 else min(int(digits or "0"), DELTA_MAX)


def request_directives(fields: Fields) -> Directives:
    """What the client asks of caches (RFC 9111 section 5.2.1). Pragma counts only without Cache-Control (section 5.4)."""
    value = fields.get("cache-control")
    if value is not None:
        return _parsed("cache-control", value, False)
    pragma = fields.get("pragma")
    if pragma is not None and any(name == "no-cache" for name, _ in _members(pragma)):
        return Directives(source="pragma", no_cache=True)
    return NONE


def response_directives(fields: Fields, targets: tuple[str, ...] = ()) -> Directives:
    """What the origin asks of this cache.

    The first of `targets` that is present and well formed replaces Cache-Control (RFC 9213).
    """
    for target in targets:
        if target not in fields:
            continue
        found = _surrogate(fields.get(target) or "") if target == SURROGATE else _targeted(target, fields.all(target))
        if found is not None:
            return found
    value = fields.get("cache-control")
    return NONE if value is None else _parsed("cache-control", value, True)


def _members(value: str) -> Iterator[tuple[str, str | None]]:
    """(lower-case name, argument or None) of each directive. A quote that never closes is an ordinary character, so that it
    hides nothing.

    White space beside "=" is not allowed (section 5.2): the argument then becomes one that no directive accepts.
    """
    for piece in _split(value):
        name, equals, argument = piece.partition("=")
        bare = name.strip().lower()
        if not bare:
            continue
        if not equals:
            yield bare, None
        elif name[-1:].isspace() or argument[:1].isspace():
            yield bare, "="
        else:
            yield bare, _unquoted(argument.strip())


def _split(value: str) -> list[str]:
    """`value` at the commas that are not in a quoted-string. One pass: the text is a stranger's."""
    if '"' not in value:
        return value.split(",")
    pieces: list[str] = []
    start, is_quoted, is_escaped = 0, False, False
    for index, character in enumerate(value):
        if is_escaped:
            is_escaped = False
        elif character == '"':
            is_quoted = not is_quoted
        elif is_quoted:
            is_escaped = character == "\\"
        elif character == ",":
            pieces.append(value[start:index])
            start = index + 1
    return value.split(",") if is_quoted else [*pieces, value[start:]]


def _unquoted(argument: str) -> str:
    """A quoted-string's content, as recipients ought to accept both forms (section 5.2)."""
    if len(argument) >= 2 and argument[0] == argument[-1] == '"':
        return re.sub(r"\\(.)", r"\1", argument[1:-1])
    return argument


def _parsed(source: str, value: str, is_response: bool) -> Directives:
    if len(value) > _MEMO_LENGTH:
        return _directives(source, _members(value), is_response)
    return _remembered(source, value, is_response)


@lru_cache(maxsize=4096)
def _remembered(source: str, value: str, is_response: bool) -> Directives:
    return _directives(source, _members(value), is_response)


def _directives(source: str, members: Iterable[tuple[str, str | None]], is_response: bool) -> Directives:
    found: dict[str, Any] = {}
    unlisted: set[str] = set()
    for name, argument in members:
        if name in _NUMBERS:
            seconds = _number(name, argument, is_response)
            if seconds is not None:
                found.setdefault(_NUMBERS[name], seconds)
        elif name in _FLAGS:
            found[_FLAGS[name]] = True
        elif name in _QUALIFIED:
            names = {item.strip().lower() for item in (argument or "").split(",")} - {"", "="}
            if names and is_response:
                unlisted |= names
            else:
                found[_QUALIFIED[name]] = True
    return Directives(source=source, unlisted=frozenset(unlisted), **found)


def _number(name: str, argument: str | None, is_response: bool) -> int | None:
    if argument is None:
        # max-stale alone means any staleness (section 5.2.1.2)
        if name == "max-stale" and not is_response:
            return DELTA_MAX
        return 0 if is_response else None
    seconds = delta_seconds(argument)
    return 0 if seconds is None and is_response else seconds


def _targeted(source: str, lines: tuple[str, ...]) -> Directives | None:
    """A field of RFC 9213 section 2.1:

    A structured dictionary. None when it is malformed or empty, so that the next in line is used.
    """
    return _targeted_memo(source, lines)


@lru_cache(maxsize=1024)
def _targeted_memo(source: str, lines: tuple[str, ...]) -> Directives | None:
    dictionary = structured.parse_dictionary(lines)
    if not dictionary:
        return None
    members: list[tuple[str, str | None]] = []
    for name, member in dictionary.items():
        value = member[0] if isinstance(member, tuple) else member
        if value is True:
            members.append((name, None))
        elif isinstance(value, str) and not name.startswith(("max-", "s-max", "stale-")):
            members.append((name, value))
        elif value is not False:
            # a number of the wrong type does not parse, hence 0: stale rather than fresh by accident
            members.append((name, str(value) if isinstance(value, int) else "="))
    return _directives(source, members, True)


@lru_cache(maxsize=1024)
def _surrogate(value: str) -> Directives | None:
    members: list[tuple[str, str | None]] = []
    for name, argument in _members(value):
        name, semicolon, device = name.partition(";")
        if argument is not None and not semicolon:
            argument, semicolon, device = argument.partition(";")
        if not semicolon or device.strip().strip('"').lower() == DEVICE:
            members.append((name.strip(), argument))
    return _directives(SURROGATE, members, True) if any(name in _NUMBERS or name in _FLAGS for name, _ in members) else None
