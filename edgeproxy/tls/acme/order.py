"""One order from its making to its chain (RFC 8555 section 7.4): one step for each state of `order_table`.

Owns: the order of requests, which challenge is tried when, and that what was presented is withdrawn, whatever happens. A step
does its work and says what happened; the table says what comes next. Keeps nothing: an order that fails is left to the authority.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol
from urllib.parse import urljoin

from acme import messages
from josepy.b64 import b64encode
from josepy.json_util import field

from edgeproxy.clock import Clock
from edgeproxy.errors import EdgeError, IssuanceFailed, Retry
from edgeproxy.tasks import spawn
from edgeproxy.tls.acme import resources
from edgeproxy.tls.acme.chains import canonical, check_chain, ends_at, is_address, signing_request
from edgeproxy.tls.acme.choosing import choose, nothing_offered
from edgeproxy.tls.acme.network import Reply
from edgeproxy.tls.acme.order_table import TRANSITIONS, Event, State
from edgeproxy.tls.acme.polling import Patience, Poll, passes
from edgeproxy.tls.acme.problems import FailedValidation, Problem, clean, own_failure, resource_failure, validation_failure
from edgeproxy.tls.acme.resources import Authorization, AuthorizationStatus, Challenge, OrderStatus
from edgeproxy.tls.acme.session import Session

_FINALIZATIONS = 4
_ALTERNATES = 10
_ANSWERED_BEFORE = frozenset(("malformed", "unauthorized", "conflict"))


class Presenter(Protocol):
    """Answers challenges of one type where an authority looks for the answers."""

    async def present(self, name: str, token: str, key_authorization: str) -> None:
        """Returns when the answer can be found. `name` is as asked for: a wildcard begins with `*.`."""
        ...

    async def withdraw(self, name: str, token: str) -> None:
        """Take it away; also called for what was presented only in part."""
        ...


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for."""

    names: tuple[str, ...]
    """Canonical (chains.canonical)."""
    key: bytes
    types: tuple[str, ...]
    """Types of challenges, in the order to try."""
    profile: str | None = None
    replaces: str | None = None
    """The certificate that is renewed, by its name for renewal information (RFC 9773 section 5)."""
    preferred_chain: str | None = None


class NewOrder(messages.NewOrder):
    """An order that may say what it replaces (RFC 9773 section 5), which `acme` does not know."""

    replaces: str | None = field("replaces", omitempty=True)


