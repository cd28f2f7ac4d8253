"""Byte ranges (RFC 9110 section 14) and the multipart body that carries several of them (section 15.3.7.2).

Owns: which ranges of a representation are sent and how they are framed. Must not judge preconditions or touch the bytes.
"""

import re
from typing import NamedTuple

Range = tuple[int, int]
"""First and last position, both inclusive."""

_SET = re.compile(r"bytes=[ \t]*(.*)", re.IGNORECASE | re.ASCII)
_SPEC = re.compile(r"([0-9]{0,20})-([0-9]{0,20})")
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=?-]{1,70}")
_MAX_VALUE = 2048


def parse_range(value: str, length: int, *, max_ranges: int = 16) -> tuple[Range, ...] | None:
    """The ranges to send of a representation of `length` bytes; () when none can be satisfied (416); None to ignore the field.

    Ignored are other units, anything malformed, more than `max_ranges` ranges, and sets of which more than two overlap (section
    14.2: such a set is a mistake or an attack). Ranges that overlap or touch are merged, the set then in ascending order.
    """
    match = _SET.fullmatch(value) if len(value) <= _MAX_VALUE else None
    if match is None:
        return None
    specs = [spec for member in match[1].split(",") if (spec := member.strip(" \t"))]
    if not specs or len(specs) > max_ranges:
        return None
    ranges: list[Range] = []
    for spec in specs:
        bounds = _bounds(spec, length)
        if bounds is None:
            return None
        first, last = bounds
        if first <= last:
            ranges.append(bounds)
    return _merged(ranges)


def _bounds(spec: str, length: int) -> Range | None:
    """First and last byte of one range-spec, clipped to `length`; first beyond last when unsatisfiable; None when malformed."""
    match = _SPEC.fullmatch(spec)
    if match is None or spec == "-":
        return None
    if not match[1]:
        if not length:
            return None  # satisfiable by section 14.1.2, but no Content-Range can say so: the whole of nothing is sent
        return max(0, length - int(match[2])), length - 1
    first = int(match[1])
    last = int(match[2]) if match[2] else length - 1
    if match[2] and last < first:
        return None
    return first, min(last, length - 1)


def _merged(ranges: list[Range]) -> tuple[Range, ...] | None:
    merged: list[Range] = []
    overlaps = 0
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            overlaps += first <= merged[-1][1]
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    if overlaps > 2:
        return None
    return tuple(ranges if len(merged) == len(ranges) else merged)


def content_range(first: int, last: int, length: int) -> str:
    """The value of Content-Range for one range."""
    return f"bytes {first}-{last}/{length}"


def unsatisfied_range(length: int) -> str:
    """The value of Content-Range of a 416."""
    return f"bytes */{length}"


class Multipart(NamedTuple):
    """A multipart/byteranges body: each part's head with the range that follows it, what closes the body, and its length."""

    parts: list[tuple[bytes, int, int]]
    closing: bytes
    total: int


def multipart_parts(ranges: tuple[Range, ...], content_type: str | None, length: int, boundary: str) -> Multipart:
    """Frame `ranges` of a representation of `length` bytes. Raises ValueError for a boundary that RFC 2046 does not allow."""
    if _BOUNDARY.fullmatch(boundary) is None:
        raise ValueError("boundary is malformed")
    type_line = f"Content-Type: {content_type}\r\n" if content_type is not None else ""
    parts: list[tuple[bytes, int, int]] = []
    total = 0
    for first, last in ranges:
        start = "\r\n--" if parts else "--"
        head = f"{start}{boundary}\r\n{type_line}Content-Range: {content_range(first, last, length)}\r\n\r\n".encode("latin-1")
        parts.append((head, first, last))
        total += len(head) + last - first + 1
    closing = f"\r\n--{boundary}--\r\n".encode()
    return Multipart(parts, closing, total + len(closing))
