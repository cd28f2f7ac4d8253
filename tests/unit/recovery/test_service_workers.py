"""Modes, serials and what outlives a restart."""

from pathlib import Path

import pytest

from edgeproxy.clock import ManualClock
from edgeproxy.config import Site, SiteServiceWorker
from edgeproxy.errors import RequestRefused
from edgeproxy.ledger.control import Control as Document
from edgeproxy.ledger.control import open_control, sign_control
from edgeproxy.ledger.note_keys import Signer, Verifier
from edgeproxy.ledger.notes import sign_note
from edgeproxy.recovery import service_workers
from edgeproxy.recovery.service_workers import ServiceWorkers, is_of
from edgeproxy.recovery.worker_state import STATE_FILE, load_state


def agree(node: "Node", host: str) -> None:
    """As many clients as it takes say that `host` has a service worker of its own."""
    for number in range(service_workers.OWN_CLIENTS):
        node.workers.saw_own("*", host, f"192.0.2.{number}")


class Log:
    def __init__(self) -> None:
        self.signer = Signer("example.org/.edge/ledger", bytes(32))

    @property
    def log(self) -> Verifier:
        return self.signer.verifier

    def statement(self, kind: str, text: str) -> bytes:
        return sign_note(f"{self.signer.name}/{kind}\n{text}", (self.signer,)).encode()


def site(host: str = "example.org", **settings: object) -> Site:
    worker = SiteServiceWorker.model_validate({"mode": "on", **settings})
    return Site.model_construct(hosts=(host,), origins=("http://127.0.0.1:1",), service_worker=worker)


class Node:
    """A node that can be started again."""

    def __init__(self, folder: Path, *sites: Site) -> None:
        self.folder, self.clock, self.log = folder, ManualClock(), Log()
        self.workers = self.start(*sites)

    def start(self, *sites: Site) -> ServiceWorkers:
        self.workers = ServiceWorkers(self.folder, self.clock, self.log, lambda name: name.encode().ljust(32, b"."))
        self.workers.start(sites)
        return self.workers

    def control(self, host: str = "example.org", name: str = "example.org") -> Document:
        note = self.workers.control(name, host)
        assert note is not None
        return open_control(note, self.log.log)


def test_a_document_is_what_was_signed_and_canonical() -> None:
    log = Log()
    document = Document(7, ManualClock().now(), "on", 50, "example.org", bytes(32), 60, ("https://m.example",))
    note = sign_control(document, log.signer)
    assert open_control(note, log.log) == document
    lines = note.decode().split("\n")
    assert lines[:2] == ["example.org/.edge/ledger/control", "edgeproxy-control/v1"]
    assert lines[2].startswith('{"serial":7,"issued":1764000000000,"mode":"on","percent":50,"site":"example.org","salt":"AAAA')
    assert lines[2].endswith('"max_stale":60,"mirrors":["https://m.example"],"validators":null}')


async def test_every_change_raises_the_serial_and_nothing_else_does(tmp_path: Path) -> None:
    node = Node(tmp_path, site())
    serials = [node.control().serial]
    text = node.workers.control("example.org", "example.org")
    node.clock.advance(5)
    await node.workers.sweep()
    await node.workers.apply((site(),))
    assert node.workers.control("example.org", "example.org") == text
    for change in (
        node.workers.order("example.org", "observe"),
        node.workers.order(None, "kill"),
        node.workers.order(None, "config"),
        node.workers.apply((site(percent=10),)),
        node.workers.apply((site(mirrors=["https://m.example"]),)),
    ):
        await change
        serials.append(node.control().serial)
    assert serials == sorted(set(serials))
    # A clock that went back, a lost file: still no serial twice.
    node.start(site())
    assert node.control().serial > serials[-1]
    (tmp_path / STATE_FILE).unlink()
    node.clock.advance(1)
    before = node.control().serial
    node.start(site())
    assert node.control().serial > before


async def test_orders_lie_over_the_configuration_and_outlive_the_process(tmp_path: Path) -> None:
    node = Node(tmp_path, site(), site("other.example", mode="off"))
    workers = node.workers
    assert [workers.mode("example.org", "example.org"), workers.mode("other.example", "other.example")] == ["on", "kill"]
    await workers.order("other.example", "observe")
    await workers.order(None, "bypass")
    assert workers.mode("other.example", "other.example") == "bypass", "an order for all takes back those for one"
    await workers.order("example.org", "kill")
    workers = node.start(site(), site("other.example", mode="off"))
    assert [workers.mode("example.org", "example.org"), workers.mode("other.example", "other.example")] == ["kill", "bypass"]
    assert workers.worker_values("example.org", "example.org", "1") is None
    await workers.order(None, "config")
    assert workers.mode("example.org", "example.org") == "on"
    with pytest.raises(RequestRefused):
        await workers.order(None, "off")
    with pytest.raises(RequestRefused):
        await workers.order("nowhere.example", "on")


