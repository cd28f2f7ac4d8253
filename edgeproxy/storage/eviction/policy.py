"""What a policy of eviction is.

Owns: the interface. A policy keeps the objects and says which one goes; the byte budget is the tier's.
"""

from typing import Protocol, TypeVar

V = TypeVar("V")


class Eviction(Protocol[V]):
    """Objects in memory, in an order that says who leaves first. Keys are text, sizes bytes."""

    def get(self, key: str) -> V | None:
        """The object, noted as used. On the hot path of every hit: as little as the policy can do."""
        ...

    def put(self, key: str, value: V, size: int) -> int:
        """Take or replace an object; answers by how many bytes the total grew."""
        ...

    def remove(self, key: str) -> int:
        """Let go of an object; answers its size, 0 when it was not there."""
        ...

    def evict(self) -> int:
        """Let go of the object that the policy can best do without; answers its size. Only called when there is one."""
        ...

    def __len__(self) -> int: ...

    def __contains__(self, key: str) -> bool: ...
