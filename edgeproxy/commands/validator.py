"""`validator init | add | serve | status`: a permissioned validator, on a machine of its own.

Owns: their flags and how the answers look. What a validator does is the business of `edgeproxy.validator`.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeproxy.commands.options import AcmeCa, AcmeDirectory, AsJson, ListenTls
from edgeproxy.commands.printing import print_facts, print_json, print_line, print_table, wrong_usage
from edgeproxy.errors import ConfigError

if TYPE_CHECKING:
    from edgeproxy.config.model import Acme
    from edgeproxy.validator.folder import KnownLog

app = typer.Typer(
    help="A permissioned validator: checks the blocks of ledgers and cosigns their checkpoints (C2SP tlog-witness).",
    no_args_is_help=True,
)

_DEFAULT = Path("./edgeproxy-validator")
Data = Annotated[Path, typer.Option("--data", metavar="DIR", help="Data folder of the validator.")]
Logs = Annotated[
    list[str] | None,
    typer.Option(
        "--log", metavar="VKEY", help="Public key of a ledger to validate; repeatable, each with --url.", show_default=False
    ),
]
Urls = Annotated[
    list[str] | None,
    typer.Option("--url", metavar="URL", help="Where that ledger is published: https://HOST/.edge/ledger", show_default=False),
]


@app.command()
def init(
    name: Annotated[
        str,
        typer.Option(metavar="NAME", help="Name of its key, like validator.example.org; no spaces, no plus.", show_default=False),
    ],
    data: Data = _DEFAULT,
    log: Logs = None,
    url: Urls = None,
    json: AsJson = False,
) -> None:
    """Make a validator: its key and its empty state. Prints the public key, and the line for a policy file."""
    from edgeproxy.validator.folder import make_folder

    signer = make_folder(data, name, _known(log, url))
    if json:
        print_json({"name": name, "vkey": str(signer.verifier), "data": str(data)})
        return
    print_line(str(signer.verifier))
    print_line(f"witness {name} {signer.verifier} https://{name}")
    print_line("")
    print_line("the second line is for a policy file (ledger.policy); put the address where the validator is asked at its end")
    print_line("never copy or restore this folder: a validator that goes back may cosign two different ledgers")


@app.command()
def add(log: Logs = None, url: Urls = None, data: Data = _DEFAULT, json: AsJson = False) -> None:
    """Validate further ledgers. A running validator takes them with SIGHUP."""
    from edgeproxy.validator.folder import add_logs

    logs = _known(log, url)
    if not logs:
        wrong_usage("validator add needs --log VKEY and --url URL")
    known = add_logs(data, logs)
    if json:
        print_json({"logs": [{"origin": each.verifier.name, "vkey": str(each.verifier), "url": each.url} for each in known]})
        return
    print_table(("log", "url"), [(each.verifier.name, each.url) for each in known])


@app.command()
def serve(
    data: Data = _DEFAULT,
    listen: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDR", help="Address for HTTP; repeatable. [default: 127.0.0.1:7380]", show_default=False),
    ] = None,
    listen_tls: ListenTls = None,
    host: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Host name to get a certificate for; repeatable.", show_default=False)
    ] = None,
    email: Annotated[
        str | None, typer.Option(metavar="ADDR", help="The certificate authority writes here.", show_default=False)
    ] = None,
    acme_directory: AcmeDirectory = None,
    acme_ca: AcmeCa = None,
    log_ca: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Who signs the certificates of ledgers, instead of the system's.", show_default=False),
    ] = None,
) -> None:
    """Answer logs until SIGTERM. With --listen-tls and --host it gets its own certificate."""
    from edgeproxy.validator.process import ServeSettings, run

    if listen_tls and not host:
        wrong_usage("--listen-tls needs the names of --host")
    if listen_tls and not (email or acme_directory):
        wrong_usage("--listen-tls needs somebody who issues the certificate: --email or --acme-directory")
    addresses = tuple(listen or (() if listen_tls else ("127.0.0.1:7380",)))
    acme = _acme(email, acme_directory, acme_ca)
    raise typer.Exit(run(ServeSettings(data, addresses, tuple(listen_tls or ()), tuple(host or ()), acme, log_ca)))


@app.command()
def status(data: Data = _DEFAULT, json: AsJson = False) -> None:
    """What was cosigned last for each ledger, and how much evidence there is. Reads the folder, running or not."""
    from edgeproxy.validator.evidence import Evidence
    from edgeproxy.validator.folder import read_known, read_signer
    from edgeproxy.validator.state import read_logs

    signer, states = read_signer(data), {each.origin: each for each in read_logs(data)}
    urls = {each.verifier.name: each.url for each in read_known(data)}
    evidence = Evidence(data).count()
    logs = [
        {
            "origin": origin,
            "url": urls.get(origin),
            "size": states[origin].size if origin in states else 0,
            "cosigned": states[origin].cosigned or None if origin in states else None,
            "vkey": states[origin].key if origin in states else None,
        }
        for origin in {**urls, **states}
    ]
    if json:
        print_json({"vkey": str(signer.verifier), "logs": logs, "evidence": evidence})
        return
    print_facts(signer.name, [("key", signer.verifier), ("forks seen", evidence["fork"]), ("conflicts", evidence["conflict"])])
    print_table(
        ("log", "blocks#", "cosigned", "url"),
        [(each["origin"], each["size"], _moment(each["cosigned"]), each["url"] or "not validated any more") for each in logs],
    )


def _moment(seconds: object) -> str | None:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if isinstance(seconds, int) else None


def _known(keys: list[str] | None, urls: list[str] | None) -> "list[KnownLog]":
    from edgeproxy.validator.folder import known_log

    if len(keys or ()) != len(urls or ()):
        wrong_usage("each --log VKEY goes with one --url URL, in the same order")
    return [known_log(key, url) for key, url in zip(keys or (), urls or (), strict=True)]


def _acme(email: str | None, directory: str | None, ca_file: str | None) -> "Acme":
    from pydantic import ValidationError

    from edgeproxy.config.faults import fault_lines
    from edgeproxy.config.model import Acme

    given = {"email": email, "directory": directory, "directory_ca_file": ca_file}
    try:
        return Acme.model_validate({key: value for key, value in given.items() if value is not None})
    except ValidationError as error:
        flags: dict[tuple[str | int, ...], str] = {
            ("email",): "--email",
            ("directory",): "--acme-directory",
            ("directory_ca_file",): "--acme-ca",
        }
        raise ConfigError(list(fault_lines(error, flags))) from None
