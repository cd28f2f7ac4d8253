"""Bodies of a gigabyte, made and thrown away on the fly by blocking sockets in threads, and the memory of the process between.

Checks by CRC-32 that what came out is what went in.
"""

import os
import re
import socket
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

PIECE = os.urandom(1 << 20)
PATIENCE = 60.0

_EXPECTED: dict[int, int] = {}


def crc_of(pieces: int) -> int:
    """CRC-32 of `PIECE` so many times."""
    if pieces not in _EXPECTED:
        value = 0
        for _ in range(pieces):
            value = zlib.crc32(PIECE, value)
        _EXPECTED[pieces] = value
    return _EXPECTED[pieces]


def peak_memory(pid: int) -> int:
    """Most resident bytes that the process ever had, since the last `forget_peak`."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


def forget_peak(pid: int) -> None:
    """Let the peak begin anew at what is resident now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def read_head(sock: socket.socket) -> tuple[bytes, bytes]:
    """A message head with its empty line, and what came behind it."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        assert more, f"connection ended inside a head: {data!r}"
        data += more
    head, end, rest = data.partition(b"\r\n\r\n")
    return head + end, rest


def read_body(sock: socket.socket, head: bytes, rest: bytes) -> bytes:
    """A small body that `head` announces the length of, and that begins with `rest`."""
    found = re.search(rb"(?i)\r\ncontent-length: (\d+)\r\n", head)
    assert found is not None
    while len(rest) < int(found[1]):
        more = sock.recv(65536)
        assert more, "connection ended inside a body"
        rest += more
    return rest


def send_pieces(sock: socket.socket, pieces: int, *, chunked: bool) -> None:
    """The body, as it is or each piece as a chunk."""
    for _ in range(pieces):
        if chunked:
            sock.sendall(b"%x\r\n" % len(PIECE))
        sock.sendall(PIECE)
        if chunked:
            sock.sendall(b"\r\n")
    if chunked:
        sock.sendall(b"0\r\n\r\n")


def crc_of_length(sock: socket.socket, rest: bytes, length: int) -> int:
    """CRC-32 of a body of `length` bytes that begins with `rest`."""
    value, left = zlib.crc32(rest), length - len(rest)
    buffer = memoryview(bytearray(1 << 20))
    while left:
        count = sock.recv_into(buffer[: min(left, len(buffer))])
        assert count, f"connection ended {left} bytes before the end of the body"
        value, left = zlib.crc32(buffer[:count], value), left - count
    return value


def crc_of_chunks(sock: socket.socket, rest: bytes) -> int:
    """CRC-32 of a chunked body whose bytes begin with `rest`, read to its last chunk."""
    value = 0
    with sock.makefile("rb", buffering=1 << 20) as file:
        head = _Joined(rest, file)
        while size := int(head.line(), 16):
            for part in head.parts(size):
                value = zlib.crc32(part, value)
            assert head.line() == b""
        assert head.line() == b""
    return value


class _Joined:
    """Bytes that were read already, then a file."""

    def __init__(self, rest: bytes, file: object) -> None:
        self._rest = rest
        self._file = file

    def line(self) -> bytes:
        if b"\n" in self._rest:
            line, _, self._rest = self._rest.partition(b"\n")
        else:
            line, self._rest = self._rest + self._file.readline(), b""  # type: ignore[attr-defined]
            line = line.removesuffix(b"\n")
        return line.removesuffix(b"\r")

    def parts(self, size: int) -> list[bytes]:
        part, self._rest = self._rest[:size], self._rest[size:]
        left = size - len(part)
        return [part, self._file.read(left)] if left else [part]  # type: ignore[attr-defined]


@dataclass
class BulkOrigin:
    """Serves each connection in a thread: reads one head, and `serve` does the rest. Errors are kept for `close` to raise."""

    serve: Callable[[socket.socket, bytes, bytes], None]
    errors: list[BaseException] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listening.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._run, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _run(self, sock: socket.socket) -> None:
        with sock:
            sock.settimeout(PATIENCE)
            try:
                head, rest = read_head(sock)
                self.serve(sock, head, rest)
            except BaseException as error:
                self.errors.append(error)

    def close(self) -> None:
        """Stop, and raise what went wrong in a thread."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._accepting.join(PATIENCE)
        for thread in self._threads:
            thread.join(PATIENCE)
        for error in self.errors:
            raise error
