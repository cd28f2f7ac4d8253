"""How a response body is delimited, judged from its head alone (RFC 9112 section 6.3). Pure.

Owns: the judgement. A head whose framing can be read in two ways is an error here, since a recipient behind us might read it
in the other way. Must not read bytes; that is `origin.answer`.
"""

import re
from dataclasses import dataclass
from enum import Enum

from edgeproxy.errors import OriginMalformed
from edgeproxy.wire.fields import Fields
from edgeproxy.wire.messages import ResponseHead

_PLAIN = re.compile("[0-9]{1,18}").fullmatch
"""Any length that fits 63 bits, short of the last decade; no number of real life is lost."""


class Delimiter(Enum):
    """What ends the body."""

    NOTHING = "nothing"  # there is none
    LENGTH = "length"
    CHUNKS = "chunks"
    CLOSE = "close"


@dataclass(frozen=True, slots=True)
class Framing:
    """`length` is meant for NOTHING (0) and LENGTH; `persists` says whether the connection may carry another exchange;
    `contradicts`, that the head announces a body which its status forbids."""

    delimiter: Delimiter
    length: int
    persists: bool
    contradicts: bool = False

    @property
    def body_length(self) -> int | None:
        """Bytes of the body, or None when only its end will tell."""
        return self.length if self.delimiter in (Delimiter.NOTHING, Delimiter.LENGTH) else None


def judge(method: str, head: ResponseHead, version: tuple[int, int]) -> Framing:
    """The framing of the response `head` to a request with `method`. Raises OriginMalformed when it is ambiguous or
    unknown."""
    fields = head.fields
    codings = fields.all("transfer-encoding")
    lengths = fields.all("content-length")
    if codings and lengths:
        raise OriginMalformed("response has both Transfer-Encoding and Content-Length")  # section 6.3, item 3
    if codings:
        _only_chunked(codings, version)
    length = _length(lengths) if lengths else None
    persists = _persists(fields, version)
    if head.status in (204, 304) or head.status < 200 or method == "HEAD":
        # A 204 that announces a body may well send it: nothing on that connection can be trusted to be the next answer.
        announces = head.status not in (304,) and method != "HEAD" and (bool(codings) or bool(length))
        return Framing(Delimiter.NOTHING, 0, persists and not announces, announces)
    if codings:
        return Framing(Delimiter.CHUNKS, 0, persists)
    if length is None:
        return Framing(Delimiter.CLOSE, 0, persists=False)
    return Framing(Delimiter.LENGTH if length else Delimiter.NOTHING, length, persists)


def with_one_length(fields: Fields) -> Fields:
    """`fields` with equal repeated Content-Length values made one line, so that nobody behind us has to judge them again (RFC
    9110 section 8.6)."""
    lengths = fields.all("content-length")
    if len(lengths) < 2 and not (lengths and "," in lengths[0]):
        return fields
    return fields.replacing("Content-Length", str(_length(lengths)))


def _only_chunked(codings: tuple[str, ...], version: tuple[int, int]) -> None:
    """No other coding was asked for (TE is never sent), none can be taken off here, and HTTP/1.0 knows none (section 6.1)."""
    if version < (1, 1):
        raise OriginMalformed("response has Transfer-Encoding in HTTP/1.0")
    if len(codings) != 1 or codings[0].strip(" \t").lower() != "chunked":
        raise OriginMalformed("response has an unknown transfer coding", codings=", ".join(codings)[:100])


def _length(values: tuple[str, ...]) -> int:
    """One decimal number, or the same one repeated (RFC 9110 section 8.6)."""
    if len(values) == 1 and _PLAIN(values[0]):
        return int(values[0])
    found: set[str] = set()
    for value in values:
        found.update(part.strip(" \t") for part in value.split(","))
    if len(found) != 1:
        raise OriginMalformed("response has differing Content-Length values", values=", ".join(values)[:100])
    text = found.pop()
    if not _PLAIN(text):
        raise OriginMalformed("response has a bad Content-Length", value=text[:100])
    return int(text)


def _persists(fields: Fields, version: tuple[int, int]) -> bool:
    """RFC 9112 section 9.3."""
    connection = fields.get("connection")
    options = {option.strip(" \t").lower() for option in connection.split(",")} if connection else set()
    if "close" in options:
        return False
    return version >= (1, 1) or "keep-alive" in options
