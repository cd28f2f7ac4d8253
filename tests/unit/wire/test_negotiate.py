"""Content codings by RFC 9110 sections 8.4 and 12.5.3."""

import pytest

from edgeproxy.wire.fields import Fields
from edgeproxy.wire.negotiate import content_codings, select_coding

ALL = ("gzip", "zstd", "br")

CASES = {
    "no field": (None, ALL, "identity"),
    "empty field": ("", ALL, "identity"),
    "one": ("gzip", ALL, "gzip"),
    "own order among equals": ("gzip, zstd, br", ALL, "br"),
    "own order without br": ("gzip, zstd, br", ("gzip", "zstd"), "zstd"),
    "a browser": ("gzip, deflate, br, zstd", ALL, "br"),
    "weights win": ("br;q=0.5, gzip;q=0.8", ALL, "gzip"),
    "weights with whitespace": ("br ; q=0.5 ,\tgzip ; Q=0.8", ALL, "gzip"),
    "not available": ("deflate, compress", ALL, "identity"),
    "available is asked for what it has": ("br", ("gzip",), "identity"),
    "weight zero": ("br;q=0, gzip", ALL, "gzip"),
    "all excluded but identity": ("br;q=0, gzip;q=0, zstd;q=0", ALL, "identity"),
    "star": ("*", ALL, "br"),
    "star below a name": ("gzip, *;q=0.1", ALL, "gzip"),
    "star excludes the rest": ("gzip, *;q=0", ALL, "gzip"),
    "identity preferred": ("identity, gzip;q=0.5", ALL, "identity"),
    "identity less liked": ("identity;q=0.1, gzip;q=0.2", ALL, "gzip"),
    "identity among equals is last": ("identity, gzip", ALL, "gzip"),
    "identity unnamed is last": ("gzip;q=0.001", ALL, "gzip"),
    "identity excluded": ("identity;q=0", ALL, None),
    "identity excluded, coding at hand": ("gzip, identity;q=0", ALL, "gzip"),
    "everything excluded": ("*;q=0", ALL, None),
    "excluded by star, coding not at hand": ("deflate, *;q=0", ALL, None),
    "any case": ("GZip", ALL, "gzip"),
    "alias (8.4.1.3)": ("x-gzip", ALL, "gzip"),
    "named twice": ("gzip;q=0, gzip", ALL, "identity"),
    "malformed weight": ("br;q=2, gzip", ALL, "gzip"),
    "malformed member": ("br br, gzip", ALL, "gzip"),
    "other parameter": ("br;level=1, gzip", ALL, "gzip"),
    "four digits": ("br;q=0.1234, gzip;q=0.1", ALL, "gzip"),
    "empty members": (",, gzip ,", ALL, "gzip"),
    "endless value": ("x, " * 200 + "gzip", ALL, "gzip"),
    "identity listed as available": ("gzip", ("identity", "gzip"), "gzip"),
}


@pytest.mark.parametrize(("value", "available", "expected"), CASES.values(), ids=CASES)
def test_select(value: str | None, available: tuple[str, ...], expected: str | None) -> None:
    assert select_coding(value, available) == expected


def test_content_codings() -> None:
    assert content_codings(Fields()) == ()
    assert content_codings(Fields([("Content-Encoding", "identity")])) == ()
    assert content_codings(Fields([("Content-Encoding", "X-Gzip"), ("content-encoding", "br, identity")])) == ("gzip", "br")
