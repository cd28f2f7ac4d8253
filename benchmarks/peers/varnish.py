"""Varnish: malloc storage, its own default VCL. Its log in shared memory is always on; nothing reads it (no varnishncsa)."""

from benchmarks.peers.peer import Place, said_by
from benchmarks.scenarios import SECURE


class Varnish:
    name = "Varnish"
    binary = "varnishd"
    package = "varnish"

    def version(self) -> str:
        return said_by("varnishd", "-V").removeprefix("varnishd (").partition(" revision")[0]

    def lacks(self, scenario: str) -> str | None:
        return "it speaks no TLS" if scenario in SECURE else None

    def command(self, place: Place) -> list[str]:
        config = place.folder / "default.vcl"
        config.write_text(
            f'vcl 4.1;\nbackend default {{ .host = "127.0.0.1"; .port = "{place.origin}"; .max_connections = 512; }}\n',
            encoding="utf-8",
        )
        parameters = ("thread_pools=1", "thread_pool_min=64", "thread_pool_max=512", "timeout_idle=75")
        return [
            *("varnishd", "-F", "-j", "none", "-n", str(place.folder / "work"), "-a", f"127.0.0.1:{place.port}"),
            *("-f", str(config), "-s", "malloc,2g", "-T", "none"),
            *(word for parameter in parameters for word in ("-p", parameter)),
        ]
