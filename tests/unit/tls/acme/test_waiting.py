"""Retry-After (RFC 9110 section 10.2.3) and the rhythm of polling."""

import time
from email.utils import formatdate
from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproxy.tls.acme.waiting import FIRST_LOOK, LONGEST_PAUSE, LONGEST_RETRY_AFTER, pauses, retry_at

NOW = 1_764_000_000.0


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        (formatdate(NOW + 90, usegmt=True), 90.0),
        (formatdate(NOW - 90, usegmt=True), 0.0),
        ("Monday, 24-Nov-25 16:01:30 GMT", 90.0),  # RFC 850's form, obsolete and still to be understood
        ("Mon Nov 24 16:01:30 2025", 90.0),  # asctime's, which has no zone: UTC by definition
        ("Mon, 24 Nov 2025 17:01:30 +0100", 90.0),
        ("9" * 18, LONGEST_RETRY_AFTER),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_RETRY_AFTER),
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kathmandu"])
def test_seconds_and_dates_are_understood_in_every_time_zone(
    value: str, wait: float, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert retry_at(value, NOW) == NOW + wait
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("value", [None, "", "soon", "-5", "1.5", "٣", "9" * 100, "Mon, 99 Nov 2025 16:01:30 GMT"])
def test_what_names_no_time_is_none(value: str | None) -> None:
    assert retry_at(value, NOW) is None


@given(st.text(max_size=80))
def test_no_text_breaks_it_or_reaches_beyond_its_bounds(value: str) -> None:
    when = retry_at(value, NOW)
    assert when is None or NOW <= when <= NOW + LONGEST_RETRY_AFTER


def test_the_first_look_is_fast_and_later_ones_are_patient() -> None:
    first = list(islice(pauses(), 20))
    assert first[0] == FIRST_LOOK
    assert first[-1] == LONGEST_PAUSE
    assert all(one <= next_one for one, next_one in pairwise(first))
