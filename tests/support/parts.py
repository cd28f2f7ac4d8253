"""System parts that some tests need: programs, and the right to make a network namespace."""

import os
import shutil
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent


def program(name: str) -> str | None:
    """Where a program is: beside this Python, or on the path."""
    beside = BIN / name
    return str(beside) if beside.exists() else shutil.which(name)


def need(*programs: str, root: bool = False) -> None:
    """Skip the test, naming what is missing; with CI=true that is a failure."""
    missing = [name for name in programs if program(name) is None]
    if root and os.geteuid() != 0:
        missing.append("the rights of root, for a network namespace")
    if missing:
        assert os.environ.get("CI") != "true", f"missing: {', '.join(missing)}"
        pytest.skip(f"missing: {', '.join(missing)}")


def located(name: str) -> str:
    """Where a program is; fails the test where it is not."""
    found = program(name)
    assert found is not None, f"missing: {name}"
    return found
