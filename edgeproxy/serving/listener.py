"""Accepts connections on several addresses, and ends them in good order.

Owns: the listening sockets, the once-a-second sweep, the drain. Must not look into a connection; the registry does.
"""

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgeproxy.clock import Clock
from edgeproxy.serving.addresses import BACKLOG, Address, bind, map_bind_error, parse_address
from edgeproxy.serving.connections import Connections
from edgeproxy.serving.http1 import Http1Connection
from edgeproxy.serving.settings import ServingSettings
from edgeproxy.serving.stream import Handler

SWEEP_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _Open:
    """One address that is listened on: its servers (one a family), and the addresses they were really given."""

    servers: tuple[asyncio.AbstractServer, ...]
    bound: tuple[str, ...]
    path: str


class Listener:
    """Connections from any number of addresses, all with one handler. Give `tls` for https, `make` for another protocol."""

    def __init__(
        self,
        handler: Handler,
        settings: ServingSettings,
        clock: Clock,
        *,
        tls: ssl.SSLContext | None = None,
        make: Callable[[Connections], asyncio.Protocol] = Http1Connection,
    ) -> None:
        self.connections = Connections(handler, settings, clock, scheme="https" if tls else "http")
        self._tls = tls
        self._make = make
        self._open: dict[str, _Open] = {}
        self._inherited: list[_Open] = []
        self._sweep: asyncio.TimerHandle | None = None

    @property
    def addresses(self) -> tuple[str, ...]:
        """What is listened on, with the real port where 0 was asked for; inherited sockets last."""
        return tuple(bound for opened in (*self._open.values(), *self._inherited) for bound in opened.bound)

    def counts(self) -> dict[str, int]:
        """Open connections by state, for metrics."""
        return self.connections.counts()

    async def start(self, addresses: Sequence[str], sockets: Sequence[socket.socket] = ()) -> None:
        """Listen on `addresses` and on ready, bound `sockets` (inherited, and owned from now on), or on none: StartError."""
        await self.replace(addresses)
        try:
            for ready in sockets:
                self._inherited.append(await self._serve([ready], _name_of(ready)))
        except BaseException:
            await self.close()
            raise
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._on_sweep)

    async def replace(self, addresses: Sequence[str]) -> None:
        """Listen on exactly `addresses` (besides inherited sockets): new ones first, then old ones stop.

        Addresses that stay, and all open connections, are not touched. Raises StartError, and then nothing has changed.
        """
        wanted = {str(address): address for address in map(parse_address, addresses)}
        added: dict[str, _Open] = {}
        try:
            for name, address in wanted.items():
                if name not in self._open:
                    added[name] = await self._listen(address)
        except BaseException:
            for opened in added.values():
                _stop(opened)
            raise
        for name in [name for name in self._open if name not in wanted]:
            _stop(self._open.pop(name))
        self._open.update(added)

    async def add(self, address: str) -> None:
        """Listen on one more address. Raises StartError."""
        await self.replace((*self._open, address))

    async def remove(self, address: str) -> None:
        """Stop listening on one address; its connections go on."""
        gone = str(parse_address(address))
        await self.replace([name for name in self._open if name != gone])

    def stop_accepting(self) -> None:
        """Close the listening sockets; connections go on."""
        for opened in (*self._open.values(), *self._inherited):
            _stop(opened)
        self._open.clear()
        self._inherited.clear()

    async def drain(self, deadline: float) -> int:
        """Stop accepting, let running exchanges finish for up to `deadline` seconds, break what is left; returns how many."""
        self.stop_accepting()
        empty = asyncio.Event()
        self.connections.on_empty = empty.set
        self.connections.drain()
        if len(self.connections):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(empty.wait(), deadline)
        return await self.close()

    async def close(self) -> int:
        """Stop everything now; returns how many connections were broken."""
        self.stop_accepting()
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        broken = self.connections.kill()
        await asyncio.sleep(0)  # transports report their loss on the next turn of the loop
        return broken

    def _on_sweep(self) -> None:
        self.connections.sweep()
        self._sweep = asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._on_sweep)

    async def _listen(self, address: Address) -> _Open:
        # A name may have to be looked up; the loop goes on meanwhile.
        sockets = await asyncio.to_thread(bind, address)
        return await self._serve(sockets, str(address), path=address.path)

    async def _serve(self, sockets: Sequence[socket.socket], name: str, *, path: str = "") -> _Open:
        loop = asyncio.get_running_loop()
        servers: list[asyncio.AbstractServer] = []
        names = tuple(map(_name_of, sockets))
        try:
            for ready in sockets:
                if ready.family != socket.AF_UNIX:
                    ready.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what is accepted inherits it
                make = loop.create_unix_server if ready.family == socket.AF_UNIX else loop.create_server
                servers.append(await make(self._connection, sock=ready, backlog=BACKLOG, ssl=self._tls))
        except BaseException as error:
            for server in servers:
                server.close()
            for ready in sockets:
                ready.close()
            if isinstance(error, OSError):
                raise map_bind_error(name, error) from error
            raise
        return _Open(tuple(servers), names, path)

    def _connection(self) -> asyncio.Protocol:
        return self._make(self.connections)


def _stop(opened: _Open) -> None:
    for server in opened.servers:
        server.close()
    if opened.path:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(opened.path)


def _name_of(listening: socket.socket) -> str:
    """The address as `parse_address` reads it."""
    name = listening.getsockname()
    if listening.family == socket.AF_UNIX:
        return str(Address(path=name.decode() if isinstance(name, bytes) else name))
    return str(Address(name[0], name[1]))
