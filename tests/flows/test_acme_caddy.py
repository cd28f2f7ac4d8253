"""The ACME client against a second, independent authority: Caddy's acme_server, in a network namespace of its own."""

import json
import sys
from pathlib import Path

from tests.support.caddy_ca import PROGRAMS, inside_caddy
from tests.support.issue_on_caddy import ASKED
from tests.support.parts import need


def test_names_an_address_and_a_wildcard_are_proved_to_caddy(tmp_path: Path) -> None:
    need(*PROGRAMS, root=True)
    done = inside_caddy(tmp_path, [sys.executable, "-m", "tests.support.issue_on_caddy", str(tmp_path)])
    assert done.returncode == 0, done.stderr[-4_000:]
    assert json.loads(done.stdout) == [
        {"challenge": challenge, "names": sorted(names), "renewal_info": None} for challenge, names in ASKED
    ]
