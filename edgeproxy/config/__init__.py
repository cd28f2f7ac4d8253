"""Configuration: TOML file and flags in, one checked immutable `Config` or all faults out.

`model` declares the keys, `values` judges single values, `crosscheck` what lies between them, `faults` words it, `flags` lie
over the file, `loading` reads.
"""

from edgeproxy.config.flags import NO_FLAGS, Flags
from edgeproxy.config.loading import data_of, from_flags, load, needs_restart, reread
from edgeproxy.config.model import (
    Config,
    Edge,
    Ledger,
    Limits,
    Listen,
    Site,
    SiteCache,
    SiteOrigin,
    SiteRecovery,
    SiteServiceWorker,
    Telemetry,
)

__all__ = [
    "NO_FLAGS",
    "Config",
    "Edge",
    "Flags",
    "Ledger",
    "Limits",
    "Listen",
    "Site",
    "SiteCache",
    "SiteOrigin",
    "SiteRecovery",
    "SiteServiceWorker",
    "Telemetry",
    "data_of",
    "from_flags",
    "load",
    "needs_restart",
    "reread",
]
