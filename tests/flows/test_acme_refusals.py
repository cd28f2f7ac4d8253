"""Answers of an authority that end an attempt, as a table: what is told of them, and when to come back.

The authority is the stub of `tests.support.acme_stub`; its log is the proof. Time is a manual clock that moves by the waits that
the client asks for, so the log shows them and no test sleeps.
"""

from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from edgeproxy.clock import ManualClock
from edgeproxy.errors import Retry
from tests.support.acme_issuing import pem
from tests.support.acme_stub import Answer, hang_up, page, problem
from tests.support.acme_world import BAD_NONCE, CREATED, NAME, PROVED, world

# --- an attempt that fails


@dataclass
class Refused:
    """An answer after which the attempt is over."""

    name: str
    step: str
    answers: Callable[[ManualClock], list[Answer | None]]
    steps: list[str]
    problem: str
    retry: Retry
    not_before: float | None = None
    """Seconds after the start."""
    words: str = "planned"
    state: str = "create"


def always(*answers: Answer) -> Callable[[ManualClock], list[Answer | None]]:
    return lambda _: list(answers)


def dated(status: int, kind: str, seconds: float) -> Callable[[ManualClock], list[Answer | None]]:
    return lambda clock: [problem(status, kind, retry_after=formatdate(clock.seconds() + seconds, usegmt=True))]


HTML = "<html><head><title>503</title><script>steal()</script></head><body><h1>Service&nbsp;down</h1>come back</body></html>"
REFUSED = [
    Refused(
        "badNonce for ever: ten tries, no more",
        "newOrder",
        always(*[BAD_NONCE] * 50),
        ["directory", "newNonce", "newAccount", *["newOrder"] * 10],
        "badNonce",
        Retry.SOON,
    ),
    Refused(
        "rateLimited with seconds",
        "newOrder",
        always(problem(429, "rateLimited", retry_after="3600")),
        CREATED,
        "rateLimited",
        Retry.NOT_BEFORE,
        3600.0,
    ),
    Refused(
        "rateLimited with a date",
        "newOrder",
        dated(429, "rateLimited", 7_200.0),
        CREATED,
        "rateLimited",
        Retry.NOT_BEFORE,
        7200.0,
    ),
    Refused("rateLimited without a time", "newOrder", always(problem(429, "rateLimited")), CREATED, "rateLimited", Retry.SOON),
    Refused(
        "rateLimited in finalize for longer than patience",
        "finalize",
        always(problem(429, "rateLimited", retry_after="90000")),
        [*CREATED, *PROVED, "finalize"],
        "rateLimited",
        Retry.NOT_BEFORE,
        90_000.1,
        state="await",
    ),
    Refused(
        "paused: only a person can lift it, at the page that is named",
        "newOrder",
        always(problem(429, "rateLimited", "planned: visit https://ca.test/sfe/v1/unpause?jwt=abc.def please", retry_after="60")),
        CREATED,
        "rateLimited",
        Retry.OPERATOR,
        60.0,
    ),
    Refused(
        "503 in HTML with seconds",
        "newOrder",
        always(page(503, HTML, retry_after="120")),
        CREATED,
        "serverInternal",
        Retry.NOT_BEFORE,
        120.0,
        words="HTTP 503 Service Unavailable: 503 Service&nbsp;down come back",
    ),
    Refused("503 in HTML", "directory", always(page(503, HTML)), ["directory"], "serverInternal", Retry.SOON, words="HTTP 503"),
    Refused(
        "no directory but a page", "directory", always(page(200, HTML)), ["directory"], "badAnswer", Retry.SOON, words="JSON"
    ),
    Refused(
        "404 for the directory", "directory", always(page(404, "")), ["directory"], "malformed", Retry.SOON, words="HTTP 404"
    ),
    Refused("no nonce to be had", "newNonce", always(page(500, "")), CREATED[:2], "serverInternal", Retry.SOON, words="HTTP 500"),
    Refused(
        "rejectedIdentifier, by name",
        "newOrder",
        always(
            problem(
                400,
                "compound",
                subproblems=[
                    {
                        "type": "urn:ietf:params:acme:error:rejectedIdentifier",
                        "detail": "never",
                        "identifier": {"type": "dns", "value": NAME},
                    }
                ],
            )
        ),
        CREATED,
        "rejectedIdentifier",
        Retry.OTHER_CA,
        words=f"planned; {NAME}: rejectedIdentifier: never",
    ),
    Refused(
        "caa", "finalize", always(problem(403, "caa")), [*CREATED, *PROVED, "finalize"], "caa", Retry.OTHER_CA, state="finalize"
    ),
    Refused("unauthorized account", "newOrder", always(problem(403, "unauthorized")), CREATED, "unauthorized", Retry.OPERATOR),
    Refused(
        "badCSR",
        "finalize",
        always(problem(400, "badCSR")),
        [*CREATED, *PROVED, "finalize"],
        "badCSR",
        Retry.OTHER_CA,
        state="finalize",
    ),
    Refused("a profile refused", "newOrder", always(problem(400, "invalidProfile")), CREATED, "invalidProfile", Retry.OPERATOR),
    Refused(
        "externalAccountRequired",
        "newAccount",
        always(problem(403, "externalAccountRequired")),
        CREATED[:3],
        "externalAccountRequired",
        Retry.OPERATOR,
    ),
    Refused(
        "new terms of service",
        "newAccount",
        always(problem(403, "userActionRequired", instance="https://ca.test/terms/2")),
        CREATED[:3],
        "userActionRequired",
        Retry.OPERATOR,
    ),
    Refused("a type from the future", "newOrder", always(problem(400, "tooFancy")), CREATED, "tooFancy", Retry.SOON),
    Refused(
        "the connection is closed when an order is made: nothing is lost, the next attempt makes one",
        "newOrder",
        always(hang_up),
        CREATED,
        "unreachable",
        Retry.SOON,
        words="",
    ),
    Refused(
        "the connection is always closed: six looks, then the attempt is over",
        "authorization",
        always(*[hang_up] * 50),
        [*CREATED, "authorization", *(["newNonce", "authorization"] * 5)],
        "unreachable",
        Retry.SOON,
        words="",
        state="authorize",
    ),
    Refused(
        "an order that is lost without a reason",
        "order",
        always(lambda _: _lost_order()),
        [*CREATED, *PROVED, "finalize", "order"],
        "serverInternal",
        Retry.SOON,
        words="invalid",
        state="await",
    ),
]


