"""Trouble with an authority that is overcome, as a table: which requests follow, in which order, after which waits.

The authority is the stub of `tests.support.acme_stub`; its log is the proof. Time is a manual clock that moves by the waits that
the client asks for, so the log shows them and no test sleeps.
"""

from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

import pytest
from cryptography import x509

from edgeproxy.errors import Retry
from edgeproxy.tls.acme.chains import names_of, renewal_id
from edgeproxy.tls.acme.issuer import Issuer, Waits
from tests.support.acme_issuing import pem
from tests.support.acme_stub import Answer, hang_up, lose_answer, page, problem
from tests.support.acme_world import BAD_NONCE, CREATED, NAME, PROVED, world

ISSUED = ["finalize", "order", "certificate"]
FRESH = ["newNonce"]  # an answer that was lost took its nonce along


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


@dataclass
class Overcome:
    """Trouble after which the certificate comes in the same attempt."""

    name: str
    plan: dict[str, list[Answer | None]]
    steps: list[str]
    waits: list[float]


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
