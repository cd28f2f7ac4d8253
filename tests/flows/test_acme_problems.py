"""What an authority may answer, as a table: which requests follow, in which order, after which waits, and what is told.

The authority is the stub of `tests.support.acme_stub`; its log is the proof. Time is a manual clock that moves by the waits that
the client asks for, so the log shows them and no test sleeps.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from edgeproxy.clock import ManualClock
from edgeproxy.errors import IssuanceFailed, Retry
from edgeproxy.tasks import spawn
from edgeproxy.tls.acme.chains import names_of, renewal_id
from edgeproxy.tls.acme.issuer import Authority, ExternalAccount, Issued, Issuer, RenewalInfo, Waits
from tests.support.acme_issuing import pem
from tests.support.acme_stub import AcmeStub, Answer, Logged, hang_up, lose_answer, page, problem
from tests.support.cancelling import each_wait
from tests.support.challenge_servers import HttpAnswers, alpn_answers, http_answers

CREATED = ["directory", "newNonce", "newAccount", "newOrder"]
PROVED = ["authorization", "challenge", "authorization"]
ISSUED = ["finalize", "order", "certificate"]
FRESH = ["newNonce"]  # an answer that was lost took its nonce along
NAME = "www.made-up.test"


@dataclass
class World:
    """A stub, an issuer that asks it, and the time they share."""

    stub: AcmeStub
    issuer: Issuer
    clock: ManualClock
    http: HttpAnswers = field(default_factory=HttpAnswers)
    alpn: HttpAnswers = field(default_factory=HttpAnswers)
    waits: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.waits.append(round(seconds, 3))
        self.clock.advance(seconds)
        await asyncio.sleep(0)

    async def obtain(self, *names: str, replaces: bytes | None = None) -> Issued:
        return await self.issuer.obtain(names or (NAME,), replaces=replaces)

    async def refused(self, *names: str, replaces: bytes | None = None) -> IssuanceFailed:
        with pytest.raises(IssuanceFailed) as failed:
            await self.obtain(*names, replaces=replaces)
        return failed.value

    @property
    def left(self) -> list[str]:
        """What is still presented."""
        return [*self.http.tokens, *self.alpn.tokens]


@asynccontextmanager
async def world(folder: Path, *, authority: dict[str, object] | None = None, **settings: object) -> AsyncIterator[World]:
    clock = ManualClock()
    async with AcmeStub(clock, **{"validating": False, **settings}).running() as stub:
        made = World(stub, None, clock)  # type: ignore[arg-type]
        asked = Authority(stub.directory, email="owner@example.com", **(authority or {}))  # type: ignore[arg-type]
        presenters = {"http-01": made.http, "tls-alpn-01": made.alpn}
        made.issuer = Issuer(asked, folder, presenters, clock, Waits(sleep=made.sleep))
        try:
            yield made
        finally:
            await made.issuer.close()


async def test_without_trouble_nothing_is_asked_twice(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        issued = await it.obtain()
        assert it.stub.steps() == CREATED + PROVED + ISSUED
        assert it.waits == [0.1, 0.1]
        assert issued.chain.startswith(pem(it.stub.issued[0]))
        assert it.left == []
        again = await it.obtain()
        assert it.stub.steps()[len(CREATED + PROVED + ISSUED) :] == ["newOrder", *PROVED, *ISSUED]
        assert again.key != issued.key


# --- an order that comes about in spite of it


@dataclass
class Overcome:
    """Trouble after which the certificate comes in the same attempt."""

    name: str
    plan: dict[str, list[Answer | None]]
    steps: list[str]
    waits: list[float]


BAD_NONCE = problem(400, "badNonce")
TWICE = ("newAccount", "newOrder", "challenge", "finalize", "certificate")
OVERCOME = [
    Overcome(
        "badNonce once for each kind of request: at once again, with the nonce of the refusal",
        {step: [BAD_NONCE] for step in TWICE},
        [step for step in CREATED + PROVED + ISSUED for _ in range(2 if step in TWICE else 1)],
        [0.1, 0.1],
    ),
    Overcome(
        "badNonce nine times: ten tries",
        {"newOrder": [BAD_NONCE] * 9},
        ["directory", "newNonce", "newAccount", *["newOrder"] * 10, *PROVED, *ISSUED],
        [0.1, 0.1],
    ),
    Overcome(
        "an account is known already (200 instead of 201 is the stub's own; 409 names it too)",
        {"newAccount": [None]},
        CREATED + PROVED + ISSUED,
        [0.1, 0.1],
    ),
    Overcome(
        "the connection is closed while an authorization is read, and while it is looked at",
        {"authorization": [hang_up, None, hang_up]},
        [*CREATED, "authorization", *FRESH, "authorization", "challenge", "authorization", *FRESH, "authorization", *ISSUED],
        [1.0, 0.1, 1.0, 0.1],
    ),
    Overcome(
        "the connection is closed when a challenge is answered; the authority had not heard it",
        {"challenge": [hang_up]},
        [*CREATED, "authorization", "challenge", *FRESH, "challenge", "authorization", *ISSUED],
        [1.0, 0.1, 0.1],
    ),
    Overcome(
        "the connection is closed when a challenge is answered; the authority had heard it, and refuses the second",
        {"challenge": [lose_answer]},
        [*CREATED, "authorization", "challenge", *FRESH, "challenge", "authorization", *ISSUED],
        [1.0, 0.1, 0.1],
    ),
    Overcome(
        "the connection is closed when the order is finalized; the order is still ready, and finalized again",
        {"finalize": [hang_up]},
        [*CREATED, *PROVED, "finalize", *FRESH, "order", "finalize", "order", "certificate"],
        [0.1, 0.1, 0.1],
    ),
    Overcome(
        "the connection is closed when the order is finalized; the authority had heard it",
        {"finalize": [lose_answer]},
        [*CREATED, *PROVED, "finalize", *FRESH, "order", "certificate"],
        [0.1, 0.1],
    ),
    Overcome(
        "orderNotReady: look, and finalize again",
        {"finalize": [problem(403, "orderNotReady")]},
        [*CREATED, *PROVED, "finalize", "order", "finalize", "order", "certificate"],
        [0.1, 0.1, 0.1],
    ),
    Overcome(
        "503 in HTML with seconds while an order is looked at: that long",
        {"order": [page(503, "<h1>busy</h1>", retry_after="30")]},
        [*CREATED, *PROVED, "finalize", "order", "order", "certificate"],
        [0.1, 0.1, 30.0],
    ),
    Overcome(
        "503 when finalizing, with seconds: that long, then the order tells",
        {"finalize": [page(503, "<h1>busy</h1>", retry_after="20")]},
        [*CREATED, *PROVED, "finalize", "order", "finalize", "order", "certificate"],
        [0.1, 20.0, 0.1],
    ),
    Overcome(
        "the connection is closed when the chain is fetched: fetched again",
        {"certificate": [hang_up, hang_up]},
        [*CREATED, *PROVED, "finalize", "order", "certificate", *FRESH, "certificate", *FRESH, "certificate"],
        [0.1, 0.1, 1.0, 1.7],
    ),
]


@pytest.mark.parametrize("row", OVERCOME, ids=lambda row: row.name)
async def test_trouble_that_is_overcome(tmp_path: Path, row: Overcome) -> None:
    async with world(tmp_path) as it:
        for step, answers in row.plan.items():
            it.stub.plan(step, *answers)
        issued = await it.obtain()
        assert names_of(x509.load_pem_x509_certificates(issued.chain)[0]) == [NAME]
        assert it.stub.steps() == row.steps
        assert it.waits == row.waits
        assert it.left == []


@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_polling_waits_as_long_as_the_authority_asks(tmp_path: Path, form: str) -> None:
    async with world(tmp_path, pending_looks=1, processing_looks=2) as it:
        seconds = 7
        it.stub.settings.retry_after = "7"
        if form == "date":
            # An HTTP date is a point in time: 7 seconds after the start for all looks, which later ones have behind them.
            it.stub.settings.retry_after = formatdate(it.clock.seconds() + seconds, usegmt=True)
        await it.obtain()
        assert it.stub.steps() == [*CREATED, *PROVED, "authorization", "finalize", "order", "order", "order", "certificate"]
        assert it.waits == ([0.1, 7.0, 7.0, 7.0, 7.0] if form == "seconds" else [0.1, 6.9, 0.1, 0.1, 0.1])


async def test_polling_without_a_hint_begins_fast_and_grows_patient(tmp_path: Path) -> None:
    async with world(tmp_path, processing_looks=12) as it:
        await it.obtain()
        looks = it.waits[1:]
        assert looks[0] == 0.1
        assert looks == sorted(looks)
        assert looks[-1] == 5.0
        assert len(looks) == 13


@pytest.mark.parametrize("kind", ["alreadyReplaced", "conflict", "malformed", "serverInternal", "unauthorized", "caa"])
async def test_an_order_that_replaces_is_tried_once_without_it(tmp_path: Path, kind: str) -> None:
    async with world(tmp_path, window=("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")) as it:
        old = await it.obtain()
        done = len(it.stub.log)
        it.stub.plan("newOrder", problem(409 if "e" not in kind else 400, kind))
        await it.obtain(replaces=old.chain)
        orders = [logged.payload.get("replaces") for logged in it.stub.log[done:] if logged.step == "newOrder"]
        assert orders == [renewal_id(old.chain), None]
        assert it.stub.steps()[done:] == ["newOrder", "newOrder", *PROVED, *ISSUED]


async def test_an_order_without_replaces_that_fails_as_well_is_not_tried_a_third_time(tmp_path: Path) -> None:
    async with world(tmp_path, window=("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")) as it:
        old = await it.obtain()
        it.stub.plan("newOrder", *[problem(409, "conflict")] * 3)
        failure = await it.refused(replaces=old.chain)
        assert (failure.problem, failure.retry) == ("conflict", Retry.SOON)
        assert it.stub.count("newOrder") == 3


async def test_replaces_is_not_dropped_when_the_authority_only_says_when_to_come_back(tmp_path: Path) -> None:
    async with world(tmp_path, window=("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")) as it:
        old = await it.obtain()
        it.stub.plan("newOrder", problem(429, "rateLimited", retry_after="60"))
        failure = await it.refused(replaces=old.chain)
        assert failure.not_before == it.clock.seconds() + 60
        assert it.stub.count("newOrder") == 2


async def test_replaces_is_not_sent_to_an_authority_without_renewal_information(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        old = await it.obtain()
        await it.obtain(replaces=old.chain)
        assert all("replaces" not in logged.payload for logged in it.stub.log if logged.step == "newOrder")


async def test_an_account_that_was_lost_is_registered_again_with_the_same_key(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        await it.obtain()
        (key,) = it.stub.accounts.values()
        it.stub.accounts.clear()
        done = len(it.stub.log)
        await it.obtain()
        assert it.stub.steps()[done:] == ["newOrder", "newAccount", "newOrder", *PROVED, *ISSUED]
        assert list(it.stub.accounts.values()) == [key]


async def test_an_account_that_is_lost_again_is_not_registered_for_ever(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        it.stub.plan("newOrder", *[problem(400, "accountDoesNotExist")] * 5)
        failure = await it.refused()
        assert (failure.problem, failure.retry) == ("accountDoesNotExist", Retry.SOON)
        assert it.stub.steps() == [*CREATED, "newAccount", "newOrder"]


async def test_an_account_in_conflict_is_the_one_that_is_named(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        await it.obtain()
        (url,) = it.stub.accounts

        def conflict(request: object) -> object:
            answer = problem(409, "conflict")(request)  # type: ignore[arg-type]
            answer.headers["Location"] = url
            return answer

        for kept in tmp_path.rglob("account.json"):
            kept.unlink()
        again = Issuer(it.issuer.authority, tmp_path, {"http-01": it.http}, it.clock, Waits(sleep=it.sleep))
        it.stub.plan("newAccount", conflict)  # type: ignore[arg-type]
        await again.obtain([NAME])
        await again.close()
        assert list(it.stub.accounts) == [url]


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


# --- validation


FAILING = {"type": "urn:ietf:params:acme:error:connection", "detail": "refused by the host"}


async def test_another_type_is_tried_with_a_new_order_for_the_names_that_failed(tmp_path: Path) -> None:
    async with world(tmp_path, failing={("a.test", "http-01"): FAILING}) as it:
        issued = await it.obtain("a.test", "b.test")
        assert it.stub.count("newOrder") == 2
        assert sorted(it.http.presented) == ["a.test", "b.test", "b.test"]
        assert it.alpn.presented == ["a.test"]
        assert issued.failed_names == ("a.test",)
        assert it.left == []


async def test_a_failure_that_no_other_type_can_mend_is_final(tmp_path: Path) -> None:
    caa = {"type": "urn:ietf:params:acme:error:caa", "detail": "CAA record for a.test prevents issuance"}
    async with world(tmp_path, failing={("a.test", "http-01"): caa}) as it:
        failure = await it.refused("a.test", "b.test")
        assert (failure.problem, failure.retry, failure.failed_names) == ("caa", Retry.OTHER_CA, ("a.test",))
        assert failure.detail == "a.test (http-01): caa: CAA record for a.test prevents issuance"
        assert it.stub.count("newOrder") == 1
        assert it.left == []


async def test_a_failure_after_a_failed_validation_still_counts_it(tmp_path: Path) -> None:
    async with world(tmp_path, failing={(NAME, "http-01"): FAILING}) as it:
        it.stub.plan("newOrder", None, problem(429, "rateLimited", retry_after="60"))
        failure = await it.refused()
        assert (failure.problem, failure.failed_names) == ("rateLimited", (NAME,))


async def test_what_cannot_be_proved_bothers_no_authority(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        failure = await it.refused("*.wild.test")
        assert (failure.problem, failure.retry) == ("noChallenge", Retry.OPERATOR)
        assert it.stub.log == []


async def test_an_authority_that_offers_nothing_we_can_do(tmp_path: Path) -> None:
    async with world(tmp_path, offered=("dns-01",)) as it:
        failure = await it.refused()
        assert (failure.problem, failure.retry) == ("noChallenge", Retry.OPERATOR)
        assert "offers dns-01, configured is http-01, tls-alpn-01" in failure.detail


async def test_the_stub_validates_for_real(tmp_path: Path) -> None:
    async with http_answers(0) as http, alpn_answers(0, tmp_path) as alpn, world(tmp_path, validating=True) as it:
        it.stub.settings.http_port, it.stub.settings.tls_port = http.port, alpn.port
        authority = it.issuer.authority
        for kind, presenter in (("http-01", http), ("tls-alpn-01", alpn)):
            issuer = Issuer(authority, tmp_path, {kind: presenter}, it.clock, Waits(sleep=it.sleep))
            issued = await issuer.obtain(["real.test", "127.0.0.1"])
            await issuer.close()
            assert set(names_of(x509.load_pem_x509_certificates(issued.chain)[0])) == {"real.test", "127.0.0.1"}
        failure = await it.refused("real.test")  # its presenters answer nowhere
        assert failure.problem in ("unauthorized", "connection")


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


async def test_a_profile_is_asked_for_where_it_is_offered(tmp_path: Path) -> None:
    offered = {"classic": "90 days", "shortlived": "6 days"}
    async with world(tmp_path, authority={"profile": "shortlived"}, profiles=offered) as it:
        await it.obtain()
        assert _orders(it)[0].payload["profile"] == "shortlived"
    async with world(tmp_path / "unknown", authority={"profile": "tlsserver"}, profiles=offered) as it:
        failure = await it.refused()
        assert (failure.problem, failure.retry) == ("invalidProfile", Retry.OPERATOR)
        assert failure.detail.endswith("it offers: classic, shortlived")
        assert it.stub.steps() == ["directory"]
    async with world(tmp_path / "none", authority={"profile": "shortlived"}) as it:
        await it.obtain()
        assert "profile" not in _orders(it)[0].payload


async def test_an_external_account_is_bound(tmp_path: Path) -> None:
    external = ExternalAccount("kid-1", "c2VjcmV0LXNlY3JldC1zZWNyZXQ")
    bound = {"external_accounts": {"kid-1": "c2VjcmV0LXNlY3JldC1zZWNyZXQ"}}
    async with world(tmp_path, authority={"external_account": external}, **bound) as it:
        await it.obtain()
    async with world(tmp_path / "without", **bound) as it:
        failure = await it.refused()
        assert (failure.problem, failure.retry) == ("externalAccountRequired", Retry.OPERATOR)
        assert "newAccount" not in it.stub.steps()


def _orders(it: World) -> list[Logged]:
    return [logged for logged in it.stub.log if logged.step == "newOrder"]


# --- renewal information (RFC 9773)


async def test_the_window_is_told_with_its_reason_and_the_time_of_the_next_look(tmp_path: Path) -> None:
    window = ("2026-01-01T00:00:00Z", "2026-01-02T02:00:00+02:00")
    async with world(tmp_path, window=window, explanation="https://ca.test/incident", window_retry_after="7200") as it:
        issued = await it.obtain()
        info = await it.issuer.renewal_info(issued.chain)
        assert info == RenewalInfo(1_767_225_600.0, 1_767_312_000.0, "https://ca.test/incident", it.clock.seconds() + 7200)
        assert it.stub.log[-1].target == f"/renewalInfo/{renewal_id(issued.chain)}"
        it.stub.settings.window_retry_after = "5"
        assert (await it.issuer.renewal_info(issued.chain)).check_after == it.clock.seconds() + 60  # type: ignore[union-attr]
        it.stub.settings.window_retry_after = None
        assert (await it.issuer.renewal_info(issued.chain)).check_after == it.clock.seconds() + 21_600  # type: ignore[union-attr]
        looks = it.stub.count("renewalInfo")
        it.clock.advance(91 * 86_400)
        assert await it.issuer.renewal_info(issued.chain) is None
        assert it.stub.count("renewalInfo") == looks


async def test_an_authority_without_renewal_information_says_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as it:
        issued = await it.obtain()
        assert await it.issuer.renewal_info(issued.chain) is None
        assert it.stub.count("renewalInfo") == 0


async def test_a_window_that_cannot_be_had_is_a_failure_with_its_time(tmp_path: Path) -> None:
    async with world(tmp_path, window=("2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z")) as it:
        issued = await it.obtain()
        with pytest.raises(IssuanceFailed, match="ends before it starts"):
            await it.issuer.renewal_info(issued.chain)
        it.stub.plan("renewalInfo", page(503, "", retry_after="900"))
        with pytest.raises(IssuanceFailed) as failed:
            await it.issuer.renewal_info(issued.chain)
        assert failed.value.not_before == it.clock.seconds() + 900


# --- cancelled, closed


async def test_cancelled_at_any_wait_nothing_stays_presented(tmp_path: Path) -> None:
    async with world(tmp_path, validating=False) as it:

        async def nothing_left() -> None:
            # Withdrawal goes on by itself when its caller is cancelled; it is over when the loop has had its turn.
            for _ in range(20):
                await asyncio.sleep(0)
            assert it.left == []

        runs = [at async for at in each_wait(it.obtain, nothing_left)]
        assert len(runs) > 10
        assert len(it.stub.accounts) == 1


async def test_closing_ends_what_is_going_on_at_once(tmp_path: Path) -> None:
    held = asyncio.Event()

    async def never(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.set()
        try:
            await asyncio.Event().wait()
        finally:
            writer.close()

    server = await asyncio.start_server(never, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    issuer = Issuer(Authority(f"http://127.0.0.1:{port}/directory"), tmp_path, {"http-01": HttpAnswers()}, ManualClock())

    async def ask() -> IssuanceFailed:
        with pytest.raises(IssuanceFailed) as failed:
            await issuer.obtain([NAME])
        return failed.value

    asking = spawn(ask(), name="asking")
    await held.wait()
    await issuer.close()
    assert (await asyncio.wait_for(asking, 10)).problem == "closed"
    assert (await ask()).problem == "closed"
    server.close()
