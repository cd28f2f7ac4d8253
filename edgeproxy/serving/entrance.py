"""Addresses that are listened on, and what all ways in have in common: opening, replacing, the sweep, the drain, the end.

Owns: the listening sockets and the order of these steps. Must not accept connections, which `Listener` and the TLS front door
do each in its own way, nor look into one; the registry does.
"""

import abc
import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgeproxy.serving.addresses import Address, bind, map_bind_error, parse_address
from edgeproxy.serving.connections import Connections

SWEEP_SECONDS = 1.0

Stop = Callable[[], None]
"""Ends accepting on one socket, and closes it."""


@dataclass(frozen=True, slots=True)
class _Open:
    """One address that is listened on: how to stop (one call a family), and the addresses it was really given."""

    stops: tuple[Stop, ...]
    bound: tuple[str, ...]
    path: str

    def stop(self) -> None:
        for stop in self.stops:
            stop()
        if self.path:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)


class Entrance(abc.ABC):
    """Listens on any number of addresses, and hands their connections to one registry."""

    def __init__(self, connections: Connections) -> None:
        self.connections = connections
        self._open: dict[str, _Open] = {}
        self._inherited: list[_Open] = []
        self._sweep: asyncio.TimerHandle | None = None
        self._quiet = asyncio.Event()
        """Set when connections or arrivals may have come to an end; for the drain."""

    @abc.abstractmethod
    async def _accept_on(self, ready: socket.socket) -> Stop:
        """Listen on a bound socket, and accept. Raises OSError; the socket is closed by the caller then."""

    def _arriving(self) -> int:
        """Connections that are not in the registry yet."""
        return 0

    def _turn_away(self, *, hard: bool) -> int:
        """End what is arriving: with `hard` everything, else what has not begun. Returns how many were broken."""
        return 0

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
                opened.stop()
            raise
        for name in [name for name in self._open if name not in wanted]:
            self._open.pop(name).stop()
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
            opened.stop()
        self._open.clear()
        self._inherited.clear()

    async def drain(self, deadline: float) -> int:
        """Stop accepting, let running exchanges finish for up to `deadline` seconds, break what is left; returns how many."""
        self.stop_accepting()
        self._turn_away(hard=False)
        self.connections.on_empty = self._quiet.set
        self.connections.drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline):
                while len(self.connections) or self._arriving():
                    self._quiet.clear()
                    await self._quiet.wait()
        return await self.close()

    async def close(self) -> int:
        """Stop everything now; returns how many connections were broken."""
        self.stop_accepting()
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        broken = self._turn_away(hard=True) + self.connections.kill()
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
        stops: list[Stop] = []
        names = tuple(map(_name_of, sockets))
        try:
            for ready in sockets:
                if ready.family != socket.AF_UNIX:
                    ready.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what is accepted inherits it
                stops.append(await self._accept_on(ready))
        except BaseException as error:
            for stop in stops:
                stop()
            for ready in sockets:
                ready.close()
            if isinstance(error, OSError):
                raise map_bind_error(name, error) from error
            raise
        return _Open(tuple(stops), names, path)


def _name_of(listening: socket.socket) -> str:
    """The address as `parse_address` reads it."""
    name = listening.getsockname()
    if listening.family == socket.AF_UNIX:
        return str(Address(path=name.decode() if isinstance(name, bytes) else name))
    return str(Address(name[0], name[1]))
