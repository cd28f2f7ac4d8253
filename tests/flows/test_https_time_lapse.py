"""Certificates of twenty seconds, renewed again and again under verified load: nobody is refused, none served past its end."""

import asyncio
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509

from tests.support.https import SecureEdge, ask_pebble, secure_edge, site
from tests.support.parts import need
from tests.support.pebble import PROGRAMS, running_pebble
from tests.support.scripted import page, scripted

NAMES = ("a.test", "b.test")
LIFETIME = 20
LOAD_SECONDS = 42.0
CLIENTS = 3


@dataclass
class Record:
    """What the clients saw."""

    requests: int = 0
    failures: list[str] = field(default_factory=list)
    least: float = float("inf")
    """Seconds that the certificate with the shortest life left had before it."""
    serials: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    """By name, in the order in which they were first seen."""

    def note(self, name: str, leaf: x509.Certificate, asked: float) -> None:
        self.requests += 1
        self.least = min(self.least, leaf.not_valid_after_utc.timestamp() - asked)
        if leaf.serial_number not in self.serials[name]:
            self.serials[name].append(leaf.serial_number)


async def visit(edge: SecureEdge, record: Record, number: int, end: float) -> None:
    """One client: a new connection and a new session for each request, over both protocols in turn."""
    turn = number
    while time.monotonic() < end:
        name, turn = NAMES[turn % len(NAMES)], turn + 1
        asked = time.time()
        try:
            seen = await edge.ask(name, "/", http2=turn % 4 < 2)
            assert (seen.status, seen.body) == (200, b"hello")
            record.note(name, seen.leaf, asked)
        except Exception as error:  # whatever it was, a client was refused
            record.failures.append(f"{name} {time.monotonic() - end:.1f}: {error!r}")
        await asyncio.sleep(0.03)


async def lapse(folder: Path, *challenges: str) -> None:
    with (
        running_pebble(folder / "ca", nonce_reject=20, validity=LIFETIME) as pebble,
        secure_edge(folder, pebble) as edge,
    ):
        roots = pebble.roots()
        edge.roots = lambda: roots
        async with scripted({"/": page("hello", Cache_Control="max-age=5")}) as origin:
            edge.configure(site(origin.url, *NAMES), acme=ask_pebble(pebble, *challenges))
            await edge.start()
            await asyncio.gather(*map(edge.verified, NAMES))
            record, end = Record(), time.monotonic() + LOAD_SECONDS
            await asyncio.gather(*(visit(edge, record, number, end) for number in range(CLIENTS)))
        assert record.failures == []
        assert record.requests > 100
        assert record.least > 0
        for name in NAMES:
            assert len(record.serials[name]) >= 4, record.serials
        assert "certificate failed" not in edge.log
        assert "certificate expired" not in edge.log


async def test_renewals_under_load_refuse_nobody(tmp_path: Path) -> None:
    """By each challenge, in two edges side by side, so that it takes no longer than one."""
    need(*PROGRAMS)
    for name in ("http", "alpn"):
        (tmp_path / name).mkdir()
    await asyncio.gather(lapse(tmp_path / "http", "http-01"), lapse(tmp_path / "alpn", "tls-alpn-01"))