def _lost_order() -> web.Response:
    return web.json_response({"status": "invalid", "authorizations": [], "finalize": "http://127.0.0.1/finalize"})


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row.name)
async def test_an_answer_that_ends_the_attempt(tmp_path: Path, row: Refused) -> None:
    async with world(tmp_path) as it:
        start = it.clock.seconds()
        it.stub.plan(row.step, *row.answers(it.clock))
        failure = await it.refused()
        assert (failure.problem, failure.retry) == (row.problem, row.retry)
        assert row.words in failure.detail
        wait = None if failure.not_before is None else round(failure.not_before - start, 3)
        assert wait == pytest.approx(row.not_before, abs=0.2)
        assert it.stub.steps() == row.steps
        assert it.left == []
        assert failure.step in (row.state, "")
        if row.name.startswith("paused"):
            assert failure.url == "https://ca.test/sfe/v1/unpause?jwt=abc.def"


async def test_an_order_that_is_processed_for_too_long_says_when_to_look_again(tmp_path: Path) -> None:
    async with world(tmp_path, processing_looks=1_000, retry_after="400") as it:
        failure = await it.refused()
        assert (failure.problem, failure.retry, failure.step) == ("timeout", Retry.NOT_BEFORE, "await")
        assert it.waits == [0.1, 400.0]
        assert failure.not_before == it.clock.seconds() + 400
        assert it.stub.count("order") == 1


async def test_a_validation_that_never_ends_is_given_up_and_withdrawn(tmp_path: Path) -> None:
    async with world(tmp_path, pending_looks=1_000) as it:
        failure = await it.refused()
        assert (failure.problem, failure.retry, failure.step) == ("timeout", Retry.SOON, "validate")
        assert 170.0 < sum(it.waits) <= 180.0
        assert it.left == []
        assert it.http.withdrawn == [NAME]


# --- what is issued


SPOILED = {
    "another key": lambda ca, csr, _: ca.issue_for(
        ec.generate_private_key(ec.SECP256R1()).public_key(), [x509.DNSName(NAME)], 86_400.0
    ),
    "other names": lambda ca, csr, _: ca.issue_for(csr.public_key(), [x509.DNSName("other.test")], 86_400.0),
    "more names": lambda ca, csr, _: ca.issue_for(csr.public_key(), [x509.DNSName(NAME), x509.DNSName("other.test")], 86_400.0),
    "ended": lambda ca, csr, _: ca.issue(csr, -60.0),
    "a broken chain": lambda ca, csr, chain: (
        chain.split(b"-----END CERTIFICATE-----\n")[0] + b"-----END CERTIFICATE-----\n" + ca.root
    ),
    "the wrong order": lambda ca, csr, chain: pem(ca.intermediate) + chain,
    "no chain": lambda ca, csr, _: b"<html>a page</html>",
    "nothing": lambda ca, csr, _: b"",
    "far too long a chain": lambda ca, csr, chain: chain + ca.root * 20,
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED.keys())
async def test_a_wrong_certificate_is_not_taken(tmp_path: Path, spoil: Callable[..., bytes]) -> None:
    async with world(tmp_path, spoil=spoil) as it:
        failure = await it.refused()
        assert (failure.problem, failure.retry, failure.step) == ("badCertificate", Retry.OTHER_CA, "download")


async def test_alternates_that_cannot_be_had_cost_no_certificate(tmp_path: Path) -> None:
    alternates = ("/nowhere", "http://127.0.0.1:1/refused", "gopher://x/")
    async with world(tmp_path, authority={"preferred_chain": "Another Root"}, alternates=alternates) as it:
        issued = await it.obtain()
        assert issued.chain.startswith(pem(it.stub.issued[0]))


async def test_an_order_that_stays_ready_is_not_finalized_for_ever(tmp_path: Path) -> None:
    async with world(tmp_path) as it:

        def still_ready(_: web.Request) -> web.Response:
            return it.stub._answer_order(next(iter(it.stub.orders)))

        it.stub.plan("finalize", *[still_ready] * 50)
        failure = await it.refused()
        assert (failure.problem, failure.step) == ("badAnswer", "finalize")
        assert it.stub.count("finalize") == 4
