"""uvloop's own TLS server with one ready answer (`benchmarks.plain_tls`), beside the others for the cost of a handshake."""

import sys
from importlib.metadata import version

from benchmarks.peers.peer import Place
from benchmarks.scenarios import HANDSHAKES


class Plain:
    name = "uvloop"
    binary = sys.executable
    package = None

    def version(self) -> str:
        return f"uvloop {version('uvloop')} create_server(ssl=)"

    def lacks(self, scenario: str) -> str | None:
        return None if scenario in HANDSHAKES else "it is here for the cost of handshakes only"

    def command(self, place: Place) -> list[str]:
        return [sys.executable, "-m", "benchmarks.plain_tls", str(place.tls_port), str(place.identity.chain_and_key)]
