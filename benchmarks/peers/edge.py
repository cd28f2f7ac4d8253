"""edgeproxy itself: one process, access log to a file, metrics on, everything written to its ledger.

Its certificate is imported into the vault, as by someone who moves to it. An authority of one's own is named, since for a private
name and without one the edge signs itself, whatever the vault has; it does not exist, and is not asked while the import is good.
"""

import subprocess
import sys

import edgeproxy
from benchmarks.authority import HOST
from benchmarks.peers.peer import Place
from benchmarks.ports import free_port

CONFIG = """
[edge]
node = "bench"
data = "{folder}/data"
memory = "2GiB"
disk = "8GiB"

[listen]
http = ["127.0.0.1:{port}"]
https = ["127.0.0.1:{tls_port}"]
admin = "127.0.0.1:{admin}"

[telemetry]
metrics = true
access_log = "{folder}/access.log"

[acme]
directory = "http://127.0.0.1:{nobody}/directory"

[[site]]
hosts = ["{host}"]
origins = ["http://127.0.0.1:{origin}"]
tls.redirect = false
"""


class Edge:
    name = "edgeproxy"
    binary = sys.executable
    package = None

    def version(self) -> str:
        return f"edgeproxy/{edgeproxy.__version__}"

    def lacks(self, scenario: str) -> str | None:
        return None

    def command(self, place: Place) -> list[str]:
        config, identity = place.folder / "edgeproxy.toml", place.identity
        ports = {
            "port": place.port,
            "tls_port": place.tls_port,
            "admin": free_port(),
            "nobody": free_port(),
            "origin": place.origin,
        }
        config.write_text(CONFIG.format(folder=place.folder, host=HOST, **ports), encoding="utf-8")
        program = [sys.executable, "-m", "edgeproxy"]
        given = [HOST, str(identity.chain), str(identity.key)]
        subprocess.run([*program, "certs", "import", *given, "--config", str(config)], check=True, stdout=subprocess.DEVNULL)
        return [*program, "run", "--config", str(config)]
