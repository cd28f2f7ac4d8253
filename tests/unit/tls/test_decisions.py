"""What is done about one certificate at one moment, as a table and as a life lived with chance."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeproxy.clock import ManualClock
from edgeproxy.errors import IssuanceFailed, Retry
from edgeproxy.tls import attempt, backoff
from edgeproxy.tls.attempt import Failed
from edgeproxy.tls.certificate import SELF_SIGNED, Certificate
from edgeproxy.tls.decisions import NEVER, Ask, Begin, Rest, Situation, decide
from edgeproxy.tls.records import Failure, Record, decode, decode_failed, encode, encode_failed
from edgeproxy.tls.schedule import DAY, Suggestion, last_resort, local_renewal
from tests.support.local_authority import LocalAuthority

NAMES = ("a.example.org",)
DIRECTORY = "https://ca.lab/directory"
STAGING = "https://acme-staging.lab/directory"
CLOCK = ManualClock()
NOW = CLOCK.seconds()
AUTHORITY = LocalAuthority(CLOCK)


def held(age: float = 0.0, life: float = 90 * DAY, directory: str = DIRECTORY) -> Certificate:
    return AUTHORITY.certificate(*NAMES, begins=NOW - age, lifetime=life, directory=directory)


FRESH, DUE, EXPIRED = held(), held(61 * DAY), held(91 * DAY)
TRIAL = held(directory=STAGING)
FULL = {NAMES[0]: (NOW,) * 5}
ASKED = {"ask_after": NOW + DAY}


def at(certificate: Certificate | None, record: Record | None = None, **fields) -> Rest | Ask | Begin:
    record = record or Record()
    if certificate is not None and fields.pop("is_asked", True):
        known = {name: getattr(record, name) for name in Record.__struct_fields__}
        record = Record(**{**known, "suggestion_for": certificate.fingerprint, "ask_after": record.ask_after or NOW + 400 * DAY})
    fields = {"failed": {}, "directories": (DIRECTORY,), **fields}
    return decide(Situation(NAMES, certificate, record, **fields), NOW)


WAITS = Record(failures=1, next_attempt=NOW + 60, last_failure=Failure(NOW, DIRECTORY, "timeout", ""))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (at(None), Begin(-1.0, "missing")),
        (at(None, WAITS), Rest(NOW + 60)),
        (at(None, WAITS, is_forced=True), Begin(-1.0, "asked for")),
        (at(None, directories=()), Rest(NEVER)),
        (at(None, failed=FULL), Rest(NOW + 3600)),
        (at(None, failed=FULL, is_forced=True), Rest(NOW + 3600)),
        (at(None, Record(blocked={DIRECTORY: NOW + 500})), Rest(NOW + 500)),
        (at(None, Record(blocked={DIRECTORY: NOW + 500}), directories=(DIRECTORY, "https://other.lab/")), Begin(-1.0, "missing")),
        (at(None, renews_itself=False), Rest(NEVER)),
        (at(FRESH, is_asked=False), Ask(DIRECTORY)),
        (at(FRESH), Rest(local_renewal(FRESH))),
        (at(FRESH, Record(**ASKED)), Rest(NOW + DAY)),
        (at(FRESH, renews_itself=False), Rest(NEVER)),
        (at(FRESH, is_forced=True), Begin(-1.0, "asked for")),
        (at(FRESH, directories=("https://other.lab/",)), Rest(local_renewal(FRESH))),
        (at(FRESH, directories=()), Rest(FRESH.not_after)),
        (at(DUE), Begin((DUE.not_after - NOW) / DUE.lifetime, "share of its life")),
        (at(DUE, WAITS), Rest(NOW + 60)),
        (at(DUE, Record(blocked={DIRECTORY: NOW + 500})), Rest(NOW + 500)),
        (at(EXPIRED), Begin((EXPIRED.not_after - NOW) / EXPIRED.lifetime, "share of its life")),
        (at(EXPIRED, is_asked=False), Begin((EXPIRED.not_after - NOW) / EXPIRED.lifetime, "share of its life")),
        (at(EXPIRED, WAITS), Rest(NOW + 60)),
        (at(EXPIRED, directories=()), Rest(NEVER)),
        (at(FRESH, directories=(STAGING,)), Rest(FRESH.not_after)),
        (at(TRIAL), Begin(-1.0, "missing")),
        (at(TRIAL, directories=(STAGING,)), Rest(local_renewal(TRIAL))),
        (at(held(directory="")), Rest(local_renewal(FRESH))),
        (at(held(directory=SELF_SIGNED)), Begin(-1.0, "missing")),
    ],
)
def test_the_next_step(found, expected):
    assert found == expected


def test_a_wait_that_would_sleep_through_the_last_resort_ends_there_once():
    late = held(85 * DAY)
    waits = Record(failures=4, next_attempt=NOW + DAY, last_failure=Failure(NOW - 60, DIRECTORY, "timeout", ""))
    assert at(late, waits) == Rest(last_resort(late))
    tried = Record(failures=5, next_attempt=NOW + DAY, last_failure=Failure(NOW, DIRECTORY, "timeout", ""))
    assert at(held(86 * DAY), tried) == Rest(min(NOW + DAY, held(86 * DAY).not_after))


ERRORS = st.sampled_from(
    [
        IssuanceFailed("serverInternal", "down"),
        IssuanceFailed("rateLimited", "slowly", retry=Retry.NOT_BEFORE, not_before=0.0),
        IssuanceFailed("unauthorized", "wrong", failed_names=NAMES * 2),
        IssuanceFailed("caa", "forbidden", retry=Retry.OTHER_CA),
        IssuanceFailed("externalAccountRequired", "no", retry=Retry.OPERATOR),
    ]
)


@settings(max_examples=60)
@given(st.lists(ERRORS, max_size=25), st.sampled_from([600.0, 6 * DAY, 90 * DAY]), st.floats(0, 1, exclude_max=True))
def test_whatever_fails_the_waits_hold_and_it_goes_on_when_the_authority_does(errors, life, draw):
    """The pure parts in the order in which the keeper calls them, on a clock that jumps to the next thing to do."""
    clock = ManualClock()
    authority = LocalAuthority(clock, lifetime=life)
    record, failed, certificate, tries = Record(), {}, None, []
    left = list(errors)
    for _ in range(400):
        now = clock.seconds()
        step = decide(Situation(NAMES, certificate, record, failed, ("https://none/",)), now)
        match step:
            case Rest(until):
                assert until > now
                if not left and certificate is not None:
                    break
                clock.advance(until - now + 0.001)
            case Begin():
                tries.append(now)
                if not left:
                    certificate = authority.certificate(*NAMES, directory="https://none/")
                    record = attempt.succeeded(record, now)
                    continue
                error = left.pop(0)
                error.not_before = now + 5000 if error.retry is Retry.NOT_BEFORE else None
                failed = backoff.count_failed(failed, error.failed_names, now)
                record = attempt.failed_attempt(
                    record, [Failed("https://none/", now, error)], ("https://none/",), certificate, now, draw
                )
                assert record.next_attempt > now
                if error.not_before is not None:
                    assert record.next_attempt >= error.not_before
                if error.retry in (Retry.OPERATOR, Retry.OTHER_CA):
                    assert record.next_attempt >= now + DAY
            case Ask():
                record = Record(
                    **{
                        **{name: getattr(record, name) for name in Record.__struct_fields__},
                        "suggestion_for": certificate.fingerprint,
                        "ask_after": now + DAY,
                    }
                )
        assert decode(encode(record)) == record
        assert decode_failed(encode_failed(failed)) == failed
    assert certificate is not None, "it never stops trying"
    assert len(tries) >= len(errors) + 1


@pytest.mark.parametrize("data", [None, b"", b"[]", b"\xff", b'{"failures":"x"}', b'{"blocked":3}', b"{", b"null"])
def test_what_is_no_record_counts_as_none(data):
    assert decode(data) == Record()
    assert decode_failed(data if data != b"[]" else b"3") == {}


def test_a_record_of_a_later_version_is_read_as_far_as_it_is_known():
    assert decode(b'{"failures":3,"of_the_future":1}').failures == 3


def test_a_suggestion_is_kept_with_the_record():
    record = Record(suggestion=Suggestion(1.0, 2.0, 1.5, 3.0, "https://why.lab/"), suggestion_for="ab", blocked={DIRECTORY: 5.0})
    assert decode(encode(record)) == record
