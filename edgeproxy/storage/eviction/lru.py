"""LRU: the object not used for the longest time goes.

Kept to compare with: each hit moves its object, and one scan of things asked for once flushes everything.
"""

from collections import OrderedDict
from typing import Generic, TypeVar

V = TypeVar("V")


class Lru(Generic[V]):
    """Least recently used, in the order of an `OrderedDict`."""

    __slots__ = ("_objects",)

    def __init__(self, budget: int) -> None:
        self._objects: OrderedDict[str, tuple[V, int]] = OrderedDict()

    def get(self, key: str) -> V | None:
        found = self._objects.get(key)
        if found is None:
            return None
        self._objects.move_to_end(key)
        return found[0]

    def put(self, key: str, value: V, size: int) -> int:
        before = self._objects.get(key)
        self._objects[key] = (value, size)
        self._objects.move_to_end(key)
        return size - (before[1] if before else 0)

    def remove(self, key: str) -> int:
        found = self._objects.pop(key, None)
        return found[1] if found else 0

    def evict(self) -> int:
        return self._objects.popitem(last=False)[1][1]

    def __len__(self) -> int:
        return len(self._objects)

    def __contains__(self, key: str) -> bool:
        return key in self._objects
