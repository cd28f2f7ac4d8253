"""Load of new TLS connections: each is a handshake, one request, its answer, and the end.

`python -m benchmarks.connects PORT MODE SECONDS`, MODE `full` or `resumed`, prints one line of JSON that starts with RESULT.

`openssl s_time` would do nearly the same, but sends neither SNI nor Host, does not tell whether a session was resumed, opens one
connection at a time and knows no percentiles. Here a few processes open one connection after the other with SNI; answers are
compared, and a connection that was resumed when it should not have been, or the reverse, counts as wrong. Certificates are not
verified in the loop (that was done before, and is the client's work, not the server's).
"""

import contextlib
import json
import multiprocessing
import socket
import ssl
import statistics
import sys
import time
from dataclasses import dataclass, field

from benchmarks.authority import HOST
from benchmarks.origin import text

PROCESSES = 4
SIZE = 100
PATH = f"/b/{SIZE}"
REQUEST = f"GET {PATH} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
"""As browsers ask: nobody says Connection: close, which some servers answer on a slower way of their own."""
MODES = ("full", "resumed")
PATIENCE = 10.0


@dataclass(slots=True)
class Tally:
    """What one process saw. Latencies in seconds, from before connect to the end of the answer."""

    latencies: list[float] = field(default_factory=list)
    wrong: int = 0
    errors: int = 0
    seconds: float = 0.0
    spoken: str = ""


@dataclass(frozen=True, slots=True)
class Connected:
    """One connection, after its end."""

    answer: bytes
    session: ssl.SSLSession | None
    was_resumed: bool
    spoken: str
    """Version and cipher that the server settled on."""


def connect(port: int, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> Connected:
    """Connect, ask, read the answer, and close as is proper. Raises OSError (of which ssl.SSLError is one)."""
    raw = socket.create_connection(("127.0.0.1", port), PATIENCE)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # or the request waits for the acknowledgement of Finished
    with context.wrap_socket(raw, server_hostname=HOST, session=session) as connection:
        connection.sendall(REQUEST)
        answer = b""
        while not is_whole(answer) and (piece := connection.recv(16_384)):
            answer += piece
        # Only now: the tickets of TLS 1.3 come after the handshake, and once closed it knows nothing.
        said = f"{connection.version()} {(connection.cipher() or ('',))[0]}"
        done = Connected(answer, connection.session, bool(connection.session_reused), said)
        connection.setblocking(False)
        with contextlib.suppress(OSError):  # it sends close_notify, and does not wait for the server's
            connection.unwrap()
        return done


def is_whole(answer: bytes) -> bool:
    """Whether as much has come as the right answer has."""
    _, end, body = answer.partition(b"\r\n\r\n")
    return bool(end) and len(body) >= SIZE


def is_right(answer: bytes) -> bool:
    """Whether it is a 200 with the body that belongs to the path."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.split(b" ", 2)[1:2] == [b"200"] and body == text(SIZE)


def load_context() -> ssl.SSLContext:
    """For the loop, and only there: nothing is verified."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context


def hammer(port: int, mode: str, seconds: float) -> Tally:
    """Open connections for `seconds`. The first one is full, is not counted, and gives the session that `resumed` takes up."""
    context = load_context()
    first = connect(port, context)
    session = first.session if mode == "resumed" else None
    tally = Tally(spoken=first.spoken)
    began = time.perf_counter()
    while (now := time.perf_counter()) < began + seconds:
        try:
            done = connect(port, context, session)
        except OSError:
            tally.errors += 1
            continue
        tally.latencies.append(time.perf_counter() - now)
        tally.wrong += not is_right(done.answer) or done.was_resumed is not (mode == "resumed")
    tally.seconds = time.perf_counter() - began
    return tally


def resumes(port: int) -> bool:
    """Whether a session of one connection is taken up by the next. Raises OSError."""
    context = load_context()
    return connect(port, context, connect(port, context).session).was_resumed


def summed(tallies: list[Tally]) -> dict[str, object]:
    """The figures of all processes together, in the shape that the other load tools report."""
    latencies = sorted(one for tally in tallies for one in tally.latencies)
    cuts = statistics.quantiles(latencies, n=100, method="inclusive") if len(latencies) > 1 else [0.0] * 99
    return {
        "requests": len(latencies),
        "seconds": max((tally.seconds for tally in tallies), default=0.0),
        "p50_us": round(cuts[49] * 1e6),
        "p99_us": round(cuts[98] * 1e6),
        "bad_status": sum(tally.wrong for tally in tallies),
        "socket_errors": sum(tally.errors for tally in tallies),
        "spoken": next((tally.spoken for tally in tallies), ""),
    }


def main() -> None:
    port, mode, seconds = int(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    if mode not in MODES:
        sys.exit(f"no such mode: {mode}; there are {' and '.join(MODES)}")
    with multiprocessing.get_context("fork").Pool(PROCESSES) as pool:
        tallies = pool.starmap(hammer, [(port, mode, seconds)] * PROCESSES, chunksize=1)
    print("RESULT " + json.dumps(summed(tallies)))


if __name__ == "__main__":
    main()
