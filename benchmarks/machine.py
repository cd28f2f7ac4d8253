"""What a measurement was made on: figures of different machines, or kernels, are not comparable."""

import os
import platform
from importlib.metadata import version

PACKAGES = ("uvloop", "httptools", "aiohttp", "msgspec", "brotli", "zstandard")


def describe() -> dict[str, object]:
    """CPU, cores, kernel, Python and the libraries that matter."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }


def line() -> str:
    """The same on one line."""
    return ", ".join(f"{key} {value}" for key, value in describe().items())


def _cpu_model() -> str:
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as lines:
        for text in lines:
            if text.startswith("model name"):
                return text.partition(":")[2].strip()
    return platform.machine()
