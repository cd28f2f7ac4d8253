"""RFC 9111 sections 4 (reuse), 4.2.4 (stale), 5.2.1 (request directives); RFC 5861; the ledger's marks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproxy.caching.model import (
    Failure,
    Fetch,
    Mark,
    Pass,
    Plan,
    Policy,
    Reason,
    Refuse,
    Revalidate,
    Serve,
    ServeStale,
)
from edgeproxy.caching.plan import after_failure, plan
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.messages import Request
from tests.support.caching import NO_MARK, POLICY, after, fields, request, stored

R = Reason


def told(found: Plan) -> str:
    """A plan as the tables write it."""
    match found:
        case Serve(_, reason):
            return f"serve {reason}"
        case ServeStale(_, reason, refresh):
            return f"stale {reason}{' and refresh' if refresh else ''}"
        case Revalidate(_, conditions, reason):
            return f"revalidate {reason} with {' '.join(name for name, _ in conditions)}".strip()
        case Fetch(reason):
            return f"fetch {reason}"
        case Pass(reason):
            return f"pass {reason}"
        case Refuse(status, reason):
            return f"refuse {status} {reason}"


# rule, request fields, stored fields (arrived 10 seconds ago), plan
CASES = [
    ("4.2 fresh", "", "Cache-Control: max-age=60", "serve fresh"),
    ("4.2 fresh for a shared cache", "", "Cache-Control: max-age=1, s-maxage=60", "serve fresh"),
    ("4.2.2 heuristically fresh", "", "Last-Modified: {-86400} | Date: {+0}", "serve fresh"),
    ("4.2 stale, nothing to validate with", "", "Cache-Control: max-age=10", "fetch stale"),
    ("4.2 stale by its Age", "", "Cache-Control: max-age=3600 | Age: 7200", "fetch stale"),
    ("4.3.1 stale with a tag", "", 'Cache-Control: max-age=1 | ETag: "a"', "revalidate stale with If-None-Match"),
    ("4.3.1 stale with a date", "", "Cache-Control: max-age=1 | Last-Modified: {-9}", "revalidate stale with If-Modified-Since"),
    ("5.2.2.4 no-cache, though fresh", "", 'Cache-Control: max-age=60, no-cache | ETag: "a"',
     "revalidate no-cache with If-None-Match"),
    ("5.2.2.4 no-cache without validator", "", "Cache-Control: max-age=60, no-cache", "fetch no-cache"),
    ("5.2.2.4 no-cache with names is reusable", "", 'Cache-Control: max-age=60, no-cache="a"', "serve fresh"),
    ("5.2.2.2 must-revalidate while fresh", "", "Cache-Control: max-age=60, must-revalidate", "serve fresh"),
    ("5.4 other pragmas mean nothing", "Pragma: foo", "Cache-Control: max-age=60", "serve fresh"),
    ("5.4 Pragma in a response means nothing", "", "Cache-Control: max-age=60 | Pragma: no-cache", "serve fresh"),
    ("5.4 Pragma: no-cache without Cache-Control", "Pragma: no-cache", "Cache-Control: max-age=60", "fetch request-directive"),
    ("5.2.1.4 the client's no-cache", "Cache-Control: no-cache", "Cache-Control: max-age=60", "fetch request-directive"),
    ("5.2.1.4 the client's no-cache, validated", "Cache-Control: no-cache", "Cache-Control: max-age=60 | Last-Modified: {-9}",
     "revalidate request-directive with If-Modified-Since"),
    ("5.2.1.1 max-age=0", "Cache-Control: max-age=0", "Cache-Control: max-age=60", "fetch request-directive"),
    ("5.2.1.1 younger than max-age", "Cache-Control: max-age=10", "Cache-Control: max-age=60", "serve fresh"),
    ("5.2.1.1 Age counts", "Cache-Control: max-age=600", "Cache-Control: max-age=3600 | Age: 1800", "fetch request-directive"),
    ("5.2.1.3 min-fresh", "Cache-Control: min-fresh=51", "Cache-Control: max-age=60", "fetch request-directive"),
    ("5.2.1.3 min-fresh, and it is", "Cache-Control: min-fresh=50", "Cache-Control: max-age=60", "serve fresh"),
    ("5.2.1.3 Age counts for min-fresh", "Cache-Control: min-fresh=1000", "Cache-Control: max-age=1500 | Age: 1000",
     "fetch request-directive"),
    ("5.2.1.2 max-stale", "Cache-Control: max-stale=5", "Cache-Control: max-age=5", "serve client-max-stale"),
    ("5.2.1.2 staler than max-stale", "Cache-Control: max-stale=4", "Cache-Control: max-age=5", "fetch stale"),
    ("5.2.1.2 any staleness", "Cache-Control: max-stale", "Cache-Control: max-age=0 | Age: 999", "serve client-max-stale"),
    ("5.2.2.2 must-revalidate beats max-stale", "Cache-Control: max-stale", "Cache-Control: max-age=5, must-revalidate",
     "fetch stale"),
    ("5.2.2.8 proxy-revalidate beats max-stale", "Cache-Control: max-stale", "Cache-Control: max-age=5, proxy-revalidate",
     "fetch stale"),
    ("5.2.2.10 s-maxage beats max-stale", "Cache-Control: max-stale", "Cache-Control: s-maxage=5", "fetch stale"),
    ("5.2.2.4 no-cache beats max-stale", "Cache-Control: max-stale", "Cache-Control: max-age=5, no-cache", "fetch no-cache"),
    ("5.2.1.5 the client's no-store", "Cache-Control: no-store", "Cache-Control: max-age=60", "pass no-store"),
    ("5.2.1.7 only-if-cached, fresh", "Cache-Control: only-if-cached", "Cache-Control: max-age=60", "serve fresh"),
    ("5.2.1.7 only-if-cached, stale", "Cache-Control: only-if-cached", "Cache-Control: max-age=1", "refuse 504 only-if-cached"),
    ("5.2.1.7 only-if-cached with max-stale", "Cache-Control: only-if-cached, max-stale", "Cache-Control: max-age=1",
     "serve client-max-stale"),
    ("5.2.1.7 only-if-cached and no-cache", "Cache-Control: only-if-cached, no-cache", "Cache-Control: max-age=60",
     "refuse 504 only-if-cached"),
    ("5861 3 within stale-while-revalidate", "", "Cache-Control: max-age=5, stale-while-revalidate=5",
     "stale stale-while-revalidate and refresh"),
    ("5861 3 beyond stale-while-revalidate", "", "Cache-Control: max-age=5, stale-while-revalidate=4", "fetch stale"),
    ("5861 3 must-revalidate beats it", "", "Cache-Control: max-age=5, stale-while-revalidate=50, must-revalidate",
     "fetch stale"),
    ("5861 3 s-maxage beside it does not", "", "Cache-Control: s-maxage=5, stale-while-revalidate=50",
     "stale stale-while-revalidate and refresh"),
    ("5861 3 a client that wants it new", "Cache-Control: max-age=0", "Cache-Control: max-age=5, stale-while-revalidate=50",
     "fetch request-directive"),
    ("8246 immutable is no promise to a client that reloads", "Cache-Control: no-cache", "Cache-Control: max-age=60, immutable",
     "fetch request-directive"),
    ("8246 immutable does not prolong", "", "Cache-Control: max-age=1, immutable", "fetch stale"),
    ("9213 2.2 the targeted field decides", "", "CDN-Cache-Control: max-age=60 | Cache-Control: no-cache", "serve fresh"),
    ("4.3.2 only the origin judges If-Match", 'If-Match: "a"', "Cache-Control: max-age=60", "pass bypass"),
    ("4.3.2 and If-Unmodified-Since", "If-Unmodified-Since: {+0}", "Cache-Control: max-age=60", "pass bypass"),
    ("4.3.2 other conditions do not matter here", 'If-None-Match: "a" | Range: bytes=0-1', "Cache-Control: max-age=60",
     "serve fresh"),
    ("4 Cookie does not matter", "Cookie: a=b", "Cache-Control: max-age=60", "serve fresh"),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "text", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_plan(asked: str, text: str, expected: str) -> None:
    assert told(plan(request(asked), stored(text), after(10), POLICY)) == expected


ABSENT = [
    ("4 nothing stored", "GET", "", "fetch miss"),
    ("4 nothing stored for HEAD", "HEAD", "", "pass method"),
    ("5.2.1.7 only-if-cached", "GET", "Cache-Control: only-if-cached", "refuse 504 only-if-cached"),
    ("5.2.1.7 only-if-cached beside no-store", "GET", "Cache-Control: only-if-cached, no-store", "refuse 504 only-if-cached"),
    ("5.2.1.5 no-store", "GET", "Cache-Control: no-store", "pass no-store"),
    ("a range of what is not stored", "GET", "Range: bytes=0-1", "fetch miss"),
]


@pytest.mark.parametrize(("method", "asked", "expected"), [case[1:] for case in ABSENT], ids=[case[0] for case in ABSENT])
def test_plan_with_nothing_stored(method: str, asked: str, expected: str) -> None:
    assert told(plan(request(asked, method=method), None, after(10), POLICY)) == expected


def test_the_caller_says_why_nothing_was_found() -> None:
    assert plan(request(), None, after(0), POLICY, absent=R.VARY_MISS) == Fetch(R.VARY_MISS)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "M-SEARCH", "get"])
def test_only_get_and_head_are_answered_from_the_store(method: str) -> None:
    assert told(plan(request(method=method), stored("Cache-Control: max-age=60"), after(0), POLICY)) == "pass method"


@pytest.mark.parametrize("length", [5, -1])
def test_a_request_body_passes(length: int) -> None:
    assert told(plan(request(body_length=length), stored("Cache-Control: max-age=60"), after(0), POLICY)) == "pass request-body"


@pytest.mark.parametrize(("upgrade", "expected"), [("websocket", "pass upgrade"), ("h2c", "serve fresh")])
def test_an_upgrade_passes_unless_it_is_only_an_offer(upgrade: str, expected: str) -> None:
    assert told(plan(request(upgrade=upgrade), stored("Cache-Control: max-age=60"), after(0), POLICY)) == expected


def test_head_is_served_from_a_stored_get() -> None:
    assert told(plan(request(method="HEAD"), stored("Cache-Control: max-age=60"), after(0), POLICY)) == "serve fresh"


def test_a_stale_head_asks_with_head_even_without_validators() -> None:
    found = plan(request(method="HEAD"), stored("Cache-Control: max-age=1"), after(10), POLICY)
    assert isinstance(found, Revalidate)
    assert found.conditions == Fields()


def test_revalidation_sends_the_stored_validators() -> None:
    found = plan(request('If-None-Match: "x"'), stored('Cache-Control: max-age=1 | ETag: "a"'), after(10), POLICY)
    assert isinstance(found, Revalidate)
    assert found.conditions == fields('If-None-Match: "a"')


def test_a_block_that_is_not_committed_is_named() -> None:
    assert told(plan(request(), stored("Cache-Control: max-age=60", height=None), after(0), POLICY)) == "serve pending-block"


@pytest.mark.parametrize("directive", ["no-cache", "no-store", "max-age=0", "min-fresh=1000"])
def test_the_operator_may_ignore_what_clients_demand(directive: str) -> None:
    policy = Policy(ignore_client_no_cache=True)
    found = plan(request(f"Cache-Control: {directive}"), stored("Cache-Control: max-age=60"), after(0), policy)
    assert told(found) == "serve fresh"


MARKS = [
    ("soft: stale", Mark.SOFT, "", 'Cache-Control: max-age=60 | ETag: "a"', "revalidate purged with If-None-Match"),
    ("soft: stale, no validator", Mark.SOFT, "", "Cache-Control: max-age=60", "fetch purged"),
    ("soft: max-stale does not bring it back", Mark.SOFT, "Cache-Control: max-stale", "Cache-Control: max-age=60",
     "fetch purged"),
    ("soft: the origin's stale-while-revalidate does", Mark.SOFT, "", "Cache-Control: max-age=60, stale-while-revalidate=9",
     "stale stale-while-revalidate and refresh"),
    ("4.4 invalidated", Mark.MUST_VALIDATE, "", 'Cache-Control: max-age=60 | ETag: "a"',
     "revalidate invalidated with If-None-Match"),
    ("4.4 invalidated, whatever may be stale", Mark.MUST_VALIDATE, "Cache-Control: max-stale",
     "Cache-Control: max-age=60, stale-while-revalidate=9", "fetch invalidated"),
    ("gone", Mark.GONE, "", 'Cache-Control: max-age=60 | ETag: "a"', "fetch purged"),
    ("gone, only-if-cached", Mark.GONE, "Cache-Control: only-if-cached", "Cache-Control: max-age=60",
     "refuse 504 only-if-cached"),
    ("soft, only-if-cached", Mark.SOFT, "Cache-Control: only-if-cached", "Cache-Control: max-age=60",
     "refuse 504 only-if-cached"),
]  # fmt: skip


@pytest.mark.parametrize(("mark", "asked", "text", "expected"), [case[1:] for case in MARKS], ids=[case[0] for case in MARKS])
def test_marks(mark: Mark, asked: str, text: str, expected: str) -> None:
    assert told(plan(request(asked), stored(text), after(10), POLICY, mark)) == expected


# rule, stored status, stored fields (arrived 10 seconds ago), request fields, mark, what follows
FAILURES = [
    ("4.2.4 stale without any directive", 200, "Cache-Control: max-age=1", "", NO_MARK, "stale stale-origin-failed"),
    ("4.2.4 a good 404", 404, "Cache-Control: max-age=1", "", NO_MARK, "stale stale-origin-failed"),
    ("4.2.4 still fresh, though the client wanted it new", 200, "Cache-Control: max-age=60, must-revalidate",
     "Cache-Control: no-cache", NO_MARK, "stale stale-origin-failed"),
    ("5861 4 within stale-if-error", 200, "Cache-Control: max-age=1, stale-if-error=60", "", NO_MARK, "stale stale-if-error"),
    ("5861 4 beyond stale-if-error", 200, "Cache-Control: max-age=1, stale-if-error=5", "", NO_MARK, "refuse 502 stale-too-old"),
    ("5861 4 stale-if-error=0 forbids", 200, "Cache-Control: max-age=1, stale-if-error=0", "", NO_MARK,
     "refuse 502 stale-too-old"),
    ("5861 4 the client shortens", 200, "Cache-Control: max-age=1", "Cache-Control: stale-if-error=5", NO_MARK,
     "refuse 502 stale-too-old"),
    ("5861 4 the client cannot prolong", 200, "Cache-Control: max-age=1, stale-if-error=5", "Cache-Control: stale-if-error=50",
     NO_MARK, "refuse 502 stale-too-old"),
    ("5.2.2.2 must-revalidate", 200, "Cache-Control: max-age=1, must-revalidate", "", NO_MARK, "refuse 504 stale-forbidden"),
    ("5.2.2.2 must-revalidate beats stale-if-error", 200, "Cache-Control: max-age=1, must-revalidate, stale-if-error=60", "",
     NO_MARK, "refuse 504 stale-forbidden"),
    ("5.2.2.8 proxy-revalidate", 200, "Cache-Control: max-age=1, proxy-revalidate", "", NO_MARK, "refuse 504 stale-forbidden"),
    ("5.2.2.4 no-cache, fresh or not", 200, "Cache-Control: max-age=60, no-cache", "", NO_MARK, "refuse 504 stale-forbidden"),
    ("5.2.2.4 no-cache with names does not forbid", 200, 'Cache-Control: max-age=1, no-cache="a"', "", NO_MARK,
     "stale stale-origin-failed"),
    ("5.2.2.10 s-maxage", 200, "Cache-Control: s-maxage=2", "", NO_MARK, "refuse 504 stale-forbidden"),
    ("5861 4 s-maxage with stale-if-error", 200, "Cache-Control: s-maxage=2, stale-if-error=60", "", NO_MARK,
     "stale stale-if-error"),
    ("5.2.2.10 stale-while-revalidate is no leave for errors", 200, "Cache-Control: s-maxage=2, stale-while-revalidate=1", "",
     NO_MARK, "refuse 504 stale-forbidden"),
    ("4.4 invalidated", 200, "Cache-Control: max-age=60", "", Mark.MUST_VALIDATE, "refuse 504 stale-forbidden"),
    ("purged softly", 200, "Cache-Control: max-age=60", "", Mark.SOFT, "stale stale-origin-failed"),
    ("purged softly, must-revalidate", 200, "Cache-Control: max-age=60, must-revalidate", "", Mark.SOFT,
     "refuse 504 stale-forbidden"),
    ("gone", 200, "Cache-Control: max-age=60", "", Mark.GONE, "refuse 502 origin-failed"),
    ("an error is no good copy", 503, "Cache-Control: max-age=60", "", NO_MARK, "refuse 502 origin-failed"),
    ("an age that nobody knows", 200, "Cache-Control: max-age=60 | Age: abc", "", NO_MARK, "stale stale-origin-failed"),
    ("a condition for the origin alone", 200, "Cache-Control: max-age=60", 'If-Match: "a"', NO_MARK, "refuse 502 origin-failed"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("status", "text", "asked", "mark", "expected"), [case[1:] for case in FAILURES], ids=[case[0] for case in FAILURES]
)
def test_after_failure(status: int, text: str, asked: str, mark: Mark, expected: str) -> None:
    found = after_failure(request(asked), stored(text, status), Failure.UNREACHABLE, after(10), POLICY, mark)
    assert told(found) == expected


OVERRIDES = [
    ("must-revalidate", "Cache-Control: max-age=1, must-revalidate", NO_MARK, "stale stale-override"),
    ("proxy-revalidate", "Cache-Control: max-age=1, proxy-revalidate", NO_MARK, "stale stale-override"),
    ("no-cache", "Cache-Control: no-cache", NO_MARK, "stale stale-override"),
    ("s-maxage", "Cache-Control: s-maxage=1", NO_MARK, "stale stale-override"),
    ("invalidated", "Cache-Control: max-age=60", Mark.MUST_VALIDATE, "stale stale-override"),
    ("the origin's limit", "Cache-Control: max-age=1, stale-if-error=2", NO_MARK, "stale stale-override"),
    ("at the origin's limit", "Cache-Control: max-age=1, stale-if-error=9", NO_MARK, "stale stale-if-error"),
    ("nothing to override", "Cache-Control: max-age=1", NO_MARK, "stale stale-origin-failed"),
    ("what is gone stays gone", "Cache-Control: max-age=1", Mark.GONE, "refuse 502 origin-failed"),
]


@pytest.mark.parametrize(("text", "mark", "expected"), [case[1:] for case in OVERRIDES], ids=[case[0] for case in OVERRIDES])
def test_the_operator_overrides(text: str, mark: Mark, expected: str) -> None:
    found = after_failure(request(), stored(text), Failure.UNREACHABLE, after(10), Policy(override=True), mark)
    assert told(found) == expected


def test_override_keeps_to_the_operators_own_limit() -> None:
    policy = Policy(override=True, stale_if_error_default=5)
    found = after_failure(request(), stored("Cache-Control: max-age=1, must-revalidate"), Failure.TIMEOUT, after(10), policy)
    assert told(found) == "refuse 504 stale-too-old"


@pytest.mark.parametrize(("waited", "expected"), [(61, "stale stale-origin-failed"), (62, "refuse 502 stale-too-old")])
def test_the_operators_default_limit(waited: int, expected: str) -> None:
    policy = Policy(stale_if_error_default=60)
    found = after_failure(request(), stored("Cache-Control: max-age=1"), Failure.TRUNCATED, after(waited), policy)
    assert told(found) == expected


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (Failure.UNREACHABLE, 502),
        (Failure.TIMEOUT, 504),
        (Failure.SERVER_ERROR, 502),
        (Failure.TRUNCATED, 502),
        (Failure.MALFORMED, 502),
    ],
)
def test_every_failure_without_a_copy_is_refused(failure: Failure, status: int) -> None:
    assert after_failure(request(), None, failure, after(0), POLICY) == Refuse(status, R.ORIGIN_FAILED)


def test_a_write_is_never_answered_from_the_store() -> None:
    found = after_failure(request(method="POST"), stored("Cache-Control: max-age=60"), Failure.TIMEOUT, after(0), POLICY)
    assert found == Refuse(504, R.ORIGIN_FAILED)


DIRECTIVES = st.lists(
    st.sampled_from(
        [
            *("max-age=0", "max-age=5", "max-age=x", "s-maxage=5", "no-cache", "must-revalidate", "proxy-revalidate"),
            *("public", "immutable", "stale-if-error=60", "stale-while-revalidate=60"),
        ]
    ),
    max_size=4,
).map(", ".join)
WISHES = st.lists(
    st.sampled_from(["no-cache", "max-age=0", "max-stale", "min-fresh=5", "only-if-cached", "no-store", "stale-if-error=5"]),
    max_size=3,
).map(", ".join)


@given(DIRECTIVES, WISHES, st.sampled_from(list(Mark)), st.integers(0, 200))
def test_what_forbids_stale_is_always_obeyed(directives: str, wishes: str, mark: Mark, waited: int) -> None:
    entry = stored(f'Cache-Control: {directives} | ETag: "a"')
    asked = request(f"Cache-Control: {wishes}")
    forbids = {"no-cache", "must-revalidate", "proxy-revalidate"} & set(directives.split(", "))
    for found in (
        plan(asked, entry, after(waited), POLICY, mark),
        after_failure(asked, entry, Failure.TIMEOUT, after(waited), POLICY, mark),
    ):
        if isinstance(found, Serve | ServeStale):
            is_fresh = "=5" in directives and waited < 5 and mark is NO_MARK
            assert not forbids or (is_fresh and "no-cache" not in forbids)
            assert mark not in (Mark.MUST_VALIDATE, Mark.GONE)
        if isinstance(found, Fetch | Revalidate | Pass):
            assert "only-if-cached" not in wishes


ROLLED = [
    ("", "Cache-Control: max-age=60", "serve rollback"),
    ("", 'Cache-Control: max-age=1 | ETag: "a"', "serve rollback"),
    ("", "Cache-Control: no-cache, must-revalidate", "serve rollback"),
    ("Cache-Control: no-cache", "Cache-Control: max-age=60", "serve rollback"),
    ("Cache-Control: no-store", "Cache-Control: max-age=60", "serve rollback"),
    ("Cache-Control: only-if-cached, max-age=0", "", "serve rollback"),
    ('If-Match: "b"', "Cache-Control: max-age=60", "serve rollback"),
]


@pytest.mark.parametrize("mark", list(Mark))
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(("asked", "kept", "expected"), ROLLED)
def test_what_a_rollback_pins_is_served_whatever_else_is_said(
    asked: str, kept: str, expected: str, method: str, mark: Mark
) -> None:
    assert told(plan(request(asked, method=method), stored(kept), after(3600), POLICY, mark, pinned=True)) == expected


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (request(), "refuse 404 rollback"),
        (request(method="HEAD"), "refuse 404 rollback"),
        (request("Cache-Control: no-store"), "refuse 404 rollback"),
        (request(method="POST"), "pass method"),
        (request(body_length=3), "pass request-body"),
        (request(upgrade="websocket"), "pass upgrade"),
    ],
)
def test_a_rollback_refuses_what_was_not_stored_and_lets_pass_what_no_copy_answers(asked: Request, expected: str) -> None:
    assert told(plan(asked, None, after(0), POLICY, refused=404)) == expected
    if expected.startswith("pass"):
        assert told(plan(asked, stored(), after(0), POLICY, pinned=True)) == expected
