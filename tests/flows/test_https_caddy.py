"""One command against a second, independent authority: Caddy's acme_server, on ports 80 and 443 of a network namespace."""

import json
import sys
from pathlib import Path

from tests.support.caddy_ca import PROGRAMS, inside_caddy
from tests.support.edge_on_caddy import NAMES
from tests.support.parts import need


def test_one_command_brings_names_and_an_address_onto_https(tmp_path: Path) -> None:
    need(*PROGRAMS, root=True)
    done = inside_caddy(tmp_path, [sys.executable, "-m", "tests.support.edge_on_caddy", str(tmp_path)])
    assert done.returncode == 0, done.stderr[-4_000:]
    assert json.loads(done.stdout) == [
        line
        for name in NAMES
        for line in (
            [name, "http/1.1", 200, "hello"],
            [name, "h2", 200, "hello"],
            [308, f"https://{name}/path?query=1"],
        )
    ]
