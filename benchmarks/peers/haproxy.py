"""HAProxy: its cache of small objects in memory, one thread. It has no log file of its own and no coalescing; logging is off."""

from benchmarks.peers.peer import Place, said_by

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
    bind 127.0.0.1:{tls_port} backlog 1024 ssl crt {chain_and_key} alpn h2,http/1.1 ssl-min-ver TLSv1.2
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

    def lacks(self, scenario: str) -> str | None:
        return None

    def command(self, place: Place) -> list[str]:
        config = place.folder / "haproxy.cfg"
        ports = {"port": place.port, "tls_port": place.tls_port, "origin": place.origin}
        config.write_text(CONFIG.format(chain_and_key=place.identity.chain_and_key, **ports), encoding="utf-8")
        return ["haproxy", "-db", "-f", str(config)]
