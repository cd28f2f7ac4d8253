"""One certificate authority with one account, as the rest of the edge sees it: names in, a checked chain and its key out.

Owns: what an order is made of (types of challenges, profile, `replaces`), and registering again when the authority has lost the
account. Never decides when to ask; a failure says in `IssuanceFailed.retry` when asking again makes sense.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from acme import messages
from cryptography import x509

from edgeproxy.clock import Clock
from edgeproxy.errors import IssuanceFailed
from edgeproxy.tls.acme.account import Account, ExternalAccount, account_folder
from edgeproxy.tls.acme.chains import canonical, expiry, new_key, renewal_id
from edgeproxy.tls.acme.choosing import check_possible
from edgeproxy.tls.acme.network import Network, RequestLimits
from edgeproxy.tls.acme.order import Asked, OrderRun, Presenter
from edgeproxy.tls.acme.polling import Patience, Poll
from edgeproxy.tls.acme.problems import own_failure
from edgeproxy.tls.acme.renewal_info import RenewalInfo, read_renewal_info
from edgeproxy.tls.acme.resources import AcmeDirectory
from edgeproxy.tls.acme.session import Session

__all__ = ["Authority", "ExternalAccount", "Issued", "Issuer", "Presenter", "RenewalInfo", "Waits"]


@dataclass(frozen=True, slots=True)
class Authority:
    """One authority as configured."""

    directory: str
    """URL of its directory."""
    ca_file: Path | None = None
    """Trust anchors (PEM) for the directory's own HTTPS, in place of the system's."""
    email: str = ""
    external_account: ExternalAccount | None = None
    profile: str | None = None
    preferred_chain: str | None = None
    """Common name that issued the last certificate of the chain that is wanted, where the authority offers several."""
    challenges: tuple[str, ...] = ("http-01", "tls-alpn-01")
    """Types in the order to try."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A new certificate. Its key is new as well, and P-256."""

    chain: bytes
    key: bytes
    directory: str
    failed_names: tuple[str, ...] = ()
    """Names whose validation failed before another type of challenge succeeded, each as often as it did."""


class Waits(NamedTuple):
    """How an issuer waits."""

    patience: Patience = Patience()
    requests: RequestLimits = RequestLimits()
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class Issuer:
    """Certificates from one authority. The account (key in FOLDER/accounts/) is registered on first use."""

    def __init__(
        self,
        authority: Authority,
        folder: Path,
        presenters: Mapping[str, Presenter],
        clock: Clock,
        waits: Waits | None = None,
    ) -> None:
        self.authority = authority
        self._presenters = presenters
        self._clock = clock
        self._waits = waits or Waits()
        account = Account(
            account_folder(folder, authority.directory, authority.email), authority.email, authority.external_account
        )
        network = Network(authority.directory, authority.ca_file, clock, self._waits.requests)
        self._session = Session(authority.directory, network, account, clock)

    @property
    def directory(self) -> str:
        """The URL of the authority's directory: its name."""
        return self.authority.directory

    async def obtain(self, names: Sequence[str], *, replaces: bytes | None = None) -> Issued:
        """A certificate for `names` (DNS names, wildcards, IP addresses); `replaces` is the chain (PEM) of the one it renews.

        Raises IssuanceFailed. When cancelled, nothing stays presented; an order that was begun is left to the authority.
        """
        wanted = tuple(dict.fromkeys(canonical(name) for name in names))
        types = tuple(kind for kind in self.authority.challenges if kind in self._presenters)
        check_possible(wanted, types)
        try:
            try:
                return await self._order(wanted, types, replaces)
            except IssuanceFailed as failure:
                if failure.problem != "accountDoesNotExist":
                    raise
                await self._session.forget_account()
                return await self._order(wanted, types, replaces)
        except IssuanceFailed:
            self._session.forget_directory()
            raise

    async def renewal_info(self, chain: bytes) -> RenewalInfo | None:
        """When the authority wants `chain` (PEM) renewed (RFC 9773).

        None: it does not say, cannot be asked about this certificate, or the certificate has ended. Raises IssuanceFailed where
        it could not be asked, or its answer made no sense.
        """
        certificate = renewal_id(chain)
        end = expiry(chain)
        if certificate is None or end is None or end <= self._clock.seconds():
            return None
        directory = await self._session.directory()
        if not directory.renewal_info:
            return None
        reply = await self._session.get(f"{directory.renewal_info.rstrip('/')}/{certificate}")
        return read_renewal_info(reply, self._clock.seconds())

    async def revoke(self, chain: bytes, reason: int = 0) -> None:
        """Revoke the leaf of `chain` (PEM), with a reason of RFC 5280 section 5.3.1. Raises IssuanceFailed."""
        directory = await self._session.directory()
        if not directory.revoke:
            raise own_failure("badAnswer", "the authority revokes nothing")
        leaf = x509.load_pem_x509_certificates(chain)[0]
        revocation = messages.Revocation(certificate=leaf, reason=reason)
        await self._session.post(directory.revoke, revocation.json_dumps().encode())

    async def close(self) -> None:
        """Break what is going on; who waits for it gets IssuanceFailed "closed"."""
        await self._session.close()

    async def _order(self, names: tuple[str, ...], types: tuple[str, ...], replaces: bytes | None) -> Issued:
        directory = await self._session.directory()
        asked = Asked(
            names=names,
            key=new_key(),
            types=types,
            profile=_profile(self.authority.profile, directory),
            # Authorities without renewal information refuse the field, or worse.
            replaces=renewal_id(replaces) if replaces is not None and directory.renewal_info else None,
            preferred_chain=self.authority.preferred_chain,
        )
        poll = Poll(self._session, self._clock, self._waits.sleep)
        run = OrderRun(asked, self._session, poll, self._presenters, self._clock, self._waits.patience)
        chain = await run.run()
        return Issued(chain, asked.key, self.directory, run.spent)


def _profile(wanted: str | None, directory: AcmeDirectory) -> str | None:
    """The profile to ask for: none where the authority knows no profiles; IssuanceFailed where it knows others only."""
    if wanted is None or directory.profiles is None:
        return None
    if wanted not in directory.profiles:
        offered = ", ".join(sorted(directory.profiles)) or "none"
        raise own_failure("invalidProfile", f"the authority does not offer the profile {wanted}; it offers: {offered}")
    return wanted
