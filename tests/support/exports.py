"""Exports taken apart and put together again, for tests that tamper with them."""

import gzip
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from edgeproxy.recovery.restore import Outcome, Restore
from edgeproxy.recovery.restore_file import FileSource


@dataclass(frozen=True)
class Part:
    """One record: its WARC head, and its content."""

    head: str
    content: bytes

    @property
    def kind(self) -> str:
        """Of our own records the kind, of others the type."""
        return self.field("Edgeproxy-Kind") or self.field("WARC-Type")

    def field(self, name: str) -> str:
        return next((line.split(": ", 1)[1] for line in self.head.split("\r\n") if line.startswith(f"{name}: ")), "")

    def with_content(self, content: bytes) -> "Part":
        old = f"Content-Length: {len(self.content)}"
        assert old in self.head
        return replace(self, head=self.head.replace(old, f"Content-Length: {len(content)}"), content=content)

    def encode(self) -> bytes:
        return gzip.compress(self.head.encode() + b"\r\n\r\n" + self.content + b"\r\n\r\n", mtime=0)


def read_parts(path: Path) -> list[Part]:
    """The records of an export."""
    data, parts = gzip.decompress(path.read_bytes()), []
    while data:
        head, _, rest = data.partition(b"\r\n\r\n")
        part = Part(head.decode(), b"")
        length = int(part.field("Content-Length"))
        parts.append(Part(part.head, rest[:length]))
        assert rest[length : length + 4] == b"\r\n\r\n"
        data = rest[length + 4 :]
    return parts


def write_parts(path: Path, parts: list[Part]) -> Path:
    """The inverse, each record compressed by itself."""
    path.write_bytes(b"".join(part.encode() for part in parts))
    return path


def changed(parts: list[Part], wanted: Callable[[Part], bool], change: Callable[[bytes], bytes]) -> list[Part]:
    """`parts` with the content of one of them changed."""
    (place,) = [number for number, part in enumerate(parts) if wanted(part)]
    return [*parts[:place], parts[place].with_content(change(parts[place].content)), *parts[place + 1 :]]


async def restored(folder: Path, *files: Path) -> Outcome:
    """Restore `files` into `folder`, trusting the key in them."""
    sources = [FileSource(file) for file in files]
    try:
        return await Restore(folder, None, True, lambda log: None).run(sources)
    finally:
        for source in sources:
            source.close()