async def test_a_host_with_its_own_worker_is_remembered_bounded_and_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_workers, "MAX_OWN", 3)
    node = Node(tmp_path, site("*"))
    for number in range(5):
        node.clock.advance(1)
        agree(node, f"{number}.example")
    await node.workers.sweep()
    workers = node.start(site("*"))
    assert [workers.has_own(f"{number}.example") for number in range(5)] == [False, False, True, True, True]
    assert node.control("4.example", "*").mode == "kill"
    assert node.control("0.example", "*").mode == "on"
    serial = workers.serial
    node.clock.advance(29 * 86_400)
    workers.saw_own("*", "4.example", "192.0.2.1")
    assert workers.serial == serial, "seen again changes no document"
    node.clock.advance(2 * 86_400)
    await workers.sweep()
    assert [workers.has_own("3.example"), workers.has_own("4.example")] == [False, True]
    assert workers.serial > serial
    await workers.order("*", "on")
    assert not workers.has_own("4.example")
    await workers.apply((site("*", own="ignore"),))
    agree(node, "4.example")
    assert not workers.has_own("4.example")


async def test_strangers_who_name_host_after_host_change_no_orders_for_long(tmp_path: Path) -> None:
    node = Node(tmp_path, site("*"))
    serial = node.workers.serial
    for number in range(1_000):
        agree(node, f"{number}.example")
    assert node.workers.serial <= serial + service_workers.SIGHTS.burst
    node.clock.advance(60)
    agree(node, "late.example")
    assert node.workers.has_own("late.example")


async def test_one_stranger_is_not_believed_however_often_he_says_it(tmp_path: Path) -> None:
    node = Node(tmp_path, site())
    host, serial = "example.org", node.workers.serial
    for number in range(100):
        node.clock.advance(60)
        node.workers.saw_own(host, host, f"2001:db8::{number:x}")
    node.workers.saw_own(host, host, "192.0.2.1")
    assert (node.workers.has_own(host), node.workers.mode(host, host), node.workers.serial) == (False, "on", serial)
    node.workers.saw_own(host, host, "192.0.2.2")
    assert node.workers.has_own(host)
    # Who gave an order has looked: all of them have to say it again.
    await node.workers.order(None, "on")
    node.workers.saw_own(host, host, "192.0.2.1")
    assert not node.workers.has_own(host)


def test_clients_have_to_agree_within_a_day(tmp_path: Path) -> None:
    node = Node(tmp_path, site())
    for number in range(10):
        node.workers.saw_own("example.org", "example.org", f"192.0.2.{number}")
        node.clock.advance(service_workers.AGREE_SECONDS / 2)
    assert not node.workers.has_own("example.org")


def test_hosts_that_are_only_named_take_bounded_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_workers, "MAX_OWN", 3)
    node = Node(tmp_path, site("*"))
    for number in range(10):
        node.workers.saw_own("*", f"{number}.example", "192.0.2.1")
    assert list(node.workers._sighted) == ["7.example", "8.example", "9.example"]


async def test_a_key_that_was_rotated_away_stays_for_a_month(tmp_path: Path) -> None:
    node = Node(tmp_path, site())
    first = str(node.log.log)
    node.log.signer = Signer(node.log.signer.name, bytes(31) + b"1")
    second = str(node.log.log)
    values = node.workers.worker_values("example.org", "example.org", "1")
    assert values is not None
    assert values["keys"] == [second, first]
    await node.workers.sweep()
    assert [key for key, _ in load_state(tmp_path).keys] == [second, first]
    node.clock.advance(31 * 86_400)
    values = node.start(site()).worker_values("example.org", "example.org", "1")
    assert values is not None
    assert values["keys"] == [second]


async def test_a_damaged_file_is_as_if_nothing_had_been_ordered(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    node = Node(tmp_path, site())
    await node.workers.order(None, "kill")
    (tmp_path / STATE_FILE).write_bytes(b'{"v":1,"serial":')
    assert node.start(site()).mode("example.org", "example.org") == "on"
    assert "cannot be read" in caplog.text


def test_patterns_cover_hosts() -> None:
    assert is_of("a.example.org", ("*.example.org",))
    assert not is_of("a.b.example.org", ("*.example.org", "example.org"))
    assert is_of("x", ("*",))
