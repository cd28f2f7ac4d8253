"""`preview`: look at a whole site as it was, on an address of this machine.

Owns: its flags and its life until it is interrupted. Reads the data folder itself, so that a running edge is neither asked nor
slowed, and a stopped one can be looked at.
"""

import asyncio
import signal
import sqlite3
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from edgeproxy.caching.model import Height
from edgeproxy.commands.options import AsJson, Config, Data, data_folder
from edgeproxy.commands.printing import count_text, print_json, print_line, time_text, wrong_usage

if TYPE_CHECKING:
    from edgeproxy.recovery.snapshot import HeightOf, Snapshot


def preview(
    at: Annotated[
        str,
        typer.Option(
            "--at", metavar="HEIGHT|TIME", help="As `rollback --to`: a height, a time, now, 2h, 15m ago.", show_default=False
        ),
    ],
    site: Annotated[
        str | None, typer.Option("--site", metavar="HOST", help="Which site. [default: the only one]", show_default=False)
    ] = None,
    listen: Annotated[str, typer.Option("--listen", metavar="ADDR", help="A loopback address.")] = "127.0.0.1:0",
    data: Data = None,
    config: Config = None,
    json: AsJson = False,
) -> None:
    """Show a site as it was, read-only and proved, on a local port, until interrupted. The origin is not asked."""
    from edgeproxy.config.values import Unfit, is_loopback, parse_tcp_address
    from edgeproxy.recovery.snapshot import Snapshot

    try:
        address = parse_tcp_address(listen)
    except Unfit as unfit:
        wrong_usage(f"--listen: {listen!r} {unfit}")
    if not is_loopback(address):
        wrong_usage(f"--listen: {listen} can be reached from other machines; allowed: a loopback address, like 127.0.0.1:8099")
    snapshot = Snapshot.open(data_folder(data, config), _height_of(at), site)

    def greet(url: str) -> None:
        if json:
            print_json({"url": url, "height": snapshot.height, "time": snapshot.time, "site": snapshot.site})
        else:
            pages, then = count_text(len(snapshot), "page"), time_text(snapshot.time)
            print_line(f"{snapshot.site} as at block {snapshot.height} ({then}), {pages}: {url}/")
            print_line("Ctrl-C ends it")
        sys.stdout.flush()

    asyncio.run(_serve(snapshot, (address.host, address.port), greet))


def _height_of(text: str) -> "HeightOf":
    from edgeproxy.clock import SystemClock
    from edgeproxy.ledger.moments import AtHeight, before_all, parse_moment
    from edgeproxy.recovery.snapshot import NoSnapshot
    from edgeproxy.storage.ledger_rows import height_at, time_of

    try:
        moment = parse_moment(text, SystemClock().now())
    except ValueError as error:
        wrong_usage(f"--at: {error}")

    def height_of(connection: sqlite3.Connection, size: int) -> Height:
        if isinstance(moment, AtHeight):
            if moment.height >= size:
                raise NoSnapshot(f"height {moment.height} is in the future: the newest block is {size - 1}")
            return moment.height
        if moment.instant > SystemClock().now() + 1000:
            raise NoSnapshot(f"{text} is in the future")
        height = height_at(connection, size, moment.instant)
        if height is None:
            raise NoSnapshot(before_all(text, time_of(connection, 0)))
        return height

    return height_of


async def _serve(snapshot: "Snapshot", address: tuple[str, int], greet: Callable[[str], None]) -> None:
    from edgeproxy.recovery.preview import Preview

    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    server = Preview(snapshot, address)
    url = await server.start()
    try:
        greet(url)
        await ended.wait()
    finally:
        await server.stop()
