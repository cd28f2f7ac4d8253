"""edgeproxy itself: one process, access log to a file, metrics on, everything written to its ledger."""

import sys
from pathlib import Path

import edgeproxy
from benchmarks.ports import free_port

CONFIG = """
[edge]
node = "bench"
data = "{folder}/data"
memory = "2GiB"
disk = "8GiB"

[listen]
http = ["127.0.0.1:{port}"]
admin = "127.0.0.1:{admin}"

[telemetry]
metrics = true
access_log = "{folder}/access.log"

[[site]]
hosts = ["*"]
origins = ["http://127.0.0.1:{origin}"]
"""


class Edge:
    name = "edgeproxy"
    binary = sys.executable
    package = None

    def version(self) -> str:
        return f"edgeproxy/{edgeproxy.__version__}"

    def command(self, folder: Path, port: int, origin: int) -> list[str]:
        config = folder / "edgeproxy.toml"
        config.write_text(CONFIG.format(folder=folder, port=port, admin=free_port(), origin=origin), encoding="utf-8")
        return [sys.executable, "-m", "edgeproxy", "run", "--config", str(config)]
