"""The running edge: builds every part from the configuration, joins them, and ends them in good order.

Owns: wiring and life: start, reload, drain, stop. Must not decide anything about an exchange, nor know of signals (`process`).

Order of the start: ledger and bodies (recovery), cache, telemetry, sites, listeners, admin side. What fails names itself in a
`StartError`, and what was started before it is ended again. Origins are not contacted: the edge starts while they are down.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from edgeproxy import __version__, systemd
from edgeproxy.admin.api import AdminServer
from edgeproxy.admin.presence import Running, announce, ensure_token, withdraw
from edgeproxy.backend import Backend
from edgeproxy.browsers import Browsers, Surroundings
from edgeproxy.caching.key import primary_key
from edgeproxy.clock import Clock, SystemClock
from edgeproxy.config import Config, needs_restart, reread
from edgeproxy.config import Site as SiteConfig
from edgeproxy.errors import ConfigError, EdgeError, StartError
from edgeproxy.exchange.adoption import Adopter
from edgeproxy.exchange.answer import Answerer, Parts
from edgeproxy.exchange.block_api import BlockApi
from edgeproxy.exchange.cache import Cache
from edgeproxy.exchange.deliver import Delivery
from edgeproxy.exchange.erasure import Eraser
from edgeproxy.exchange.fetcher import Fetcher
from edgeproxy.exchange.flights import Flights
from edgeproxy.exchange.handler import EdgeHandler, Reporting
from edgeproxy.exchange.index import Index
from edgeproxy.exchange.injection import Injections
from edgeproxy.exchange.keeping import Keep
from edgeproxy.exchange.ledger_files import LedgerFiles
from edgeproxy.exchange.recorder import Recorder
from edgeproxy.exchange.resident import Resident
from edgeproxy.exchange.retention import Retention
from edgeproxy.exchange.site import Site, Sites, Waiting
from edgeproxy.finality import make_validators, open_finality_gauges, quorum_of_browsers
from edgeproxy.https import Https, secure_of
from edgeproxy.ledger.drafts import Draft
from edgeproxy.ledger.fold import Fold
from edgeproxy.origin.client import OriginClient
from edgeproxy.origin.health import State
from edgeproxy.origin.messages import Origin, OriginSettings
from edgeproxy.recovery.staging import refuse_unfinished
from edgeproxy.sequencer.sequencer import ORIGIN_PATH, Committed, Sequencer
from edgeproxy.sequencer.validators import Validators
from edgeproxy.serving.listener import Listener
from edgeproxy.serving.settings import Bounds, ServingSettings, Timeouts
from edgeproxy.storage.bodies import BodyStore
from edgeproxy.storage.forms import FormMaker
from edgeproxy.storage.ledger_db import LEDGER_FILE, LedgerDb
from edgeproxy.storage.memory import MemoryTier
from edgeproxy.tasks import spawn
from edgeproxy.telemetry import names
from edgeproxy.telemetry.access_log import open_access_log
from edgeproxy.telemetry.metrics import Metrics
from edgeproxy.telemetry.trace_settings import tracing_settings
from edgeproxy.telemetry.tracing import Tracing, open_tracing
from edgeproxy.tls.entries import CertificateStatus
from edgeproxy.wire.http1 import Limits

log = logging.getLogger("edgeproxy")

HOUSEKEEPING_SECONDS = 5.0

SETTLE_SECONDS = 1.0
"""How long the end of a drain waits for fetches that nobody waits for any more."""


class Edge:
    """One node, started and stopped once."""

    def __init__(self, config: Config, clock: Clock | None = None) -> None:
        self.config = self._fixed = config
        self.waiting: list[str] = []
        """What was reloaded and is not in force before a restart; `_fixed` has what is in force until then."""
        self.clock = clock or SystemClock()
        self.metrics = Metrics(version=__version__, node=config.edge.node)
        self.validators: Validators | None = None
        """None where nobody is asked to cosign the ledger."""
        self.draining = False
        self.started = self.clock.monotonic()
        self._closing = contextlib.AsyncExitStack()

    async def start(self) -> None:
        """Build and join everything; serve. Raises StartError with nothing left running."""
        try:
            await self._open_store()
            await self._open_front()
        except BaseException:
            await self._closing.aclose()
            raise

    async def _open_store(self) -> None:
        config, closing = self.config, self._closing
        data = _data_folder(config.edge.data)
        telemetry = config.telemetry
        settings = tracing_settings(
            endpoint=telemetry.otlp_endpoint,
            sample_ratio=telemetry.sample_ratio,
            node=config.edge.node,
            environ=os.environ,
            service_name=telemetry.service_name,
        )
        self._tracing_settings = settings
        self.tracing: Tracing = open_tracing(settings)
        closing.push_async_callback(self.tracing.stop)
        self.access_log = open_access_log(telemetry.access_log, self.clock)
        self.access_log.start()
        closing.push_async_callback(self.access_log.stop)

        self.db = LedgerDb(data / LEDGER_FILE)
        closing.push_async_callback(self.db.close)
        # Before anything is touched: what another edge is just writing looks like what a crash left, and opening removes that.
        await self.db.lock()
        refuse_unfinished(data)
        self.bodies = BodyStore(data)
        await self.bodies.open()
        closing.push_async_callback(self.bodies.close)
        self.sequencer = Sequencer(
            self.db,
            self.bodies,
            self.clock,
            config.edge.node,
            max_delay=config.ledger.batch_delay,
            max_batch=config.ledger.batch_size,
        )
        self.sequencer.batch_span = self._commit_span
        self.sequencer.on_commit = self._committed
        self.sequencer.origin = _log_name(config)
        self.sequencer.wants_mldsa = config.ledger.ml_dsa
        fold = await self.sequencer.start()
        closing.push_async_callback(self.sequencer.stop)
        await self._open_cache(fold)

    @contextlib.contextmanager
    def _commit_span(self, drafts: Sequence[Draft]) -> Iterator[None]:
        """One batch of the ledger, traced and timed."""
        began = self.clock.monotonic()
        with self.tracing.commit_span(drafts):
            yield
        self.metrics.ledger_commit.observe(self.clock.monotonic() - began)

    def _committed(self, committed: Sequence[Committed]) -> None:
        self.metrics.ledger_blocks += len(committed)
        if self.validators is not None:
            self.validators.on_head()

    async def _open_cache(self, fold: Fold) -> None:
        config = self.config
        self.tier: MemoryTier[Resident] = MemoryTier(config.edge.memory)
        self.cache = Cache(Index(), self.tier, fold.rules, self.bodies, self.db, fold.genesis_salt)
        self._fill_index(fold)
        if fold.blind:
            self.cache.adopt = Adopter(self.cache, fold).adopt
        await self.bodies.retain(fold.bodies())
        for body in fold.erased_bodies:
            # A crash may have come before it: a copy that failed its check was set aside, and was erased since.
            await self.bodies.forget_quarantined(body)
        self.forms = FormMaker()
        self._closing.push_async_callback(self.forms.close)
        self.recorder = Recorder(self.cache, self.sequencer, self.forms, self.clock, self.tracing)
        self.eraser = Eraser(self.cache, self.sequencer, self.clock)
        self.retention = Retention(self.cache, self.sequencer, self.clock, _keep(config))
        self.flights = Flights()
        self.fetcher = Fetcher(self.cache, self.recorder, self.flights, self.clock)

    def _fill_index(self, fold: Fold) -> None:
        """Every version whose body is still there, under the key that its site's rules give it now."""
        rules = {site.name: site.key_rules() for site in self.config.sites}
        versions = sorted(
            (version for variants in fold.by_url.values() for kept in variants.values() for version in kept),
            key=lambda version: version.height,
        )
        recovered = self.sequencer.recovered
        restored = recovered.restored if recovered is not None else None
        for version in versions:
            if restored is not None and not restored.bodies and not self.bodies.exists(version.body.digest):
                continue  # this node was rebuilt from a source that had it no more
            if version.site in rules and fold.has_body(version):
                key = primary_key(version.url, rules[version.site])
                self.cache.index.add(self.cache.index.entry(version.site, key, version.selecting), version)

    async def _open_front(self) -> None:
        config, closing = self.config, self._closing
        self._inherited = systemd.inherited_sockets()
        self._origins: dict[object, OriginClient] = {}
        sites = self._build_sites(config)
        closing.push_async_callback(self._close_origins)
        self.validators = make_validators(config, self.sequencer, self.clock)
        publication, published = self.sequencer.publication, config.ledger.publish
        self.ledger_files = LedgerFiles(publication, is_published=published, finality=self.validators)
        self.block_api = BlockApi(self.cache, self.sequencer, sites, is_published=published, finality=self.validators)
        self.browsers = await self._open_browsers()
        self.injections = Injections(self.browsers.workers, self.cache, self.forms, self.metrics)
        self.delivery = Delivery(self.bodies, self.clock, self.injections)
        parts = Parts(
            cache=self.cache,
            fetcher=self.fetcher,
            recorder=self.recorder,
            delivery=self.delivery,
            injections=self.injections,
            clock=self.clock,
            tracing=self.tracing,
            ledger=self.ledger_files,
            blocks=self.block_api,
            browser=self.browsers.paths,
        )
        reporting = Reporting(self.metrics, self.access_log, self.tracing)
        self.handler = EdgeHandler(sites, self.cache, Answerer(parts), self.injections, reporting, self.clock)
        self.handler.look = self.browsers.paths.look
        self.injections.on_forget = self.handler.forget_requests
        self.browsers.workers.on_change = self.injections.forget
        self.recorder.on_ready = self.handler.make_ready
        self.listener = Listener(self.handler, _serving_settings(config), self.clock)
        self.https = Https(config, self.handler, _serving_settings(config), self.clock)
        closing.push_async_callback(self.https.close)
        self.https.sites = sites
        self.handler.challenge = self.https.challenge
        self._open_gauges()
        # Handed-over sockets replace the configured addresses: systemd has bound those already.
        plain = self._inherited.http
        await self.listener.start([] if plain else [str(address) for address in config.listen.http], plain)
        closing.push_async_callback(self.listener.close)
        await self.https.start(self._inherited.https)
        self.backend = Backend(self)
        admin = config.listen.admin
        data = config.edge.data
        server = AdminServer(
            self.backend,
            ensure_token(data),
            (admin.host, admin.port),
            node=config.edge.node,
            hosts=frozenset(config.listen.admin_hosts),
            metrics=config.telemetry.metrics,
        )
        host, port = await server.start()
        closing.push_async_callback(server.stop)
        self.admin_address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        announce(data, Running(self.admin_address, os.getpid()))
        closing.callback(withdraw, data, os.getpid())
        if self.validators is not None:
            # Last, since they look at the blocks that are published by now.
            closing.push_async_callback(self.validators.stop)
            await self.validators.start()
        keeping = spawn(self._housekeeping(), name="housekeeping")
        closing.callback(keeping.cancel)

    async def _open_browsers(self) -> Browsers:
        around = Surroundings(
            data=self.config.edge.data,
            clock=self.clock,
            sequencer=self.sequencer,
            cache=self.cache,
            metrics=self.metrics,
            tracing=self._tracing_settings,
            sites=lambda: self.handler.sites,
            is_published=lambda: self.block_api.is_published,
        )
        browsers = Browsers(around)
        quorum = quorum_of_browsers(self.config)
        browsers.workers.validators = lambda: quorum
        await browsers.start(self.config)
        self._closing.push_async_callback(browsers.stop)
        return browsers

    def _open_gauges(self) -> None:
        if self.validators is not None:
            open_finality_gauges(self.metrics, self.validators)
        gauge = self.metrics.gauge
        gauge(names.CONNECTIONS, lambda: float(self.open_connections))
        gauge(names.CERTIFICATE_SECONDS, lambda: {(name,): left for name, left in self.https.health().seconds_left.items()})
        for metric, instant in (
            (names.CERTIFICATE_SUCCESS, lambda status: status.last_success),
            (names.CERTIFICATE_FAILURE, lambda status: status.last_failure and status.last_failure.time),
            (names.CERTIFICATE_NEXT, lambda status: status.next_attempt),
        ):
            gauge(metric, partial(self._certificate_times, instant))
        gauge(names.TLS_ARRIVALS, lambda: {(outcome.value,): float(count) for outcome, count in self.https.outcomes.items()})
        gauge(names.ORIGIN_UP, self._origins_up)
        gauge(names.LEDGER_HEIGHT, lambda: float(self.sequencer.head().size - 1))
        gauge(names.ROLLBACKS, lambda: float(len(self.cache.rules.rollbacks)))
        gauge(names.LEDGER_QUEUE, lambda: float(self.sequencer.next_height - self.sequencer.head().size))
        gauge(names.MEMORY_USED, lambda: float(self.tier.used))
        gauge(names.MEMORY_LIMIT, lambda: float(self.tier.budget))
        gauge(names.DISK_USED, lambda: float(self.bodies.total_bytes))
        gauge(names.DISK_LIMIT, lambda: float(self.retention.quota))
        gauge(names.FORM_QUEUE, lambda: float(self.forms.waiting))
        gauge(names.LOG_LOST, lambda: float(self.access_log.lost))
        for site in self.config.sites:
            self.metrics.site(site.name)

    def _certificate_times(self, instant: Callable[[CertificateStatus], float | None]) -> dict[tuple[str, ...], float]:
        """By name, where there is one. Unix seconds."""
        known = ((status.names, instant(status)) for status in self.https.status())
        return {(name,): time for names_of_one, time in known if time is not None for name in names_of_one}

    def _build_sites(self, config: Config) -> Sites:
        trusted = tuple(str(network) for network in config.edge.trusted_proxies)
        return Sites(tuple(self._build_site(site, trusted, self._https_port(config)) for site in config.sites))

    def _https_port(self, config: Config) -> int | None:
        """The port that plain HTTP is sent to; None where nothing is served over HTTPS."""
        if self._inherited.https:
            return 443
        return config.listen.https[0].port or 443 if config.listen.https else None

    def _build_site(self, site: SiteConfig, trusted: tuple[str, ...], https_port: int | None) -> Site:
        origins = [Origin(str(url), tls_verify=site.origin.tls_verify, ca_file=site.origin.ca_file) for url in site.origins]
        settings = OriginSettings(
            connect_timeout=site.origin.connect_timeout,
            head_timeout=site.origin.head_timeout,
            body_timeout=site.origin.body_timeout,
            keepalive_timeout=site.origin.keepalive,
            connections=site.origin.max_connections,
            retries=site.origin.retries,
        )
        # A reload that leaves the origins as they were keeps their connections. A client that is no longer used keeps those that
        # are: a download or an event stream may go on for hours; idle ones close by themselves.
        client = self._origins.get((tuple(origins), settings))
        if client is None:
            client = OriginClient(origins, self.clock, settings, trace_configs=self.tracing.trace_configs())
            self._origins[tuple(origins), settings] = client
        return Site(
            name=site.name,
            hosts=site.hosts,
            policy=site.policy(),
            keys=site.key_rules(),
            origin=client,
            waiting=Waiting(stale_after=site.recovery.stale_after),
            memory_object=site.cache.memory_object,
            compress=site.cache.compress,
            host_header=_host_header(site),
            trusted_proxies=trusted,
            memento=site.memento,
            publish=site.publish,
            secure=None if https_port is None else secure_of(site, https_port),
            csp=site.service_worker.csp,
        )

    @property
    def open_connections(self) -> int:
        """Connections of clients, those included that are still arriving."""
        return sum(self.listener.counts().values()) + sum(self.https.counts().values())

    def _origins_up(self) -> dict[tuple[str, ...], float]:
        return {
            (site.name, origin.url): float(health.state is State.UP)
            for site in self.handler.sites.sites
            for origin, health in site.origin.health()
            if health.state is not State.UNTRIED
        }

    async def _close_origins(self) -> None:
        for client in self._origins.values():
            await client.close()

    # --- while it runs ---

    async def reload(self) -> list[str]:
        """Read the configuration anew and apply it; open connections go on. Refused: the faults, and nothing changed."""
        systemd.notify("RELOADING=1")
        try:
            config = reread(self.config)
            sites = self._build_sites(config)
            await self._replace_listeners(config, sites)
        except ConfigError as error:
            return error.faults
        except StartError as error:
            return [str(error)]
        finally:
            systemd.notify("READY=1")
        if config.listen.https and not self._fixed.listen.https:
            # What [acme] says is in use from here on.
            listen = self._fixed.listen.model_copy(update={"https": config.listen.https})
            self._fixed = self._fixed.model_copy(update={"listen": listen, "acme": config.acme})
        self.waiting = needs_restart(self._fixed, config)
        for line in self.waiting:
            log.warning("reload: %s", line)
        self.config = config
        self.handler.sites = sites
        self.cache.redescribe({site.name: site for site in self.handler.sites.sites})
        self.retention.keep = _keep(config)
        self.ledger_files.is_published = self.block_api.is_published = config.ledger.publish
        self.block_api.sites = sites
        await self.browsers.apply(config)
        self.access_log.reopen()
        log.info("configuration reloaded: %d sites", len(config.sites))
        return []

    async def _replace_listeners(self, config: Config, sites: Sites) -> None:
        """Raises StartError, and then both ways in are as they were."""
        if not self._inherited.http:
            await self.listener.replace([str(address) for address in config.listen.http])
        self.https.sites = sites
        try:
            await self.https.apply(config)
        except StartError:
            self.https.sites = self.handler.sites
            if not self._inherited.http:
                await self.listener.replace([str(address) for address in self.config.listen.http])
            raise

    async def _housekeeping(self) -> None:
        """Quota, from time to time. A failure is told and tried again: the disk may have space next time."""
        while True:
            await asyncio.sleep(HOUSEKEEPING_SECONDS)
            await self.browsers.workers.sweep()
            try:
                evicted = await self.retention.enforce()
            except EdgeError as error:
                log.warning("disk quota could not be enforced: %s", error)
                continue
            if evicted:
                log.info("disk quota: %d bodies evicted", evicted)

    async def stop(self, *, drain: float = 0.0) -> None:
        """Stop accepting, let exchanges finish for up to `drain` seconds, write down what is pending, close everything."""
        self.draining = True
        systemd.notify("STOPPING=1")
        broken = sum(await asyncio.gather(self.listener.drain(drain), self.https.drain(drain)))
        if broken:
            log.warning("%d connections were broken at the end of the drain", broken)
        # What clients have received whole may still be on its way into the store.
        await self.flights.settle(min(drain, SETTLE_SECONDS))
        await self._closing.aclose()


