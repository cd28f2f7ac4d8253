"""A validator's own way in over TLS: its names, its certificates by ACME, the front door.

Owns: this wiring. Everything in it is the edge's (`keeping`, `tls`), with one policy for all names instead of one for each site.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from edgeproxy.clock import Clock
from edgeproxy.config.model import Acme
from edgeproxy.keeping import Keeping, open_tickets
from edgeproxy.serving.connections import Connections
from edgeproxy.serving.http1 import Http1Connection
from edgeproxy.serving.http2 import Http2Connection
from edgeproxy.serving.settings import ServingSettings
from edgeproxy.serving.stream import Handler
from edgeproxy.tls.certificate import Certificate
from edgeproxy.tls.challenges import Challenges
from edgeproxy.tls.contexts import Contexts, TlsPolicy
from edgeproxy.tls.dispatch import Directory, Dispatch, Served
from edgeproxy.tls.front import FrontDoor, FrontSettings
from edgeproxy.tls.handshakes import Handshake
from edgeproxy.tls.keeper import Wanted
from edgeproxy.tls.openssl import find_openssl

FOLDER = "tls"
"""Of the vault, in the data folder."""
_SCOPE = "validator"


class SecureEntrance:
    """HTTPS for `hosts`, certificates kept as `acme` says."""

    def __init__(self, data: Path, hosts: Sequence[str], acme: Acme, clock: Clock) -> None:
        self._hosts = tuple(hosts)
        self._folder = data / FOLDER
        self._clock = clock
        self._directory = Directory()
        self.challenges = Challenges(self._folder)
        self._keeping = Keeping(acme, self._folder, self.challenges, clock)
        self._front: FrontDoor | None = None

    async def start(self, addresses: Sequence[str], handler: Handler, settings: ServingSettings) -> tuple[str, ...]:
        """Serve, and begin to keep certificates; answers the addresses. Raises StartError."""
        keeper = self._keeping.keeper
        keeper.on_change = self._changed
        keeper.want([Wanted((host,)) for host in self._hosts])
        self.challenges.open()
        await keeper.start()
        self._show()
        tickets = await asyncio.to_thread(open_tickets, self._folder, self._clock)
        connections = Connections(handler, settings, self._clock, scheme="https")

        def make(handshake: Handshake) -> Http1Connection | Http2Connection:
            return (Http2Connection if handshake.alpn == "h2" else Http1Connection)(connections, handshake.peer)

        dispatch = Dispatch(self._directory, Contexts(tickets, find_openssl()), self.challenges)
        self._front = FrontDoor(dispatch, make, FrontSettings(), self._clock, connections=connections)
        await self._front.start(addresses)
        return self._front.addresses

    def _changed(self, _: Certificate) -> None:
        self._show()

    def _show(self) -> None:
        serving = self._keeping.keeper.serving()
        policy = TlsPolicy()
        entries = {host: Served(held, policy, _SCOPE) if (held := serving.get(host)) else None for host in self._hosts}
        self._directory.replace(entries, next(iter(entries.values())) if len(entries) == 1 else None)

    async def close(self) -> None:
        """End everything."""
        if self._front is not None:
            await self._front.close()
        await self._keeping.close()
