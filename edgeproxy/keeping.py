"""Who obtains certificates, and from whom: the parts of `tls/` joined as `[acme]` says, for an edge and for a validator.

Owns: this wiring. Must not know what a certificate is served for: sites are the edge's business, `https` joins them.
"""

import logging
from pathlib import Path

from edgeproxy.clock import Clock
from edgeproxy.config.model import Acme, AcmeAuthority
from edgeproxy.errors import StoreError
from edgeproxy.tls.acme.dns_hook import DnsHook
from edgeproxy.tls.acme.issuer import Authority, ExternalAccount, Issuer, Presenter
from edgeproxy.tls.challenges import AlpnPresenter, Challenges, HttpPresenter
from edgeproxy.tls.events import HookCommand
from edgeproxy.tls.keeper import Keeper, KeeperSettings
from edgeproxy.tls.on_demand import OnDemand, OnDemandSettings
from edgeproxy.tls.self_check import SelfCheck, SelfCheckSettings
from edgeproxy.tls.tickets import TicketKeys
from edgeproxy.tls.vault import Vault

log = logging.getLogger("edgeproxy.https")


class Keeping:
    """Who obtains certificates and tells of them, as `[acme]` says. `folder` is that of the vault."""

    def __init__(self, acme: Acme, folder: Path, challenges: Challenges, clock: Clock) -> None:
        self._presenters: dict[str, Presenter] = {
            "http-01": HttpPresenter(challenges),
            "tls-alpn-01": AlpnPresenter(challenges),
        }
        if acme.dns_hook:
            self._presenters["dns-01"] = DnsHook(acme.dns_hook)
        self._issuers = [Issuer(_authority(acme, one), folder, self._presenters, clock) for one in acme.authorities]
        self._hook = HookCommand(acme.hook) if acme.hook else None
        self.keeper = Keeper(Vault(folder, clock), self._issuers, clock, _keeper_settings(acme, challenges))
        self.keeper.on_lead = challenges.clear
        if self._hook is not None:
            self.keeper.on_event = self._hook.notify
        self.on_demand: OnDemand | None = None
        if given := acme.on_demand:
            settings = OnDemandSettings(
                ask=given.ask, hold_seconds=given.hold, client_names=given.client_names, all_names=given.all_names
            )
            self.on_demand = OnDemand(self.keeper.find, self.keeper.obtain, clock, settings)

    async def close(self) -> None:
        """End all of it, attempts too."""
        await self.keeper.stop()
        if self.on_demand is not None:
            await self.on_demand.stop()
        for issuer in self._issuers:
            await issuer.close()
        if self._hook is not None:
            await self._hook.stop()


def _authority(acme: Acme, authority: AcmeAuthority) -> Authority:
    account = authority.external_account
    return Authority(
        directory=authority.directory,
        ca_file=authority.directory_ca_file,
        email=acme.email or "",
        external_account=ExternalAccount(account.key_id, account.mac_key) if account else None,
        profile=authority.profile,
        preferred_chain=authority.preferred_chain,
        challenges=acme.challenges,
    )


def _keeper_settings(acme: Acme, challenges: Challenges) -> KeeperSettings:
    directories = tuple(authority.directory for authority in acme.authorities)
    return KeeperSettings(
        chosen_directories=directories if acme.directory else directories[1:],
        self_check=SelfCheck(challenges, SelfCheckSettings()) if acme.self_check else None,
    )


def open_tickets(folder: Path, clock: Clock) -> TicketKeys:
    """Those that survive a restart; without room for their secret, ones that do not: a full disk keeps nobody from serving."""
    try:
        return TicketKeys.open(folder, clock)
    except StoreError as error:
        log.warning("TLS sessions will not be resumed after a restart: %s", error)
        return TicketKeys.temporary(clock)
