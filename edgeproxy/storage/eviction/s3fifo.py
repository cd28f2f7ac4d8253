"""S3-FIFO (Yang and others, SOSP 2023): a small queue on trial, a main queue, and the names of those that just left.

New objects go to the small queue (a tenth of the bytes). At its end those that were asked for again move to the main queue, the
rest leave, and only their names are remembered: one that comes back while its name is known goes to the main queue at once. The
main queue is a clock: an object that was used goes round again.
"""

from collections import OrderedDict
from typing import Generic, TypeVar

V = TypeVar("V")

SMALL_SHARE = 0.1
MAX_USES = 3


class _Node(Generic[V]):
    __slots__ = ("in_main", "key", "size", "uses", "value")

    def __init__(self, key: str, value: V, size: int, in_main: bool) -> None:
        self.key = key
        self.value = value
        self.size = size
        self.in_main = in_main
        self.uses = 0


class S3Fifo(Generic[V]):
    """S3-FIFO by bytes: the shares of the queues are shares of the budget."""

    __slots__ = ("_ghost_budget", "_ghost_bytes", "_ghosts", "_main", "_nodes", "_small", "_small_budget", "_small_bytes")

    def __init__(self, budget: int) -> None:
        self._nodes: dict[str, _Node[V]] = {}
        self._small: OrderedDict[str, _Node[V]] = OrderedDict()
        self._main: OrderedDict[str, _Node[V]] = OrderedDict()
        self._ghosts: OrderedDict[str, int] = OrderedDict()
        self._small_budget = int(budget * SMALL_SHARE)
        self._ghost_budget = budget - self._small_budget
        self._small_bytes = 0
        self._ghost_bytes = 0

    def get(self, key: str) -> V | None:
        node = self._nodes.get(key)
        if node is None:
            return None
        if node.uses < MAX_USES:
            node.uses += 1
        return node.value

    def put(self, key: str, value: V, size: int) -> int:
        node = self._nodes.get(key)
        if node is not None:
            growth = size - node.size
            node.value, node.size = value, size
            if not node.in_main:
                self._small_bytes += growth
            return growth
        ghost = self._ghosts.pop(key, None)
        node = self._nodes[key] = _Node(key, value, size, ghost is not None)
        if ghost is not None:
            self._ghost_bytes -= ghost
            self._main[key] = node
        else:
            self._small[key] = node
            self._small_bytes += size
        return size

    def remove(self, key: str) -> int:
        node = self._nodes.pop(key, None)
        if node is None:
            return 0
        if node.in_main:
            del self._main[key]
        else:
            del self._small[key]
            self._small_bytes -= node.size
        return node.size

    def evict(self) -> int:
        if self._small and (self._small_bytes > self._small_budget or not self._main):
            size = self._evict_small()
            return self._evict_main() if size is None else size
        return self._evict_main()

    def _evict_small(self) -> int | None:
        """The first object of the small queue that nobody asked for again; None when all of them moved to the main queue."""
        while self._small:
            key, node = self._small.popitem(last=False)
            self._small_bytes -= node.size
            if not node.uses:
                del self._nodes[key]
                self._remember(key, node.size)
                return node.size
            node.uses = 0
            node.in_main = True
            self._main[key] = node
        return None

    def _evict_main(self) -> int:
        while True:
            key, node = self._main.popitem(last=False)
            if not node.uses:
                del self._nodes[key]
                return node.size
            node.uses -= 1
            self._main[key] = node

    def _remember(self, key: str, size: int) -> None:
        self._ghosts[key] = size
        self._ghost_bytes += size
        while self._ghost_bytes > self._ghost_budget:
            self._ghost_bytes -= self._ghosts.popitem(last=False)[1]

    def __len__(self) -> int:
        return len(self._nodes)

    def __contains__(self, key: str) -> bool:
        return key in self._nodes