class OrderRun:
    """One attempt at a certificate; a new order is made when another type of challenge has to be tried."""

    def __init__(
        self, asked: Asked, session: Session, poll: Poll, presenters: Mapping[str, Presenter], clock: Clock, patience: Patience
    ) -> None:
        self._asked = asked
        self._session = session
        self._poll = poll
        self._presenters = presenters
        self._clock = clock
        self._patience = patience
        self._replaces = asked.replaces
        self._request = signing_request(asked.key, asked.names)
        self._failures: list[FailedValidation] = []
        self._presented: list[tuple[Presenter, str, str]] = []
        self._finalizations = 0
        self.state = State.CREATE
        # The order that is under way.
        self._url = ""
        self._order: resources.Order
        self._chosen: list[tuple[str, Authorization, Challenge]] = []
        self._not_before: float | None = None
        self._trouble: IssuanceFailed | None = None
        self._chain = b""

    @property
    def spent(self) -> tuple[str, ...]:
        """Names whose validation failed on the way, each as often as it did."""
        return tuple(failure.name for failure in self._failures)

    async def run(self) -> bytes:
        """The issued chain (PEM), checked. Raises IssuanceFailed."""
        steps: Mapping[State, Callable[[], Awaitable[Event]]] = {
            State.CREATE: self._create,
            State.AUTHORIZE: self._authorize,
            State.PRESENT: self._present,
            State.ANSWER: self._answer,
            State.VALIDATE: self._validate,
            State.FINALIZE: self._finalize,
            State.AWAIT: self._await,
            State.DOWNLOAD: self._download,
        }
        try:
            while self.state is not State.ISSUED:
                event = await steps[self.state]()
                self.state = TRANSITIONS[self.state, event]
        except IssuanceFailed as failure:
            failure.happened(self.state.value, self.spent)
            raise
        finally:
            await self._withdraw()
        return self._chain

    # --- one step for each state

    async def _create(self) -> Event:
        identifiers = [
            messages.Identifier(typ=messages.IDENTIFIER_IP if is_address(name) else messages.IDENTIFIER_FQDN, value=name)
            for name in self._asked.names
        ]
        order = NewOrder(identifiers=identifiers, profile=self._asked.profile, replaces=self._replaces)
        directory = await self._session.directory()
        try:
            reply = await self._session.post(directory.new_order, order.json_dumps().encode())
        except IssuanceFailed as failure:
            if self._replaces is None or not _may_be_for_replaces(failure):
                raise
            # "alreadyReplaced" is the one that RFC 9773 names; others say conflict, malformed, or stumble over the field.
            self._replaces = None
            return Event.WITHOUT_REPLACES
        location = reply.headers.get("Location")
        if not location:
            raise own_failure("badAnswer", "an order without a URL")
        self._url = urljoin(directory.new_order, location)
        self._order = resources.read_order(reply.json())
        return Event.DONE

    async def _authorize(self) -> Event:
        self._chosen = []
        for url in self._order.authorizations:
            authorization = self._read(await self._poll.insist(url))
            if authorization.status is AuthorizationStatus.VALID:
                continue
            if authorization.status is not AuthorizationStatus.PENDING:
                problem = authorization.problem()
                raise resource_failure(replace(problem, detail=clean(f"{authorization.name}: {problem.detail}")))
            challenge = self._choose(authorization)
            if challenge is None:
                raise nothing_offered(authorization, self._asked.types)
            self._chosen.append((url, authorization, challenge))
        return Event.DONE if self._chosen else Event.ALL_VALID

    async def _present(self) -> Event:
        thumbprint = b64encode((await self._session.account_key()).thumbprint()).decode("ascii")
        for _, authorization, challenge in self._chosen:
            presenter = self._presenters[challenge.type]
            # Noted before it is done: a presenter that is cancelled or fails half-way is withdrawn as well.
            self._presented.append((presenter, authorization.name, challenge.token))
            try:
                async with asyncio.timeout(self._patience.presenting):
                    await presenter.present(authorization.name, challenge.token, f"{challenge.token}.{thumbprint}")
            except IssuanceFailed:
                raise
            except (EdgeError, OSError, TimeoutError) as error:
                text = f"{authorization.name}: {challenge.type} could not be presented: {str(error) or 'it took too long'}"
                raise own_failure("present", text) from error
        return Event.DONE

    async def _answer(self) -> Event:
        for _, _, challenge in self._chosen:
            try:
                await self._poll.insist(challenge.url, b"{}")
            except IssuanceFailed as failure:
                # Sent again after a lost connection, it may come to a challenge that is being looked at already, and is refused.
                # How it stands is seen in the next state.
                if failure.problem not in _ANSWERED_BEFORE:
                    raise
        return Event.DONE

    async def _validate(self) -> Event:
        chosen = {url: (authorization, challenge) for url, authorization, challenge in self._chosen}
        lost: list[Authorization] = []
        failures: list[FailedValidation] = []

        def settled(url: str, reply: Reply) -> bool:
            found = self._read(reply)
            if found.status not in (AuthorizationStatus.PENDING, AuthorizationStatus.VALID):
                lost.append(chosen[url][0])
                failures.append(FailedValidation(found.name, chosen[url][1].type, found.problem()))
            return found.status is not AuthorizationStatus.PENDING

        try:
            await self._poll.until_settled(tuple(chosen), settled, self._patience.validation)
        except IssuanceFailed:
            if not failures:
                raise  # otherwise what failed says more than that others are still pending
        self._failures += failures
        await self._withdraw()
        if not failures:
            return Event.DONE
        another_way = all(self._choose(authorization) is not None for authorization in lost)
        if another_way and all(failure.problem.rule.other_challenge for failure in failures):
            return Event.OTHER_CHALLENGE
        raise validation_failure(self._failures)

    async def _finalize(self) -> Event:
        self._finalizations += 1
        if self._finalizations > _FINALIZATIONS:
            raise own_failure("badAnswer", "the order stays ready, however often it is finalized")
        payload = messages.CertificateRequest(csr=self._request).json_dumps().encode()
        try:
            reply = await self._session.post(self._order.finalize, payload)
        except IssuanceFailed as failure:
            if self._finalizations >= _FINALIZATIONS or not (failure.problem == "orderNotReady" or passes(failure)):
                raise
            self._not_before, self._trouble = failure.not_before, failure
            return Event.UNSETTLED
        self._not_before, self._trouble = reply.retry_at, None
        self._order = resources.read_order(reply.json())
        return self._judge() or Event.UNSETTLED

    async def _await(self) -> Event:
        found: list[Event] = []

        def settled(_: str, reply: Reply) -> bool:
            self._order = resources.read_order(reply.json())
            if self._order.status is OrderStatus.READY:
                found.append(Event.READY)
            elif (event := self._judge()) is not None:
                found.append(event)
            return bool(found)

        await self._poll.until_settled(
            (self._url,), settled, self._patience.issuance, not_before=self._not_before, cause=self._trouble
        )
        return found[0]

    async def _download(self) -> Event:
        reply = await self._poll.insist(self._order.certificate)
        self._chain = self._checked(reply.body)
        if (wanted := self._asked.preferred_chain) is not None and not ends_at(self._chain, wanted):
            for url in reply.links("alternate")[:_ALTERNATES]:
                # One that cannot be had, or is wrong, is no reason to go without the certificate.
                with suppress(IssuanceFailed):
                    alternate = (await self._poll.insist(urljoin(self._order.certificate, url))).body
                    if ends_at(alternate, wanted):
                        self._chain = self._checked(alternate)
                        break
        return Event.DONE

    # --- what steps share

    def _checked(self, chain: bytes) -> bytes:
        return check_chain(chain, self._asked.key, self._asked.names, self._clock.seconds())

    def _judge(self) -> Event | None:
        """What the order's own status means, None when it is still under way. Raises IssuanceFailed for a lost one."""
        if self._order.status is OrderStatus.INVALID:
            raise resource_failure(self._order.error or Problem("serverInternal", "the order is invalid, without a reason"))
        if self._order.status is OrderStatus.VALID and self._order.certificate:
            return Event.ISSUED
        return None

    def _read(self, reply: Reply) -> Authorization:
        """An authorization under the name that was asked for; raises IssuanceFailed for one that nobody asked for."""
        found = resources.read_authorization(reply.json())
        for name in (canonical(found.name), f"*.{found.name}"):  # some leave out that it is for a wildcard
            if name in self._asked.names:
                return replace(found, name=name)
        raise own_failure("badAnswer", f"an authorization for {clean(found.name)}, which is not in the order")

    def _choose(self, authorization: Authorization) -> Challenge | None:
        failed = {failure.challenge for failure in self._failures if failure.name == authorization.name}
        return choose(authorization, self._asked.types, failed)

    async def _withdraw(self) -> None:
        """Take away all that was presented. Runs to its end even when whoever waits for it is cancelled."""
        presented, self._presented = self._presented, []
        if presented:
            await asyncio.shield(spawn(_withdraw_all(presented, self._patience.presenting), name="acme withdraw"))


async def _withdraw_all(presented: list[tuple[Presenter, str, str]], patience: float) -> None:
    for presenter, name, token in presented:
        # An answer that stays behind does no harm: its token is used up. The others are still to be withdrawn.
        with suppress(EdgeError, OSError):
            async with asyncio.timeout(patience):
                await presenter.withdraw(name, token)


def _may_be_for_replaces(failure: IssuanceFailed) -> bool:
    """Whether an order with `replaces` is worth one try without: after every error that came as an answer, unless it said when to
    come back, or is about the account."""
    if failure.problem in ("unreachable", "timeout", "closed", "untrusted", "accountDoesNotExist", "externalAccountRequired"):
        return False
    return failure.retry is not Retry.NOT_BEFORE
