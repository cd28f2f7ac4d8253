"""The TLS way in: accept, look at the ClientHello without taking it, choose, hand over to the event loop's TLS.

Owns: the listening sockets, and every connection until its handshake is over: deadlines, numbers, last words.
Must not parse a hello (`wire.client_hello`), choose (`tls.dispatch`), or know what is spoken after the handshake.

```
accept ─ peek ─┬─ incomplete → hellos: SO_RCVLOWAT, wait, look again
               ├─ refused → alert, or a page for plain HTTP → farewell
               └─ choose ─┬─ later → choosing: a task
                          ├─ alert → farewell
                          └─ context → handshakes: connect_accepted_socket → protocol → registry
```
With TCP_DEFER_ACCEPT the first look at nearly every connection finds a whole hello: then all is decided in the turn in which it
was accepted.
"""

import asyncio
import contextlib
import errno
import inspect
import logging
import re
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Any

from edgeproxy.clock import Clock
from edgeproxy.errors import EdgeError, HelloRefused
from edgeproxy.serving.addresses import BACKLOG
from edgeproxy.serving.connections import Connections
from edgeproxy.serving.entrance import Entrance, Stop
from edgeproxy.serving.transports import make_peer
from edgeproxy.tasks import spawn
from edgeproxy.tls.arrivals import Arrival, Room, RoomBounds
from edgeproxy.tls.contexts import ACME_PROTOCOL, SiteContext
from edgeproxy.tls.dispatch import Choice, Chooser, agreed_protocol
from edgeproxy.tls.farewell import PLAIN_HTTP, Farewells
from edgeproxy.tls.handshakes import Handshake
from edgeproxy.wire.client_hello import PEEK_BYTES, Alert, ClientHello, NeedMore, parse_client_hello

log = logging.getLogger("edgeproxy.tls")

ACCEPTS = 64
"""Connections taken in one turn before others have theirs."""
DEFER_SECONDS = 5
"""How long the kernel keeps a connection without a byte to itself (TCP_DEFER_ACCEPT)."""
REST_SECONDS = 0.25
"""How long nothing is accepted when the process has no descriptor or memory left; the backlog keeps who comes."""
PRESSED_SECONDS = 0.05
"""When to look again at a hello that the kernel reported too early, which it does when it is short of buffers."""

CLOSE_SECONDS = 1.0
"""How long transports may take to notice that their connection was cut."""

_EXHAUSTED = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
_TCP_ESTABLISHED = 1
_HTTP = re.compile(rb"[A-Z]{1,16}(?: |\Z)")


@dataclass(frozen=True, slots=True)
class FrontSettings:
    """How long a client may take to its first request, and how many may do so at once."""

    hellos: RoomBounds = field(default_factory=lambda: RoomBounds(deadline=5.0, total=4096, per_client=1024))
    """From accepted to a whole ClientHello."""
    choosing: RoomBounds = field(default_factory=lambda: RoomBounds(deadline=30.0, total=256, per_client=16, fair=30.0))
    """While a certificate is obtained for it."""
    handshakes: RoomBounds = field(default_factory=lambda: RoomBounds(deadline=10.0, total=2048, per_client=1024))
    """From there to the end of the handshake."""


class Outcome(StrEnum):
    """What became of a connection before its first request; for metrics."""

    DONE = "done"
    CHALLENGE = "challenge"
    SILENT = "silent"
    ENDED = "ended"
    CROWDED = "crowded"
    PLAIN_HTTP = "plain_http"
    NOT_TLS = "not_tls"
    BAD_HELLO = "bad_hello"
    NOT_SERVED = "not_served"
    NOT_CHOSEN = "not_chosen"
    FAILED = "failed"


Make = Callable[[Handshake], asyncio.Protocol]
"""The protocol of a connection, to be registered in the front door's `Connections`."""


