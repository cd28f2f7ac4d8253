"""The scripts in the package are what the sources of the worker give, fit their budgets, and go into the wheel."""

import base64
import gzip
import hashlib
import json
import re
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest

from tests.support.node import need_node, run_node

BUILT = files("edgeproxy") / "service_worker_files"
BUDGETS = {"edge-sw.js": (30_720, 10_240), "register.js": (4_096, 1_228), "banner.js": (8_192, 3_072), "kill.js": (1_024, 512)}


@pytest.mark.parametrize("name", BUDGETS)
def test_the_manifest_agrees_and_the_budget_holds(name: str) -> None:
    data = (BUILT / name).read_bytes()
    said = json.loads((BUILT / "manifest.json").read_text())[name]
    sha384 = base64.b64encode(hashlib.sha384(data).digest()).decode()
    assert said == {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), "sha384": sha384}
    most, most_gzip = BUDGETS[name]
    assert len(data) <= most
    # The build holds to the byte, by Node's zlib; another zlib may need two per cent more.
    assert len(gzip.compress(data, 9)) <= most_gzip * 1.02


def test_the_manifest_names_all_and_no_others() -> None:
    names = {entry.name for entry in BUILT.iterdir()}
    assert names == {*BUDGETS, "manifest.json"}
    assert set(json.loads((BUILT / "manifest.json").read_text())) == set(BUDGETS)


def test_the_worker_knows_the_page_scripts_it_was_built_with() -> None:
    worker = (BUILT / "edge-sw.js").read_text()
    for name in ("register.js", "banner.js"):
        assert hashlib.sha256((BUILT / name).read_bytes()).hexdigest()[:32] in worker


def test_scripts_are_classic_and_say_nothing_of_a_machine() -> None:
    for name in BUDGETS:
        text = (BUILT / name).read_text()
        assert re.search(r"^\s*(?:import|export)\b", text, re.MULTILINE) is None
        assert "/work" not in text
        assert "sourceMappingURL" not in text
        assert "</script" not in text or name == "edge-sw.js"


def test_the_wheel_takes_the_folder() -> None:
    root = Path(__file__).parents[3]
    wheel = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel == {"packages": ["edgeproxy"]}
    ignored = [line for line in (root / ".gitignore").read_text().splitlines() if line]
    assert not any("service_worker_files".startswith(line.strip("/*")) for line in ignored if line.strip("/*"))


def test_the_committed_files_are_a_fresh_build(tmp_path: Path) -> None:
    need_node()
    run_node("build.mjs", str(tmp_path))
    for name in (*BUDGETS, "manifest.json"):
        assert (tmp_path / name).read_bytes() == (BUILT / name).read_bytes(), f"{name} is not what its sources give: make sw"
