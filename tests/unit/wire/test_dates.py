"""HTTP dates by RFC 9110 section 5.6.7 and RFC 9111 section 4.2."""

import pytest

from edgeproxy.wire.dates import format_http_date, parse_http_date

NOON = 784_111_777  # Sun, 06 Nov 1994 08:49:37 GMT, the example of the RFC

VALID = {
    "IMF-fixdate": ("Sun, 06 Nov 1994 08:49:37 GMT", NOON),
    "RFC 850": ("Sunday, 06-Nov-94 08:49:37 GMT", NOON),
    "asctime": ("Sun Nov  6 08:49:37 1994", NOON),
    "asctime, two-digit day": ("Wed Nov 16 08:49:37 1994", NOON + 10 * 86_400),
    "another day of the week": ("Mon, 06 Nov 1994 08:49:37 GMT", NOON),
    "any case (RFC 9111 4.2)": ("sun, 06 nOV 1994 08:49:37 gmt", NOON),
    "epoch": ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
    "before the epoch": ("Wed, 31 Dec 1969 23:59:59 GMT", -1),
    "leap day": ("Thu, 29 Feb 2024 00:00:00 GMT", 1_709_164_800),
    "leap second": ("Sat, 31 Dec 2016 23:59:60 GMT", 1_483_228_800),
    "last second of all": ("Fri, 31 Dec 9999 23:59:59 GMT", 253_402_300_799),
    "two-digit year after 1969": ("Thursday, 01-Jan-70 00:00:00 GMT", 0),
    "two-digit year of this century": ("Thursday, 18-Aug-50 02:01:18 GMT", 2_544_400_878),
}

INVALID = {
    "empty": "",
    "zero (RFC 9111 5.3)": "0",
    "number": "1764000000",
    "other zone": "Sun, 06 Nov 1994 08:49:37 AEST",
    "UTC": "Sun, 06 Nov 1994 08:49:37 UTC",
    "offset": "Sun, 06 Nov 1994 08:49:37 +0000",
    "no zone": "Sun, 06 Nov 1994 08:49:37",
    "asctime with zone": "Sun Nov  6 08:49:37 1994 GMT",
    "no comma": "Sun 06 Nov 1994 08:49:37 GMT",
    "one-digit day": "Sun, 6 Nov 1994 08:49:37 GMT",
    "one-digit hour": "Sun, 06 Nov 1994 8:49:37 GMT",
    "two-digit year": "Sun, 06 Nov 94 08:49:37 GMT",
    "dashes": "Sun, 06-Nov-1994 08:49:37 GMT",
    "long day of the week": "Sunday, 06 Nov 1994 08:49:37 GMT",
    "no such day of the week": "Day, 06 Nov 1994 08:49:37 GMT",
    "no such month": "Sun, 06 Nom 1994 08:49:37 GMT",
    "no such day": "Sun, 31 Nov 1994 08:49:37 GMT",
    "day zero": "Sun, 00 Nov 1994 08:49:37 GMT",
    "year zero": "Sun, 06 Nov 0000 08:49:37 GMT",
    "hour 24": "Sun, 06 Nov 1994 24:00:00 GMT",
    "minute 60": "Sun, 06 Nov 1994 08:60:37 GMT",
    "second 61": "Sun, 06 Nov 1994 08:49:61 GMT",
    "points in the time": "Sun, 06 Nov 1994 08.49.37 GMT",
    "two spaces": "Sun, 06 Nov  1994 08:49:37 GMT",
    "leading space": " Sun, 06 Nov 1994 08:49:37 GMT",
    "two dates": "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
    "ISO 8601": "1994-11-06T08:49:37Z",
    "digits of another script": "Sun, 0\u0666 Nov 1994 08:49:37 GMT",
}


@pytest.mark.parametrize(("text", "seconds"), VALID.values(), ids=VALID)
def test_valid(text: str, seconds: int) -> None:
    assert parse_http_date(text) == seconds


@pytest.mark.parametrize("text", INVALID.values(), ids=INVALID)
def test_invalid(text: str) -> None:
    assert parse_http_date(text) is None


@pytest.mark.parametrize(
    ("year", "this_year", "full"),
    [("94", 1994, 1994), ("94", 2026, 1994), ("76", 2026, 2076), ("77", 2026, 1977), ("20", 1980, 2020), ("31", 1980, 1931)],
)
def test_two_digit_year_is_at_most_fifty_years_ahead(year: str, this_year: int, full: int) -> None:
    now = parse_http_date(f"Sun, 06 Nov {this_year} 08:49:37 GMT")
    assert parse_http_date(f"Sunday, 06-Nov-{year} 08:49:37 GMT", now=now) == parse_http_date(f"Sun, 06 Nov {full} 08:49:37 GMT")


def test_format() -> None:
    assert format_http_date(NOON) == "Sun, 06 Nov 1994 08:49:37 GMT"
    for seconds in (0, 951_782_400, 1_764_000_000, 253_402_300_799):
        assert parse_http_date(format_http_date(seconds)) == seconds


@pytest.mark.parametrize("seconds", [-1, 253_402_300_800])
def test_no_date_outside_four_digit_years(seconds: int) -> None:
    with pytest.raises(ValueError):
        format_http_date(seconds)
