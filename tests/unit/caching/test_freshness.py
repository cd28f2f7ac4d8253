"""RFC 9111 section 4.2: freshness lifetime, heuristics, age."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproxy.caching.freshness import (
    UNKNOWN_AGE,
    current_age,
    fresh_until,
    freshness_lifetime,
    initial_age,
    is_fresh,
    staleness,
)
from edgeproxy.caching.model import Policy
from edgeproxy.clock import Instant
from tests.support.caching import NOW, POLICY, after, fields, stored

DAY = 86_400
LIFETIMES = [
    ("4.2.1 max-age", 200, "Cache-Control: max-age=3600", POLICY, 3600),
    ("4.2.1 s-maxage beats a longer max-age", 200, "Cache-Control: max-age=3600, s-maxage=1", POLICY, 1),
    ("4.2.1 s-maxage beats a shorter max-age", 200, "Cache-Control: max-age=1 | Cache-Control: s-maxage=3600", POLICY, 3600),
    ("4.2.1 s-maxage beats max-age=0 and Expires", 200, "Expires: {-10} | Cache-Control: max-age=0, s-maxage=9", POLICY, 9),
    ("5.3 max-age beats a past Expires", 200, "Cache-Control: max-age=3600 | Expires: {-7200} | Date: {+0}", POLICY, 3600),
    ("5.3 max-age beats an invalid Expires", 200, "Cache-Control: max-age=3600 | Expires: 0", POLICY, 3600),
    ("5.3 max-age=0 beats a future Expires", 200, "Cache-Control: max-age=0 | Expires: {+3600} | Date: {+0}", POLICY, 0),
    ("5.3 Expires minus Date", 200, "Expires: {+100} | Date: {+40}", POLICY, 60),
    ("5.3 Expires older than Date", 200, "Expires: {+300} | Date: {+400}", POLICY, 0),
    ("5.3 Expires equal to Date", 200, "Expires: {+0} | Date: {+0}", POLICY, 0),
    ("5.3 Expires: 0 is the past", 200, "Expires: 0 | Date: {+0} | Last-Modified: {-100000}", POLICY, 0),
    ("4.2.1 Expires with an invalid Date counts from its arrival", 200, "Expires: {+10} | Date: foo", POLICY, 10),
    ("4.2.1 Expires without Date", 200, "Expires: {+10}", POLICY, 10),
    ("4.2.1 two different Expires are stale", 200, "Expires: {+10} | Expires: {+20}", POLICY, 0),
    ("5.3 Expires beyond the largest number", 200, "Expires: Fri, 31 Dec 9999 23:59:59 GMT", POLICY, 2**31),
    ("9213 2.2 a targeted field hides Expires", 200, "CDN-Cache-Control: must-revalidate | Expires: {+10}", POLICY, 0),
    ("4.2.2 a tenth of the time since Last-Modified", 200, "Last-Modified: {-3600} | Date: {+0}", POLICY, 360),
    ("4.2.2 but no more than the operator says", 200, "Last-Modified: {-100000000}", Policy(heuristic_max=DAY), DAY),
    ("4.2.2 a fraction of the operator's choice", 200, "Last-Modified: {-100}", Policy(heuristic_fraction=0.5), 50),
    ("4.2.2 Last-Modified in the future", 200, "Last-Modified: {+100}", POLICY, 0),
    ("4.2.2 an invalid Last-Modified", 200, "Last-Modified: yesterday", POLICY, 0),
    ("4.2.2 no heuristic with explicit freshness", 200, "Cache-Control: max-age=0 | Last-Modified: {-86400}", POLICY, 0),
    *[(f"4.2.2 heuristic for {status}", status, "Last-Modified: {-100}", POLICY, 10)
      for status in (200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501)],
    *[(f"4.2.2 no heuristic for {status}", status, "Last-Modified: {-100}", POLICY, 0)
      for status in (201, 202, 302, 303, 307, 400, 403, 500, 502, 503, 504, 599)],
    ("4.2.2 public allows the heuristic for any status", 599, "Last-Modified: {-100} | Cache-Control: public", POLICY, 10),
    ("default_ttl where the origin names none", 200, "", Policy(default_ttl=30), 30),
    ("default_ttl comes before the heuristic", 200, "Last-Modified: {-86400}", Policy(default_ttl=30), 30),
    ("default_ttl leaves explicit freshness alone", 200, "Cache-Control: max-age=5", Policy(default_ttl=30), 5),
    ("default_ttl is not for errors", 500, "", Policy(default_ttl=30), 0),
    ("max_ttl caps", 200, "Cache-Control: max-age=500", Policy(max_ttl=60), 60),
    ("nothing named", 200, "ETag: \"a\"", POLICY, 0),
]  # fmt: skip


@pytest.mark.parametrize(
    ("status", "text", "policy", "expected"), [case[1:] for case in LIFETIMES], ids=[case[0] for case in LIFETIMES]
)
def test_freshness_lifetime(status: int, text: str, policy: Policy, expected: int) -> None:
    assert freshness_lifetime(status, fields(text), NOW, policy) == expected


AGES = [
    ("4.2.3 nothing known", "", 0, 0),
    ("4.2.3 apparent age", "Date: {-7200}", 0, 7200),
    ("4.2.3 Date in the future", "Date: {+10} | Age: 15", 0, 15),
    ("4.2.3 the larger of apparent age and Age", "Date: {-10} | Age: 25", 0, 25),
    ("4.2.3 the time the request took is added to Age", "Date: {+0} | Age: 25", 3, 28),
    ("4.2.3 an invalid Date gives no apparent age", "Date: foo", 0, 0),
    ("4.2.3 one second may be the rounding of Date", "Date: {-1}", 0, 0),
    ("4.2.3 two seconds are two", "Date: {-2}", 0, 2),
    ("5.1 not a number", "Age: abc", 0, UNKNOWN_AGE),
    ("5.1 negative", "Age: -7200", 0, UNKNOWN_AGE),
    ("5.1 decimal", "Age: 7200.0", 0, UNKNOWN_AGE),
    ("5.1 with a parameter", "Age: 7200;foo=111", 0, UNKNOWN_AGE),
    ("5.1 of a list in one line the first counts (old)", "Age: 7200,0", 0, 7200),
    ("5.1 of a list in one line the first counts (young)", "Age: 0,7200", 0, 0),
    ("5.1 several lines are not trusted", "Age: 0 | Age: 7200", 0, UNKNOWN_AGE),
    ("5.1 several equal lines are not trusted", "Age: 0 | Age: 0", 0, UNKNOWN_AGE),
    ("5.1 lines joined on the way are not trusted", "Age: 0, 0", 0, UNKNOWN_AGE),
    ("5.1 lines joined on the way are not trusted, old", "Age: 3600, 3600", 0, UNKNOWN_AGE),
    ("1.2.2 too large", "Age: 99999999999", 0, UNKNOWN_AGE),
]


@pytest.mark.parametrize(("text", "took", "expected"), [case[1:] for case in AGES], ids=[case[0] for case in AGES])
def test_initial_age(text: str, took: int, expected: int) -> None:
    assert initial_age(fields(text), Instant(NOW - took * 1000), NOW) == expected


def test_age_grows_with_the_time_in_the_store() -> None:
    entry = stored("Cache-Control: max-age=600 | Date: {+0} | Age: 30")
    assert [current_age(entry, after(seconds)) for seconds in (0, 0.999, 1, 3.001)] == [30, 30, 31, 33]


def test_age_never_shrinks_when_the_clock_goes_back() -> None:
    assert current_age(stored("Age: 30"), after(-100)) == 30


def test_fresh_means_a_lifetime_greater_than_the_age() -> None:
    entry = stored("Cache-Control: max-age=60 | Age: 20")
    assert fresh_until(entry, POLICY) == after(40)
    assert is_fresh(entry, after(39.999), POLICY)
    assert not is_fresh(entry, after(40), POLICY)


def test_an_age_that_cannot_be_trusted_is_stale_and_yet_can_stand_in() -> None:
    entry = stored("Cache-Control: max-age=99999999999 | Age: abc")
    assert not is_fresh(entry, NOW, POLICY)
    assert staleness(entry, after(5), POLICY) == 5


def test_a_new_policy_is_seen_at_once() -> None:
    entry = stored("Cache-Control: max-age=60")
    assert is_fresh(entry, after(30), POLICY)
    assert not is_fresh(entry, after(30), Policy(max_ttl=10))
    assert is_fresh(entry, after(30), POLICY)


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**7))
def test_the_two_ways_to_say_fresh_agree(lifetime: int, age: int, waited: int) -> None:
    entry = stored(f"Cache-Control: max-age={lifetime} | Age: {age}")
    now = Instant(NOW + waited)
    assert is_fresh(entry, now, POLICY) == (lifetime > current_age(entry, now))
    assert (staleness(entry, now, POLICY) > 0) <= (not is_fresh(entry, now, POLICY))
