"""Flags and arguments that several commands share, and the data folder they lead to.

Owns: their names and help texts, and what is said of a URL that is none.
"""

from pathlib import Path
from typing import Annotated

import typer

from edgeproxy.commands.printing import wrong_usage

Config = Annotated[
    Path | None, typer.Option("--config", "-c", metavar="FILE", help="Configuration file (TOML).", show_default=False)
]
Data = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="Data folder of the edge. [default: ./edgeproxy-data]", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
ListenTls = Annotated[
    list[str] | None, typer.Option(metavar="ADDR", help="Address for HTTPS; repeatable. [default: none]", show_default=False)
]
AcmeDirectory = Annotated[
    str | None, typer.Option(metavar="URL", help="The authority's directory. [default: Let's Encrypt]", show_default=False)
]
AcmeCa = Annotated[
    str | None, typer.Option(metavar="FILE", help="Who signs that directory's own certificate (PEM).", show_default=False)
]


def data_folder(data: Path | None, config: Path | None) -> Path:
    """The data folder that `--data` names, else the one of `--config`, else the default. Raises `ConfigError`."""
    if data is not None:
        return data
    from edgeproxy.config import data_of

    return data_of(config)


def require_url(url: str) -> None:
    """End with status 2 for what is not an absolute URL."""
    if not url.startswith(("http://", "https://")):
        wrong_usage(f"{url!r} is not an absolute URL; allowed: http://HOST/PATH or https://HOST/PATH")
