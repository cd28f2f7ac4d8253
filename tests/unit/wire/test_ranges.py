"""Byte ranges by RFC 9110 section 14."""

import pytest

from edgeproxy.wire.ranges import content_range, multipart_parts, parse_range, unsatisfied_range

RANGES = {
    # value, length, ranges (14.1.2: examples of the RFC are of 10000 bytes)
    "first 500": ("bytes=0-499", 10000, ((0, 499),)),
    "second 500": ("bytes=500-999", 10000, ((500, 999),)),
    "last 500": ("bytes=-500", 10000, ((9500, 9999),)),
    "open end": ("bytes=9500-", 10000, ((9500, 9999),)),
    "first and last byte": ("bytes=0-0,-1", 10000, ((0, 0), (9999, 9999))),
    "unit in any case": ("BYTES=0-1", 10, ((0, 1),)),
    "whitespace and empty members": ("bytes= 0-1 ,, 4-5\t,", 10, ((0, 1), (4, 5))),
    "last beyond the end": ("bytes=5-99", 10, ((5, 9),)),
    "suffix longer than all": ("bytes=-99", 10, ((0, 9),)),
    "one byte": ("bytes=9-9", 10, ((9, 9),)),
    "order of the client is kept": ("bytes=8-9,0-1", 10, ((8, 9), (0, 1))),
    "merged when they overlap": ("bytes=4-9,0-5", 20, ((0, 9),)),
    "merged when they touch": ("bytes=0-4,5-9", 20, ((0, 9),)),
    "one inside another": ("bytes=0-9,2-3,15-16", 20, ((0, 9), (15, 16))),
    "huge numbers": ("bytes=1-99999999999999999999", 10, ((1, 9),)),
    # 14.1.2: a set with an unsatisfiable member is satisfied by the others
    "one of two": ("bytes=0-1,50-60", 10, ((0, 1),)),
    # 15.5.17
    "behind the end": ("bytes=10-", 10, ()),
    "all behind the end": ("bytes=10-11,20-", 10, ()),
    "empty suffix": ("bytes=-0", 10, ()),
    "anything of nothing": ("bytes=0-", 0, ()),
    # 14.2: ignored
    "suffix of nothing": ("bytes=-5", 0, None),
    "other unit": ("lines=0-1", 10, None),
    "no unit": ("0-1", 10, None),
    "space before the sign": ("bytes =0-1", 10, None),
    "no ranges": ("bytes=", 10, None),
    "only commas": ("bytes=,,", 10, None),
    "lone dash": ("bytes=-", 10, None),
    "letters": ("bytes=abc-xyz", 10, None),
    "backwards": ("bytes=5-4", 10, None),
    "backwards beyond the end": ("bytes=50-4", 10, None),
    "one malformed of two": ("bytes=0-1,x", 10, None),
    "sign": ("bytes=+0-1", 10, None),
    "space inside": ("bytes=0 - 1", 10, None),
    "two dashes": ("bytes=0-1-2", 10, None),
    "negative suffix": ("bytes=--1", 10, None),
    "number of many digits": ("bytes=0-" + "9" * 21, 10, None),
    "endless value": ("bytes=0-1" + "," * 3000, 10, None),
    "too many": ("bytes=" + ",".join(f"{n * 10}-{n * 10}" for n in range(17)), 1000, None),
    "many overlaps (14.2)": ("bytes=0-,0-,0-,0-", 10, None),
    "as many as allowed": (
        "bytes=" + ",".join(f"{n * 10}-{n * 10}" for n in range(16)), 1000, tuple((n * 10, n * 10) for n in range(16)),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("value", "length", "expected"), RANGES.values(), ids=RANGES)
def test_range(value: str, length: int, expected: tuple[tuple[int, int], ...] | None) -> None:
    assert parse_range(value, length) == expected


def test_content_range() -> None:
    assert content_range(0, 1, 10) == "bytes 0-1/10"
    assert unsatisfied_range(10) == "bytes */10"


def test_multipart() -> None:
    body = b"0123456789"
    parts, closing, total = multipart_parts(((0, 1), (8, 9)), "text/plain", len(body), "B")
    whole = b"".join(head + body[first : last + 1] for head, first, last in parts) + closing
    assert whole == (
        b"--B\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/10\r\n\r\n01"
        b"\r\n--B\r\nContent-Type: text/plain\r\nContent-Range: bytes 8-9/10\r\n\r\n89"
        b"\r\n--B--\r\n"
    )
    assert total == len(whole)


def test_multipart_without_a_type() -> None:
    assert multipart_parts(((0, 1),), None, 10, "B").parts[0][0] == b"--B\r\nContent-Range: bytes 0-1/10\r\n\r\n"


@pytest.mark.parametrize("boundary", ["", "a b", "a\r\n", "a" * 71, "\xe9"])
def test_boundary_must_be_one(boundary: str) -> None:
    with pytest.raises(ValueError):
        multipart_parts(((0, 1),), None, 10, boundary)
