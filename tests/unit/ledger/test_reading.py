"""Tiles of a stranger, proved from the root down: every tree is read whole, and every changed hash is found in its tile."""

from functools import cache

import pytest

from edgeproxy.caching.model import Digest
from edgeproxy.errors import ProofRefused
from edgeproxy.ledger.merkle import root_of
from edgeproxy.ledger.reading import TreeReader
from edgeproxy.ledger.tiles import WIDTH, Tile, TileTree
from tests.support.trees import decimal_leaves

SIZES = (0, 1, 2, 5, 255, 256, 257, 300, 511, 512, 1_000, 65_535, 65_536, 65_537, 70_000)
LEAVES = decimal_leaves(max(SIZES))


@cache
def _root(size: int) -> Digest:
    return root_of(LEAVES[:size])


class Served:
    """All tiles of a log, as an edge serves them; some may be changed."""

    def __init__(self, size: int) -> None:
        self.tree = TileTree()
        for leaf in LEAVES[:size]:
            self.tree.append(leaf)
        self.root = _root(size)
        self.changed: dict[Tile, bytes] = {}

    def __call__(self, tile: Tile) -> bytes:
        if tile in self.changed:
            return self.changed[tile]
        if tile.height:
            return b"".join(self.tree.items(tile.height, tile.index, tile.width))
        return b"".join(LEAVES[tile.start : tile.start + tile.width])


def _upper(served: Served) -> TreeReader:
    reader = TreeReader(served.tree.size, served.root)
    reader.take_edge([served(tile) for tile in reader.edge()])
    for tile in reader.upper():
        reader.take(tile, served(tile))
    return reader


def _read(served: Served) -> tuple[TreeReader, list[Digest]]:
    reader = _upper(served)
    return reader, [leaf for tile in reader.bundles(0) for leaf in reader.leaves(tile, served(tile))]


@pytest.mark.parametrize("size", SIZES)
def test_a_tree_of_any_size_is_read_whole(size: int) -> None:
    _, leaves = _read(Served(size))
    assert leaves == LEAVES[:size]


@pytest.mark.parametrize("size", SIZES)
def test_growth_is_proved_from_every_earlier_size(size: int) -> None:
    served = Served(size)
    reader = _upper(served)
    for old in {each for base in SIZES for each in (base - 1, base, base + 1) if 0 <= each <= size}:
        tile = reader.needed_for(old)
        last = () if tile is None else reader.leaves(tile, served(tile))
        reader.check_grown_from(old, _root(old), last)
        if old:
            with pytest.raises(ProofRefused):
                reader.check_grown_from(old, _root(old - 1), last)
        if not old % WIDTH or old == size:
            assert reader.root_of_first(old) == _root(old)
    with pytest.raises(ValueError, match="larger"):
        reader.check_grown_from(size + 1, reader.root)


def test_part_of_a_tile_has_no_root_of_its_own_here() -> None:
    reader = _upper(Served(300))
    with pytest.raises(ValueError, match="whole tiles"):
        reader.root_of_first(299)


@pytest.mark.parametrize("size", [300, 512, 70_000])
def test_each_changed_tile_is_refused_by_its_name(size: int) -> None:
    served = Served(size)
    reader = _upper(served)
    edge, upper, lowest = reader.edge(), list(reader.upper()), list(reader.bundles(0))
    for tile in dict.fromkeys((*edge, *upper, lowest[0], lowest[-1])):
        data = served(tile)
        for wrong in (bytes([data[0] ^ 1]) + data[1:], data[:-1] + bytes([data[-1] ^ 1]), data[:-32], data + bytes(32), b""):
            served.changed = {tile: wrong}
            with pytest.raises(ProofRefused) as refused:
                reader.leaves(tile, served(tile)) if tile in lowest and tile not in edge else _upper(served)
            assert refused.value.fields.get("tile", tile.path) == tile.path
            if tile not in edge and len(wrong) == len(data):
                assert "not the one that the checkpoint covers" in refused.value.text
            served.changed = {}


def test_only_new_bundles_are_named_when_the_beginning_is_known() -> None:
    reader = _upper(Served(1_000))
    assert [tile.path for tile in reader.bundles(600)] == ["tile/0/002", "tile/0/003.p/232"]
    assert [tile.path for tile in reader.bundles(768)] == ["tile/0/003.p/232"]
    assert list(reader.bundles(1_024)) == []
    assert repr(reader) == "<TreeReader size=1000>"
