"""The memory tier: verified responses ready to be served, within a budget of bytes.

Owns: the budget. Must not know what a response is, nor whether it may be served; who leaves is the policy's choice.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

from edgeproxy.storage.eviction.policy import Eviction
from edgeproxy.storage.eviction.sieve import Sieve

V = TypeVar("V")

LARGEST_SHARE = 4
"""An object larger than one part in this many of the budget is not admitted: it would push out too much for its own sake."""


class MemoryTier(Generic[V]):
    """Objects by key, sizes in bytes. `get` is the policy's own: one lookup in a dict and one attribute set."""

    __slots__ = ("_policy", "budget", "evicted", "get", "largest", "refused", "used")

    get: Callable[[str], V | None]

    def __init__(self, budget: int, policy: Callable[[int], Eviction[V]] = Sieve) -> None:
        """`budget` in bytes; `policy` is made with it."""
        self._policy = policy(budget)
        self.get = self._policy.get
        self.budget = budget
        self.largest = budget // LARGEST_SHARE
        self.used = 0
        self.evicted = 0
        self.refused = 0

    def __repr__(self) -> str:
        return f"<MemoryTier {len(self._policy)} objects, {self.used} of {self.budget} bytes>"

    def put(self, key: str, value: V, size: int) -> bool:
        """Take or replace an object of `size` bytes; False when it is too large, and then `key` is not there any more."""
        if size > self.largest:
            self.remove(key)
            self.refused += 1
            return False
        self.used += self._policy.put(key, value, size)
        while self.used > self.budget:
            self.used -= self._policy.evict()
            self.evicted += 1
        return True

    def remove(self, key: str) -> None:
        """Let go of `key`, if it is there."""
        self.used -= self._policy.remove(key)

    def __len__(self) -> int:
        return len(self._policy)

    def __contains__(self, key: str) -> bool:
        return key in self._policy
