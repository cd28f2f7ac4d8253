"""The command line: which commands there are, and how whatever goes wrong ends.

Owns: the command table and the exit status. 0 done; 1 the answer is no; 2 wrong usage or configuration; 130 interrupted.
No traceback reaches a user, unless EDGEPROXY_DEBUG is set.
"""

import os
import platform
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from edgeproxy import __version__
from edgeproxy.commands import certs, disaster, ledger, mirror, operate, preview, rollback, serve, validator, workers
from edgeproxy.commands.options import AsJson
from edgeproxy.commands.printing import complain, print_json, print_line
from edgeproxy.errors import ConfigError, EdgeError

app = typer.Typer(
    name="edgeproxy",
    help="An edge in front of an existing site, which goes on serving verified content when its origin dies.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(serve.run)
app.command()(serve.demo)
app.command()(serve.check)
app.command()(operate.status)
app.command()(operate.explain)
app.command()(operate.purge)
app.command()(rollback.rollback)
app.command()(rollback.release)
app.command()(preview.preview)
app.command()(operate.reload)
ledger.app.command()(disaster.erase)
ledger.app.command()(disaster.export)
app.command()(disaster.restore)
app.add_typer(certs.app, name="certs")
app.add_typer(ledger.app, name="ledger")
app.add_typer(validator.app, name="validator")
app.add_typer(workers.app, name="sw")
app.add_typer(mirror.app, name="mirror")


@app.command()
def version(json: AsJson = False) -> None:
    """The version of edgeproxy and of the Python under it."""
    if json:
        print_json({"version": __version__, "python": platform.python_version()})
    else:
        print_line(f"edgeproxy {__version__} (Python {platform.python_version()})")


def _print_version(wanted: bool) -> None:
    if wanted:
        print_line(f"edgeproxy {__version__}")
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """An edge in front of an existing site, which goes on serving verified content when its origin dies."""


def main() -> None:
    """Entry point of the program."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Carry out one command line; returns the exit status."""
    try:
        app(args=list(arguments), prog_name="edgeproxy")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except ConfigError as error:
        for fault in error.faults:
            complain(fault)
        return 2
    except EdgeError as error:
        complain(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    except PermissionError as error:
        if os.environ.get("EDGEPROXY_DEBUG"):
            raise
        what = error.filename or "a file that this needs"
        complain(f"{what} may not be read or written: it belongs to another user; run this as the user of the edge")
        return 1
    except Exception as error:
        # Mapped to a line here: whoever types a command is not helped by a traceback; whoever mends it sets the variable.
        if os.environ.get("EDGEPROXY_DEBUG"):
            raise
        complain(f"internal error: {type(error).__name__}: {error} (EDGEPROXY_DEBUG=1 shows where)")
        return 1
    return 0
