"""What browsers may report, and the token that lets them."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproxy.clock import Instant
from edgeproxy.errors import RequestRefused
from edgeproxy.recovery.receipts import (
    MAX_REQUEST,
    TOKEN_MILLISECONDS,
    ReceiptRequest,
    RegistrationReport,
    cause_label,
    check_token,
    host_of,
    identity_of,
    is_timely,
    make_token,
    outcome_label,
    parse_report,
)

NOW = Instant(1_764_000_000_000)
KEY, NONCE = bytes(range(32)), b"nonce 12"
GOOD = {
    "id": "0b1f8b0e-6c0e-4a58-9c7e-2f5d6f1a9b3c",
    "url": "https://example.org/page?a=1",
    "source": "cache",
    "cause": "status-503",
    "block": 17,
    "served": NOW,
    "dest": "document",
    "trace": "",
}


def body(**changed: object) -> bytes:
    return json.dumps({"token": "t", "receipts": [{**GOOD, **changed}]}).encode()


def test_a_receipt_in_its_form_is_read() -> None:
    report = parse_report(body())
    assert isinstance(report, ReceiptRequest)
    (receipt,) = report.receipts
    assert (receipt.url, receipt.source, receipt.block) == (GOOD["url"], "cache", 17)
    assert isinstance(parse_report(body(block=None, source="none")), ReceiptRequest)
    assert isinstance(parse_report(b'{"register":"foreign_sw"}'), RegistrationReport)


@pytest.mark.parametrize(
    "changed",
    [
        {"id": "1"},
        {"id": GOOD["id"].upper()},  # type: ignore[attr-defined]
        {"url": "/page"},
        {"url": "ftp://example.org/"},
        {"url": "https://example.org/a b"},
        {"url": "https://example.org/\u00e9"},
        {"url": "https://example.org/" + "a" * 2048},
        {"source": "disk"},
        {"cause": ""},
        {"cause": "Status"},
        {"cause": "a" * 33},
        {"cause": "a\n"},
        {"block": -1},
        {"block": 2**53},
        {"block": "17"},
        {"block": 1.5},
        {"served": -1},
        {"served": "now"},
        {"dest": "a" * 17},
        {"trace": "0" * 31},
        {"more": 1},
    ],
)
def test_any_other_form_is_refused(changed: dict[str, object]) -> None:
    with pytest.raises(RequestRefused) as refused:
        parse_report(body(**changed))
    assert refused.value.status == 400


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"null",
        b"{}",
        b'{"token":"t","receipts":[]}',
        b'{"token":"' + b"t" * 129 + b'","receipts":[]}',
        b"\xff",
        b"[" * 9000,
    ],
)
def test_what_is_no_request_is_refused(text: bytes) -> None:
    with pytest.raises(RequestRefused):
        parse_report(text)


def test_too_many_and_too_much_are_refused() -> None:
    many = json.dumps({"token": "t", "receipts": [GOOD] * 21}).encode()
    with pytest.raises(RequestRefused):
        parse_report(many)
    with pytest.raises(RequestRefused) as refused:
        parse_report(b" " * (MAX_REQUEST + 1))
    assert refused.value.status == 413


@given(st.binary(max_size=300))
def test_whatever_comes_is_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(RequestRefused):
        parse_report(data)


def test_a_token_holds_for_its_host_for_seven_days() -> None:
    token = make_token(KEY, "example.org", NOW, NONCE)
    assert check_token(token, KEY, "example.org", NOW) == NONCE
    assert check_token(token, KEY, "example.org", Instant(NOW + TOKEN_MILLISECONDS)) == NONCE
    for key, host, at in (
        (bytes(32), "example.org", NOW),
        (KEY, "example.com", NOW),
        (KEY, "example.org", NOW + TOKEN_MILLISECONDS + 1),
        (KEY, "example.org", NOW - 3_600_000),
    ):
        with pytest.raises(RequestRefused) as refused:
            check_token(token, key, host, Instant(at))
        assert refused.value.status == 403


@given(st.integers(0, 43), st.sampled_from("ABCDabcd0189-_"))
def test_no_character_of_a_token_may_change(at: int, character: str) -> None:
    token = make_token(KEY, "example.org", NOW, NONCE)
    other = token[:at] + character + token[at + 1 :]
    if other != token and at < 42:
        with pytest.raises(RequestRefused):
            check_token(other, KEY, "example.org", NOW)


def test_a_receipt_is_the_same_under_every_token_and_another_at_another_host() -> None:
    report = parse_report(body())
    assert isinstance(report, ReceiptRequest)
    (receipt,) = report.receipts
    assert identity_of("a", receipt) == identity_of("a", receipt)
    assert identity_of("a", receipt) != identity_of("b", receipt)
    assert is_timely(receipt, NOW)
    assert not is_timely(receipt, Instant(NOW + TOKEN_MILLISECONDS + 1))
    assert not is_timely(receipt, Instant(NOW - 600_000))


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://example.org/", "example.org"),
        ("http://127.0.0.1:8080/a?b", "127.0.0.1"),
        ("http://[::1]:80/", "[::1]"),
        ("https://example.org", "example.org"),
        ("https://user@example.org/", None),
        ("https://Example.org/", None),
        ("https://example.org/#part", None),
        ("https:///", None),
        ("https://example.org\\@evil/", None),
    ],
)
def test_the_host_of_a_url_as_browsers_write_it(url: str, host: str | None) -> None:
    assert host_of(url) == host


def test_counters_have_names_that_are_ours() -> None:
    assert (cause_label("hang"), cause_label("made-up")) == ("hang", "other")
    assert (outcome_label("registered"), outcome_label("made_up")) == ("registered", "other")
