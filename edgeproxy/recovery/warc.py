"""The records of an export: WARC 1.1 (ISO 28500:2017), through warcio.

Owns: which record is which, and that bytes come out as they went in. Must not know a data folder, nor judge what it reads.

An export is, in this order, each record compressed by itself:
  warcinfo    what this is
  metadata    kind "checkpoint", "key", and "private-key" when it was asked for: the signed note, the log's keys
  resource    kind "blocks": entry bundles as the log publishes them (C2SP tlog-tiles), under the address that they have there
  metadata    kind "names", after each bundle: what the digests of its blocks stand for
  response    a store or refresh block whose body was not in the file yet: stored head, empty line, body
  revisit     one whose body was (identical payload digest): the stored head
  metadata    kind "head": one whose body is not in the file
  metadata    kind "end": what is not there and why the file is whole
The field `Edgeproxy-Kind` names the kind, `Edgeproxy-Block` the height. Archive tools need neither: they see responses and
revisits.
"""

import base64
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from typing import Any, BinaryIO
from uuid import uuid4

from warcio.archiveiterator import WARCIterator
from warcio.exceptions import ArchiveLoadFailed
from warcio.recordloader import ArcWarcRecord
from warcio.statusandheaders import StatusAndHeaders, StatusAndHeadersParserException
from warcio.warcwriter import WARCWriter

from edgeproxy.caching.model import Digest
from edgeproxy.clock import Instant
from edgeproxy.errors import ProofRefused

VERSION = "WARC/1.1"
_PROFILE = "http://netpreserve.org/warc/1.1/revisit/identical-payload-digest"
_HTTP = "application/http; msgtype=response"
KIND, BLOCK = "Edgeproxy-Kind", "Edgeproxy-Block"

MAX_FIELDS = 1 << 16
"""Bytes in the fields of one record."""

_NOT_READABLE = (ArchiveLoadFailed, StatusAndHeadersParserException, zlib.error, EOFError, ValueError, IndexError)
"""What warcio raises over bytes that are no WARC, or no gzip."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The first record with some body: what revisits refer to."""

    uri: str
    time: Instant


@dataclass(frozen=True, slots=True)
class Content:
    """Stored head and body of a response. `payload` is the SHA-256 of the body, `whole` that of head, empty line and body."""

    head: bytes
    body: BinaryIO
    length: int
    payload: bytes
    whole: bytes


class _ExactHead:
    """A stored head for warcio, which would otherwise write its own idea of it."""

    def __init__(self, head: bytes) -> None:
        self.headers_buff = head + b"\r\n"

    def compute_headers_buffer(self, _: object) -> None:
        """It is what it is."""


def digest_text(digest: bytes) -> str:
    """A digest as WARC fields have it."""
    return f"sha256:{base64.b32encode(digest).decode()}"


