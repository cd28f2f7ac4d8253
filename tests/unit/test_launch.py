"""When the serving process starts over with huge pages."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgeproxy.launch import SETTING, VARIABLE, wants_huge_pages

MADVISE = "always [madvise] never\n"
GLIBC = ("glibc", "2.36")


def test_huge_pages_are_wanted_where_the_kernel_leaves_them_to_the_program() -> None:
    assert wants_huge_pages({}, GLIBC, MADVISE)


@pytest.mark.parametrize(
    ("environ", "libc", "switch"),
    [
        ({VARIABLE: ""}, GLIBC, MADVISE),
        ({VARIABLE: SETTING}, GLIBC, MADVISE),
        ({VARIABLE: "glibc.malloc.check=1"}, GLIBC, MADVISE),
        ({}, ("glibc", "2.31"), MADVISE),
        ({}, ("glibc", ""), MADVISE),
        ({}, ("", ""), MADVISE),
        ({}, GLIBC, "[always] madvise never\n"),
        ({}, GLIBC, "always madvise [never]\n"),
        ({}, GLIBC, ""),
    ],
)
def test_nothing_is_started_over_otherwise(environ: dict[str, str], libc: tuple[str, str], switch: str) -> None:
    assert not wants_huge_pages(environ, libc, switch)


def test_the_process_stays_the_same_and_its_children_are_not_told() -> None:
    """Wherever it runs: with or without huge pages, one process, the arguments as given, the variable gone."""
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
