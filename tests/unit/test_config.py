# ruff: noqa: E501  (the fault lines are compared whole, one a line)
"""The configuration: what is refused and how it reads, precedence, and that the documented file says the truth."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from edgeproxy.caching.model import Policy
from edgeproxy.config import Config, Flags, data_of, from_flags, load, needs_restart, reread
from edgeproxy.config.cosigners import cosigners_of
from edgeproxy.config.model import LETS_ENCRYPT, OnDemand, Table
from edgeproxy.config.values import (
    Unfit,
    parse_address,
    parse_duration,
    parse_host_pattern,
    parse_origin,
    parse_size,
    show_duration,
    show_size,
)
from edgeproxy.errors import ConfigError
from edgeproxy.ledger.note_keys import COSIGNATURE, Signer

ROOT = Path(__file__).resolve().parents[2]
SITE = '[[site]]\nhosts = ["example.org"]\norigins = ["http://127.0.0.1:9000"]\n'


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    def write(text: str) -> Path:
        path = tmp_path / "edge.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def faults_of(path: Path | None, flags: Flags | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path, flags or Flags())
    return caught.value.faults


# --- single values


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90.0),
        ("7d", 604_800.0),
        ("100ms", 0.1),
        ("1h30m", 5_400.0),
        ("1.5s", 1.5),
        ("0", 0.0),
        ("0s", 0.0),
        ("2w", 1_209_600.0),
    ],
)
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("value", ["", "90", "s", "-1s", "1 s", "90S", "1y", "1s ", "٣s", 90, 1.5, True, None, ["1s"]])
def test_what_is_no_duration_is_refused_with_the_units_allowed(value: object) -> None:
    with pytest.raises(Unfit) as caught:
        parse_duration(value)
    assert caught.value.problem == "is not a duration"
    assert "ms, s, m, h, d or w" in caught.value.allowed


def test_a_duration_beyond_a_century_is_refused() -> None:
    with pytest.raises(Unfit, match="too long"):
        parse_duration("99999999d")


@pytest.mark.parametrize(
    ("text", "octets"), [("512MiB", 512 << 20), ("1GB", 10**9), ("0", 0), ("17B", 17), ("1.5KiB", 1536), ("2TiB", 2 << 40)]
)
def test_a_size_is_read(text: str, octets: int) -> None:
    assert parse_size(text) == octets


@pytest.mark.parametrize("value", ["", "512", "MiB", "-1MiB", "1 MiB", "1mib", 512, True, None])
def test_what_is_no_size_is_refused(value: object) -> None:
    with pytest.raises(Unfit, match="is not a size"):
        parse_size(value)


@pytest.mark.parametrize("seconds", [0.0, 0.1, 1.0, 90.0, 3_600.0, 604_800.0])
def test_a_shown_duration_reads_back(seconds: float) -> None:
    assert parse_duration(show_duration(seconds)) == seconds


@pytest.mark.parametrize("octets", [0, 1, 1000, 1024, 5 << 20, 3 << 30])
def test_a_shown_size_reads_back(octets: int) -> None:
    assert parse_size(show_size(octets)) == octets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("127.0.0.1:8080", "127.0.0.1:8080"),
        (":80", ":80"),
        ("[::1]:0", "[::1]:0"),
        ("LocalHost:1", "localhost:1"),
        ("unix:/run/e.sock", "unix:/run/e.sock"),
    ],
)
def test_an_address_is_read(text: str, shown: str) -> None:
    assert str(parse_address(text)) == shown


@pytest.mark.parametrize(
    "value",
    ["", "8080", "127.0.0.1", "127.0.0.1:65536", "127.0.0.1:http", "::1:80", "1.2.3:80", "[zz]:80", "a b:80", "unix:e", 80],
)
def test_what_is_no_address_is_refused(value: object) -> None:
    with pytest.raises(Unfit) as caught:
        parse_address(value)
    assert "HOST:PORT" in caught.value.allowed


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
        ("https://Example.ORG/", "https://example.org"),
        ("http://[::1]:81", "http://[::1]:81"),
        ("http://not-there-yet.invalid", "http://not-there-yet.invalid"),
        ("unix:/run/app.sock", "unix:/run/app.sock"),
        ("unix:///run/app.sock", "unix:/run/app.sock"),
    ],
)
def test_an_origin_is_read_though_its_name_need_not_resolve(text: str, origin: str) -> None:
    assert parse_origin(text) == origin


@pytest.mark.parametrize(
    "value",
    [
        "",
        "example.org",
        "ftp://x",
        "http://",
        "http://h/path",
        "http://h?q",
        "http://u:p@h",
        "http://h:0",
        "http://h:99999",
        "http://[::1",
        "http://1.2.3",
        "unix:app.sock",
        "unix:/" + "x" * 200,
        5,
        None,
    ],
)
def test_what_is_no_origin_is_refused(value: object) -> None:
    with pytest.raises(Unfit) as caught:
        parse_origin(value)
    assert "https://HOST" in caught.value.allowed


@pytest.mark.parametrize(
    ("text", "host"),
    [("Example.ORG", "example.org"), ("*", "*"), ("*.a.org", "*.a.org"), ("::1", "[::1]"), ("192.0.2.1", "192.0.2.1")],
)
def test_a_host_is_read_in_lower_case(text: str, host: str) -> None:
    assert parse_host_pattern(text) == host


@pytest.mark.parametrize(
    "value", ["", "a.org:80", "http://a.org", "a..org", "*a.org", "a.*", "bücher.example", "1.2.3", ".org", "a.org.", 5]
)
def test_what_is_no_host_is_refused(value: object) -> None:
    with pytest.raises(Unfit, match="is not a host"):
        parse_host_pattern(value)


# --- fault lines: key path, value, what is allowed

FAULTS = [
    ("[edge]\nnode = 5", 'edge.node: 5 is not a node name; allowed: 1 to 63 letters, digits, dots and hyphens'),
    ("[edge]\nworkers = 4", 'edge.workers: 4 is more than this version can run, which is one process; allowed: 1 or "auto"'),
    ('[edge]\nmemory = "1KiB"', 'edge.memory: "1KiB" is too small; allowed: "1MiB" or more'),
    ("[edge]\nmemroy = 1", "edge.memroy: unknown key; did you mean memory?"),
    ("[edge]\ntrusted_proxies = [\"10.0.0.1/8\"]", 'edge.trusted_proxies[0]: "10.0.0.1/8" has bits set behind its prefix; allowed: "10.0.0.0/8"'),
    ("[edge]\nmax_connections = 0", "edge.max_connections: 0 is out of range; allowed: a whole number from 1 to 1000000"),
    ("[edge]\nsample_ratio = 1", "edge.sample_ratio: unknown key here; did you mean telemetry.sample_ratio?"),
    ("[edge]\nzzzzzz = 1", "edge.zzzzzz: unknown key; allowed: data, disk, drain, max_connections, memory, node, trusted_proxies, workers"),
    ("edge = 5", "edge: 5 is not a table; allowed: [edge] and its keys below it"),
    ("[telemetree]\nx = 1", "telemetree: unknown key; did you mean telemetry?"),
    ("[telemetry]\nsample_ratio = 1.5", "telemetry.sample_ratio: 1.5 is not a ratio; allowed: a number from 0.0 (nothing) to 1.0 (everything)"),
    ('[telemetry]\nmetrics = "yes"', 'telemetry.metrics: "yes" is not a switch; allowed: true or false, without quotes'),
    ('[telemetry]\notlp_endpoint = "localhost:4318"', 'telemetry.otlp_endpoint: "localhost:4318" is not a URL; allowed: a URL, like "http://127.0.0.1:4318"'),
    ('[listen]\nhttp = "127.0.0.1:80"', 'listen.http: "127.0.0.1:80" is not a list; allowed: a list of addresses'),
    ("[listen]\nhttp = []", "listen.http: [] is empty; allowed: at least one of addresses"),
    ('[listen]\nadmin = "unix:/run/a"', 'listen.admin: "unix:/run/a" is a Unix socket; allowed: HOST:PORT, like "127.0.0.1:9180"'),
    ('[ledger]\nbatch_delay = "11s"', 'ledger.batch_delay: "11s" is too long; allowed: up to "10s"'),
    ('[limits]\nhead_timeout = "0s"', 'limits.head_timeout: "0s" is too short; allowed: "10ms" or more'),
    ('[listen]\nhttps = ["unix:/run/a"]', 'listen.https[0]: "unix:/run/a" is a Unix socket; allowed: HOST:PORT, like "127.0.0.1:9180"'),
    ('[listen]\nhttps = ["127.0.0.1:8080"]', 'listen.https[0]: "127.0.0.1:8080" takes the same address as listen.http[0] (127.0.0.1:8080); allowed: an address of its own for each'),
    ('[acme]\nemail = "somebody"', 'acme.email: "somebody" is not an address; allowed: an e-mail address'),
    ('[acme]\nemial = "a@example.org"', "acme.emial: unknown key; did you mean email?"),
    ('[acme]\ndirectory = "acme.example.org"', 'acme.directory: "acme.example.org" is not a URL; allowed: a URL, like "http://127.0.0.1:4318"'),
    ('[acme]\ndirectory_ca_file = "/not/there.pem"', 'acme.directory_ca_file: "/not/there.pem" is not a file; allowed: the path of a file that exists'),
    ('[acme]\nchallenges = []', "acme.challenges: [] is empty; allowed: at least one of challenges"),
    ('[acme]\nchallenges = ["http-02"]', 'acme.challenges[0]: "http-02" is not a challenge; allowed: "http-01", "tls-alpn-01", "dns-01"'),
    ('[acme]\nchallenges = ["dns-01"]', 'acme.challenges: "dns-01" has nobody to write the records; allowed: together with acme.dns_hook'),
    ('[acme]\ndns_hook = "hook"', 'acme.dns_hook: "hook" is not a list; allowed: a list of words of a command'),
    ('[[acme.fallback]]\nprofile = "short"', "acme.fallback[0].directory: missing; allowed: the URL of an authority's directory"),
    ('[acme.external_account]\nkey_id = "k"', "acme.external_account.mac_key: missing; allowed: the key that the authority gave, in base64url"),
    ('[acme]\nemail = "a@example.org"\n[acme.external_account]\nkey_id = "k"\nmac_key = "§"', 'acme.external_account.mac_key: "§" is not a MAC key; allowed: the key that the authority gave, in base64url'),
    ('[acme.on_demand]\nask = "http://127.0.0.1:1/ask"', "acme.on_demand: there is no authority to ask; allowed: together with acme.email or acme.directory"),
    ('[acme]\nemail = "a@example.org"\n[acme.on_demand]\nhold = "10s"', "acme.on_demand.ask: missing; allowed: the URL of your own service"),
    ('[acme]\nemail = "a@example.org"\n[acme.on_demand]\nask = "http://127.0.0.1:1/ask"\nhold = "30s"', 'acme.on_demand.hold: "30s" is too long; allowed: up to "29s"'),
    ('[listen]\nhttps = []\n[acme]\nemail = "a@example.org"', "listen.https: [] has no place for the certificates of [acme]; allowed: addresses, or no such key, which is :443"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line"), FAULTS, ids=[line.partition(":")[0] for _, line in FAULTS])
def test_a_fault_names_key_path_value_and_what_is_allowed(write, text: str, line: str) -> None:
    assert faults_of(write(f"{text}\n{SITE}")) == [line]


SITE_FAULTS = [
    ("[site.cache]\ndefualt_ttl = \"1s\"", "site[0].cache.defualt_ttl: unknown key; did you mean default_ttl?"),
    ("[site.cache]\ndefault_ttl = 12", 'site[0].cache.default_ttl: 12 is not a duration; allowed: a number with ms, s, m, h, d or w, like "100ms", "90s" or "7d"'),
    ('[site.cache]\ntargeted = ["a b"]', 'site[0].cache.targeted[0]: "a b" is not a field name; allowed: the name of a header field'),
    ('[site.cache]\ndefault_ttl = "2d"\nmax_ttl = "1d"', 'site[0].cache.default_ttl: "2d" is longer than max_ttl; allowed: up to "1d"'),
    ('[site.cache]\nmemory_object = "1GiB"', 'site[0].cache.memory_object: "1GiB" is larger than edge.memory; allowed: up to "256MiB"'),
    ('[site.origin]\nca_file = "/not/there.pem"', 'site[0].origin.ca_file: "/not/there.pem" is not a file; allowed: the path of a file that exists'),
    ('[site.origin]\nhost = "a b"', 'site[0].origin.host: "a b" is not a host; allowed: "auto", "client", "origin", or a host name'),
    ("[site.recovery]\noverride = 1", "site[0].recovery.override: 1 is not a switch; allowed: true or false, without quotes"),
    ('[site.tls]\nminimum = "1.1"', 'site[0].tls.minimum: "1.1" is not a version; allowed: "1.2" or "1.3"'),
    ('[site.tls]\nclient_auth = "yes"', 'site[0].tls.client_auth: "yes" is not a choice; allowed: "off", "optional", "required"\nsite[0].tls.client_auth: nobody is named who signs the certificates; allowed: with client_ca_file'),
    ('[site.tls]\nclient_auth = "optional"', "site[0].tls.client_auth: nobody is named who signs the certificates; allowed: with client_ca_file"),
    ('[site.tls]\nclient_ca_file = "/not/there.pem"', 'site[0].tls.client_ca_file: "/not/there.pem" is not a file; allowed: the path of a file that exists'),
    ('[site.tls]\nhsts = 5', 'site[0].tls.hsts: 5 is not a duration; allowed: a number with ms, s, m, h, d or w, like "100ms", "90s" or "7d"'),
    ('[site.service_worker]\nmode = "yes"', 'site[0].service_worker.mode: "yes" is not a mode; allowed: "off", "observe", "on"'),
    ("[site.service_worker]\npercent = 101", "site[0].service_worker.percent: 101 is out of range; allowed: a whole number from 0 to 100"),
    ('[site.service_worker]\nmirrors = ["http://mirror.example.net"]', 'site[0].service_worker.mirrors[0]: "http://mirror.example.net" is a mirror without HTTPS, which browsers do not ask; allowed: "https://HOST[:PORT][/PATH]", without query or password'),
    ('[site.service_worker]\nmirrors = ["https://a/?b"]', 'site[0].service_worker.mirrors[0]: "https://a/?b" is not the URL of a mirror; allowed: "https://HOST[:PORT][/PATH]", without query or password'),
    ('[site.service_worker]\nmirror_keys = ["log+1234"]', 'site[0].service_worker.mirror_keys[0]: "log+1234" is not a verifier key (verifier key has not three parts); allowed: NAME+HASH+KEY, as "edgeproxy ledger head" prints it on the other edge'),
    ('[site.service_worker]\nmode = "on"\n[ledger]\npublish = false', "site[0].service_worker.mode: browsers need the ledger for their proofs, which is not public; allowed: with ledger.publish = true"),
    ('publish = false\n[site.service_worker]\nmode = "on"', "site[0].service_worker.mode: browsers need the ledger for their proofs, which is not public; allowed: with publish = true"),
    ('publish = false\n[ledger]\npolicy = "/not/there"', 'ledger.policy: "/not/there" is not a file; allowed: the path of a file that exists\nsite[0].publish: false for every site hides the blocks from the validators too; allowed: true for one of them'),
    ('[site.service_worker]\nmax_stale = "0"', 'site[0].service_worker.max_stale: "0" is too short; allowed: "1s" or more'),
    ('[site.service_worker]\non = true', 'site[0].service_worker.on: unknown key; did you mean own?'),
    ('[site.service_worker]\ncsp = "off"', 'site[0].service_worker.csp: "off" is not a choice; allowed: "respect", "extend"'),
    ("[[site]]", "site[1].hosts: missing; allowed: a list of host names\nsite[1].origins: missing; allowed: a list of origins"),
    ('[[site]]\nhosts = ["Example.org"]\norigins = ["http://a"]', 'site[1].hosts[0]: "Example.org" is already at site[0].hosts[0]; allowed: each host once'),
]  # fmt: skip


@pytest.mark.parametrize(("text", "lines"), SITE_FAULTS, ids=[line.partition(":")[0] for _, line in SITE_FAULTS])
def test_a_fault_in_a_site_has_the_index_of_the_site(write, text: str, lines: str) -> None:
    assert faults_of(write(f"{SITE}{text}\n")) == lines.split("\n")


def test_a_key_that_one_may_expect_is_refused_with_what_has_its_place(write) -> None:
    (fault,) = faults_of(write(f"{SITE}[ledger]\nretention = 2\n"))
    assert fault.startswith("ledger.retention: ")
    assert "ledger.keep_versions" in fault


def test_site_must_be_written_with_two_brackets(write) -> None:
    (fault,) = faults_of(write('[site]\nhosts = ["a.org"]\norigins = ["http://127.0.0.1:1"]\n'))
    assert fault.startswith("site: ")
    assert fault.endswith("is not a list of tables; allowed: [[site]], with two brackets")


def test_all_faults_come_at_once_also_those_between_values(write) -> None:
    faults = faults_of(
        write(
            '[edge]\nnode = ""\n[listen]\nhttp = ["x", "127.0.0.1:9180"]\n[[site]]\nhosts = ["a.org", "a.org", "b c"]\n'
            'origins = ["http://h/p"]\n[site.cache]\nttl = 1\n'
        )
    )
    assert [fault.partition(": ")[0] for fault in faults] == [
        "edge.node",
        "listen.http[0]",
        "site[0].hosts[2]",
        "site[0].origins[0]",
        "site[0].cache.ttl",
        "site[0].hosts[1]",
        "listen.admin",
    ]


def test_no_site_at_all_is_a_fault(write) -> None:
    assert faults_of(write("")) == ["site: none; allowed: at least one [[site]] with hosts and origins, or --origin URL"]


# --- faults between values


@pytest.mark.parametrize(
    ("http", "admin", "collides"),
    [
        (["127.0.0.1:80", "127.0.0.1:80"], "127.0.0.1:1", True),
        (["127.0.0.1:80", "localhost:80"], "127.0.0.1:1", True),
        ([":80", "127.0.0.1:80"], "127.0.0.1:1", True),
        (["0.0.0.0:80", "127.0.0.1:80"], "127.0.0.1:1", True),
        (["0.0.0.0:80", "[::1]:80"], "127.0.0.1:1", False),
        (["[::]:80", "127.0.0.1:80"], "127.0.0.1:1", False),
        (["127.0.0.1:80", "[::1]:80"], "127.0.0.1:1", False),
        (["127.0.0.1:0", "127.0.0.1:0"], "127.0.0.1:0", False),
        (["127.0.0.1:9180"], "127.0.0.1:9180", True),
        (["unix:/run/a", "unix:/run/a"], "127.0.0.1:1", True),
        (["unix:/run/a", "unix:/run/b"], "127.0.0.1:1", False),
    ],
)
def test_two_listeners_that_cannot_both_be_bound_are_a_fault(write, http: list[str], admin: str, collides: bool) -> None:
    path = write(f"[listen]\nhttp = {http}\nadmin = '{admin}'\n{SITE}")
    if collides:
        (fault,) = faults_of(path)
        assert "takes the same address as" in fault
    else:
        assert [str(address) for address in load(path).listen.http] == http


@pytest.mark.parametrize("address", ["0.0.0.0:9180", ":9180", "[::]:9180", "192.0.2.1:9180", "edge.example.org:9180"])
def test_the_admin_side_is_of_this_machine_only_unless_said_otherwise(write, address: str) -> None:
    (fault,) = faults_of(write(f'[listen]\nadmin = "{address}"\n{SITE}'))
    assert "listen.admin_public = true" in fault
    assert str(load(write(f'[listen]\nadmin = "{address}"\nadmin_public = true\n{SITE}')).listen.admin) == address


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1"])
def test_every_loopback_address_will_do_for_the_admin_side(write, address: str) -> None:
    assert str(load(write(f'[listen]\nadmin = "{address}"\n{SITE}')).listen.admin) == address


@pytest.mark.parametrize(
    ("hosts", "acme", "is_fault"),
    [
        ('["*"]', "", True),
        ('["*", "a.example.org"]', "", False),
        ('["*"]', '[acme]\nemail = "a@b.c"\n[acme.on_demand]\nask = "http://127.0.0.1:1/"', False),
        ('["127.0.0.1"]', "", False),
    ],
)
def test_https_needs_a_name_for_a_certificate(write, hosts: str, acme: str, is_fault: bool) -> None:
    path = write(f'[listen]\nhttps = [":8443"]\n{acme}\n[[site]]\nhosts = {hosts}\norigins = ["http://127.0.0.1:1"]\n')
    if is_fault:
        assert faults_of(path) == [
            "listen.https: no site has a name; allowed: sites with host names (--host), or [acme.on_demand]"
        ]
    else:
        assert load(path).listen.https


@pytest.mark.parametrize(
    ("https", "redirect", "lines"),
    [
        (True, "true", []),
        (
            False,
            "true",
            ['client_auth: "required" would be asked of nobody over plain HTTP; allowed: with an address in listen.https'],
        ),
        (
            True,
            "false",
            ["redirect: false lets clients without a certificate in over plain HTTP; allowed: true where they are required"],
        ),
    ],
)
def test_there_is_no_way_around_client_certificates(write, tmp_path: Path, https: bool, redirect: str, lines: list[str]) -> None:
    (tmp_path / "ca.pem").write_text("")
    listen = '[listen]\nhttps = [":8443"]\n' if https else ""
    tls = f'[site.tls]\nclient_auth = "required"\nclient_ca_file = "{tmp_path}/ca.pem"\nredirect = {redirect}\n'
    path = write(f"{listen}{SITE}{tls}")
    if lines:
        assert faults_of(path) == [f"site[0].tls.{line}" for line in lines]
    else:
        assert load(path).sites[0].tls.client_auth == "required"


def test_who_names_an_authority_gets_the_public_ports_and_lets_encrypt(write) -> None:
    config = load(write(f'[acme]\nemail = "a@example.org"\n{SITE}'))
    assert (*map(str, config.listen.http), *map(str, config.listen.https)) == (":80", ":443")
    assert [authority.directory for authority in config.acme.authorities] == [LETS_ENCRYPT]
    given = load(write(f'[listen]\nhttp = [":1"]\nhttps = [":2"]\n[acme]\ndirectory = "https://ca.test/d"\n{SITE}'))
    assert (*map(str, given.listen.http), *map(str, given.listen.https)) == (":1", ":2")
    assert [authority.directory for authority in given.acme.authorities] == ["https://ca.test/d"]
    assert load(write(SITE)).acme.authorities == ()


def test_a_data_folder_needs_a_parent_and_must_not_be_a_file(write, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (missing,) = faults_of(write(f'[edge]\ndata = "{tmp_path}/no/data"\n{SITE}'))
    assert missing == f'edge.data: "{tmp_path}/no/data" has no parent folder; allowed: a path below an existing folder'
    (file,) = faults_of(write(f'[edge]\ndata = "{tmp_path}/file"\n{SITE}'))
    assert "is not a folder" in file
    assert load(write(f'[edge]\ndata = "{tmp_path}/data"\n{SITE}')).edge.data == tmp_path / "data"


# --- validators

VKEYS = [str(Signer(f"v{number}.example", bytes([number + 1]) * 32, COSIGNATURE).verifier) for number in range(3)]
LOG_KEY = str(Signer("edge.example/.edge/ledger", bytes([9]) * 32).verifier)


def cosigners(*keys: str) -> str:
    return "".join(f'[[ledger.validators]]\nvkey = "{key}"\nurl = "http://127.0.0.1:1"\n' for key in keys)


@pytest.mark.parametrize(("quorum", "cosigned", "expected"), [("", 1, False), ("", 2, True), ("quorum = 3", 2, False), ("quorum = 1", 1, True)])
def test_more_than_half_of_the_validators_are_a_quorum_unless_said_otherwise(write, quorum: str, cosigned: int, expected: bool) -> None:
    found = cosigners_of(load(write(f"[ledger]\n{quorum}\n{cosigners(*VKEYS)}{SITE}")).ledger)
    assert found is not None
    policy, asked = found
    assert [str(each.verifier) for each in asked] == VKEYS
    assert policy.is_met({each.name for each in asked[:cosigned]}) is expected
    assert cosigners_of(load(write(SITE)).ledger) is None


def test_a_policy_file_says_who_cosigns(write, tmp_path: Path) -> None:
    (tmp_path / "policy").write_text(f"witness a {VKEYS[0]} http://a\nwitness b {VKEYS[1]}\ngroup g any a b\nquorum g\n")
    found = cosigners_of(load(write(f'[ledger]\npolicy = "{tmp_path}/policy"\n{SITE}')).ledger)
    assert found is not None
    policy, asked = found
    assert [(each.name, each.url) for each in asked] == [("a", "http://a")]
    assert policy.is_met({"b"})


@pytest.mark.parametrize(
    ("ledger", "policy", "faults"),
    [
        ("quorum = 2\n", None, ["ledger.quorum: there is nobody to count; allowed: together with [[ledger.validators]]"]),
        (f"quorum = 2\n{cosigners(VKEYS[0])}", None, ["ledger.quorum: 2 is more than there are validators; allowed: up to 1"]),
        (f"publish = false\n{cosigners(VKEYS[0])}", None, ["ledger.publish: false hides the blocks from the validators too; allowed: true where there are validators"]),
        (cosigners(VKEYS[0], VKEYS[1], VKEYS[0]), None, ["ledger.validators[2].vkey: the key is there twice; allowed: each validator once"]),
        (cosigners(LOG_KEY), None, [f'ledger.validators[0].vkey: "{LOG_KEY}" is the key of a log, which does not cosign; allowed: the key that `edgeproxy validator init` printed, like "validator.example.org+1a2b3c4d+BE5d…"']),
        (cosigners("nonsense"), None, ['ledger.validators[0].vkey: "nonsense" is not a verifier key (verifier key has not three parts); allowed: the key that `edgeproxy validator init` printed, like "validator.example.org+1a2b3c4d+BE5d…"']),
        ("[[ledger.validators]]\n", None, ["ledger.validators[0].vkey: missing; allowed: the key that `edgeproxy validator init` printed", "ledger.validators[0].url: missing; allowed: where the validator is asked"]),
        (f'policy = "POLICY"\n{cosigners(VKEYS[0])}', f"witness a {VKEYS[0]} http://a\nquorum a\n", ["ledger.policy: names the validators, and so does [[ledger.validators]]; allowed: one of the two"]),
        ('policy = "POLICY"\n', "quorum none\n", ["ledger.policy: POLICY has the quorum none, with which everything is final; allowed: a quorum of witnesses"]),
        ('policy = "POLICY"\n', f"witness a {VKEYS[0]}\nquorum a\n", ["ledger.policy: POLICY has too few witnesses with a url for its quorum; allowed: a url behind the key of each"]),
        ('policy = "POLICY"\n', "quorum a\n", ["ledger.policy: POLICY is not understood: name is not one of a line above (name=a, line=1); allowed: a C2SP tlog-policy file"]),
        ('policy = "/not/there"\n', None, ['ledger.policy: "/not/there" is not a file; allowed: the path of a file that exists']),
    ],
)  # fmt: skip
def test_validators_that_cannot_make_anything_final_are_a_fault(write, tmp_path: Path, ledger: str, policy: str | None, faults: list[str]) -> None:
    if policy is not None:
        (tmp_path / "policy").write_text(policy)
    path = str(tmp_path / "policy")
    assert faults_of(write(f"[ledger]\n{ledger.replace('POLICY', path)}{SITE}")) == [each.replace("POLICY", path) for each in faults]


def test_what_the_example_shows_of_validators_can_be_used(write, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("")
    text = (ROOT / "config/edgeproxy.example.toml").read_text(encoding="utf-8")
    shown = text[text.index("# [[ledger.validators]]") :].partition("\n\n")[0].replace("\n# ", "\n").removeprefix("# ")
    shown = re.sub(r'"/[^"]+\.pem"', f'"{tmp_path}/ca.pem"', shown)
    (validator,) = load(write(f"{shown}\n{SITE}")).ledger.validators
    assert validator.ca_file == tmp_path / "ca.pem"


# --- the file as a whole


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[edge\n", "line 1 column 6: not TOML: expected ']' at the end of a table declaration"),
        ("[edge]\nnode = \n", "line 2 column 8: not TOML: invalid value"),
        ("[edge]\nnode = 'a", "line 2: not TOML: "),
        ("a = 1\na = 2\n", "line 2 column 6: not TOML: cannot overwrite a value"),
    ],
)
def test_a_syntax_error_has_its_line(write, text: str, line: str) -> None:
    path = write(text)
    (fault,) = faults_of(path)
    assert fault.startswith(f"{path} {line}")


def test_a_file_that_cannot_be_read_is_named(write, tmp_path: Path) -> None:
    assert faults_of(tmp_path / "none.toml") == [f"{tmp_path / 'none.toml'}: no such file or directory"]
    assert faults_of(tmp_path) == [f"{tmp_path}: is a directory"]
    path = write("")
    path.write_bytes(b"[edge]\nnode = '\xff'\n")
    assert faults_of(path) == [f"{path} line 2: not UTF-8 text"]


def test_the_example_file_says_every_key_with_its_true_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    text = (ROOT / "config/edgeproxy.example.toml").read_text(encoding="utf-8")
    shown = load(ROOT / "config/edgeproxy.example.toml")
    bare = from_flags(Flags(origins=("http://127.0.0.1:9000",)))
    assert dict(shown) == dict(bare)
    for where, table in tables_of(Config):
        section = text if where in ("", "site") else text[text.index(f"[{where}]") :].partition("\n\n")[0]
        for key, field in table.model_fields.items():
            below = ".".join((where, field.alias or key)).lstrip(".")
            assert any(f"\n{form}" in section for form in (f"{key} = ", f"# {key} = ")) or f"[{below}]" in text, (where, key)


def tables_of(table: type[Table], where: str = "") -> Iterator[tuple[str, type[Table]]]:
    """Each table of the file under its name."""
    yield where, table
    for key, field in table.model_fields.items():
        path = ".".join((where, field.alias or key)).lstrip(".")
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, Table) and path != "acme.fallback.external_account":
                yield from tables_of(kind, path)


def test_the_defaults_of_what_the_example_shows_of_certificates_on_demand_are_the_true_ones(write) -> None:
    text = (ROOT / "config/edgeproxy.example.toml").read_text(encoding="utf-8")
    shown = text[text.index("# [acme.on_demand]") :].partition("\n\n")[0].replace("\n# ", "\n").removeprefix("# ")
    given = load(write(f'[acme]\nemail = "a@example.org"\n{shown}\n{SITE}')).acme.on_demand
    assert given is not None
    assert given == OnDemand(ask=given.ask)


def test_what_the_example_shows_of_authorities_can_be_used(write, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("")
    text = (ROOT / "config/edgeproxy.example.toml").read_text(encoding="utf-8")
    shown = re.sub(r"(?m)^# (\[|[a-z_]+ = )", r"\1", text[text.index("[acme]") : text.index("[ledger]")])
    shown = re.sub(r'"/[^"]+\.pem"', f'"{tmp_path}/ca.pem"', shown)
    acme = load(write(f"{shown}\n{SITE}")).acme
    assert [authority.directory for authority in acme.authorities] == [
        "https://acme.example.org/directory",
        "https://acme.example.net/directory",
    ]
    assert all(authority.external_account and authority.profile for authority in acme.authorities)


def test_the_production_example_is_good(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [site.name for site in load(ROOT / "config/edgeproxy.production.toml", Flags(data="/tmp/edge")).sites] == [
        "shop.example.org",
        "static.shop.example.org",
    ]


# --- flags


def test_origin_alone_makes_one_site_for_any_host(write) -> None:
    config = from_flags(Flags(origins=("https://www.example.org", "http://10.0.0.1")))
    (site,) = config.sites
    assert (site.hosts, site.origins) == (("*",), ("https://www.example.org", "http://10.0.0.1"))
    assert (str(config.listen.http[0]), str(config.listen.admin), str(config.edge.data)) == (
        "127.0.0.1:8080",
        "127.0.0.1:9180",
        "edgeproxy-data",
    )


def test_flags_win_over_the_file_and_the_file_over_defaults(write, tmp_path: Path) -> None:
    path = write(
        f'[edge]\ndata = "{tmp_path}/file"\nnode = "n1"\n[listen]\nhttp = [":1"]\n{SITE}[site.cache]\ndefault_ttl = "5s"\n'
    )
    flags = Flags(
        origins=("http://other",),
        hosts=("b.org",),
        listen=(":2", ":3"),
        admin="127.0.0.1:4",
        data=str(tmp_path / "flag"),
        workers="1",
    )
    config = load(path, flags)
    assert [str(address) for address in config.listen.http] == [":2", ":3"]
    assert str(config.listen.admin) == "127.0.0.1:4"
    assert config.edge.data == tmp_path / "flag"
    assert config.edge.node == "n1"
    assert config.sites[0].hosts == ("b.org",)
    assert config.sites[0].origins == ("http://other",)
    assert config.sites[0].cache.default_ttl == 5.0


def test_the_flags_for_https_win_too(write, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("")
    path = write(f'[listen]\nhttps = [":1"]\n[acme]\nemail = "old@example.org"\n{SITE}')
    flags = Flags(
        email="new@example.org", listen_tls=(":2",), acme_directory="https://ca.test/d", acme_ca=str(tmp_path / "ca.pem")
    )
    config = load(path, flags)
    assert [str(address) for address in config.listen.https] == [":2"]
    (authority,) = config.acme.authorities
    assert (config.acme.email, authority.directory) == ("new@example.org", "https://ca.test/d")
    assert authority.directory_ca_file == tmp_path / "ca.pem"


@pytest.mark.parametrize(
    ("flags", "start"),
    [
        (Flags(origins=("nonsense",)), '--origin: "nonsense" is not an origin'),
        (Flags(origins=("http://a",), hosts=("a b",)), '--host: "a b" is not a host'),
        (Flags(origins=("http://a",), listen=("x",)), '--listen: "x" is not an address'),
        (Flags(origins=("http://a",), admin="0.0.0.0:1"), '--admin: "0.0.0.0:1" can be reached from other machines'),
        (Flags(origins=("http://a",), data="/no/such/place"), '--data: "/no/such/place" has no parent folder'),
        (Flags(origins=("http://a",), workers="2"), "--workers: 2 is more than this version can run"),
        (Flags(origins=("http://a",), workers="many"), '--workers: "many" is not a number of workers'),
        (Flags(hosts=("a.org",)), "--host: there is no origin for it"),
        (Flags(origins=("http://a",), hosts=("a.org",), email="x"), '--email: "x" is not an address'),
        (Flags(origins=("http://a",), email="a@b.c"), "listen.https: no site has a name"),
        (Flags(origins=("http://a",), hosts=("a.org",), listen_tls=("unix:/x",)), '--listen-tls: "unix:/x" is a Unix socket'),
        (Flags(origins=("http://a",), listen_tls=(":1",)), "--listen-tls: no site has a name"),
        (Flags(origins=("http://a",), hosts=("a.org",), acme_directory="x"), '--acme-directory: "x" is not a URL'),
        (
            Flags(origins=("http://a",), hosts=("a.org",), email="a@b.c", acme_ca="/not/there"),
            '--acme-ca: "/not/there" is not a file',
        ),
    ],
)
def test_a_fault_in_a_flag_is_named_after_the_flag(write, flags: Flags, start: str) -> None:
    (fault,) = faults_of(None, flags)
    assert fault.startswith(start)


def test_origin_flags_beside_several_sites_are_refused_since_it_is_not_clear_which_is_meant(write) -> None:
    path = write(f'{SITE}[[site]]\nhosts = ["b.org"]\norigins = ["http://b"]\n')
    (fault,) = faults_of(path, Flags(origins=("http://c",)))
    assert fault.startswith("--origin, --host: the file has 2 sites")


# --- what the rest of the program takes from it


def test_the_defaults_of_a_site_are_the_defaults_of_the_core() -> None:
    assert from_flags(Flags(origins=("http://a",))).sites[0].policy() == Policy()


def test_a_site_hands_its_rules_to_the_core_as_plain_values(write) -> None:
    site = load(
        write(
            SITE
            + '[site.cache]\ndefault_ttl = "90s"\nmax_ttl = "1h"\nheuristic = false\nstore_set_cookie = true\nmax_object = "5MiB"\n'
            'targeted = ["Edge-Control", "CDN-Cache-Control"]\ntag_headers = ["X-Tag"]\nignore_query = ["utm_*"]\nignore_client_no_cache = true\n'
            '[site.recovery]\nmax_stale = "1d"\noverride = true\n'
        )
    ).sites[0]
    assert site.policy() == Policy(
        default_ttl=90,
        heuristic_fraction=0.0,
        heuristic_max=0,
        max_ttl=3600,
        store_set_cookie=True,
        targets=("edge-control", "cdn-cache-control"),
        tag_fields=("x-tag",),
        max_object=5 << 20,
        stale_if_error_default=86_400,
        override=True,
        ignore_client_no_cache=True,
    )
    assert site.key_rules().ignore_query == ("utm_*",)


def test_a_reload_reads_the_same_file_under_the_same_flags(write) -> None:
    config = load(write(SITE), Flags(listen=(":2",)))
    write(SITE.replace("example.org", "new.example.org"))
    again = reread(config)
    assert again.sites[0].hosts == ("new.example.org",)
    assert str(again.listen.http[0]) == ":2"
    write("[edge")
    with pytest.raises(ConfigError):
        reread(config)
    assert config.sites[0].hosts == ("example.org",)


def test_what_only_a_restart_can_change_is_said(write, tmp_path: Path) -> None:
    old = load(write(SITE))
    new = load(write(f'[edge]\nnode = "other"\n[listen]\nhttp = [":1"]\n[ledger]\nbatch_size = 5\n{SITE}'))
    assert needs_restart(old, new) == [
        "edge.node: changes from edge-1 to other only with a restart",
        "ledger.batch_size: changes from 256 to 5 only with a restart",
    ]
    validator = '[[ledger.validators]]\nvkey = "v.test+5a1c1bdc+BNy+AZonkvqCParcmefQsBm5E351eyM7rSxXhAG32yM3"\nurl = "http://v"\n'
    new = load(write(validator.replace("v.test", "v1.test") + SITE))
    assert needs_restart(old, new) == ["ledger.validators: changes only with a restart"]
    assert needs_restart(old, load(write(SITE.replace("9000", "9001")))) == []


def test_who_issues_changes_only_with_a_restart_once_https_is_served(write) -> None:
    plain = load(write(SITE))
    one = load(write(f'[acme]\ndirectory = "https://one.test/d"\nforward_challenges = "http://10.0.0.1"\n{SITE}'))
    two = load(write(f'[acme]\ndirectory = "https://two.test/d"\nforward_challenges = "http://10.0.0.2"\n{SITE}'))
    assert needs_restart(one, two) == [
        "acme.directory: changes from https://one.test/d to https://two.test/d only with a restart"
    ]
    assert needs_restart(plain, one) == []


def test_a_secret_is_not_shown_when_it_changes(write) -> None:
    def config(key: str) -> Config:
        return load(write(f'[acme]\nemail = "a@b.c"\n[acme.external_account]\nkey_id = "k"\nmac_key = "{key}"\n{SITE}'))

    (line,) = needs_restart(config("c2VjcmV0MQ"), config("c2VjcmV0Mg"))
    assert line.startswith("acme.external_account: changes ")
    assert "c2Vj" not in line


def test_the_data_folder_is_found_in_a_file_with_faults_elsewhere(write, tmp_path: Path) -> None:
    assert data_of(write('[edge]\ndata = "here"\nnode = 5\n')) == Path("here")
    assert data_of(write("[nonsense]\n")) == Path("edgeproxy-data")
    assert data_of(None) == Path("edgeproxy-data")
    with pytest.raises(ConfigError, match="is not a path"):
        data_of(write("[edge]\ndata = 5\n"))


def test_a_config_never_changes_once_made() -> None:
    config = from_flags(Flags(origins=("http://a",)))
    with pytest.raises(ValueError, match="frozen"):
        config.edge.node = "other"  # type: ignore[misc]


def test_the_service_worker_is_off_unless_it_is_switched_on() -> None:
    assert from_flags(Flags(origins=("http://127.0.0.1:1",))).sites[0].service_worker.mode == "off"
    assert from_flags(Flags(origins=("http://127.0.0.1:1",), service_worker="on")).sites[0].service_worker.mode == "on"
