"""When the serving process starts over with its allocator set up."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgeproxy.launch import SETTING, VARIABLE, is_worth_it


def test_a_glibc_that_knows_the_tunables_is_set_up() -> None:
    assert is_worth_it({}, ("glibc", "2.36"))
    assert is_worth_it({}, ("glibc", "2.35.1"))


@pytest.mark.parametrize(
    ("environ", "libc"),
    [
        ({VARIABLE: ""}, ("glibc", "2.36")),
        ({VARIABLE: SETTING}, ("glibc", "2.36")),
        ({VARIABLE: "glibc.malloc.check=1"}, ("glibc", "2.36")),
        ({}, ("glibc", "2.31")),
        ({}, ("glibc", "")),
        ({}, ("", "")),
    ],
)
def test_nothing_is_started_over_otherwise(environ: dict[str, str], libc: tuple[str, str]) -> None:
    assert not is_worth_it(environ, libc)


def test_the_process_stays_the_same_and_its_children_are_not_told() -> None:
    """Wherever it runs: set up or not, one process, the arguments as given, the variable gone."""
    program = "import os, sys; from edgeproxy.launch import start_over; start_over(); print(os.getpid(), *sys.argv[1:], sep='|')"
    more = f"; print(os.environ.get('{VARIABLE}'))"
    environ = {name: value for name, value in os.environ.items() if name != VARIABLE}
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", program + more, "a b", "--c"], stdout=subprocess.PIPE, text=True, env=environ, cwd=root
    ) as process:
        said, _ = process.communicate(timeout=30)
    assert said.splitlines() == [f"{process.pid}|a b|--c", "None"]
    assert process.returncode == 0
