"""Merkle trees computed the naive way, as the RFC defines them, and the published vectors of the C2SP documents."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edgeproxy.caching.model import Digest
from edgeproxy.ledger.merkle import leaf_hash, node_hash

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "unit" / "ledger" / "tlog-vectors.json").read_text())


def decimal_leaves(count: int) -> list[Digest]:
    """The leaves of the vectors: entry i is i in decimal."""
    return [leaf_hash(b"%d" % number) for number in range(count)]


def nodes_of(leaves: Sequence[Digest]) -> Callable[[int, int], Digest]:
    """The complete subtrees over `leaves`, each hashed once."""
    known: dict[tuple[int, int], Digest] = {}

    def node(height: int, index: int) -> Digest:
        if not height:
            return leaves[index]
        if (height, index) not in known:
            known[height, index] = node_hash(node(height - 1, 2 * index), node(height - 1, 2 * index + 1))
        return known[height, index]

    return node
