"""Inclusion, consistency and subtree proofs: published vectors, every tree of up to 130 leaves, and every wrong hash refused."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproxy.errors import ProofRefused
from edgeproxy.ledger.merkle import EMPTY_ROOT, leaf_hash, root_of
from edgeproxy.ledger.proofs import (
    Nodes,
    consistency_proof,
    inclusion_proof,
    is_subtree,
    subtree_proof,
    subtree_root,
    verify_consistency,
    verify_inclusion,
    verify_subtree,
)
from tests.support.trees import VECTORS, decimal_leaves, nodes_of

LEAVES = decimal_leaves(300)
NODES = nodes_of(LEAVES)


def test_the_roots_of_the_vectors() -> None:
    assert [leaf.hex() for leaf in LEAVES[:8]] == VECTORS["leaf_hashes"]
    for size, root in VECTORS["roots"].items():
        leaves = decimal_leaves(int(size))
        assert root_of(leaves).hex() == root
        assert subtree_root(nodes_of(leaves), 0, int(size)).hex() == root


def test_the_proofs_of_the_vectors() -> None:
    large = nodes_of(decimal_leaves(max(case["size"] for case in VECTORS["inclusion"])))
    for case in VECTORS["inclusion"]:
        index, size = case["index"], case["size"]
        proof = inclusion_proof(large, index, size)
        assert [each.hex() for each in proof] == case["proof"]
        verify_inclusion(index, size, large(0, index), proof, subtree_root(large, 0, size))
    large = nodes_of(decimal_leaves(max(case["new"] for case in VECTORS["consistency"])))
    for case in VECTORS["consistency"]:
        old, new = case["old"], case["new"]
        proof = consistency_proof(large, old, new)
        assert [each.hex() for each in proof] == case["proof"]
        verify_consistency(old, new, subtree_root(large, 0, old), subtree_root(large, 0, new), proof)
    for case in VECTORS["subtree"]:
        span = (case["start"], case["end"])
        proof = subtree_proof(NODES, *span, case["size"])
        assert subtree_root(NODES, *span).hex() == case["hash"]
        assert [each.hex() for each in proof] == case["proof"]
        verify_subtree(*span, case["size"], subtree_root(NODES, *span), proof, subtree_root(NODES, 0, case["size"]))


def test_every_proof_of_every_tree_of_up_to_130_entries_is_that_of_the_ietf_draft() -> None:
    leaves = [leaf_hash(bytes((number,))) for number in range(131)]
    nodes = nodes_of(leaves)
    roots, paths, subtrees = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
    counted = 0
    for end in range(131):
        for start in range(end + 1):
            if not is_subtree(start, end):
                continue
            root = subtree_root(nodes, start, end)
            roots.update(f"[{start}, {end}) {root.hex()}\n".encode())
            for index in range(start, end):
                path = inclusion_proof(_shifted(nodes, start), index - start, end - start)
                verify_inclusion(index - start, end - start, leaves[index], path, root)
                paths.update(_line(f"{index} [{start}, {end})", path))
                counted += 1
    assert counted == 12_807
    whole = [subtree_root(nodes, 0, size) for size in range(131)]
    for size in range(131):
        for end in range(size + 1):
            for start in range(end + 1):
                if is_subtree(start, end):
                    proof = subtree_proof(nodes, start, end, size)
                    subtrees.update(_line(f"[{start}, {end}) {size}", proof))
                    if start < end:
                        verify_subtree(start, end, size, subtree_root(nodes, start, end), proof, whole[size])
    published = VECTORS["accumulated_ietf_mtc"]
    assert roots.hexdigest() == published["subtree_hashes"]
    assert paths.hexdigest() == published["subtree_inclusion_proofs"]
    assert subtrees.hexdigest() == published["subtree_consistency_proofs"]


def _shifted(nodes: Nodes, start: int) -> Nodes:
    return lambda height, index: nodes(height, index + (start >> height))


def _line(head: str, proof: tuple[bytes, ...]) -> bytes:
    return (" ".join((head, *(each.hex() for each in proof))) + "\n").encode()


@given(st.data())
def test_a_proof_holds_for_what_it_was_made_for_and_for_nothing_else(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 300))
    index = data.draw(st.integers(0, size - 1))
    root, path = subtree_root(NODES, 0, size), inclusion_proof(NODES, index, size)
    verify_inclusion(index, size, LEAVES[index], path, root)
    flipped = bytearray(b"".join((LEAVES[index], root, *path)))
    flipped[data.draw(st.integers(0, len(flipped) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    leaf, wrong, *rest = (bytes(flipped[start : start + 32]) for start in range(0, len(flipped), 32))
    with pytest.raises(ProofRefused, match="does not lead"):
        verify_inclusion(index, size, leaf, rest, wrong)
    other = data.draw(st.integers(0, 300))
    if other != index:
        with pytest.raises(ProofRefused):
            verify_inclusion(other, size, LEAVES[index], path, root)
    with pytest.raises(ProofRefused, match="too many"):
        verify_inclusion(index, size, LEAVES[index], (*path, root), root)
    if path:
        with pytest.raises(ProofRefused, match=r"too few|does not lead"):
            verify_inclusion(index, size, LEAVES[index], path[:-1], root)
        with pytest.raises(ProofRefused, match="32 bytes"):
            verify_inclusion(index, size, LEAVES[index], (path[0][:31], *path[1:]), root)


@given(st.data())
def test_a_tree_is_consistent_with_its_beginnings_and_with_no_other(data: st.DataObject) -> None:
    new = data.draw(st.integers(1, 300))
    old = data.draw(st.integers(0, new))
    old_root, new_root = subtree_root(NODES, 0, old), subtree_root(NODES, 0, new)
    proof = consistency_proof(NODES, old, new)
    verify_consistency(old, new, old_root, new_root, proof)
    with pytest.raises(ProofRefused):
        verify_consistency(old, new, old_root, new_root, (*proof, new_root))
    if not old:
        return
    forked = nodes_of([*LEAVES[: old - 1], leaf_hash(b"rewritten"), *LEAVES[old:]])
    with pytest.raises(ProofRefused):
        verify_consistency(old, new, old_root, subtree_root(forked, 0, new), consistency_proof(forked, old, new))
    flipped = bytearray(b"".join((old_root, *proof)))
    flipped[data.draw(st.integers(0, len(flipped) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    wrong, *rest = (bytes(flipped[start : start + 32]) for start in range(0, len(flipped), 32))
    with pytest.raises(ProofRefused, match="does not lead"):
        verify_consistency(old, new, wrong, new_root, rest)


def test_the_edges_of_consistency() -> None:
    root = subtree_root(NODES, 0, 5)
    verify_consistency(0, 5, EMPTY_ROOT, root, ())
    verify_consistency(5, 5, root, root, ())
    for arguments, text in (
        ((6, 5, root, root, ()), "smaller"),
        ((-1, 5, root, root, ()), "smaller"),
        ((5, 5, root, EMPTY_ROOT, ()), "root"),
        ((5, 5, root, root, (root,)), "too many"),
        ((0, 5, root, root, ()), "empty tree"),
        ((0, 5, EMPTY_ROOT, root, (root,)), "too many"),
        ((3, 5, root, root, ()), "too few"),
    ):
        with pytest.raises(ProofRefused, match=text):
            verify_consistency(*arguments)  # type: ignore[arg-type]
    with pytest.raises(ProofRefused, match="not in a tree"):
        verify_inclusion(5, 5, root, (), root)
    with pytest.raises(ValueError, match="no such entry"):
        inclusion_proof(NODES, 5, 5)
    with pytest.raises(ValueError, match="larger"):
        consistency_proof(NODES, 6, 5)
    with pytest.raises(ProofRefused, match="no such subtree"):
        verify_subtree(1, 3, 5, root, (), root)
