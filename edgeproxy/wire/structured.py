"""Structured fields (RFC 9651), by the http_sf library.

Owns: the border to the library, whose errors do not pass it. Must not know any field by name.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import cast

import http_sf
from http_sf import DisplayString, Token

__all__ = [
    "BareItem",
    "DisplayString",
    "InnerList",
    "Item",
    "Member",
    "Parameters",
    "Token",
    "parse_dictionary",
    "parse_item",
    "parse_list",
    "serialise_dictionary",
    "serialise_item",
    "serialise_list",
]

BareItem = int | float | Decimal | str | bytes | bool | Token | DisplayString | datetime
Parameters = dict[str, BareItem]
Item = tuple[BareItem, Parameters]
InnerList = tuple[list[Item], Parameters]
Member = Item | InnerList

_MAX_VALUE = 16384


def parse_dictionary(values: tuple[str, ...]) -> dict[str, Member] | None:
    """The dictionary of all lines of one field; {} for none, None when malformed, which RFC 9651 says to ignore as a whole."""
    return cast("dict[str, Member] | None", _parse(values, "dictionary"))


def parse_list(values: tuple[str, ...]) -> list[Member] | None:
    """The list of all lines of one field; [] for none, None when malformed."""
    return cast("list[Member] | None", _parse(values, "list"))


def parse_item(values: tuple[str, ...]) -> Item | None:
    """The item of one field; None when malformed or absent."""
    return cast("Item | None", _parse(values, "item"))


def _parse(values: tuple[str, ...], kind: str) -> object:
    text = ", ".join(values)
    if not text.isascii() or len(text) > _MAX_VALUE:
        return None
    try:
        return http_sf.parse(text.encode("ascii"), tltype=kind)
    except http_sf.StructuredFieldError:
        return None


def serialise_item(value: BareItem, parameters: Mapping[str, BareItem] | None = None) -> str:
    """One item, for example `edgeproxy;hit`. Raises ValueError for what has no serialisation (non-ASCII in a plain string)."""
    return _serialise((value, dict(parameters or {})))


def serialise_list(members: Sequence[Member]) -> str:
    """A list. Raises ValueError."""
    return _serialise(list(members))


def serialise_dictionary(members: Mapping[str, Member]) -> str:
    """A dictionary. Raises ValueError."""
    return _serialise(dict(members))


def _serialise(structure: object) -> str:
    try:
        return http_sf.ser(cast("http_sf.StructuredType", structure))
    except (http_sf.StructuredFieldError, UnicodeError, TypeError) as error:
        raise ValueError("value has no structured-field form") from error
