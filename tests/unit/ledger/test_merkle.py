"""Merkle tree hashes (RFC 6962 section 2.1). Leaf i of the published vectors is the decimal of i in ASCII."""

import hashlib

import pytest

from edgeproxy.caching.model import Digest
from edgeproxy.ledger.merkle import EMPTY_ROOT, MerkleFrontier, leaf_hash, leaf_hashes, node_hash, parents_of, root_of

ROOTS = {
    0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    1: "db3426e878068d28d269b6c87172322ce5372b65756d0789001d34835f601c03",
    2: "cb00989d94a569c0a678ae042b63dcd4625db96440517f37a6eb7976ea24ed4b",
    3: "725d5230db68f557470dc35f1d8865813acd7ebb07ad152774141decbae71327",
    4: "9f4a3fc20d4162dc37d4e23d907848731a76043ffff6d69288bf1abfbcff478e",
    5: "b6748f6ed7a99de7da84fd97e1a3bac6fab8999f4a43695cab9528a2de431147",
    6: "32805cc5e94134743d0aa580ef2ee332687b687fc2e4e2f72fee1cc712e0ba0c",
    7: "a3e23b32ccb6bf96d092d165d8aa546e09829de8f03b0e8957581d1e16b92bdf",
    8: "3b85a9626c1ccb64c6b95ec7fa64888defe2cf12e39e77e10812ce5fcb9cb58e",
    13: "2520e1f2087a43eef012fea4774dc1568c8710a9cfa7f7e5094725f9e7ea19a2",
    14: "b2985dcc386c0054afec7eb026fbde89884f94c0e8cc64b3a78cfd051d2da71b",
    255: "32f85bcaa87d7bcd05728f09e9aeba350ba6a2f733830087f0597682848be5cb",
    256: "828515d033c19d8c901f37eccb8aed919667703486f8d2fff1cf7040321c5db1",
    257: "1eda049a4351d86f76252bd7ec0b7746ad75b7fa0316ad5f541dbda458a312c4",
    300: "84e13ec1e037155ae619757599b2cd21ada5a565e0fd9b3139c0c3c6c1b8ada9",
    1000: "638afa98022925bacfddadb15ef22fd0199c1ac99c2973b6158243d13fce05c2",
    65536: "f025d06ed804859fd274a1bdacadd6e48ea87634aa91e1edb20143f9498cd02b",
    70000: "1a4cdfcb66374a0c0dcbef49acbd4976d13ee864fb3cb241fc943cad04f02f7e",
    69888: "466788b545f78f3e31b7ead1246df0ba9fa9aed4d8e80b4c112ad78645159cee",
}


def _leaf(number: int) -> Digest:
    return leaf_hash(b"%d" % number)


def _by_definition(leaves: list[Digest]) -> Digest:
    if not leaves:
        return Digest(hashlib.sha256(b"").digest())
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    return node_hash(_by_definition(leaves[:split]), _by_definition(leaves[split:]))


def test_leaf_and_node_hashes_have_different_prefixes() -> None:
    assert leaf_hash(b"ab") == hashlib.sha256(b"\x00ab").digest()
    assert node_hash(b"a", b"b") == hashlib.sha256(b"\x01ab").digest()
    assert leaf_hash(b"0").hex() == "db3426e878068d28d269b6c87172322ce5372b65756d0789001d34835f601c03"


def test_the_root_of_nothing_is_the_hash_of_nothing() -> None:
    assert EMPTY_ROOT == root_of(()) == MerkleFrontier().root() == hashlib.sha256(b"").digest()


@pytest.mark.parametrize("size", ROOTS)
def test_roots_of_the_published_vectors(size: int) -> None:
    assert root_of(_leaf(number) for number in range(size)).hex() == ROOTS[size]


def test_a_growing_frontier_has_the_root_of_the_definition_at_every_size() -> None:
    frontier, leaves = MerkleFrontier(), []
    for number in range(70):
        assert frontier.root() == _by_definition(leaves)
        assert len(frontier.peaks) == frontier.size.bit_count()
        leaves.append(_leaf(number))
        frontier.append(leaves[-1])


@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 8, 200])
def test_a_frontier_goes_on_from_its_peaks(size: int) -> None:
    first = MerkleFrontier()
    for number in range(size):
        first.append(_leaf(number))
    second = MerkleFrontier(first.size, first.peaks)
    copied = first.copy()
    second.append(_leaf(size))
    assert second.root() == root_of(_leaf(number) for number in range(size + 1))
    assert copied.root() == first.root() == root_of(_leaf(number) for number in range(size))


@pytest.mark.parametrize(("size", "peaks"), [(1, 0), (0, 1), (3, 1), (4, 3), (-1, 1)])
def test_peaks_that_do_not_fit_the_size_are_refused(size: int, peaks: int) -> None:
    with pytest.raises(ValueError, match="peaks"):
        MerkleFrontier(size, [_leaf(0)] * peaks)


def _appended(size: int) -> MerkleFrontier:
    frontier = MerkleFrontier()
    for number in range(size):
        frontier.append(leaf_hash(b"%d" % number))
    return frontier


@pytest.mark.parametrize("start", [*range(18), 31, 32, 33, 255, 256, 257])
def test_many_leaves_at_once_are_as_many_one_by_one(start: int) -> None:
    before = _appended(start)
    for count in (0, 1, 2, 3, 4, 7, 8, 9, 31, 64, 100):
        frontier, expected = before.copy(), _appended(start + count)
        frontier.extend([leaf_hash(b"%d" % number) for number in range(start, start + count)])
        assert (frontier.size, frontier.peaks, frontier.root()) == (expected.size, expected.peaks, expected.root())


@pytest.mark.parametrize(("start", "height"), [(0, 0), (0, 3), (8, 3), (16, 3), (24, 3), (24, 2), (7, 0)])
def test_a_complete_subtree_is_as_good_as_its_leaves(start: int, height: int) -> None:
    frontier, end = _appended(start), start + (1 << height)
    frontier.append_subtree(height, root_of(leaf_hash(b"%d" % number) for number in range(start, end)))
    expected = _appended(end)
    assert (frontier.size, frontier.peaks) == (expected.size, expected.peaks)


def test_a_subtree_begins_at_a_multiple_of_its_size() -> None:
    with pytest.raises(ValueError, match="no subtree"):
        _appended(4).append_subtree(3, EMPTY_ROOT)


def test_hashes_of_many_are_the_hashes_of_each() -> None:
    entries = [b"", b"a", b"bc"]
    leaves = leaf_hashes(entries)
    assert leaves == [leaf_hash(entry) for entry in entries]
    assert parents_of(leaves) == [node_hash(leaves[0], leaves[1])]
