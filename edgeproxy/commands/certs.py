"""`certs`: the certificates of an edge, listed, renewed, brought along.

Owns: the flags and how the answers look. Listing and renewing ask the running edge; importing writes into the vault, which a
running edge watches, so that a certificate can be there before the edge is.
"""

import os
from pathlib import Path
from typing import Annotated

import typer

from edgeproxy.commands.operate import client, print_certificates
from edgeproxy.commands.options import AsJson, Config, Data, data_folder
from edgeproxy.commands.printing import print_json, print_line, seconds_text, wrong_usage

app = typer.Typer(help="Certificates: what is served, and how its keeping goes.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Host name of a site.", show_default=False)]


@app.command("list")
def list_certificates(data: Data = None, config: Config = None, json: AsJson = False) -> None:
    """What is served for each name, until when, and what the last attempt to renew it said."""
    found = client(data, config).certificates()
    if json:
        print_json(found)
        return
    if not found:
        print_line("no certificates: nothing is served over HTTPS (listen.https, or --email)")
        return
    print_certificates(found)


@app.command()
def renew(name: Name, data: Data = None, config: Config = None, json: AsJson = False) -> None:
    """Renew a certificate as soon as possible; the old one serves until the new one is there."""
    answer = client(data, config).renew(name)
    if json:
        print_json(answer)
    else:
        print_line(f"{name}: will be renewed; `edgeproxy certs list` shows how it went")


@app.command("import")
def import_certificate(
    name: Name,
    certificate: Annotated[Path, typer.Argument(metavar="CERT", help="Chain in PEM, the leaf first.", show_default=False)],
    key: Annotated[Path, typer.Argument(metavar="KEY", help="Its private key in PEM.", show_default=False)],
    data: Data = None,
    config: Config = None,
    json: AsJson = False,
) -> None:
    """Keep a certificate of another program, so that a move to this edge needs no gap. A running edge serves it at once."""
    import asyncio

    from edgeproxy.clock import SystemClock
    from edgeproxy.https import data_folder as vault_folder
    from edgeproxy.tls.vault import Vault

    clock = SystemClock()
    chain, private = _read(certificate), _read(key)
    _enter_as_its_owner(data_folder(data, config))
    vault = Vault(vault_folder(Path()), clock)
    vault.open()
    parsed = asyncio.run(vault.import_pair(name, chain, private))
    if json:
        print_json({"names": list(parsed.names), "not_after": parsed.not_after, "fingerprint": parsed.fingerprint})
    else:
        print_line(f"imported: {', '.join(parsed.names)}, ends in {seconds_text(parsed.not_after - clock.seconds())}")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        wrong_usage(f"{path}: {(error.strerror or 'cannot be read').lower()}")


def _enter_as_its_owner(folder: Path) -> None:
    """Go into the data folder, made where the edge never ran yet; root becomes its owner, who has to read what is stored.

    The key is read before, since often only root may, and paths are relative after, since only root may come along here.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = folder.stat()
        if os.geteuid() not in (0, owner.st_uid):
            wrong_usage(f"{folder}: belongs to another user; run this as that user, or as root")
        os.chdir(folder)
        if os.geteuid() != owner.st_uid:
            os.setgroups([])
            os.setegid(owner.st_gid)
            os.seteuid(owner.st_uid)
    except OSError as error:
        wrong_usage(f"{folder}: {(error.strerror or 'cannot be used').lower()}")
