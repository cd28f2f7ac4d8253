"""Which certificate, under which policy, a ClientHello gets.

Owns: the order of looking, and the table of what is served. Must not build contexts, obtain certificates, or touch sockets.

 1. `acme-tls/1` and nothing else is offered: the certificate of a running validation, for the name as sent.
 2. A name: the entry of exactly that name; else the wildcard for its first label; else whoever may obtain one on demand.
 3. No name: the entry of the address that was connected to; else the default.
 4. Nothing found: a fatal alert.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from edgeproxy.tls.contexts import ACME_PROTOCOL, CertificateLike, Contexts, SiteContext, TlsPolicy
from edgeproxy.tls.names import normal_address, normal_name, wildcard_of
from edgeproxy.wire.client_hello import Alert, ClientHello

Choice = SiteContext | Alert
Chooser = Callable[[ClientHello, str, str], Choice | Awaitable[Choice]]
"""(hello, local address, client address): the context to go on with, or the alert to end with. May be awaited; is bounded."""


@dataclass(frozen=True, slots=True)
class Served:
    """What one name gets."""

    certificate: CertificateLike
    policy: TlsPolicy
    scope: str
    """Name of the site: tickets of one scope are never honoured in another."""


OnDemand = Callable[[str, str], Awaitable[Served | None]]
"""(server name, client address): obtains what is not served yet; None when it may not."""


class Directory:
    """What is served by which name or address. Replaced as a whole, so that no handshake sees half a change."""

    def __init__(self, entries: Mapping[str, Served | None] | None = None, default: Served | None = None) -> None:
        self._entries: dict[str, Served | None] = {}
        self._default = default
        self.replace(entries or {}, default)

    def replace(self, entries: Mapping[str, Served | None], default: Served | None = None) -> None:
        """Serve exactly `entries` from now on: by host name, one-label wildcard ("*.a.test") or IP address.

        None for a name that has no certificate yet: it is not served under a wildcard either, whose policy may be another.
        `default`: what a client without SNI gets at an address that has no entry.
        """
        self._entries = {normal_name(name): served for name, served in entries.items()}
        self._default = default

    def knows(self, server_name: str) -> bool:
        """Whether there is an entry for exactly this name."""
        return server_name in self._entries

    def find(self, server_name: str | None, local_address: str) -> Served | None:
        """Who answers; None for nobody. `server_name` in lower case, as ClientHello has it."""
        entries = self._entries
        if server_name is None:
            return entries.get(normal_address(local_address) or "", self._default)
        if server_name in entries:
            return entries[server_name]
        wildcard = wildcard_of(server_name)
        return None if wildcard is None else entries.get(wildcard)


class ChallengeCertificates(Protocol):
    """Answers to running TLS-ALPN-01 validations (`tls.challenges`)."""

    def alpn_certificate(self, name: str) -> tuple[bytes, bytes] | None:
        """Chain and key in PEM for the server name of a validation, or None when there is none."""
        ...


class Dispatch:
    """The chooser of the front door."""

    def __init__(
        self,
        directory: Directory,
        contexts: Contexts,
        challenges: ChallengeCertificates | None = None,
        on_demand: OnDemand | None = None,
    ) -> None:
        self.directory = directory
        self._contexts = contexts
        self._challenges = challenges
        self._on_demand = on_demand

    def __call__(self, hello: ClientHello, local_address: str, client_address: str) -> Choice | Awaitable[Choice]:
        """What `hello` gets. Raises ContextRefused."""
        if hello.alpn == (ACME_PROTOCOL.encode(),):
            return self._challenge(hello.server_name)
        name = hello.server_name
        served = self.directory.find(name, local_address)
        if served is None and name is not None and self._on_demand is not None and not self.directory.knows(name):
            return self._obtain(self._on_demand, hello, name, client_address)
        return self._with(served, hello)

    async def _obtain(self, on_demand: OnDemand, hello: ClientHello, name: str, client_address: str) -> Choice:
        return self._with(await on_demand(name, client_address), hello)

    def _with(self, served: Served | None, hello: ClientHello) -> Choice:
        if served is None:
            return Alert.UNRECOGNIZED_NAME
        context = self._contexts.context(served.certificate, served.policy, served.scope)
        # Python goes on without a protocol where none is in common; RFC 7301 section 3.2 ends it, because a client that speaks
        # something else may be made to speak it to us (the ALPACA attack).
        if hello.alpn and not agreed_protocol(context, hello):
            return Alert.NO_APPLICATION_PROTOCOL
        return context

    def _challenge(self, name: str | None) -> Choice:
        found = None if self._challenges is None or name is None else self._challenges.alpn_certificate(name)
        return Alert.NO_APPLICATION_PROTOCOL if found is None else self._contexts.challenge_context(*found)


def agreed_protocol(context: SiteContext, hello: ClientHello) -> str:
    """What ALPN will end with: the server's order decides (RFC 7301 section 3.2). "" for none."""
    for name in context.protocols:
        if name in hello.alpn:
            return name.decode()
    return ""
