"""An edge as a process of its own: its signals, its log, and the end.

Owns: SIGTERM and SIGINT (drain, then end; the second time at once), SIGHUP (reload), what is said when it runs, and the demo with
its origin. Must not know how an edge is put together; that is `app`.
"""

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import uvloop

from edgeproxy import __version__, systemd
from edgeproxy.app import Edge
from edgeproxy.config import Config
from edgeproxy.tasks import spawn

log = logging.getLogger("edgeproxy")


def run(config: Config) -> int:
    """Run an edge until SIGTERM or SIGINT; returns the exit status. Raises StartError."""
    _set_up_logging()
    return uvloop.run(_serve(config, _announce_running))


def run_demo(*, listen: str | None = None, admin: str | None = None, data: Path | None = None) -> int:
    """Run the bundled origin and an edge in front of it. Raises StartError, ConfigError."""
    _set_up_logging()
    return uvloop.run(_serve_demo(listen, admin, data))


async def _serve(config: Config, announce_to: Callable[[Edge], None]) -> int:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    edge = Edge(config)
    await edge.start()
    settle_garbage()
    loop.add_signal_handler(signal.SIGHUP, lambda: spawn(_reload(edge), name="reload"))
    systemd.notify("READY=1")
    announce_to(edge)
    await ended.wait()
    # A second signal does not wait for the drain.
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, os._exit, 1)
    await edge.stop(drain=edge.config.edge.drain)
    return 0


async def _reload(edge: Edge) -> None:
    for fault in await edge.reload():
        log.error("reload refused, the old configuration stays: %s", fault)


async def _serve_demo(listen: str | None, admin: str | None, data: Path | None) -> int:
    from edgeproxy.config import Flags, from_flags
    from edgeproxy.demo.banner import banner, program_name
    from edgeproxy.demo.origin import DemoOrigin

    origin = DemoOrigin()
    url = await origin.start("127.0.0.1", 0)
    try:
        flags = Flags(
            origins=(url,),
            listen=(listen,) if listen else (),
            admin=admin,
            data=None if data is None else str(data),
            service_worker="on",
        )
        config = from_flags(flags)

        def greet(edge: Edge) -> None:
            addresses = f"http://{edge.listener.addresses[0]}", url, f"http://{edge.admin_address}"
            print(banner(*addresses, program=program_name(sys.argv[0])), flush=True)

        return await _serve(config, greet)
    finally:
        await origin.stop()


def settle_garbage() -> None:
    """What is there after the start stays; collecting it again and again is a tenth of the hot path's time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _announce_running(edge: Edge) -> None:
    plain = [f"http://{address}" for address in edge.listener.addresses]
    addresses = ", ".join((*plain, *(f"https://{address}" for address in edge.https.addresses)))
    sites = ", ".join(site.name for site in edge.config.sites)
    print(
        f"edgeproxy {__version__}: {addresses} in front of {sites}; admin http://{edge.admin_address}",
        file=sys.stderr,
        flush=True,
    )


def _set_up_logging() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
