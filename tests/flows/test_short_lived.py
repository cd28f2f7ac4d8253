"""Twenty-second certificates on the real clock, briefly: what is served is always good, and each follows the one before it."""

from itertools import pairwise

from edgeproxy.clock import SystemClock
from edgeproxy.tls.health import judge
from edgeproxy.tls.keeper import Keeper, KeeperSettings, Wanted
from edgeproxy.tls.vault import Vault
from tests.support.local_authority import LocalAuthority
from tests.support.time_lapse import until


async def test_certificates_of_a_few_seconds_follow_one_another(tmp_path):
    clock = SystemClock()
    authority = LocalAuthority(clock, lifetime=6)
    keeper = Keeper(Vault(tmp_path / "tls", clock), [authority], clock, KeeperSettings())
    served = []
    keeper.on_change = served.append
    keeper.want([Wanted(("www.example.com",))])
    await keeper.start()
    least = float("inf")

    def watch() -> bool:
        nonlocal least
        left = judge(keeper.served(), clock.seconds()).seconds_left["www.example.com"]
        least = min(least, left)
        return len(authority.issued) >= 3

    await until(watch)
    await until(lambda: keeper.serving()["www.example.com"] == authority.issued[-1])
    assert least > 0
    assert [one.fingerprint for one in served[1:]] == [one.fingerprint for one in authority.issued]
    assert all(later.not_before - earlier.not_before >= 2 for earlier, later in pairwise(authority.issued)), "at half of its life"
    await keeper.stop()
