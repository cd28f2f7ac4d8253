"""The configuration as values: every key, its default and its type.

Owns: the tables of the TOML file and what they mean to the core (`Site.policy`). Must not read files or
flags; that is `config.loading`. Durations are seconds, sizes bytes. Nothing below the shell sees these classes.
"""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, PrivateAttr

from edgeproxy.caching.key import KeyRules
from edgeproxy.caching.model import Policy
from edgeproxy.config import values
from edgeproxy.config.flags import NO_FLAGS, Flags
from edgeproxy.inject.csp import Choice
from edgeproxy.serving.addresses import Address

Duration = Annotated[float, PlainValidator(values.parse_duration)]
Timeout = Annotated[float, PlainValidator(values.duration(at_least=0.01))]
Size = Annotated[int, PlainValidator(values.parse_size)]
Switch = Annotated[bool, PlainValidator(values.switch)]
Count = Annotated[int, PlainValidator(values.whole(1, 1_000_000))]
Token = Annotated[
    str, PlainValidator(values.matching(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", "a field name", "the name of a header field"))
]
Glob = Annotated[
    str, PlainValidator(values.matching(r"\S+", "a pattern", 'a parameter name, with * and ? as wildcards, like "utm_*"'))
]
ListenAddress = Annotated[Address, PlainValidator(values.parse_address)]
TcpAddress = Annotated[Address, PlainValidator(values.parse_tcp_address)]
Origin = Annotated[str, PlainValidator(values.parse_origin)]
HostPattern = Annotated[str, PlainValidator(values.parse_host_pattern)]
TrustedNetwork = Annotated[values.Network, PlainValidator(values.parse_network)]


class Table(BaseModel):
    """A table of the file: immutable, and without keys that are not declared."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class Edge(Table):
    """`[edge]`: this node and what it may use of the machine."""

    node: Annotated[
        str,
        PlainValidator(
            values.matching(
                r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,61}[A-Za-z0-9])?", "a node name", "1 to 63 letters, digits, dots and hyphens"
            )
        ),
    ] = "edge-1"
    data: Annotated[Path, PlainValidator(values.folder)] = Path("./edgeproxy-data")
    workers: Annotated[int, PlainValidator(values.workers)] = 1
    memory: Annotated[int, PlainValidator(values.size(at_least=1 << 20))] = 256 << 20
    disk: Annotated[int, PlainValidator(values.size(at_least=16 << 20))] = 10 << 30
    drain: Duration = 30.0
    max_connections: Count = 10_000
    trusted_proxies: Annotated[tuple[TrustedNetwork, ...], BeforeValidator(values.listed("networks"))] = ()


class Listen(Table):
    """`[listen]`: addresses. The admin address is of this machine only, unless `admin_public` says otherwise."""

    http: Annotated[tuple[ListenAddress, ...], BeforeValidator(values.listed("addresses", least=1))] = (
        Address("127.0.0.1", 8080),
    )
    https: Annotated[tuple[TcpAddress, ...], BeforeValidator(values.listed("addresses"))] = ()
    admin: TcpAddress = Address("127.0.0.1", 9180)
    admin_public: Switch = False
    admin_hosts: Annotated[tuple[HostPattern, ...], BeforeValidator(values.listed("host names"))] = ()


class Limits(Table):
    """`[limits]`: what one client may ask of the edge. `body` 0 is without limit: bodies stream and are never held whole."""

    head: Annotated[int, PlainValidator(values.size(at_least=8 << 10))] = 32 << 10
    field_count: Annotated[int, PlainValidator(values.whole(8, 10_000))] = 100
    target: Annotated[int, PlainValidator(values.size(at_least=1 << 10))] = 16 << 10
    body: Size = 0
    head_timeout: Timeout = 10.0
    body_timeout: Timeout = 60.0
    idle_timeout: Timeout = 75.0
    write_timeout: Timeout = 60.0


class LedgerValidator(Table):
    """`[[ledger.validators]]`: one who cosigns checkpoints, by its verifier key, and where it is asked (C2SP tlog-witness)."""

    vkey: Annotated[str, PlainValidator(values.parse_cosigner_key)]
    url: Annotated[str, PlainValidator(values.parse_http_url)]
    ca_file: Annotated[Path | None, PlainValidator(values.existing_file)] = None


class Ledger(Table):
    """`[ledger]`: how blocks are gathered into one durable commit, whether strangers may read them, and who cosigns.

    `quorum` of `validators` make a checkpoint final; without it more than half of them. `policy` is a file that says both instead
    (C2SP tlog-policy).

    `host` is the first part of the log's name when its key is made: the first site's first host when none is given, or the node's
    name where that is a pattern. A log that has a key keeps its name.
    """

    batch_delay: Annotated[float, PlainValidator(values.duration(at_most=10.0))] = 0.1
    batch_size: Annotated[int, PlainValidator(values.whole(1, 256))] = 256
    publish: Switch = True
    keep_versions: Annotated[int, PlainValidator(values.whole(1, 100_000))] = 10
    keep_for: Duration = 30 * 86_400.0
    ml_dsa: Switch = False
    validators: Annotated[tuple[LedgerValidator, ...], BeforeValidator(values.listed("[[ledger.validators]] tables"))] = ()
    quorum: Annotated[int | None, PlainValidator(values.whole(1, 1_000))] = None
    policy: Annotated[Path | None, PlainValidator(values.existing_file)] = None
    host: Annotated[
        str | None,
        PlainValidator(
            values.matching(
                r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[1-9][0-9]{0,4})?",
                "a host",
                "a host name, with a port where it is not that of HTTPS",
            )
        ),
    ] = None


class Telemetry(Table):
    """`[telemetry]`: traces, metrics and the access log. An OTEL_* environment variable that is set wins."""

    otlp_endpoint: Annotated[str | None, PlainValidator(values.parse_http_url)] = None
    sample_ratio: Annotated[float, PlainValidator(values.ratio)] = 1.0
    metrics: Switch = True
    access_log: Annotated[
        str, PlainValidator(values.matching(r"[^\0]*[^/\0]", "a place for the log", '"stdout", "off", or the path of a file'))
    ] = "stdout"
    service_name: Annotated[str, PlainValidator(values.matching(r"\S(?:.*\S)?", "a name", "a name in quotes"))] = "edgeproxy"


class ExternalAccount(Table):
    """`external_account`: the account at the authority's own site that the ACME account is bound to (RFC 8555 section 7.3.4)."""

    key_id: Annotated[str, PlainValidator(values.matching(r"\S+", "a key identifier", "the identifier that the authority gave"))]
    mac_key: Annotated[
        str,
        PlainValidator(values.matching(r"[A-Za-z0-9_-]+=*", "a MAC key", "the key that the authority gave, in base64url")),
        Field(repr=False),
    ]


Challenge = Annotated[
    str,
    PlainValidator(values.matching(r"http-01|tls-alpn-01|dns-01", "a challenge", '"http-01", "tls-alpn-01", "dns-01"')),
]
Word = Annotated[str, PlainValidator(values.matching(r"[^\0]+", "a word", "a program or one of its arguments"))]
Command = Annotated[tuple[Word, ...], BeforeValidator(values.listed("words of a command"))]
ProfileName = Annotated[str | None, PlainValidator(values.matching(r"[\x21-\x7e]+", "a profile", "the name of a profile"))]
CommonName = Annotated[
    str | None, PlainValidator(values.matching(r"\S(?:.*\S)?", "a common name", "the common name of an issuer"))
]


class AcmeAuthority(Table):
    """A certificate authority: `[acme]` itself, and each `[[acme.fallback]]`, which is asked when those before it failed."""

    directory: Annotated[str, PlainValidator(values.parse_http_url)]
    directory_ca_file: Annotated[Path | None, PlainValidator(values.existing_file)] = None
    profile: ProfileName = None
    preferred_chain: CommonName = None
    external_account: ExternalAccount | None = None


class OnDemand(Table):
    """`[acme.on_demand]`: certificates for names that no site lists, where the operator's own service at `ask` says yes."""

    ask: Annotated[str, PlainValidator(values.parse_http_url)]
    hold: Annotated[float, PlainValidator(values.duration(at_least=0.1, at_most=29.0))] = 25.0
    client_names: Count = 5
    all_names: Count = 50


LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"


class Acme(Table):
    """`[acme]`: who issues certificates, and how names are proved. Used when `email` or `directory` is given."""

    email: Annotated[
        str | None, PlainValidator(values.matching(r"[^\s@<>,;]+@[^\s@<>,;]+", "an address", "an e-mail address"))
    ] = None
    directory: Annotated[str | None, PlainValidator(values.parse_http_url)] = None
    directory_ca_file: Annotated[Path | None, PlainValidator(values.existing_file)] = None
    profile: ProfileName = None
    preferred_chain: CommonName = None
    external_account: ExternalAccount | None = None
    challenges: Annotated[tuple[Challenge, ...], BeforeValidator(values.listed("challenges", least=1))] = (
        "http-01",
        "tls-alpn-01",
    )
    dns_hook: Command = ()
    hook: Command = ()
    self_check: Switch = True
    forward_challenges: Annotated[str | None, PlainValidator(values.parse_http_url)] = None
    fallback: Annotated[tuple[AcmeAuthority, ...], BeforeValidator(values.listed("[[acme.fallback]] tables"))] = ()
    on_demand: OnDemand | None = None

    @property
    def authorities(self) -> tuple[AcmeAuthority, ...]:
        """Those that are asked, in their order; none when nothing says that any should be."""
        if self.email is None and self.directory is None:
            return ()
        first = AcmeAuthority.model_construct(
            directory=self.directory or LETS_ENCRYPT,
            directory_ca_file=self.directory_ca_file,
            profile=self.profile,
            preferred_chain=self.preferred_chain,
            external_account=self.external_account,
        )
        return (first, *self.fallback)


class SiteTls(Table):
    """`[site.tls]`: how a site is spoken to over HTTPS. Only where `listen.https` has an address."""

    minimum: Annotated[str, PlainValidator(values.matching(r"1\.[23]", "a version", '"1.2" or "1.3"'))] = "1.2"
    client_ca_file: Annotated[Path | None, PlainValidator(values.existing_file)] = None
    client_auth: Annotated[
        str, PlainValidator(values.matching(r"off|optional|required", "a choice", '"off", "optional", "required"'))
    ] = "off"
    http2: Switch = True
    redirect: Switch = True
    hsts: Duration = 0.0
    hsts_subdomains: Switch = False


class SiteCache(Table):
    """`[site.cache]`: what is kept and for how long, where the origin leaves room."""

    default_ttl: Annotated[float | None, PlainValidator(values.parse_duration)] = None
    max_ttl: Annotated[float | None, PlainValidator(values.parse_duration)] = None
    heuristic: Switch = True
    ignore_query: Annotated[tuple[Glob, ...], BeforeValidator(values.listed("parameter names"))] = ()
    targeted: Annotated[tuple[Token, ...], BeforeValidator(values.listed("field names"))] = ("cdn-cache-control",)
    tag_headers: Annotated[tuple[Token, ...], BeforeValidator(values.listed("field names"))] = ("surrogate-key", "cache-tag")
    store_set_cookie: Switch = False
    max_object: Size = 1 << 30
    memory_object: Size = 4 << 20
    compress: Switch = True
    ignore_client_no_cache: Switch = False


class SiteRecovery(Table):
    """`[site.recovery]`: what happens when the origin fails."""

    max_stale: Duration = 7 * 86_400.0
    stale_after: Duration = 2.0
    override: Switch = False
    quota: Size = 1 << 30


class SiteServiceWorker(Table):
    """`[site.service_worker]`: what visitors' browsers do for the site when the edge is out of reach.

    `mirrors` are asked when the edge is; `mirror_keys` are verifier keys of other edges among them. `own` says what becomes of
    ours where the site turns out to have a service worker itself.
    """

    mode: Annotated[str, PlainValidator(values.matching(r"off|observe|on", "a mode", '"off", "observe", "on"'))] = "off"
    percent: Annotated[int, PlainValidator(values.whole(0, 100))] = 100
    csp: Annotated[Choice, PlainValidator(values.matching(r"respect|extend", "a choice", '"respect", "extend"'))] = "extend"
    own: Annotated[str, PlainValidator(values.matching(r"yield|ignore", "a choice", '"yield", "ignore"'))] = "yield"
    mirrors: Annotated[
        tuple[Annotated[str, PlainValidator(values.parse_mirror)], ...], BeforeValidator(values.listed("URLs", most=16))
    ] = ()
    mirror_keys: Annotated[
        tuple[Annotated[str, PlainValidator(values.parse_verifier_key)], ...],
        BeforeValidator(values.listed("verifier keys", most=16)),
    ] = ()
    max_stale: Annotated[float, PlainValidator(values.duration(at_least=1.0))] = 7 * 86_400.0
    cache_bytes: Annotated[int, PlainValidator(values.size(at_least=1 << 20))] = 50 << 20
    navigation_timeout: Annotated[float, PlainValidator(values.duration(at_least=0.1, at_most=60.0))] = 8.0


class SiteOrigin(Table):
    """`[site.origin]`: how the origins are spoken to.

    `host` is sent as `Host`: "client" as the client sent it, "origin" the origin's own, or a name. "auto" is the origin's own for
    a site of any host, so that trying the edge on a local address shows the real site, and the client's where hosts are named.
    """

    connect_timeout: Timeout = 3.0
    head_timeout: Timeout = 30.0
    body_timeout: Timeout = 60.0
    retries: Annotated[int, PlainValidator(values.whole(0, 10))] = 1
    tls_verify: Switch = True
    ca_file: Annotated[Path | None, PlainValidator(values.existing_file)] = None
    host: Annotated[
        str,
        PlainValidator(
            values.matching(
                r"[A-Za-z0-9._-]+(?::[0-9]{1,5})?|\[[0-9a-fA-F:.]+\](?::[0-9]{1,5})?",
                "a host",
                '"auto", "client", "origin", or a host name',
            )
        ),
    ] = "auto"
    max_connections: Count = 512
    keepalive: Duration = 30.0


class Site(Table):
    """`[[site]]`: a set of host names with its origins and rules. `publish`: whether its hosts show the ledger, and the block API
    its content."""

    hosts: Annotated[tuple[HostPattern, ...], BeforeValidator(values.listed("host names", least=1))]
    origins: Annotated[tuple[Origin, ...], BeforeValidator(values.listed("origins", least=1))]
    memento: Switch = False
    publish: Switch = True
    cache: SiteCache = Field(default_factory=SiteCache)
    recovery: SiteRecovery = Field(default_factory=SiteRecovery)
    tls: SiteTls = Field(default_factory=SiteTls)
    origin: SiteOrigin = Field(default_factory=SiteOrigin)
    service_worker: SiteServiceWorker = Field(default_factory=SiteServiceWorker)

    @property
    def name(self) -> str:
        """What the ledger, the metrics and the admin side call this site: its first host."""
        return self.hosts[0]

    def key_rules(self) -> KeyRules:
        """What makes two URLs of this site the same."""
        return KeyRules(ignore_query=self.cache.ignore_query)

    def policy(self) -> Policy:
        """What the pure rules of the cache need to know of this site."""
        cache, recovery = self.cache, self.recovery
        without_heuristic = {} if cache.heuristic else {"heuristic_fraction": 0.0, "heuristic_max": 0}
        return Policy(
            default_ttl=None if cache.default_ttl is None else int(cache.default_ttl),
            max_ttl=None if cache.max_ttl is None else int(cache.max_ttl),
            store_set_cookie=cache.store_set_cookie,
            targets=tuple(name.lower() for name in cache.targeted),
            tag_fields=tuple(name.lower() for name in cache.tag_headers),
            max_object=cache.max_object,
            stale_if_error_default=int(recovery.max_stale),
            override=recovery.override,
            ignore_client_no_cache=cache.ignore_client_no_cache,
            **without_heuristic,  # type: ignore[arg-type]  # mypy joins the two value types
        )


class Config(Table):
    """The whole file, checked."""

    edge: Edge = Field(default_factory=Edge)
    listen: Listen = Field(default_factory=Listen)
    limits: Limits = Field(default_factory=Limits)
    acme: Acme = Field(default_factory=Acme)
    ledger: Ledger = Field(default_factory=Ledger)
    telemetry: Telemetry = Field(default_factory=Telemetry)
    sites: Annotated[tuple[Site, ...], BeforeValidator(values.listed("[[site]] tables")), Field(alias="site")] = ()
    _path: Path | None = PrivateAttr(default=None)
    _flags: Flags = PrivateAttr(default=NO_FLAGS)

    def remember(self, path: Path | None, flags: Flags) -> None:
        """Keep where this came from, so that a reload can read it again."""
        self._path, self._flags = path, flags

    @property
    def path(self) -> Path | None:
        """The file it was read from; None when flags made it all."""
        return self._path

    @property
    def flags(self) -> Flags:
        """The flags that lie over the file."""
        return self._flags
