"""HTTPS of one edge: certificates, challenges and the front door, built from the configuration and joined.

Owns: this wiring, and which certificate is served for which host of which site. Must not decide when a certificate is obtained
(`tls.keeper`), which context a handshake gets (`tls.dispatch`) or how an exchange is answered.

Without an address in `listen.https` nothing here is opened, and a reload that brings one opens it.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import aiohttp
from yarl import URL

from edgeproxy.clock import Clock
from edgeproxy.config import Config
from edgeproxy.config import Site as SiteConfig
from edgeproxy.errors import CertificateFault, ContextRefused, StartError
from edgeproxy.exchange.site import Secure, Sites
from edgeproxy.keeping import Keeping, open_tickets
from edgeproxy.serving.connections import Connections
from edgeproxy.serving.http1 import Http1Connection
from edgeproxy.serving.http2 import Http2Connection
from edgeproxy.serving.settings import ServingSettings
from edgeproxy.serving.stream import Handler
from edgeproxy.tls.certificate import Certificate
from edgeproxy.tls.challenges import Challenges
from edgeproxy.tls.contexts import Contexts, TlsPolicy, check_policy
from edgeproxy.tls.dispatch import Directory, Dispatch, Served
from edgeproxy.tls.front import FrontDoor, FrontSettings, Outcome
from edgeproxy.tls.handshakes import Handshake
from edgeproxy.tls.health import Health, judge
from edgeproxy.tls.keeper import CertificateStatus, Wanted
from edgeproxy.tls.openssl import find_openssl

log = logging.getLogger("edgeproxy.https")

FOLDER: Final = "tls"
"""Of the vault, in the data folder."""
FORWARD_SECONDS: Final = 5.0
FORWARD_BYTES: Final = 4096


def policy_of(site: SiteConfig) -> TlsPolicy:
    """How handshakes for a site go. Raises StartError when the file of its client authorities cannot be used."""
    tls = site.tls
    try:
        policy = TlsPolicy(
            minimum=tls.minimum,
            client_ca=tls.client_ca_file.read_bytes() if tls.client_ca_file else None,
            client_auth=tls.client_auth,
            http2=tls.http2,
        )
        check_policy(policy)
    except OSError as error:
        raise StartError("client_ca_file cannot be read", site=site.name, error=error.strerror) from error
    except ContextRefused as error:
        raise StartError("client_ca_file cannot be used", site=site.name, path=tls.client_ca_file, error=str(error)) from error
    return policy


def secure_of(site: SiteConfig, port: int) -> Secure:
    """What an exchange has to know of it."""
    tls = site.tls
    hsts = f"max-age={int(tls.hsts)}{'; includeSubDomains' if tls.hsts_subdomains else ''}" if tls.hsts else None
    return Secure(policy_of(site).mark, redirect=tls.redirect, port=port, hsts=hsts)


def certificate_name(host: str) -> str | None:
    """The name that a certificate for a host of a site bears; None for any host."""
    return None if host == "*" else host.strip("[]")


class Https:
    """The certificates of one edge and its way in over TLS."""

    def __init__(self, config: Config, handler: Handler, settings: ServingSettings, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._folder = config.edge.data / FOLDER
        self._connections = Connections(handler, settings, clock, scheme="https")
        self.challenges = Challenges(self._folder)
        self.sites = Sites(())
        """Set at each reload, before `apply`: which site a name that nobody configured belongs to."""
        self._directory = Directory()
        self._policies: dict[str, TlsPolicy] = {}
        self._has_inherited = False
        self._keeping: Keeping | None = None
        self._session: aiohttp.ClientSession | None = None
        self.front: FrontDoor | None = None
        """None, like `_keeping`, until there is an address to listen on."""

    async def start(self, sockets: Sequence[socket.socket] = ()) -> None:
        """Serve what the vault has, and begin to keep certificates, where there is an address to serve on.

        `sockets` are bound ones that were handed over; they take the place of `listen.https`. Raises StartError, and then nothing
        of it runs.
        """
        self._has_inherited = bool(sockets)
        if sockets or self._config.listen.https:
            await self._open(sockets)

    async def _open(self, sockets: Sequence[socket.socket]) -> None:
        keeping = self._keeping = Keeping(self._config.acme, self._folder, self.challenges, self._clock)
        keeping.keeper.on_change = self._changed
        try:
            self._policies = _policies(self._config)
            keeping.keeper.want(_wanted(self._config))
            self.challenges.open()
            await keeping.keeper.start()
            self._serve_what_there_is()
            tickets = await asyncio.to_thread(open_tickets, self._folder, self._clock)
            obtain = self._obtain if keeping.on_demand else None
            dispatch = Dispatch(self._directory, Contexts(tickets, find_openssl()), self.challenges, obtain)
            front = FrontDoor(dispatch, self._connection, FrontSettings(), self._clock, connections=self._connections)
            await front.start([] if sockets else [str(address) for address in self._config.listen.https], sockets)
        except BaseException:
            self._keeping = None
            await keeping.close()
            raise
        self.front = front

    def _connection(self, handshake: Handshake) -> Http1Connection | Http2Connection:
        make: Callable[..., Http1Connection | Http2Connection] = Http2Connection if handshake.alpn == "h2" else Http1Connection
        return make(self._connections, handshake.peer)

    async def apply(self, config: Config) -> None:
        """Serve by a new configuration; connections go on. Raises StartError, and then all is as it was.

        What `[acme]` says of authorities is read once, when the first address is opened (`config.needs_restart`).
        """
        before, self._config = self._config, config
        try:
            if self.front is None or self._keeping is None:
                await self.start()
                return
            policies = _policies(config)
            if not self._has_inherited:
                await self.front.replace([str(address) for address in config.listen.https])
        except BaseException:
            self._config = before
            raise
        self._policies = policies
        self._keeping.keeper.want(_wanted(config))
        self._serve_what_there_is()

    # --- what is served ---

    def _changed(self, certificate: Certificate) -> None:
        end = datetime.fromtimestamp(certificate.not_after, UTC)
        log.info("serving a certificate for %s until %s", ", ".join(certificate.names[:5]), f"{end:%Y-%m-%d %H:%M:%S}Z")
        self._serve_what_there_is()

    def _serve_what_there_is(self) -> None:
        if self._keeping is None:
            return
        serving = self._keeping.keeper.serving()
        entries: dict[str, Served | None] = {}
        for site in self._config.sites:
            for name in filter(None, map(certificate_name, site.hosts)):
                held = serving.get(name)
                entries[name] = Served(held, self._policies[site.name], site.name) if held else None
        # Who sends no name at all gets the only certificate there is; with several, nobody can know which is meant.
        only = next(iter(entries.values())) if len(entries) == 1 else None
        self._directory.replace(entries, only)

    async def _obtain(self, name: str, client: str) -> Served | None:
        """A certificate for a name that only a site for any host can mean."""
        site, on_demand = self.sites.find(name), self._keeping and self._keeping.on_demand
        if site is None or not on_demand or site.name not in self._policies:
            return None
        certificate = await on_demand.certificate(name, client)
        return None if certificate is None else Served(certificate, self._policies[site.name], site.name)

    # --- challenges over HTTP ---

    async def challenge(self, token: str, authority: str) -> bytes | None:
        """The answer to a token, of ours or of the server that was there before (`acme.forward_challenges`)."""
        known = self.challenges.http_answer(token)
        before = self._config.acme.forward_challenges
        if known is not None or before is None:
            return known
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=FORWARD_SECONDS))
        url = URL(before) / ".well-known/acme-challenge" / token
        try:
            async with self._session.get(url, headers={"Host": authority}, allow_redirects=False) as response:
                body = await response.content.read(FORWARD_BYTES)
                return body if response.status == 200 else None
        except (aiohttp.ClientError, TimeoutError) as error:
            log.warning("a challenge could not be passed on to %s: %s", before, error)
            return None

    # --- what is told ---

    def status(self) -> list[CertificateStatus]:
        """Of each certificate that is wanted; empty where nothing is served over TLS."""
        return self._keeping.keeper.status() if self._keeping is not None else []

    def health(self) -> Health:
        """Of what clients are shown now."""
        return judge(self._keeping.keeper.served() if self._keeping is not None else (), self._clock.seconds())

    async def renew(self, name: str) -> None:
        """Renew as soon as possible. Raises CertificateFault."""
        if self._keeping is None:
            raise CertificateFault("nothing is served over HTTPS; listen.https has no address", name=name)
        await self._keeping.keeper.renew_now(name)

    def counts(self) -> dict[str, int]:
        """Open connections by state."""
        return self.front.counts() if self.front is not None else {}

    @property
    def outcomes(self) -> Mapping[Outcome, int]:
        """How many connections ended their arrival in which way."""
        return self.front.outcomes if self.front is not None else {}

    @property
    def addresses(self) -> tuple[str, ...]:
        """What is listened on."""
        return self.front.addresses if self.front is not None else ()

    # --- the end ---

    async def drain(self, deadline: float) -> int:
        """Let running exchanges finish for up to `deadline` seconds; returns how many connections were broken."""
        return await self.front.drain(deadline) if self.front is not None else 0

    async def close(self) -> None:
        """End everything."""
        if self.front is not None:
            await self.front.close()
        if self._keeping is not None:
            await self._keeping.close()
        if self._session is not None:
            await self._session.close()


def _policies(config: Config) -> dict[str, TlsPolicy]:
    return {site.name: policy_of(site) for site in config.sites}


def _wanted(config: Config) -> list[Wanted]:
    """A certificate for each name: one that cannot be proved keeps no other waiting."""
    names = dict.fromkeys(name for site in config.sites for host in site.hosts if (name := certificate_name(host)))
    return [Wanted((name,)) for name in names]


def data_folder(data: Path) -> Path:
    """Where the vault of a data folder is."""
    return data / FOLDER
