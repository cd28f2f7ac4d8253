"""Entity tags (RFC 9110 sections 8.8.3 and 13.1).

Owns: lists of them, the two comparisons, and the tags of derived forms. Must not know which representation a tag stands for.
"""

import re
from collections.abc import Sequence
from typing import Literal

_ETAG = r'(?:W/)?"[!#-~\x80-\xff]*+"'
_is_etag = re.compile(_ETAG).fullmatch
_members = re.compile(rf"[ \t,]*+({_ETAG}(?=[ \t]*+(?:,|\Z))|[^,]++)").finditer


def is_etag(text: str) -> bool:
    """Whether `text` is an entity-tag by the grammar."""
    return _is_etag(text) is not None


def is_weak(etag: str) -> bool:
    """Whether `etag` is marked as weak."""
    return etag.startswith("W/")


def weakened(etag: str) -> str:
    """`etag` as a weak one."""
    return etag if is_weak(etag) else f"W/{etag}"


def strong_match(one: str, other: str) -> bool:
    """Equal and neither weak (section 8.8.3.2)."""
    return one == other and not is_weak(one)


def weak_match(one: str, other: str) -> bool:
    """Equal but for the marks of weakness (section 8.8.3.2)."""
    return one.removeprefix("W/") == other.removeprefix("W/")


def parse_etag_list(value: str) -> tuple[str, ...] | Literal["*"]:
    """The members of an If-Match or If-None-Match value.

    A member that is no entity-tag (many clients leave out the quotes) is kept as it stands: it matches only the same text.
    """
    if value.strip(" \t") == "*":
        return "*"
    return tuple(member for match in _members(value) if (member := match[1].strip(" \t")))


def with_suffix(etag: str, coding: str) -> str:
    """The tag of the form of a representation in `coding`: `"abc"` and `br` make `"abc-br"`."""
    return f'{etag[:-1]}-{coding}"' if etag.endswith('"') else f"{etag}-{coding}"


def without_suffix(etag: str, codings: Sequence[str]) -> str:
    """The inverse of `with_suffix` for any one of `codings`; `etag` itself when it has none of their suffixes."""
    for coding in codings:
        for end, closing in ((f'-{coding}"', '"'), (f"-{coding}", "")):
            if etag.endswith(end):
                return etag[: -len(end)] + closing
    return etag
