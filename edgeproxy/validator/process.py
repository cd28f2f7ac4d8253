"""A validator as a process: what is opened, in which order, until SIGTERM.

Owns: wiring, start, the signals, and the end. Must not decide anything about a checkpoint.
"""

import asyncio
import contextlib
import logging
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import uvloop

from edgeproxy import __version__, systemd
from edgeproxy.clock import Clock, SystemClock
from edgeproxy.config.model import Acme
from edgeproxy.errors import EdgeError, StartError
from edgeproxy.ledger.cosigning import MAX_REQUEST
from edgeproxy.serving.listener import Listener
from edgeproxy.serving.settings import Bounds, ServingSettings, Timeouts
from edgeproxy.tasks import spawn
from edgeproxy.validator.answers import Answers
from edgeproxy.validator.evidence import Evidence
from edgeproxy.validator.folder import lock, read_known, read_signer
from edgeproxy.validator.published import Published
from edgeproxy.validator.service import Service
from edgeproxy.validator.state import State

log = logging.getLogger("edgeproxy.validator")

DRAIN_SECONDS = 10.0
_PER_LOG = 8
"""Connections to one log."""


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """`listen`, `listen_tls`: addresses. `log_ca`: who signs the certificates of logs (PEM), not the system's authorities."""

    data: Path
    listen: tuple[str, ...]
    listen_tls: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    acme: Acme = field(default_factory=Acme)
    log_ca: Path | None = None


@dataclass(slots=True)
class Validator:
    """One that runs. `addresses` as URLs."""

    service: Service
    addresses: tuple[str, ...]
    reload: Callable[[], "asyncio.Task[None]"]


def _serving_settings() -> ServingSettings:
    bounds = Bounds(body_bytes=MAX_REQUEST, connections=512, connections_per_address=128, memo_entries=64)
    return ServingSettings(timeouts=Timeouts(head=5.0, idle=75.0, body=5.0, write=10.0), bounds=bounds)


def _trust(path: Path | None) -> ssl.SSLContext | None:
    if path is None:
        return None
    try:
        return ssl.create_default_context(cafile=str(path))
    except (OSError, ssl.SSLError) as error:
        raise StartError("authorities of logs cannot be read", path=path, why=str(error)) from error


@contextlib.asynccontextmanager
async def running(settings: ServeSettings, clock: Clock | None = None) -> AsyncIterator[Validator]:
    """A validator until the end of the block. Raises StartError."""
    clock, data = clock or SystemClock(), settings.data
    async with contextlib.AsyncExitStack() as closing:
        signer = read_signer(data)
        closing.callback(os.close, lock(data))
        state = State(data, str(signer.verifier))
        closing.callback(state.close)
        tls = _trust(settings.log_ca)
        connector = aiohttp.TCPConnector(limit_per_host=_PER_LOG)
        session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        closing.push_async_callback(session.close)
        service = Service(signer, state, Evidence(data), clock, lambda url: Published(session, url, tls))
        closing.push_async_callback(service.close)
        await service.validate(read_known(data))
        answers = Answers(service, f"edgeproxy validator {__version__}\n{signer.verifier}\n")
        listener = Listener(answers, _serving_settings(), clock)
        urls: list[str] = []
        if settings.listen_tls:
            # The ACME client is most of what a start takes, and many a validator has somebody in front who speaks TLS.
            from edgeproxy.validator.secure import SecureEntrance

            secure = SecureEntrance(data, settings.hosts, settings.acme, clock)
            closing.push_async_callback(secure.close)
            answers.challenge = secure.challenges.http_answer
            urls += [f"https://{each}" for each in await secure.start(settings.listen_tls, answers, _serving_settings())]
        await listener.start(settings.listen)
        closing.push_async_callback(listener.drain, DRAIN_SECONDS)
        urls += [f"http://{each}" for each in listener.addresses]
        yield Validator(service, tuple(urls), lambda: spawn(_reread(service, data), name="validator.reload"))


async def _reread(service: Service, data: Path) -> None:
    try:
        known = await asyncio.to_thread(read_known, data)
        await service.validate(known)
    except EdgeError as error:
        log.error("list of logs refused, the old one stays: %s", error)
        return
    log.info("validating %d logs", len(known))


def run(settings: ServeSettings) -> int:
    """Run until SIGTERM or SIGINT; returns the exit status. Raises StartError."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    return uvloop.run(_serve(settings))


async def _serve(settings: ServeSettings) -> int:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    async with running(settings) as validator:
        loop.add_signal_handler(signal.SIGHUP, validator.reload)
        systemd.notify("READY=1")
        print(f"edgeproxy validator {__version__}: {', '.join(validator.addresses)}", file=sys.stderr, flush=True)
        await ended.wait()
        systemd.notify("STOPPING=1")
    return 0
