"""A gigabyte each way through an edge process whose memory stays bounded."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.bulk import (
    PATIENCE,
    PIECE,
    BulkOrigin,
    crc_of,
    crc_of_chunks,
    crc_of_length,
    forget_peak,
    peak_memory,
    read_body,
    read_head,
    send_pieces,
)
from tests.support.edge import EdgeProcess, write_config

PIECES = 1024
"""1 GiB."""

LENGTH = PIECES * len(PIECE)

ROOM = 48 << 20
"""Bytes of memory that one exchange may add, whatever it carries."""

Serve = Callable[[socket.socket, bytes, bytes], None]


@contextmanager
def edge_before(folder: Path, serve: Serve, site: str = "") -> Iterator[tuple[EdgeProcess, socket.socket]]:
    """An edge process in front of `serve`, and a connection to it."""
    origin = BulkOrigin(serve)
    edge = EdgeProcess(write_config(folder, origin.url, site=site))
    host, _, port = edge.start().removeprefix("http://").rpartition(":")
    try:
        with socket.create_connection((host, int(port)), PATIENCE) as sock:
            yield edge, sock
        assert edge.stop() == 0
        origin.close()
    finally:
        if edge.process is not None and edge.process.poll() is None:
            edge.kill()


@contextmanager
def bounded_memory(edge: EdgeProcess) -> Iterator[None]:
    """The block must not make the edge's memory grow beyond `ROOM`."""
    assert edge.process is not None
    pid = edge.process.pid
    forget_peak(pid)
    before = peak_memory(pid)
    yield
    grown = peak_memory(pid) - before
    assert grown < ROOM, f"{grown >> 20} MiB more than before"


def download(*fields: bytes, chunked: bool) -> Serve:
    """An origin that sends the gigabyte."""

    def serve(sock: socket.socket, head: bytes, rest: bytes) -> None:
        framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % LENGTH
        sock.sendall(b"\r\n".join((b"HTTP/1.1 200 OK", *fields, framing, b"", b"")))
        send_pieces(sock, PIECES, chunked=chunked)

    return serve


@pytest.mark.parametrize(
    ("fields", "chunked", "site"),
    [
        ((b"Cache-Control: no-store",), False, ""),
        ((b"Cache-Control: max-age=60",), True, '[site.cache]\nmax_object = "64MiB"\n'),
    ],
    ids=["not storable", "storable until it is larger than max_object"],
)
def test_a_gigabyte_down_with_bounded_memory(tmp_path: Path, fields: tuple[bytes, ...], chunked: bool, site: str) -> None:
    with edge_before(tmp_path, download(*fields, chunked=chunked), site) as (edge, sock), bounded_memory(edge):
        sock.sendall(b"GET /large HTTP/1.1\r\nHost: a.test\r\n\r\n")
        head, rest = read_head(sock)
        assert head.startswith(b"HTTP/1.1 200 ")
        assert (b"chunked" in head) is chunked
        got = crc_of_chunks(sock, rest) if chunked else crc_of_length(sock, rest, LENGTH)
        assert got == crc_of(PIECES)
    kept = [path for path in (tmp_path / "data" / "bodies").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in kept) < 1 << 20, "nothing of it stays on disk"


@pytest.mark.parametrize("chunked", [False, True], ids=["with its length", "chunked"])
def test_a_gigabyte_up_with_bounded_memory(tmp_path: Path, chunked: bool) -> None:
    def serve(sock: socket.socket, head: bytes, rest: bytes) -> None:
        assert (b"transfer-encoding: chunked" in head.lower()) is chunked
        got = crc_of_chunks(sock, rest) if chunked else crc_of_length(sock, rest, LENGTH)
        body = b"%d" % got
        sock.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    with edge_before(tmp_path, serve) as (edge, sock), bounded_memory(edge):
        framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % LENGTH
        sock.sendall(b"PUT /large HTTP/1.1\r\nHost: a.test\r\n%b\r\n\r\n" % framing)
        send_pieces(sock, PIECES, chunked=chunked)
        head, rest = read_head(sock)
        assert head.startswith(b"HTTP/1.1 201 ")
        assert read_body(sock, head, rest) == b"%d" % crc_of(PIECES)


def test_half_a_gigabyte_that_is_stored_comes_back_from_disk(tmp_path: Path) -> None:
    """512 MiB, to keep the disk of the machine that tests; written and read back piece by piece, each checked."""
    pieces = PIECES // 2
    length = pieces * len(PIECE)
    asked: list[bytes] = []

    def serve(sock: socket.socket, head: bytes, rest: bytes) -> None:
        asked.append(head)
        sock.sendall(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: %d\r\n\r\n" % length)
        send_pieces(sock, pieces, chunked=False)

    with edge_before(tmp_path, serve) as (edge, sock), bounded_memory(edge):
        deadline = time.monotonic() + PATIENCE
        head = b""
        while b"edge-block" not in head.lower():
            assert time.monotonic() < deadline, "the body was never recorded"
            method = b"HEAD" if head else b"GET"
            sock.sendall(method + b" /large HTTP/1.1\r\nHost: a.test\r\n\r\n")
            head, rest = read_head(sock)
            if method == b"GET":
                assert crc_of_length(sock, rest, length) == crc_of(pieces)
        sock.sendall(b"GET /large HTTP/1.1\r\nHost: a.test\r\n\r\n")
        head, rest = read_head(sock)
        assert b"edgeproxy;hit" in head
        assert crc_of_length(sock, rest, length) == crc_of(pieces)
    assert sum(each.startswith(b"GET ") for each in asked) == 1
