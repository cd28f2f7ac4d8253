"""Starts the serving process over again with the memory allocator set up for it.

Owns: that one decision. glibc reads its tunables when a program starts, so they have to be there before Python is.

With huge pages bodies in memory lie on 2 MiB pages instead of 4 KiB ones. A mixed load over much memory spends a fifth less CPU
then, since copying a body into a socket no longer walks the page tables for each 4 KiB of it; on a virtual machine, twice. It
costs no memory that the edge would not use. Where GLIBC_TUNABLES is set already, it stays as it is.
"""

import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path

VARIABLE = "GLIBC_TUNABLES"
SETTING = "glibc.malloc.hugetlb=1"
"""`madvise` what malloc gets (glibc 2.35 and later)."""
_FIRST = (2, 35)
_SWITCH = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def wants_huge_pages(environ: Mapping[str, str], libc: tuple[str, str], switch: str) -> bool:
    """Whether starting over brings something. `libc`: as `platform.libc_ver` has it; `switch`: the kernel's for huge pages."""
    name, version = libc
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    return VARIABLE not in environ and name == "glibc" and numbers >= _FIRST and "[madvise]" in switch


def start_over() -> None:
    """Replace this process by the same one with huge pages, where that is possible; does not return then.

    Process id, open files and sockets handed over by systemd stay. Call it before anything is started.
    """
    try:
        switch = _SWITCH.read_text(encoding="ascii")
    except OSError:
        switch = ""
    if wants_huge_pages(os.environ, platform.libc_ver(), switch):
        os.environ[VARIABLE] = SETTING
        sys.stdout.flush()
        sys.stderr.flush()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    elif os.environ.get(VARIABLE) == SETTING:
        del os.environ[VARIABLE]  # it was for this process, and not for the operator's commands that it runs
