"""HAProxy: its cache of small objects in memory, one thread. It has no log file of its own and no coalescing; logging is off."""

from pathlib import Path

from benchmarks.peers.peer import said_by

CONFIG = """
global
    nbthread 1
    maxconn 4096

defaults
    mode http
    timeout connect 5s
    timeout client 75s
    timeout server 60s
    timeout http-keep-alive 75s
    http-reuse always

cache edge
    total-max-size 2047
    max-object-size 2097152
    max-age 86400

frontend clients
    bind 127.0.0.1:{port} backlog 1024
    http-request cache-use edge
    http-response cache-store edge
    default_backend origin

backend origin
    server origin 127.0.0.1:{origin} maxconn 512
"""


class Haproxy:
    name = "HAProxy"
    binary = "haproxy"
    package = "haproxy"

    def version(self) -> str:
        return " ".join(said_by("haproxy", "-v").split()[:3])

    def command(self, folder: Path, port: int, origin: int) -> list[str]:
        config = folder / "haproxy.cfg"
        config.write_text(CONFIG.format(port=port, origin=origin), encoding="utf-8")
        return ["haproxy", "-db", "-f", str(config)]
