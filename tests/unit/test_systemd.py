"""Sockets that systemd hands over: which of them speak TLS is in their names."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.dup2(int(sys.argv[2]), 4)
os.environ.update(LISTEN_FDS=sys.argv[3], LISTEN_FDNAMES=sys.argv[4], LISTEN_PID=sys.argv[5] or str(os.getpid()))
from edgeproxy.systemd import inherited_sockets
found = inherited_sockets()
print(*(",".join(str(one.getsockname()[1]) for one in kind) for kind in found), sep=";")
"""


def said(count: str, names: str, pid: str = "") -> str:
    """What a process finds that was handed two sockets, with their ports as A and B."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        numbers = [one.fileno(), other.fileno()]
        # Numbers above 4, so that neither is overwritten before it is copied.
        high = [socket.fromfd(number, socket.AF_INET, socket.SOCK_STREAM) for number in numbers]
        try:
            done = subprocess.run(
                [sys.executable, "-c", PROGRAM, *(str(each.fileno()) for each in high), count, names, pid],
                cwd=Path(__file__).parents[2],
                pass_fds=[each.fileno() for each in high],
                capture_output=True,
                text=True,
                timeout=30,
            )
        finally:
            for each in high:
                each.close()
        assert done.returncode == 0, done.stderr
        ports = {str(one.getsockname()[1]): "A", str(other.getsockname()[1]): "B"}
        return ";".join(",".join(ports[port] for port in kind.split(",") if port) for kind in done.stdout.strip().split(";"))


@pytest.mark.parametrize(
    ("count", "names", "found"),
    [
        ("2", "http:https", "A;B"),
        ("2", "https:edgeproxy.socket", "B;A"),
        ("2", "", "A,B;"),
        ("2", "http", "A,B;"),
        ("1", "https:https", ";A"),
        ("none", "http", ";"),
    ],
)
def test_the_name_says_which_socket_speaks_tls(count: str, names: str, found: str) -> None:
    assert said(count, names) == found


def test_sockets_of_another_process_are_left_alone() -> None:
    assert said("2", "http:https", pid="1") == ";"
