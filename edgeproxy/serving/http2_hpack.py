"""Field blocks from one client, decoded with the memory of its connection (RFC 7541).

Owns: the library's decoder, its limits, its errors as ours, a memo of blocks that need no decoding again. Must not judge fields.

Most requests of a connection differ in nothing, or in a path that is not added to the table. Such a block means the same fields
until the table changes, so its bytes are remembered; the library, which is all Python, then costs nothing on the hot path.
"""

from typing import Final

from hpack import Decoder, HPACKError, OversizedHeaderListError

from edgeproxy.serving.http2_framing import ConnectionFault, HeaderBlock
from edgeproxy.wire.hpack import is_without_memory
from edgeproxy.wire.http2_frames import Code

MEMO_BLOCKS: Final = 64
MEMO_BLOCK_BYTES: Final = 1024
"""Longer blocks are not remembered: a connection keeps at most 64 KiB of them, and what they were decoded to."""


class BlockDecoder:
    """The decoder of one connection. `list_bytes`: most that a list may come to, each field counted with 32 bytes besides."""

    __slots__ = ("_decoder", "_memo")

    def __init__(self, list_bytes: int) -> None:
        self._decoder = Decoder(max_header_list_size=list_bytes)
        self._memo: dict[bytes, HeaderBlock] = {}

    def decode(self, block: bytes) -> HeaderBlock:
        """The fields of `block`. Raises ConnectionFault: without them the table, and so all later blocks, would be lost."""
        known = self._memo.get(block)
        if known is not None:
            return known
        try:
            lines = self._decoder.decode(block, raw=True)
        except OversizedHeaderListError as error:
            # A few bytes may stand for megabytes; the library stops as soon as the list is too long.
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "field list is too large") from error
        except (HPACKError, IndexError, ValueError) as error:
            raise ConnectionFault(Code.COMPRESSION_ERROR, "field block cannot be decoded") from error
        # Plain tuples of bytes: the library's own pieces may be views of what it was given.
        decoded = HeaderBlock(tuple((bytes(name), bytes(value)) for name, value in lines))
        if not is_without_memory(block):
            self._memo.clear()
        elif len(block) <= MEMO_BLOCK_BYTES:
            if len(self._memo) >= MEMO_BLOCKS:
                self._memo.clear()
            self._memo[block] = decoded
        return decoded
