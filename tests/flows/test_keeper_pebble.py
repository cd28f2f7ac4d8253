"""The keeper with the real ACME client against Pebble: certificates that live seconds are obtained, kept, and renewed in time."""

from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from edgeproxy.clock import SystemClock
from edgeproxy.tls.acme.issuer import Authority, Issuer
from edgeproxy.tls.certificate import Certificate
from edgeproxy.tls.challenges import AlpnPresenter, Challenges, HttpPresenter
from edgeproxy.tls.health import judge
from edgeproxy.tls.keeper import Keeper, KeeperSettings, Wanted
from edgeproxy.tls.self_check import SelfCheck, SelfCheckSettings
from edgeproxy.tls.vault import Vault
from tests.support.challenge_edge import http_edge, tls_edge
from tests.support.parts import need
from tests.support.pebble import PROGRAMS, Pebble, running_pebble
from tests.support.time_lapse import until

NAMES = ("www.made-up.test", "127.0.0.1")
CLOCK = SystemClock()


@pytest.fixture
def pebble(tmp_path: Path) -> Iterator[Pebble]:
    need(*PROGRAMS)
    with running_pebble(tmp_path / "pebble", nonce_reject=20, validity=12) as running:
        yield running


@pytest.mark.parametrize("kind", ["http-01", "tls-alpn-01"])
async def test_certificates_of_seconds_are_renewed_before_their_end(pebble: Pebble, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "tls"
    vault, challenges = Vault(folder, CLOCK), Challenges(folder)
    vault.open()
    challenges.open()
    authority = Authority(pebble.directory, pebble.ca_file, "owner@example.com", challenges=(kind,))
    presenters = {"http-01": HttpPresenter(challenges), "tls-alpn-01": AlpnPresenter(challenges)}
    issuer = Issuer(authority, folder, presenters, CLOCK)
    ports = SelfCheckSettings(http_port=pebble.http_port, tls_port=pebble.tls_port)
    settings = KeeperSettings(chosen_directories=(pebble.directory,), self_check=SelfCheck(challenges, ports))
    keeper = Keeper(vault, [issuer], CLOCK, settings)
    keeper.on_lead = challenges.clear
    obtained: dict[str, list[Certificate]] = {name: [] for name in NAMES}

    def changed(certificate: Certificate) -> None:
        if certificate.directory == pebble.directory:
            obtained[certificate.names[0]].append(certificate)

    keeper.on_change = changed
    keeper.want([Wanted((name,)) for name in NAMES])
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(http_edge(challenges, pebble.http_port))
        await stack.enter_async_context(tls_edge(challenges, tmp_path, pebble.tls_port))
        await keeper.start()
        least = float("inf")

        def watch() -> bool:
            nonlocal least
            least = min(least, *judge(keeper.served(), CLOCK.seconds()).seconds_left.values())
            return all(len(certificates) >= 3 for certificates in obtained.values())

        await until(watch)
        await keeper.stop()
        await issuer.close()
    assert least > 0
    for name, certificates in obtained.items():
        assert len({certificate.key for certificate in certificates}) == len(certificates)
        assert vault.find((name,)) == certificates[-1]
    assert not [path for path in (folder / "challenges").rglob("*") if path.is_file()], "nothing stays presented"
