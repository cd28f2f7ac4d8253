"""Time travel after RFC 7089 (Memento): which earlier version a date selects, and how versions point at each other.

Owns: dates, paths, `Link` and TimeMaps. Must not know what is stored: it works on the seconds at which a URL's content changed.

A site is its own TimeGate (section 4.1.1, pattern 1.1): the original URL negotiates by `Accept-Datetime`, and each version has a
URL of its own below the site. A version is the state of the page from its second on until the next one.
"""

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

from edgeproxy.wire.dates import format_http_date, parse_http_date

MEMENTO = "/.edge/memento/"
TIMEMAP = "/.edge/timemap/link/"
PAGE = 1_000
"""Versions in one page of a TimeMap."""

_ABSOLUTE = r"(?P<scheme>https?):/{1,2}(?P<rest>[^/?#].*)"  # proxies on the way may have merged the slashes
_MEMENTO = re.compile(rf"{re.escape(MEMENTO)}(?P<stamp>[0-9]{{14}})/{_ABSOLUTE}")
_TIMEMAP = re.compile(rf"{re.escape(TIMEMAP)}(?:(?P<page>[1-9][0-9]{{0,5}})/)?{_ABSOLUTE}")
_SAFE = "%:/?[]@!$&'()*+,;=-._~"
_TYPE = 'type="application/link-format"'


@dataclass(frozen=True, slots=True)
class MementoPath:
    """A version by its second; `url` is that of the original."""

    second: int
    url: str


@dataclass(frozen=True, slots=True)
class TimeMapPath:
    """A page of the list of versions of `url`; the first is 1."""

    page: int
    url: str


def parse_path(target: str) -> MementoPath | TimeMapPath | None:
    """What a request target below /.edge/ asks for; None when it is neither."""
    if found := _MEMENTO.fullmatch(target):
        second = parse_stamp(found["stamp"])
        return None if second is None else MementoPath(second, f"{found['scheme']}://{found['rest']}")
    if found := _TIMEMAP.fullmatch(target):
        return TimeMapPath(int(found["page"] or 1), f"{found['scheme']}://{found['rest']}")
    return None


def stamp(second: int) -> str:
    """A second as 14 digits, in UTC."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y%m%d%H%M%S")


def parse_stamp(text: str) -> int | None:
    """The inverse; None for a time that does not exist."""
    try:
        return int(datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=UTC).timestamp())
    except ValueError:
        return None


def parse_accept_datetime(value: str) -> int | None:
    """The second that a client wants; None when the value is no HTTP-date (section 4.5.3 has a 400 for that)."""
    return parse_http_date(value.strip())


def pick(seconds: Sequence[int], wanted: int) -> int:
    """Index of the version that was the page at `wanted`: the first one for an earlier date, the last one for a later (section
    4.5.3). `seconds` ascend and are not empty."""
    return max(0, bisect_right(seconds, wanted) - 1)


def memento_url(base: str, second: int, original: str) -> str:
    """Where a version is. `base` is scheme and authority of the site."""
    return f"{base}{MEMENTO}{stamp(second)}/{_uri(original)}"


def timemap_url(base: str, original: str, page: int = 1) -> str:
    """Where the list of versions is."""
    return f"{base}{TIMEMAP}{'' if page == 1 else f'{page}/'}{_uri(original)}"


def links_of_original(base: str, original: str) -> str:
    """`Link` of what the original URL answers: it is its own TimeGate."""
    return f'<{_uri(original)}>; rel="original timegate", <{timemap_url(base, original)}>; rel="timemap"; {_TYPE}'


def links_of_memento(base: str, original: str, seconds: Sequence[int], index: int) -> str:
    """`Link` of the version at `index`: the above, and the versions around it."""
    roles: dict[int, list[str]] = {}
    for name, position in (("first", 0), ("prev", index - 1), ("next", index + 1), ("last", len(seconds) - 1)):
        if 0 <= position < len(seconds):
            roles.setdefault(position, []).append(name)
    roles.setdefault(index, [])
    around = [_memento_link(base, original, seconds[position], roles[position]) for position in sorted(roles)]
    return ", ".join((links_of_original(base, original), *around))


def _memento_link(base: str, original: str, second: int, roles: Sequence[str]) -> str:
    rel = " ".join((*roles, "memento"))
    return f'<{memento_url(base, second, original)}>; rel="{rel}"; datetime="{format_http_date(second)}"'


def timemap(base: str, original: str, seconds: Sequence[int], page: int) -> str | None:
    """A page of the TimeMap (section 5) in link format (RFC 6690); None when there is no such page."""
    pages = -(-len(seconds) // PAGE)
    if not 1 <= page <= pages:
        return None
    lines = [f'<{_uri(original)}>; rel="original timegate"', _page_link(base, original, seconds, page, "self")]
    lines += [_page_link(base, original, seconds, other, "timemap") for other in (page - 1, page + 1) if 1 <= other <= pages]
    for position in range((page - 1) * PAGE, min(page * PAGE, len(seconds))):
        roles = [name for name, at in (("first", 0), ("last", len(seconds) - 1)) if at == position]
        lines.append(_memento_link(base, original, seconds[position], roles))
    return ",\n".join(lines) + "\n"


def _page_link(base: str, original: str, seconds: Sequence[int], page: int, rel: str) -> str:
    first, last = seconds[(page - 1) * PAGE], seconds[min(page * PAGE, len(seconds)) - 1]
    span = f'from="{format_http_date(first)}"; until="{format_http_date(last)}"'
    return f'<{timemap_url(base, original, page)}>; rel="{rel}"; {_TYPE}; {span}'


def _uri(url: str) -> str:
    """`url` so that nothing in it ends the angle brackets around it."""
    return quote(url, safe=_SAFE)
