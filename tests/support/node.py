"""The Node side of the repository: where it is, and whether it can run here."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.parts import need

SW = Path(__file__).parents[2] / "sw"


def need_node() -> None:
    """Skip the test where Node or the worker's tools are missing; with CI=true that is a failure."""
    need("node")
    if not (SW / "node_modules" / ".package-lock.json").exists():
        assert os.environ.get("CI") != "true", "missing: sw/node_modules (make node-parts)"
        pytest.skip("missing: sw/node_modules (make node-parts)")


def run_node(*arguments: str) -> str:
    """What a script in the folder of the worker prints."""
    done = subprocess.run(["node", *arguments], cwd=SW, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
