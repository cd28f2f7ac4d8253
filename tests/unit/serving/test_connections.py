"""The registry: numbers, and a sweep that outlives a bug."""

import logging

import pytest

from edgeproxy.clock import ManualClock
from edgeproxy.serving.connections import Admission, Connections
from edgeproxy.serving.settings import Bounds, ServingSettings
from edgeproxy.serving.stream import Peer
from tests.support.serving import RecordingHandler


class Fake:
    """A connection that counts what it is asked."""

    def __init__(self, address: str = "192.0.2.1", *, broken: bool = False) -> None:
        self.peer = Peer(address, 1, ("", 0), False, b"")
        self.state_name = "idle"
        self.broken = broken
        self.swept: list[float] = []
        self.drained = self.killed = 0

    def sweep(self, now: float) -> None:
        if self.broken:
            raise KeyError("bug")
        self.swept.append(now)

    def drain(self) -> None:
        self.drained += 1

    def kill(self) -> None:
        self.killed += 1


def registry(**bounds: int) -> Connections:
    return Connections(RecordingHandler(), ServingSettings(bounds=Bounds(**bounds)), ManualClock())


def test_limits_of_all_and_of_one_address() -> None:
    connections = registry(connections=3, connections_per_address=2)
    verdicts = [connections.admit(Fake(address)) for address in ("a", "a", "a", "b", "c")]
    assert verdicts == [Admission.SERVED, Admission.SERVED, Admission.TOLD, Admission.TOLD, Admission.TOLD]


def test_unix_sockets_share_no_address() -> None:
    connections = registry(connections_per_address=1)
    assert {connections.admit(Fake("unix")) for _ in range(5)} == {Admission.SERVED}


def test_a_forgotten_connection_makes_room_once() -> None:
    connections = registry(connections_per_address=1)
    one, two = Fake(), Fake()
    empty: list[bool] = []
    connections.on_empty = lambda: empty.append(True)
    assert connections.admit(one) is Admission.SERVED
    assert connections.admit(two) is Admission.TOLD
    connections.forget(two)
    connections.forget(two)
    assert empty == []
    connections.forget(one)
    assert empty == [True]
    assert connections.admit(Fake()) is Admission.SERVED
    assert connections.counts() == {"idle": 1}


def test_a_bug_in_one_sweep_kills_that_connection_only(caplog: pytest.LogCaptureFixture) -> None:
    connections = registry()
    good, bad = Fake(), Fake(broken=True)
    connections.admit(good)
    connections.admit(bad)
    with caplog.at_level(logging.CRITICAL, "edgeproxy.serving"):
        connections.sweep()
    assert (len(good.swept), good.killed, bad.killed) == (1, 0, 1)
    connections.drain()
    assert (good.drained, connections.draining, connections.kill()) == (1, True, 2)