class FrontDoor(Entrance):
    """HTTPS connections from any number of addresses, each under the context that its ClientHello chooses."""

    def __init__(self, choose: Chooser, make: Make, settings: FrontSettings, clock: Clock, *, connections: Connections) -> None:
        super().__init__(connections)
        self.outcomes: Counter[Outcome] = Counter()
        """How many ended their arrival in which way since the start."""
        self._choose = choose
        self._make = make
        self._settings = settings
        self._hellos = Room(settings.hellos, clock, self._end_hello)
        self._choosing = Room(settings.choosing, clock, self._end_choosing)
        self._handshakes = Room(settings.handshakes, clock, Arrival.cut)
        self._farewells = Farewells(clock)
        self._tasks: dict[Arrival, asyncio.Task[Any]] = {}

    def counts(self) -> dict[str, int]:
        """Connections by state: those of the registry, and those on their way in."""
        rooms = {"hello": self._hellos, "choosing": self._choosing, "handshake": self._handshakes}
        arriving = {name: len(room) for name, room in rooms.items() if len(room)}
        return {**self.connections.counts(), **arriving}

    # --- accepting ---

    async def _accept_on(self, ready: socket.socket) -> Stop:
        ready.setblocking(False)
        ready.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, DEFER_SECONDS)
        ready.listen(BACKLOG)
        loop = asyncio.get_running_loop()
        loop.add_reader(ready, self._on_acceptable, ready)

        def stop() -> None:
            if ready.fileno() >= 0:
                loop.remove_reader(ready)
                ready.close()

        return stop

    def _on_acceptable(self, listening: socket.socket) -> None:
        for _ in range(ACCEPTS):
            try:
                accepted, remote = listening.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._rest(listening, error)
                    return
                continue  # this client was gone before it was accepted (accept(2): errors of the network); the next one is not
            accepted.setblocking(False)
            try:
                arrival = Arrival(accepted, make_peer(remote, accepted.getsockname(), tls=True))
            except OSError:
                accepted.close()
                continue
            self._look(arrival)

    def _rest(self, listening: socket.socket, error: OSError) -> None:
        """Nothing can be accepted now. The socket stays readable, and asking again at once would be a loop at full speed."""
        log.warning("nothing can be accepted: %s", error.strerror or error)
        loop = asyncio.get_running_loop()
        loop.remove_reader(listening)

        def go_on() -> None:
            if listening.fileno() >= 0:
                loop.add_reader(listening, self._on_acceptable, listening)

        loop.call_later(REST_SECONDS, go_on)

    # --- the hello ---

    def _look(self, arrival: Arrival) -> None:
        """Look at what has come, and go on with what it says."""
        try:
            data = arrival.socket.recv(PEEK_BYTES, socket.MSG_PEEK)
        except BlockingIOError:
            self._wait_for(arrival, 1)
            return
        except OSError:
            data = b""
        if not data:
            self._end(arrival, Outcome.ENDED)
        elif len(data) < arrival.seen:
            self._on_too_little(arrival)
        else:
            self._judge(arrival, data)

    def _judge(self, arrival: Arrival, data: bytes) -> None:
        try:
            hello = parse_client_hello(data)
        except HelloRefused as error:
            self._refuse(arrival, error, data)
            return
        if isinstance(hello, NeedMore):
            self._wait_for(arrival, len(data) + hello.count)
        else:
            self._take_out(arrival)
            self._choose_for(arrival, hello)

    def _wait_for(self, arrival: Arrival, count: int) -> None:
        """Look again when `count` bytes are there. What was peeked at stays readable, so the kernel must be told to wait."""
        if arrival not in self._hellos:
            if not self._hellos.enter(arrival):
                self._end(arrival, Outcome.CROWDED)
                return
            asyncio.get_running_loop().add_reader(arrival.socket, self._look, arrival)
        arrival.seen = count
        arrival.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)

    def _on_too_little(self, arrival: Arrival) -> None:
        """Readable below the mark: the client has ended, or the kernel is short of buffers."""
        if arrival.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != _TCP_ESTABLISHED:
            self._end(arrival, Outcome.ENDED)
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(arrival.socket)
        arrival.held = loop.call_later(PRESSED_SECONDS, self._look_again, arrival)

    def _look_again(self, arrival: Arrival) -> None:
        arrival.held = None
        asyncio.get_running_loop().add_reader(arrival.socket, self._look, arrival)

    def _take_out(self, arrival: Arrival) -> None:
        """Out of the room for hellos, with the socket as it was when accepted."""
        if self._hellos.leave(arrival):
            asyncio.get_running_loop().remove_reader(arrival.socket)
            arrival.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)

    def _refuse(self, arrival: Arrival, error: HelloRefused, data: bytes) -> None:
        self._take_out(arrival)
        if error.alert is not None:
            self._part(arrival, Outcome.BAD_HELLO, Alert(error.alert).record)
        elif _HTTP.match(data) is not None:
            self._part(arrival, Outcome.PLAIN_HTTP, PLAIN_HTTP)
        else:
            self._end(arrival, Outcome.NOT_TLS)

    # --- the choice ---

    def _choose_for(self, arrival: Arrival, hello: ClientHello) -> None:
        try:
            choice = self._choose(hello, arrival.peer.local[0], arrival.peer.address)
        except Exception as error:  # an unusable certificate, or a bug in choosing, ends this handshake only
            choice = _report(error)
        if isinstance(choice, (SiteContext, Alert)):
            self._go_on(arrival, hello, choice)
        elif self._choosing.enter(arrival):
            task = self._tasks[arrival] = spawn(_choice_of(choice), name="choosing a certificate")
            task.add_done_callback(partial(self._on_choice, arrival, hello, choice))
        else:
            _drop(choice)
            self._part(arrival, Outcome.CROWDED, Alert.INTERNAL_ERROR.record)

    def _on_choice(self, arrival: Arrival, hello: ClientHello, pending: Awaitable[Choice], task: asyncio.Task[Choice]) -> None:
        del self._tasks[arrival]
        self._choosing.leave(arrival)
        if task.cancelled():  # turned out of the room, perhaps before the task began
            _drop(pending)
            self._go_on(arrival, hello, Alert.INTERNAL_ERROR)
        else:
            self._go_on(arrival, hello, task.result())

    def _go_on(self, arrival: Arrival, hello: ClientHello, choice: Choice) -> None:
        if isinstance(choice, Alert):
            outcome = Outcome.NOT_CHOSEN if choice is Alert.INTERNAL_ERROR else Outcome.NOT_SERVED
            self._part(arrival, outcome, choice.record)
        elif not self._handshakes.enter(arrival):
            self._end(arrival, Outcome.CROWDED)
        else:
            self._tasks[arrival] = spawn(self._shake_hands(arrival, hello, choice), name="handshake")

    # --- the handshake ---

    async def _shake_hands(self, arrival: Arrival, hello: ClientHello, context: SiteContext) -> None:
        loop = asyncio.get_running_loop()
        name = hello.server_name or ""
        handed_over = False
        try:
            peer = arrival.peer
            peer.server_name, peer.tls_scope = name, context.scope
            handshake = Handshake(name, agreed_protocol(context, hello), context.scope, peer)
            is_challenge = context.protocols == (ACME_PROTOCOL.encode(),)
            protocol = _Validation() if is_challenge else self._make(handshake)
            handed_over = True
            await loop.connect_accepted_socket(
                lambda: protocol,
                arrival.socket,
                ssl=context,
                ssl_handshake_timeout=self._settings.handshakes.deadline,
            )
            self.outcomes[Outcome.CHALLENGE if is_challenge else Outcome.DONE] += 1
        except OSError:  # what OpenSSL says, a reset, an end, the deadline: the transport has closed the connection
            self.outcomes[Outcome.FAILED] += 1
        finally:
            if not handed_over:
                arrival.close()
            del self._tasks[arrival]
            self._handshakes.leave(arrival)
            self._quiet.set()

    # --- the end ---

    def _part(self, arrival: Arrival, outcome: Outcome, words: bytes) -> None:
        self.outcomes[outcome] += 1
        self._farewells.part(arrival, words)
        self._quiet.set()

    def _end(self, arrival: Arrival, outcome: Outcome) -> None:
        self._take_out(arrival)
        self.outcomes[outcome] += 1
        with contextlib.suppress(OSError):
            arrival.socket.recv(PEEK_BYTES)  # what is left unread makes the close a reset
        arrival.close()
        self._quiet.set()

    def _end_hello(self, arrival: Arrival) -> None:
        """Turned out by the room for hellos, in which it is no longer."""
        asyncio.get_running_loop().remove_reader(arrival.socket)
        self._end(arrival, Outcome.SILENT)

    def _end_choosing(self, arrival: Arrival) -> None:
        self._tasks[arrival].cancel()

    def _arriving(self) -> int:
        return len(self._hellos) + len(self._tasks)

    def _turn_away(self, *, hard: bool) -> int:
        """End those that have not said hello; with `hard`, everybody."""
        broken = self._hellos.empty()
        if hard:
            broken += self._choosing.empty() + self._handshakes.empty()
        return broken

    async def close(self) -> int:
        """Stop everything now; returns how many connections were broken."""
        broken = await super().close()
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=CLOSE_SECONDS)
        self._farewells.close()
        return broken


async def _choice_of(pending: Awaitable[Choice]) -> Choice:
    try:
        return await pending
    except Exception as error:  # as where it is not awaited: one handshake
        return _report(error)


def _report(error: Exception) -> Alert:
    """Say once for this handshake why there was no choice; what our own errors say needs no traceback."""
    log.error("no certificate could be chosen: %s", error, exc_info=None if isinstance(error, EdgeError) else error)
    return Alert.INTERNAL_ERROR


def _drop(pending: Awaitable[Choice]) -> None:
    """Nobody will await `pending`, perhaps nobody has; without this it would complain."""
    if inspect.iscoroutine(pending):
        pending.close()


class _Validation(asyncio.Protocol):
    """The end of a TLS-ALPN-01 validation: the certificate was shown, and nothing is spoken (RFC 8737 section 3)."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()
