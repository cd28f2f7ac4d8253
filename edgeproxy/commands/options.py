"""Flags that several commands share, and the data folder they lead to.

Owns: their names and help texts.
"""

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[
    Path | None, typer.Option("--config", "-c", metavar="FILE", help="Configuration file (TOML).", show_default=False)
]
Data = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="Data folder of the edge. [default: ./edgeproxy-data]", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


def data_folder(data: Path | None, config: Path | None) -> Path:
    """The data folder that `--data` names, else the one of `--config`, else the default. Raises `ConfigError`."""
    if data is not None:
        return data
    from edgeproxy.config import data_of

    return data_of(config)
