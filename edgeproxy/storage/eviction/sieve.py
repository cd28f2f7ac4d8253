"""SIEVE (Zhang and others, NSDI 2024): one queue, one bit an object, one hand.

A hit sets the bit and moves nothing. The hand goes from the oldest object to the newest: it clears bits that are set and takes
the first object whose bit is not. What was asked for once is sifted out soon; what is popular stays where it is.
"""

from typing import Generic, TypeVar

V = TypeVar("V")


class _Node(Generic[V]):
    __slots__ = ("key", "newer", "older", "size", "value", "visited")

    def __init__(self, key: str, value: V, size: int) -> None:
        self.key = key
        self.value = value
        self.size = size
        self.visited = False
        self.newer: _Node[V] | None = None
        self.older: _Node[V] | None = None


class Sieve(Generic[V]):
    """SIEVE over objects of different sizes: the hand stops as often as it takes to make room."""

    __slots__ = ("_hand", "_newest", "_nodes", "_oldest")

    def __init__(self, budget: int) -> None:
        self._nodes: dict[str, _Node[V]] = {}
        self._newest: _Node[V] | None = None
        self._oldest: _Node[V] | None = None
        self._hand: _Node[V] | None = None

    def get(self, key: str) -> V | None:
        node = self._nodes.get(key)
        if node is None:
            return None
        node.visited = True
        return node.value

    def put(self, key: str, value: V, size: int) -> int:
        node = self._nodes.get(key)
        if node is not None:
            growth = size - node.size
            node.value, node.size = value, size
            return growth
        node = self._nodes[key] = _Node(key, value, size)
        node.older = self._newest
        if self._newest is not None:
            self._newest.newer = node
        self._newest = node
        if self._oldest is None:
            self._oldest = node
        return size

    def remove(self, key: str) -> int:
        node = self._nodes.get(key)
        return self._unlink(node) if node is not None else 0

    def evict(self) -> int:
        node = self._hand or self._oldest
        assert node is not None, "nothing to evict"
        while node.visited:
            node.visited = False
            node = node.newer or self._oldest
            assert node is not None
        self._hand = node  # so that taking it out moves the hand on
        return self._unlink(node)

    def _unlink(self, node: _Node[V]) -> int:
        if self._hand is node:
            self._hand = node.newer
        if node.newer is not None:
            node.newer.older = node.older
        else:
            self._newest = node.older
        if node.older is not None:
            node.older.newer = node.newer
        else:
            self._oldest = node.newer
        del self._nodes[node.key]
        return node.size

    def __len__(self) -> int:
        return len(self._nodes)

    def __contains__(self, key: str) -> bool:
        return key in self._nodes
