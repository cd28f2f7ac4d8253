"""References of bodies, and the tree over the chunks of a large one (RFC 6962 section 2.1)."""

import hashlib

import pytest

from edgeproxy.ledger.chunks import (
    CHUNK,
    WHOLE_BODY_LIMIT,
    BodyHasher,
    chunk_count,
    chunk_leaves,
    chunk_length,
    ref_of,
    root_of_chunks,
)
from tests.support.bodies import chunk_root, patterned

SIZES = [
    0,
    1,
    CHUNK - 1,
    CHUNK,
    CHUNK + 1,
    WHOLE_BODY_LIMIT - 1,
    WHOLE_BODY_LIMIT,
    WHOLE_BODY_LIMIT + 1,
    7 * CHUNK,
    7 * CHUNK + 9,
]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("piece", [997, CHUNK, 1 << 20])
def test_a_reference_does_not_depend_on_how_the_body_came(size: int, piece: int) -> None:
    data = patterned(size)
    hasher = BodyHasher()
    for start in range(0, size, piece):
        hasher.update(data[start : start + piece])
    ref = hasher.finish()
    assert ref == ref_of(data)
    assert (ref.digest, ref.length) == (hashlib.sha256(data).digest(), size)
    assert ref.chunks == (chunk_root(data) if size > WHOLE_BODY_LIMIT else None)


@pytest.mark.parametrize("size", [size for size in SIZES if size])
def test_chunks_cut_a_body_without_gap_or_overlap(size: int) -> None:
    data = patterned(size)
    assert sum(chunk_length(size, index) for index in range(chunk_count(size))) == size
    assert root_of_chunks(chunk_leaves(data)) == chunk_root(data)


@pytest.mark.parametrize(("length", "index"), [(0, 0), (CHUNK, 1), (CHUNK + 1, 2), (5, -1)])
def test_there_is_no_chunk_outside_the_body(length: int, index: int) -> None:
    with pytest.raises(ValueError, match="no such chunk"):
        chunk_length(length, index)
