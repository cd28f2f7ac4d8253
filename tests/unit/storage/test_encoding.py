"""Encoders for bodies that go on while they arrive: what was given can be decoded at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproxy.storage.decoding import decoder
from edgeproxy.storage.encoding import ENCODABLE, encoder

PIECES = st.lists(st.binary(max_size=300), max_size=6)


@pytest.mark.parametrize("coding", sorted(ENCODABLE))
@given(pieces=PIECES)
def test_each_piece_can_be_decoded_as_soon_as_it_is_there(coding: str, pieces: list[bytes]) -> None:
    coder, reader = encoder(coding), decoder(coding, limit=1 << 20)
    for piece in pieces:
        assert reader.feed(coder.feed(piece)) == piece
    assert reader.feed(coder.finish()) + reader.finish() == b""


def test_there_is_no_encoder_of_what_nobody_knows() -> None:
    with pytest.raises(KeyError):
        encoder("x-secret")
