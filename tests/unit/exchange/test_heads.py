"""Validators and fields of a page with our tag in it."""

import pytest

from edgeproxy.exchange import heads
from tests.support.caching import fields


@pytest.mark.parametrize(
    ("etag", "marked"),
    [('"a"', 'W/"a-edge"'), ('W/"a"', 'W/"a-edge"'), ('"a-br"', 'W/"a-br-edge"'), ('""', 'W/"-edge"'), ("bare", "W/bare-edge")],
)
def test_the_validator_of_a_page_with_the_tag_is_weak_and_its_own(etag: str, marked: str) -> None:
    assert heads.marked(etag) == marked


@pytest.mark.parametrize(
    ("sent", "asked"),
    [
        ('W/"a-edge"', 'W/"a"'),
        ('"x", W/"a-edge", "y-edge"', '"x", W/"a", "y"'),
        ('"a"', '"a"'),
        ("*", "*"),
    ],
)
def test_the_origin_is_asked_with_validators_that_it_gave(sent: str, asked: str) -> None:
    assert heads.unmarked(sent) == asked


def test_what_speaks_of_the_bytes_goes() -> None:
    given = fields(
        'ETag: "a" | Content-MD5: x | Digest: x | Repr-Digest: x | Content-Digest: x | Accept-Ranges: bytes | Date: {+0}'
    )
    kept = heads.of_injected(given)
    assert kept.names() == {"etag", "accept-ranges", "date"}
    assert (kept.get("etag"), kept.get("accept-ranges")) == ('W/"a-edge"', "none")


def test_the_destination_is_named_once() -> None:
    assert heads.varied(fields("")).get("vary") == "Sec-Fetch-Dest"
    assert heads.varied(fields("Vary: sec-fetch-dest, Cookie")).get("vary") == "sec-fetch-dest, Cookie"
