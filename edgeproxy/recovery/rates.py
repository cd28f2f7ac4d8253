"""How often somebody may do something: token buckets, one for each client and one for all together.

Owns: `Rates`. Bounded in memory whatever comes. Must not know what is limited.
"""

from collections import OrderedDict
from dataclasses import dataclass

from edgeproxy.wire.clients import client_of


@dataclass(slots=True)
class Bucket:
    """`tokens` at monotonic second `at`; refilled by `rate` a second up to `most`."""

    most: float
    rate: float
    tokens: float
    at: float

    def take(self, now: float, cost: float = 1.0) -> float:
        """Take `cost` tokens: 0. Or, when there are not so many, the seconds until there will be, and nothing is taken."""
        self.tokens = min(self.most, self.tokens + max(0.0, now - self.at) * self.rate)
        self.at = now
        if self.tokens >= cost:
            self.tokens -= cost
            return 0.0
        return (cost - self.tokens) / self.rate


@dataclass(frozen=True, slots=True)
class Limit:
    """`burst` at once, then `rate` a second."""

    burst: float
    rate: float


class Rates:
    """Of at most `clients` clients; the one not seen for longest is forgotten, which gives it a full bucket again: what all may
    do together bounds that too."""

    def __init__(self, one: Limit, together: Limit, *, clients: int = 4096) -> None:
        self._one = one
        self._all = Bucket(together.burst, together.rate, together.burst, 0.0)
        self._clients: OrderedDict[str, Bucket] = OrderedDict()
        self._most = clients

    def __len__(self) -> int:
        return len(self._clients)

    def wait(self, address: str, now: float, cost: float = 1.0) -> float:
        """0 when the client at `address` may go on, else the seconds that it should wait. `now` is monotonic."""
        name = client_of(address)
        bucket = self._clients.get(name)
        if bucket is None:
            bucket = self._clients[name] = Bucket(self._one.burst, self._one.rate, self._one.burst, now)
            if len(self._clients) > self._most:
                self._clients.popitem(last=False)
        self._clients.move_to_end(name)
        return bucket.take(now, cost) or self._all.take(now, cost)
