"""Accepts HTTP/1 connections by the event loop's own servers.

Owns: the making of these servers. Must not look into a connection; the registry does.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable

from edgeproxy.clock import Clock
from edgeproxy.serving.addresses import BACKLOG
from edgeproxy.serving.connections import Connections
from edgeproxy.serving.entrance import Entrance, Stop
from edgeproxy.serving.http1 import Http1Connection
from edgeproxy.serving.settings import ServingSettings
from edgeproxy.serving.stream import Handler


class Listener(Entrance):
    """Connections from any number of addresses, all with one handler. Give `tls` for https with a single certificate, `make` for
    another protocol."""

    def __init__(
        self,
        handler: Handler,
        settings: ServingSettings,
        clock: Clock,
        *,
        tls: ssl.SSLContext | None = None,
        make: Callable[[Connections], asyncio.Protocol] = Http1Connection,
    ) -> None:
        super().__init__(Connections(handler, settings, clock, scheme="https" if tls else "http"))
        self._tls = tls
        self._make = make

    async def _accept_on(self, ready: socket.socket) -> Stop:
        loop = asyncio.get_running_loop()
        make = loop.create_unix_server if ready.family == socket.AF_UNIX else loop.create_server
        server = await make(self._connection, sock=ready, backlog=BACKLOG, ssl=self._tls)
        return server.close

    def _connection(self) -> asyncio.Protocol:
        return self._make(self.connections)
