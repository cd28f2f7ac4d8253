"""What an authority complains about, and what is to be done: RFC 8555 section 6.7, RFC 7807."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproxy.errors import Fault, IssuanceFailed, Retry
from edgeproxy.tls.acme.problems import (
    DETAIL_LENGTH,
    RULES,
    FailedValidation,
    Problem,
    clean,
    own_failure,
    parse_problem,
    read_problem,
    request_failure,
    resource_failure,
    validation_failure,
)

PREFIX = "urn:ietf:params:acme:error:"

# RFC 8555 section 6.7, RFC 9773 section 7.4, draft-ietf-acme-profiles
STANDARD = """
accountDoesNotExist alreadyRevoked badCSR badNonce badPublicKey badRevocationReason badSignatureAlgorithm caa compound
connection dns externalAccountRequired incorrectResponse invalidContact malformed orderNotReady rateLimited rejectedIdentifier
serverInternal tls unauthorized unsupportedContact unsupportedIdentifier userActionRequired alreadyReplaced invalidProfile"""


@pytest.mark.parametrize("kind", STANDARD.split())
def test_every_standard_type_has_a_rule(kind: str) -> None:
    assert kind in RULES


@pytest.mark.parametrize(
    ("kind", "retry"),
    [
        ("badNonce", Retry.SOON),
        ("serverInternal", Retry.SOON),
        ("connection", Retry.SOON),
        ("alreadyReplaced", Retry.SOON),
        ("caa", Retry.OTHER_CA),
        ("rejectedIdentifier", Retry.OTHER_CA),
        ("unsupportedIdentifier", Retry.OTHER_CA),
        ("externalAccountRequired", Retry.OPERATOR),
        ("userActionRequired", Retry.OPERATOR),
        ("invalidProfile", Retry.OPERATOR),
        ("unauthorized", Retry.OPERATOR),
        ("neverHeardOf", Retry.SOON),
    ],
)
def test_what_a_refused_request_means(kind: str, retry: Retry) -> None:
    assert request_failure(Problem(kind)).retry is retry


def test_a_named_time_makes_a_wait_of_a_back_off_and_nothing_else() -> None:
    assert request_failure(Problem("serverInternal"), 5.0).retry is Retry.NOT_BEFORE
    assert request_failure(Problem("rateLimited"), 5.0).not_before == 5.0
    assert request_failure(Problem("rateLimited")).retry is Retry.SOON
    assert request_failure(Problem("caa"), 5.0).retry is Retry.OTHER_CA


def test_unauthorized_is_final_for_an_account_and_ordinary_for_a_challenge() -> None:
    assert request_failure(Problem("unauthorized")).retry is Retry.OPERATOR
    assert resource_failure(Problem("unauthorized")).retry is Retry.SOON
    assert validation_failure([FailedValidation("a.test", "http-01", Problem("unauthorized"))]).retry is Retry.SOON


def test_the_strictest_of_several_failed_names_decides() -> None:
    failure = validation_failure(
        [
            FailedValidation("a.test", "http-01", Problem("connection", "refused")),
            FailedValidation("b.test", "http-01", Problem("caa", "forbidden")),
        ]
    )
    assert (failure.problem, failure.retry) == ("caa", Retry.OTHER_CA)
    assert failure.failed_names == ("a.test", "b.test")
    assert failure.detail == "a.test (http-01): connection: refused; b.test (http-01): caa: forbidden"


def test_one_long_story_does_not_hide_the_others() -> None:
    failures = [FailedValidation(f"{name}.test", "http-01", Problem("dns", "x" * 900)) for name in "abc"]
    detail = validation_failure(failures).detail
    assert len(detail) <= DETAIL_LENGTH
    assert all(f"{name}.test (http-01): dns:" in detail for name in "abc")


@pytest.mark.parametrize(
    ("status", "body", "problem"),
    [
        (400, {"type": PREFIX + "caa", "detail": "no"}, Problem("caa", "no", 400)),
        (400, {"type": PREFIX + "caa", "title": "only a title"}, Problem("caa", "only a title", 400)),
        (400, {"detail": "no type"}, Problem("malformed", "no type", 400)),
        (429, {}, Problem("rateLimited", "", 429)),
        (409, {"type": "about:blank"}, Problem("blank", "", 409)),
        (403, {"type": PREFIX + "<script>"}, Problem("unauthorized", "", 403)),
        (500, {"type": 5, "detail": ["a", "list"]}, Problem("serverInternal", "['a', 'list']", 500)),
        (
            403,
            {"type": PREFIX + "userActionRequired", "detail": "terms", "instance": "https://ca.test/terms"},
            Problem("userActionRequired", "terms", 403, "https://ca.test/terms"),
        ),
        (
            429,
            {"type": PREFIX + "rateLimited", "detail": "see https://ca.test/limits."},
            Problem("rateLimited", "see https://ca.test/limits.", 429, "https://ca.test/limits"),
        ),
        (403, {"type": PREFIX + "caa", "instance": "javascript:alert(1)"}, Problem("caa", "", 403)),
    ],
)
def test_a_problem_document_is_read(status: int, body: object, problem: Problem) -> None:
    assert parse_problem(status, json.dumps(body).encode()) == problem


def test_subproblems_are_told_by_name_and_give_a_compound_its_type() -> None:
    subproblems = [
        {"type": PREFIX + "caa", "detail": "forbidden", "identifier": {"type": "dns", "value": "a.test"}},
        {"type": PREFIX + "dns", "detail": "servfail", "identifier": {"type": "future", "value": "b.test"}},
        "nonsense",
    ]
    found = read_problem({"type": PREFIX + "compound", "detail": "several", "subproblems": subproblems})
    assert found == Problem("caa", "several; a.test: caa: forbidden; b.test: dns: servfail")


@pytest.mark.parametrize(
    ("status", "body", "kind", "detail"),
    [
        (
            503,
            b"<html><head><style>p{}</style></head><p>Down\r\nfor repair</p>",
            "serverInternal",
            "HTTP 503 Service Unavailable: Down for repair",
        ),
        (502, b"", "serverInternal", "HTTP 502 Bad Gateway"),
        (429, b"slow down", "rateLimited", "HTTP 429 Too Many Requests: slow down"),
        (403, b"<h1>WAF</h1>", "unauthorized", "HTTP 403 Forbidden: WAF"),
        (599, b"\xff\xfe", "serverInternal", "HTTP 599: \ufffd\ufffd"),
        (404, b"[1]", "malformed", "HTTP 404 Not Found: [1]"),
    ],
)
def test_what_is_no_problem_document_is_named_by_its_status(status: int, body: bytes, kind: str, detail: str) -> None:
    found = parse_problem(status, body)
    assert (found.type, found.detail) == (kind, detail)


def test_a_strangers_text_is_cleaned_and_bounded() -> None:
    assert clean("a\x1b[31mred\r\nSet-Cookie: x\x00\u202e") == "a [31mred Set-Cookie: x"
    assert len(clean("x" * 100_000)) == DETAIL_LENGTH


@given(st.integers(100, 599), st.binary(max_size=400) | st.text(max_size=200).map(str.encode))
def test_any_bytes_become_a_problem_that_can_be_printed(status: int, body: bytes) -> None:
    found = parse_problem(status, body)
    assert len(found.detail) <= DETAIL_LENGTH
    assert found.detail.isprintable()
    assert found.type.isalnum()


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["type", "detail", "title", "instance", "subproblems", "identifier"]), _JSON))
def test_any_document_becomes_a_problem(document: dict[str, object]) -> None:
    found = read_problem(document, 400)
    assert found.detail.isprintable()
    assert found.type.isalnum()


def test_our_own_failures_say_whose_fault_it_is() -> None:
    failure = own_failure("untrusted", "self-signed")
    assert isinstance(failure, IssuanceFailed)
    assert failure.fault is Fault.CA
    assert str(failure) == "no certificate was issued (problem=untrusted, detail=self-signed, step=)"
