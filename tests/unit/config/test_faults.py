# ruff: noqa: E501  (the fault lines are compared whole, one a line)
"""Faults of a configuration: all at once, each with its key path, its value and what is allowed."""

from pathlib import Path

import pytest

from edgeproxy.config import load
from edgeproxy.config.model import LETS_ENCRYPT
from tests.support.configs import SITE, faults_of

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
