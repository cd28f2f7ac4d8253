"""`mirror export`: a static copy of a site that browsers can prove.

Owns: the flags and how the answer looks. The work is `recovery.mirror_export`.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from edgeproxy.commands.bars import bars
from edgeproxy.commands.options import AsJson, Config, Data, data_folder
from edgeproxy.commands.printing import bytes_text, count_text, print_facts, print_json

app = typer.Typer(help="Copies of a site for when the edge is out of reach.", no_args_is_help=True)


@app.callback()
def mirror() -> None:
    """Copies of a site for when the edge is out of reach."""


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that a web server serves.", show_default=False)],
    site: Annotated[
        str | None, typer.Option(metavar="HOST", help="Host of the site. [default: the only one]", show_default=False)
    ] = None,
    data: Data = None,
    config: Config = None,
    json: AsJson = False,
) -> None:
    """Write or bring up to date a copy that any web server can serve: browsers prove what they get. The edge may be running."""
    from edgeproxy.recovery.mirror_export import export as export_site

    with bars(stay=True) as move:
        done = export_site(data_folder(data, config), folder, site, move)
    if json:
        print_json(asdict(done))
        return
    left = ", ".join(f"{count} ({reason})" for reason, count in done.left_out.items())
    print_facts(
        f"{folder}: mirror of {done.host}, as of {count_text(done.size, 'block')}",
        (
            ("pages and files", done.urls),
            ("written", f"{count_text(done.written, 'file')}, {bytes_text(done.bytes)}"),
            ("kept", done.kept),
            ("removed", done.removed),
            ("left out", left or None),
        ),
    )
