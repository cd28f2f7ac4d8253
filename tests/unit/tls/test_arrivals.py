"""Rooms: who gets in, and who has to go."""

import socket
from collections.abc import Iterator

import pytest

from edgeproxy.clock import ManualClock
from edgeproxy.serving.transports import make_peer
from edgeproxy.tls.arrivals import Arrival, Room, RoomBounds
from tests.support.serving import on_uvloop, until

pairs: list[socket.socket] = []


@pytest.fixture(autouse=True)
def no_sockets_left() -> Iterator[None]:
    yield
    while pairs:
        pairs.pop().close()


def arrival(address: str = "192.0.2.1") -> Arrival:
    ours, theirs = socket.socketpair()
    pairs.extend((ours, theirs))
    return Arrival(ours, make_peer((address, 1), ("192.0.2.9", 443), tls=True))


class Watched:
    """A room that remembers whom it turned out."""

    def __init__(self, *, deadline: float = 5.0, total: int = 3, per_client: int | None = None) -> None:
        self.clock = ManualClock()
        self.out: list[Arrival] = []
        self.room = Room(RoomBounds(deadline, total, per_client, fair=1.0), self.clock, self.out.append)


@on_uvloop
async def test_a_full_room_refuses_while_all_are_new_and_then_gives_up_the_oldest() -> None:
    watched = Watched()
    room, first = watched.room, arrival()
    assert all(room.enter(guest) for guest in (first, arrival(), arrival()))
    assert not room.enter(arrival())
    watched.clock.advance(1.0)
    late = arrival()
    assert room.enter(late)
    assert watched.out == [first]
    assert (len(room), room.refused, room.overdue) == (3, 1, 1)
    assert first not in room
    assert late in room
    room.empty()


@on_uvloop
async def test_one_client_has_its_own_bound_and_a_network_of_ipv6_is_one_client() -> None:
    watched = Watched(total=10, per_client=2)
    room = watched.room
    guests = [arrival("2001:db8::1"), arrival("2001:db8::2")]
    assert all(map(room.enter, guests))
    assert not room.enter(arrival("2001:db8::3"))
    assert room.enter(arrival("2001:db8:0:1::3"))
    assert room.enter(arrival("192.0.2.1"))
    assert room.leave(guests[0])
    assert not room.leave(guests[0])
    assert room.enter(arrival("2001:db8::3"))
    assert room.empty() == 4
    assert len(room) == 0


@on_uvloop
async def test_overdue_guests_go_in_order_and_the_rest_stays() -> None:
    watched = Watched(deadline=0.01, total=10)
    room = watched.room
    early = [arrival(), arrival()]
    for guest in early:
        room.enter(guest)
    watched.clock.advance(0.005)
    late = arrival()
    room.enter(late)
    watched.clock.advance(0.006)
    await until(lambda: watched.out == early)
    assert late in room
    watched.clock.advance(0.005)
    await until(lambda: len(room) == 0)
    assert watched.out == [*early, late]


def test_cutting_twice_is_no_error() -> None:
    guest = arrival()
    guest.cut()
    guest.cut()
    guest.close()
    guest.cut()
