# ruff: noqa: E501  (the fault lines are compared whole, one a line)
"""Where a configuration comes from: example files that say the truth, flags over the file over defaults, and reloads."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from edgeproxy.caching.model import Policy
from edgeproxy.config import Config, Flags, data_of, from_flags, load, needs_restart, reread
from edgeproxy.config.model import OnDemand, Table
from edgeproxy.errors import ConfigError
from tests.support.configs import SITE, faults_of
from tests.support.edge import ROOT


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
