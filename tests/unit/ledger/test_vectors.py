"""The published vectors: each of them has a test, so that one added later cannot go unused."""

from pathlib import Path

import pytest

from tests.support.trees import VECTORS

USED_BY = {
    "leaf_hashes": "test_proofs",
    "roots": "test_proofs",
    "inclusion": "test_proofs",
    "consistency": "test_proofs",
    "subtree": "test_proofs",
    "accumulated_ietf_mtc": "test_proofs",
    "log_key": "test_notes",
    "witness{number}_key": "test_notes",
    "checkpoints": "test_notes",
    "cosignature_w{number}_size8": "test_notes",
    "cosigned_checkpoint_8": "test_notes",
    "tlog_proof_index3_size8": "test_notes",
    "mldsa44": "test_notes",
    "note_cases": "test_notes",
    "add_checkpoint_0_5_body": "test_cosigning",
    "add_checkpoint_5_8_body": "test_cosigning",
    "monitoring_path": "test_cosigning",
    "tlog_policy": "test_policy",
    "policy_cases": "test_policy",
    "tile_paths": "test_tiles",
    "entry_bundle_size5": "test_tiles",
    "tiles_size300": "test_tiles",
    "tiles_size70000_rightedge": "test_tiles",
    "tiles_size70000_count": "test_tiles",
}


def test_every_vector_has_a_test() -> None:
    named = {name.format(number=number) for name in USED_BY for number in (1, 2)}
    assert named == VECTORS.keys() - {"about"}


@pytest.mark.parametrize("vector", USED_BY)
def test_the_test_that_is_named_uses_it(vector: str) -> None:
    assert f'"{vector}"' in (Path(__file__).parent / f"{USED_BY[vector]}.py").read_text()
