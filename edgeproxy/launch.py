"""Starts the serving process over again with the memory allocator set up for it.

Owns: that one decision. glibc reads its tunables when a program starts, so they have to be there before Python is.

- Huge pages: bodies in memory lie on 2 MiB pages instead of 4 KiB ones, where the kernel leaves that to programs. A mixed load
  over much memory spends a fifth less CPU then, since copying a body into a socket no longer walks the page tables for each 4 KiB
  of it; on a virtual machine, twice.
- Thresholds: TLS takes a buffer of 256 KiB for each read. By default glibc may map and unmap such a buffer each time.

It costs no memory that the edge would not use, but for the 32 MiB that may wait to be used again. Where GLIBC_TUNABLES is set
already, it stays as it is.
"""

import os
import platform
import sys
from collections.abc import Mapping

VARIABLE = "GLIBC_TUNABLES"
SETTING = ":".join(
    (
        "glibc.malloc.hugetlb=1",  # madvise(MADV_HUGEPAGE) what malloc gets
        f"glibc.malloc.mmap_threshold={1 << 20}",
        f"glibc.malloc.trim_threshold={32 << 20}",
    )
)
_FIRST = (2, 35)
"""The version of glibc that has all of them."""


def is_worth_it(environ: Mapping[str, str], libc: tuple[str, str]) -> bool:
    """Whether starting over brings something. `libc`: as `platform.libc_ver` has it."""
    name, version = libc
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    return VARIABLE not in environ and name == "glibc" and numbers >= _FIRST


def start_over() -> None:
    """Replace this process by the same one with its allocator set up, where that is possible; does not return then.

    Process id, open files and sockets handed over by systemd stay. Call it before anything is started.
    """
    if is_worth_it(os.environ, platform.libc_ver()):
        os.environ[VARIABLE] = SETTING
        sys.stdout.flush()
        sys.stderr.flush()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    elif os.environ.get(VARIABLE) == SETTING:
        del os.environ[VARIABLE]  # it was for this process, and not for the operator's commands that it runs