def date_text(time: Instant) -> str:
    """An instant as `WARC-Date` has it, with milliseconds (WARC 1.1)."""
    moment = datetime.fromtimestamp(time / 1000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{time % 1000:03d}Z"


class Writer:
    """Writes records to `out`, which has a position (`tell`)."""

    def __init__(self, out: BinaryIO, written_at: Instant) -> None:
        self._writer = WARCWriter(out, gzip=True, warc_version=VERSION)
        self._now = written_at

    def info(self, lines: Sequence[tuple[str, str]]) -> None:
        """The first record."""
        data = "".join(f"{name}: {value}\r\n" for name, value in lines).encode()
        self._write("warcinfo", "", self._now, data, "application/warc-fields", ())

    def part(self, kind: str, uri: str, data: bytes, media: str, block: int | None = None) -> None:
        """A record of our own."""
        record = "resource" if kind == "blocks" else "metadata"
        self._write(record, uri, self._now, data, media, ((KIND, kind), *_block(block)))

    def response(self, uri: str, time: Instant, content: Content, block: int) -> None:
        """Head and body."""
        payload, whole = digest_text(content.payload), digest_text(content.whole)
        fields = (("WARC-Payload-Digest", payload), ("WARC-Block-Digest", whole), *_block(block))
        self._send(("response", uri, time, _HTTP), fields, content.body, content.length, _ExactHead(content.head))

    def revisit(self, uri: str, time: Instant, head: bytes, payload: Digest, first: Origin, block: int) -> None:
        """A head whose body is that of an earlier record."""
        fields = (
            ("WARC-Payload-Digest", digest_text(payload)),
            ("WARC-Profile", _PROFILE),
            ("WARC-Refers-To-Target-URI", first.uri),
            ("WARC-Refers-To-Date", date_text(first.time)),
            *_block(block),
        )
        self._send(("revisit", uri, time, _HTTP), fields, BytesIO(), 0, _ExactHead(head))

    def _write(self, kind: str, uri: str, time: Instant, data: bytes, media: str, fields: Sequence[tuple[str, str]]) -> None:
        self._send((kind, uri, time, media), fields, BytesIO(data), len(data))

    def _send(
        self,
        what: tuple[str, str, Instant, str],
        fields: Sequence[tuple[str, str]],
        stream: BinaryIO,
        length: int,
        head: _ExactHead | None = None,
    ) -> None:
        kind, uri, time, media = what
        lines = [("WARC-Type", kind), ("WARC-Record-ID", f"<urn:uuid:{uuid4()}>"), ("WARC-Date", date_text(time))]
        if uri:
            lines.append(("WARC-Target-URI", uri))
        headers = StatusAndHeaders("", [*lines, *fields], protocol=VERSION)
        record = ArcWarcRecord("warc", kind, headers, stream, head, media, length)
        record.payload_length = length
        self._writer.write_record(record)


def _block(block: int | None) -> tuple[tuple[str, str], ...]:
    return () if block is None else ((BLOCK, str(block)),)


class Record:
    """One record while it is read. `kind` is its own word or its WARC type, `block` the height it says, `length` its bytes."""

    def __init__(self, record: Any) -> None:
        fields = record.rec_headers
        self.kind: str = fields.get_header(KIND) or record.rec_type or ""
        height = fields.get_header(BLOCK) or ""
        self.block = int(height) if height.isascii() and height.isdecimal() and len(height) < 16 else None
        self.length = int(record.length or 0)
        self._stream = record.raw_stream
        self._left = self.length

    def __repr__(self) -> str:
        return f"<Record {self.kind} block={self.block} length={self.length}>"

    @property
    def where(self) -> dict[str, object]:
        """For the fields of an error."""
        return {"record": self.kind} if self.block is None else {"block": self.block}

    def read(self, count: int) -> bytes:
        """The next bytes, `count` at most; empty at the end. Raises `ProofRefused` when the file breaks off in the record."""
        if not self._left:
            return b""
        try:
            data: bytes = self._stream.read(min(count, self._left))
        except _NOT_READABLE as error:
            raise ProofRefused("record cannot be read", why=str(error), **self.where) from None
        if not data:
            raise ProofRefused("file breaks off within a record", **self.where)
        self._left -= len(data)
        return data

    def whole(self, most: int) -> bytes:
        """All of it. Raises `ProofRefused` when it is longer than `most`, or not all there."""
        if self.length > most:
            raise ProofRefused("record is too long", length=self.length, most=most, **self.where)
        pieces = []
        while piece := self.read(1 << 20):
            pieces.append(piece)
        return b"".join(pieces)


def _bound_lines(reader: Any) -> None:
    """warcio reads lines of any length, and any number of them; what a small file unpacks to may have no end."""
    readline, read, left = reader.readline, reader.read, [MAX_FIELDS]

    def bounded(length: int = 0) -> bytes:
        line: bytes = readline(min(length or MAX_FIELDS, left[0] + 1))
        left[0] -= len(line)
        if left[0] < 0:
            raise ArchiveLoadFailed("fields of a record are too long")
        return line

    def renewed(length: int | None = None) -> bytes:
        left[0] = MAX_FIELDS
        data: bytes = read(length)
        return data

    reader.readline, reader.read = bounded, renewed


def _why(error: Exception) -> str:
    """In words; warcio quotes the line that it could not read, which is any bytes where a file is damaged."""
    return str(error).partition(", first line")[0]


def read_records(file: BinaryIO) -> Iterator[Record]:
    """The records of a file, each to be read before the next. Raises `ProofRefused` where it is no WARC."""
    last = "the beginning"
    records = WARCIterator(file, no_record_parse=True)
    _bound_lines(records.reader)
    while True:
        try:
            found = next(records, None)
        except _NOT_READABLE as error:
            raise ProofRefused("file is damaged, or no WARC", after=last, why=_why(error)) from None
        if found is None:
            return
        record = Record(found)
        yield record
        last = f"block {record.block}" if record.block is not None else f"record {record.kind!r}"
