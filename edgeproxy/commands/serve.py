"""`run`, `demo`, `check`: commands that start an edge, or say whether one could start.

Owns: their flags. What happens then is the business of `edgeproxy.process`.
"""

from pathlib import Path
from typing import Annotated

import typer

from edgeproxy.commands.options import AcmeCa, AcmeDirectory, AsJson, Config, ListenTls
from edgeproxy.commands.printing import complain, count_text, print_json, print_line, print_table
from edgeproxy.errors import ConfigError


def run(
    config: Config = None,
    origin: Annotated[
        list[str] | None, typer.Option(metavar="URL", help="Site to stand in front of; repeatable.", show_default=False)
    ] = None,
    host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Host name to answer for; repeatable. [default: any]", show_default=False),
    ] = None,
    email: Annotated[
        str | None,
        typer.Option(
            metavar="ADDR", help="Get certificates for the hosts; the authority writes here. Opens :80, :443.", show_default=False
        ),
    ] = None,
    listen: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDR", help="Address for HTTP; repeatable. [default: 127.0.0.1:8080]", show_default=False),
    ] = None,
    listen_tls: ListenTls = None,
    acme_directory: AcmeDirectory = None,
    acme_ca: AcmeCa = None,
    admin: Annotated[
        str | None, typer.Option(metavar="ADDR", help="Address of the admin side. [default: 127.0.0.1:9180]", show_default=False)
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="DIR", help="Data folder. [default: ./edgeproxy-data]", show_default=False)
    ] = None,
    workers: Annotated[
        str | None, typer.Option(metavar="N|auto", help="Serving processes; this version runs one.", show_default=False)
    ] = None,
) -> None:
    """Run the edge in front of a site. Flags win over the file, the file over the defaults."""
    from edgeproxy.launch import start_over

    start_over()
    from edgeproxy.config import Flags, load

    flags = Flags(
        origins=tuple(origin or ()),
        hosts=tuple(host or ()),
        email=email,
        listen=tuple(listen or ()),
        listen_tls=tuple(listen_tls or ()),
        acme_directory=acme_directory,
        acme_ca=acme_ca,
        admin=admin,
        data=data,
        workers=workers,
    )
    loaded = load(config, flags)

    from edgeproxy.process import run as run_edge

    raise typer.Exit(run_edge(loaded))


def demo(
    listen: Annotated[
        str | None, typer.Option(metavar="ADDR", help="Address for HTTP. [default: 127.0.0.1:8080]", show_default=False)
    ] = None,
    admin: Annotated[
        str | None, typer.Option(metavar="ADDR", help="Address of the admin side. [default: 127.0.0.1:9180]", show_default=False)
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Data folder. [default: ./edgeproxy-data]", show_default=False)
    ] = None,
) -> None:
    """A small site with a switch to break it, and the edge in front of it."""
    from edgeproxy.process import run_demo

    raise typer.Exit(run_demo(listen=listen, admin=admin, data=data))


def check(
    config: Annotated[
        Path, typer.Option("--config", "-c", metavar="FILE", help="Configuration file (TOML).", show_default=False)
    ],
    json: AsJson = False,
) -> None:
    """Every fault in a configuration, with its key path. Exit status 2 when there is one."""
    from edgeproxy.config import load

    try:
        loaded = load(config)
    except ConfigError as error:
        if json:
            print_json({"ok": False, "faults": error.faults})
        else:
            for fault in error.faults:
                print_line(fault)
            complain(f"{config}: {count_text(len(error.faults), 'fault')}")
        raise typer.Exit(2) from None
    if json:
        sites = [{"name": site.name, "hosts": list(site.hosts), "origins": list(site.origins)} for site in loaded.sites]
        print_json({"ok": True, "faults": [], "sites": sites})
        return
    addresses = ", ".join((*map(str, loaded.listen.http), *(f"{address} with TLS" for address in loaded.listen.https)))
    print_line(f"{config}: good, {count_text(len(loaded.sites), 'site')}, listening on {addresses}")
    print_table(
        ("hosts", "origins"),
        [(", ".join(site.hosts), ", ".join(site.origins)) for site in loaded.sites],
    )