def _data_folder(path: Path) -> Path:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = path / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise StartError(
            "data folder cannot be written", path=path, reason=error.strerror, hint="choose another with --data or edge.data"
        ) from error
    return path


def _keep(config: Config) -> Keep:
    """What retention keeps."""
    ledger, quotas = config.ledger, {site.name: site.recovery.quota for site in config.sites}
    return Keep(config.edge.disk, ledger.keep_versions, ledger.keep_for, quotas)


def _log_name(config: Config) -> str:
    """The origin line of the ledger when its key is made: where its tiles are served, without the scheme (C2SP tlog-tiles)."""
    host = config.ledger.host
    if host is None:
        first = config.sites[0].hosts[0] if config.sites else "*"
        host = config.edge.node if "*" in first else first
    return f"{host}{ORIGIN_PATH}"


def _host_header(site: SiteConfig) -> str | None:
    """`Host` for the origin: the client's own (None), or the origin's when nothing but trying it out is configured."""
    configured = site.origin.host
    if configured == "client":
        return None
    if configured == "origin" or (configured == "auto" and site.hosts == ("*",)):
        return site.origins[0].partition("://")[2].rstrip("/") or None
    return None if configured == "auto" else configured


def _serving_settings(config: Config) -> ServingSettings:
    limits, edge = config.limits, config.edge
    return ServingSettings(
        limits=Limits(head_bytes=limits.head, field_count=limits.field_count, target_bytes=limits.target),
        timeouts=Timeouts(
            head=limits.head_timeout, idle=limits.idle_timeout, body=limits.body_timeout, write=limits.write_timeout
        ),
        bounds=Bounds(body_bytes=limits.body or None, connections=edge.max_connections),
    )


@contextlib.asynccontextmanager
async def running(config: Config) -> AsyncIterator[Edge]:
    """An edge for the length of a block; for tests and the demo."""
    edge = Edge(config)
    await edge.start()
    try:
        yield edge
    finally:
        await edge.stop()
