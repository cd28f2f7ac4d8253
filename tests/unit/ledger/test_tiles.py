"""Tiles and entry bundles: names, bytes, the tree that is cut into them, and everything that is not one refused."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproxy.caching.model import Digest
from edgeproxy.errors import Corrupt, ProofRefused
from edgeproxy.ledger.merkle import root_of
from edgeproxy.ledger.proofs import consistency_proof, inclusion_proof, subtree_root, verify_consistency, verify_inclusion
from edgeproxy.ledger.tiles import (
    WIDTH,
    Tile,
    TileTree,
    decode_bundle,
    decode_hash_tile,
    encode_bundle,
    index_path,
    parse_tile_path,
    tiles_of,
    verify_bundle,
)
from tests.support.trees import VECTORS, decimal_leaves

LEAVES = decimal_leaves(70_000)


def _tree(size: int) -> TileTree:
    tree = TileTree()
    for leaf in LEAVES[:size]:
        tree.append(leaf)
    return tree


def _bytes(tree: TileTree, tile: Tile) -> bytes:
    if tile.level is None:
        return encode_bundle([b"%d" % number for number in range(tile.start, tile.start + tile.width)])
    if tile.level:
        return b"".join(tree.items(tile.level, tile.index, tile.width))
    return b"".join(LEAVES[tile.start : tile.start + tile.width])


def test_paths_are_those_of_the_vectors() -> None:
    for index, path in VECTORS["tile_paths"].items():
        assert index_path(int(index)) == path
        assert parse_tile_path(f"tile/0/{path}") == Tile(0, int(index))
        assert parse_tile_path(f"tile/entries/{path}.p/7") == Tile(None, int(index), 7)


@given(st.sampled_from([None, 0, 1, 7, 63]), st.integers(0, 2**55 - 1), st.integers(1, WIDTH))
def test_every_tile_has_one_path(level: int | None, index: int, width: int) -> None:
    tile = Tile(level, index, width)
    assert parse_tile_path(tile.path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "", "checkpoint", "tile", "tile/0", "tile/0/", "tile/0/0", "tile/0/00", "tile/0/0000", "tile/0/x000", "tile/0/x000/001",
        "tile/0/001/234", "tile/0/x001/x234", "tile/0/X001/234", "tile/00/000", "tile/01/000", "tile/64/000", "tile/-1/000",
        "tile/entry/000", "tile/entries/000.p", "tile/entries/000.p/", "tile/0/000.p/0", "tile/0/000.p/01", "tile/0/000.p/256",
        "tile/0/000.p/999", "tile/0/000.p/1/", "tile/0/000/", "tile/0/000\n", "tile/0/٠٠٠", "/tile/0/000", "tile//000",
        "tile/0/%300", "tile/0/../0/000", "tile/0/" + "x999/" * 7 + "999",
    ],
)  # fmt: skip
def test_what_is_not_the_path_of_a_tile_is_refused(path: str) -> None:
    with pytest.raises(ProofRefused):
        parse_tile_path(path)


@pytest.mark.parametrize(("size", "vector"), [(300, "tiles_size300"), (70_000, "tiles_size70000_rightedge")])
def test_tiles_are_byte_for_byte_those_of_the_vectors(size: int, vector: str) -> None:
    tree = _tree(size)
    for path, expected in VECTORS[vector].items():
        data = _bytes(tree, parse_tile_path(path))
        assert (len(data), hashlib.sha256(data).hexdigest()) == (expected["len"], expected["sha256"])
    assert {tile.path for tile in tiles_of(size)} >= VECTORS[vector].keys()


def test_all_resources_of_a_log() -> None:
    assert sum(1 for _ in tiles_of(70_000)) == VECTORS["tiles_size70000_count"]
    assert list(tiles_of(0)) == []
    assert {tile.path for tile in tiles_of(256)} == {"tile/entries/000", "tile/0/000", "tile/1/000.p/1"}
    bundle = VECTORS["entry_bundle_size5"]
    tile = parse_tile_path(bundle["path"])
    assert _bytes(TileTree(), tile).hex() == bundle["hex"]


@given(st.data())
def test_proofs_made_from_tiles_hold(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 3000))
    tree = _tree(size)

    def nodes(height: int, index: int) -> Digest:
        return tree.node(height, index, lambda tile: LEAVES[tile * WIDTH : tile * WIDTH + WIDTH])

    root = root_of(LEAVES[:size])
    assert subtree_root(nodes, 0, size) == root
    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, size))
    verify_inclusion(index, size, LEAVES[index], inclusion_proof(nodes, index, size), root)
    verify_consistency(old, size, root_of(LEAVES[:old]), root, consistency_proof(nodes, old, size))


def test_leaves_are_judged_by_the_tree_above_them() -> None:
    tree = _tree(300)
    tree.verify_leaf_tile(0, LEAVES[:256])
    assert tree.last_leaves() == tuple(LEAVES[256:300])
    with pytest.raises(ValueError, match="not full"):
        tree.verify_leaf_tile(1, LEAVES[256:300])
    wrong = (LEAVES[1:257], LEAVES[:255], [*LEAVES[:255], LEAVES[0]])
    for leaves in wrong:
        with pytest.raises(Corrupt, match="not those of the tree"):
            tree.verify_leaf_tile(0, leaves)
    assert [tree.width(level, index) for level, index in ((0, 0), (0, 1), (0, 2), (1, 0), (2, 0))] == [256, 44, 0, 1, 0]
    with pytest.raises(ValueError, match="no such items"):
        tree.items(1, 0, 2)


def test_what_stands_on_an_unknown_leaf_cannot_be_had_and_the_rest_can() -> None:
    tree = TileTree()
    for number, leaf in enumerate(LEAVES[:600]):
        tree.append(None if number in (300, 590) else leaf)
    tree.verify_leaf_tile(0, LEAVES[:256])
    assert tree.items(1, 0, 1)
    for ask in (lambda: tree.items(1, 0, 2), lambda: tree.verify_leaf_tile(1, LEAVES[256:512]), tree.last_leaves):
        with pytest.raises(Corrupt, match="lost to damage"):
            ask()


@pytest.mark.parametrize(
    ("data", "width", "fault"),
    [
        (b"", 1, "too early"),
        (b"\0", 1, "too early"),
        (b"\0\1", 1, "within an entry"),
        (b"\0\1a\0", 1, "behind its entries"),
        (b"\0\1a", 2, "too early"),
    ],
)
def test_a_bundle_that_is_wrong_is_refused(data: bytes, width: int, fault: str) -> None:
    with pytest.raises(ProofRefused, match=fault):
        decode_bundle(data, width)


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_a_bundle_says_its_entries(entries: list[bytes]) -> None:
    assert decode_bundle(encode_bundle(entries), len(entries)) == entries


def test_a_bundle_is_judged_by_its_tile() -> None:
    entries = [b"%d" % number for number in range(5)]
    verify_bundle(entries, LEAVES[:5])
    assert decode_hash_tile(b"".join(LEAVES[:5]), 5) == LEAVES[:5]
    for wrong in (entries[:4], [*entries[:4], b"5"]):
        with pytest.raises(ProofRefused, match="hashes of their tile"):
            verify_bundle(wrong, LEAVES[:5])
    with pytest.raises(ProofRefused, match="length"):
        decode_hash_tile(bytes(31), 1)
    with pytest.raises(ValueError, match="too long"):
        encode_bundle([bytes(65_536)])


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 700])
@pytest.mark.parametrize("count", [0, 1, 255, 256, 513])
def test_many_leaves_at_once_are_as_many_one_by_one(size: int, count: int) -> None:
    tree, expected = _tree(size), _tree(size + count)
    tree.extend(LEAVES[size : size + count])
    assert tree.size == expected.size
    assert tree.last_leaves() == expected.last_leaves()
    width = expected.width(1, 0)
    assert not width or tree.items(1, 0, width) == expected.items(1, 0, width)


def test_a_full_tile_is_known_by_its_root() -> None:
    tree, expected = _tree(256), _tree(256 + 512 + 3)
    roots = [root_of(LEAVES[start : start + WIDTH]) for start in (256, 512)]
    tree.extend_by_tiles(roots, LEAVES[768:771])
    assert tree.size == expected.size
    assert tree.items(1, 0, 3) == expected.items(1, 0, 3)
    assert tree.last_leaves() == expected.last_leaves()
    with pytest.raises(ValueError, match="not full"):
        tree.extend_by_tiles(roots, ())


def test_a_leaf_that_is_unknown_makes_its_tile_unknown() -> None:
    tree = TileTree()
    tree.extend([None, *LEAVES[1:300]])
    with pytest.raises(Corrupt):
        tree.items(1, 0, 1)
    assert tree.last_leaves() == tuple(LEAVES[256:300])
