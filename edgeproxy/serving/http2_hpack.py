"""Field blocks from one client, decoded with the memory of its connection (RFC 7541).

Owns: the library's decoder and its table, its limits, its errors as ours, and two short cuts. Must not judge fields.

Most requests of a connection differ in nothing, or in a path that is not added to the table. Such a block leaves the table as it
is and means the same fields until the table changes: its bytes are remembered, and where they are new they are read here, from a
copy of the table, in an eighth of the time that the library takes. Whatever is not plain, or not well, the library reads.
"""

from functools import lru_cache
from typing import Final

from hpack import Decoder, HPACKError, OversizedHeaderListError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

from edgeproxy.serving.http2_framing import ConnectionFault, HeaderBlock
from edgeproxy.wire.http2 import Line
from edgeproxy.wire.http2_frames import Code

MEMO_BLOCKS: Final = 64
MEMO_BLOCK_BYTES: Final = 1024
"""Longer blocks are not remembered: a connection keeps at most 64 KiB of them, and what they were decoded to."""

_STRING_BYTES: Final = 256
_decode_short = lru_cache(maxsize=2048)(decode_huffman)
_STATIC: Final[tuple[Line, ...]] = ((b"", b""), *HeaderTable.STATIC_TABLE)
_ENTRY_OVERHEAD: Final = 32


class BlockDecoder:
    """The decoder of one connection. `list_bytes`: most that a list may come to, each field counted with 32 bytes besides."""

    __slots__ = ("_decoder", "_list_bytes", "_memo", "_table")

    def __init__(self, list_bytes: int) -> None:
        self._decoder = Decoder(max_header_list_size=list_bytes)
        self._list_bytes = list_bytes
        self._memo: dict[bytes, HeaderBlock] = {}
        self._table: tuple[Line, ...] = _STATIC

    def decode(self, block: bytes) -> HeaderBlock:
        """The fields of `block`. Raises ConnectionFault: without them the table, and so all later blocks, would be lost."""
        known = self._memo.get(block)
        if known is not None:
            return known
        lines = self._read_plain(block)
        if lines is None:
            return self._read_any(block)
        decoded = HeaderBlock(lines)
        if len(block) <= MEMO_BLOCK_BYTES:
            if len(self._memo) >= MEMO_BLOCKS:
                self._memo.clear()
            self._memo[block] = decoded
        return decoded

    def _read_any(self, block: bytes) -> HeaderBlock:
        """By the library; what is remembered of earlier tables goes."""
        try:
            lines = self._decoder.decode(block, raw=True)
        except OversizedHeaderListError as error:
            # A few bytes may stand for megabytes; the library stops as soon as the list is too long.
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "field list is too large") from error
        except (HPACKError, IndexError, ValueError) as error:
            raise ConnectionFault(Code.COMPRESSION_ERROR, "field block cannot be decoded") from error
        self._memo.clear()
        self._table = (*_STATIC, *((bytes(name), bytes(value)) for name, value in self._decoder.header_table.dynamic_entries))
        # Plain tuples of bytes: the library's own pieces may be views of what it was given.
        return HeaderBlock(tuple((bytes(name), bytes(value)) for name, value in lines))

    def _read_plain(self, block: bytes) -> list[Line] | None:
        """The fields of a block of indexed fields and literals that are not added (sections 6.1, 6.2.2, 6.2.3).

        None when there is anything else in it, or anything that is not well.
        """
        table, lines = self._table, []
        at, end, left = 0, len(block), self._list_bytes
        try:
            while at < end:
                first = block[at]
                if first > 0x80:
                    line = table[first & 0x7F]
                    at += 1
                    if first == 0xFF:
                        return None
                elif first & 0xE0:
                    return None
                else:
                    line, at = _literal(block, at, table)
                left -= len(line[0]) + len(line[1]) + _ENTRY_OVERHEAD
                if left < 0:
                    return None
                lines.append(line)
        except (IndexError, HPACKError):
            return None
        return lines


def _literal(block: bytes, at: int, table: tuple[Line, ...]) -> tuple[Line, int]:
    """The literal at `at`, and where the next field begins. Raises IndexError for what is cut off or needs a long number."""
    index = block[at] & 0x0F
    at += 1
    if index == 0x0F:
        more = block[at]
        at += 1
        if more & 0x80:
            raise IndexError
        index += more
    if index:
        name = table[index][0]
    else:
        name, at = _string(block, at)
    value, at = _string(block, at)
    return (name, value), at


def _string(block: bytes, at: int) -> tuple[bytes, int]:
    """The string at `at` (section 5.2), and where it ends."""
    first = block[at]
    at += 1
    length = first & 0x7F
    if length == 0x7F:
        more = block[at]
        at += 1
        if more & 0x80:
            raise IndexError
        length += more
    data = block[at : at + length]
    if len(data) != length:
        raise IndexError
    if first & 0x80:
        data = _decode_short(data) if length <= _STRING_BYTES else decode_huffman(data)
    return data, at + length
