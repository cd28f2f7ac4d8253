"""HTTPS by itself, the whole of it: an edge process, an authority that validates, and clients that verify what they are shown."""

import asyncio
import json
import ssl
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509

from tests.support.certificates import authority
from tests.support.challenge_servers import dns_hook_script
from tests.support.edge import command, until
from tests.support.https import (
    PATIENCE,
    SecureEdge,
    ask_pebble,
    connected,
    put_into_vault,
    secure_edge,
    site,
    site_for_https,
    trusting,
)
from tests.support.parts import need
from tests.support.pebble import PROGRAMS, Pebble, free_ports, own_certificate, running_pebble
from tests.support.scripted import scripted

NAMES = ("a.test", "b.test", "127.0.0.1")


# --- obtaining


@pytest.mark.parametrize("reuse", [0, 50, 100])
async def test_one_command_brings_a_site_onto_https(tmp_path: Path, reuse: int) -> None:
    need(*PROGRAMS)
    with running_pebble(tmp_path / "ca", nonce_reject=20, authz_reuse=reuse) as pebble, secure_edge(tmp_path, pebble) as edge:
        async with site_for_https() as site:
            hosts = [flag for name in NAMES for flag in ("--host", name)]
            listen = ("--listen", f"127.0.0.1:{edge.http}", "--listen-tls", f"127.0.0.1:{edge.https}", "--admin", "127.0.0.1:0")
            ca = ("--email", "a@example.org", "--acme-directory", pebble.directory, "--acme-ca", str(pebble.ca_file))
            edge.process.flags = ("--origin", site.url, *hosts, *ca, *listen, "--data", str(edge.data))
            await edge.start()
            for name in NAMES:
                await edge.verified(name)
                for http2 in (False, True):
                    seen = await edge.ask(name, http2=http2)
                    assert (seen.status, seen.body, seen.alpn) == (200, b"hello", "h2" if http2 else "http/1.1")
            await is_told_everywhere(edge, pebble)
            assert site.asked[-1].fields["X-Forwarded-Proto"] == "https"


async def is_told_everywhere(edge: SecureEdge, pebble: Pebble) -> None:
    """By `certs list`, `status`, metrics and health."""
    listed = await edge.certificates()
    assert [one["names"] for one in listed] == [[name] for name in NAMES]
    for one in listed:
        leaf = await edge.shown(one["names"][0])
        assert one["state"] == "served"
        assert one["directory"] == pebble.directory
        assert one["not_after"] == leaf.not_valid_after_utc.timestamp()
        assert one["last_success"] is not None
        assert one["next_attempt"] > one["last_success"] + 86_400
        assert one["failures"] == 0
    status = await edge.command("status")
    assert [one["fingerprint"] for one in status["certificates"]] == [one["fingerprint"] for one in listed]
    assert status["listen_tls"] == [f"127.0.0.1:{edge.https}"]
    admin = json.loads((edge.data / "admin.json").read_text())["address"]
    health = await asyncio.to_thread(fetch, f"http://{admin}/healthz")
    assert health == {"status": "ok", "checks": {"ledger": "ok", "store": "ok", "certificates": "ok"}}
    metrics = await asyncio.to_thread(fetch_text, f"http://{admin}/metrics")
    for name in NAMES:
        for metric in ("seconds_left", "last_success_seconds", "next_attempt_seconds"):
            assert f'edgeproxy_certificate_{metric}{{name="{name}"}}' in metrics
    assert 'edgeproxy_tls_arrivals_total{outcome="done"}' in metrics


def fetch_text(url: str) -> str:
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return error.read().decode()


def fetch(url: str) -> object:
    return json.loads(fetch_text(url))


async def test_names_are_proved_by_tls_alone_and_the_hook_is_told(tmp_path: Path) -> None:
    need(*PROGRAMS)
    hook = tmp_path / "hook"
    hook.write_text(f'#!/bin/sh\ncat >> {tmp_path}/told\necho "$@" >> {tmp_path}/arguments\n')
    hook.chmod(0o700)
    with running_pebble(tmp_path / "ca", nonce_reject=20) as pebble, secure_edge(tmp_path, pebble) as edge:
        async with site_for_https() as running:
            edge.configure(site(running.url, *NAMES), acme=ask_pebble(pebble, "tls-alpn-01", more=f'hook = ["{hook}"]'))
            await edge.start()
            for name in NAMES:
                assert (await edge.verified(name)).status == 200
                assert (await edge.ask(name, http2=True)).status == 200

            async def told() -> list[str] | None:
                lines = (tmp_path / "told").read_text().splitlines() if (tmp_path / "told").exists() else []
                return lines if len(lines) == len(NAMES) else None

            events = [json.loads(line) for line in await until(told)]
            assert sorted(event["names"][0] for event in events) == sorted(NAMES)
            assert {event["event"] for event in events} == {"obtained"}
            assert {event["certificate"]["directory"] for event in events} == {pebble.directory}
            assert "obtained a.test" in (tmp_path / "arguments").read_text()
            assert not any("PRIVATE" in line for line in (tmp_path / "told").read_text())


async def test_a_wildcard_by_the_dns_hook_from_the_second_authority_while_the_first_is_down(tmp_path: Path) -> None:
    need(*PROGRAMS)
    (nobody,) = free_ports(1)
    with running_pebble(tmp_path / "ca", nonce_reject=20) as pebble, secure_edge(tmp_path, pebble) as edge:
        async with site_for_https() as running:
            second = f'fallback = [{{ directory = "{pebble.directory}", directory_ca_file = "{pebble.ca_file}" }}]'
            hook = f'challenges = ["dns-01"]\ndns_hook = ["{dns_hook_script(tmp_path, pebble.dns)}"]'
            edge.configure(site(running.url, "*.a.test"), acme=f'directory = "https://127.0.0.1:{nobody}/dir"\n{second}\n{hook}')
            await edge.start()
            assert (await edge.verified("x.a.test")).status == 200
            assert (await edge.ask("y.a.test", http2=True)).status == 200
            for name in ("a.test", "x.y.a.test"):
                with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
                    await edge.ask(name)
            assert (await edge.certificate("*.a.test"))["directory"] == pebble.directory


async def test_a_renewal_that_is_asked_for_takes_over_without_a_break(tmp_path: Path) -> None:
    need(*PROGRAMS)
    with running_pebble(tmp_path / "ca") as pebble, secure_edge(tmp_path, pebble) as edge:
        async with site_for_https() as running:
            edge.configure(site(running.url, "a.test"), acme=ask_pebble(pebble))
            await edge.start()
            first = (await edge.verified("a.test")).leaf
            async with connected(edge.https, "a.test", trusting(pebble.roots())) as open_one:
                assert (await edge.command("certs", "renew", "a.test")) == {"name": "a.test"}

                async def renewed() -> x509.Certificate | None:
                    leaf = await edge.shown("a.test")
                    return leaf if leaf.serial_number != first.serial_number else None

                await until(renewed, PATIENCE)
                assert (await open_one.ask("a.test")).status == 200
            assert (await edge.ask("a.test", http2=True)).leaf.serial_number != first.serial_number
            assert "certificate renewed: a.test" in edge.log
            done = await asyncio.to_thread(command, "certs", "renew", "other.test", "--data", str(edge.data))
            assert done.returncode == 1
            assert "no certificate is kept for this name" in done.stderr


async def test_it_starts_while_the_authority_is_down_and_obtains_when_it_is_there(tmp_path: Path) -> None:
    need(*PROGRAMS)
    port, http, tls = free_ports(3)
    (tmp_path / "ca").mkdir()
    ca_file, _ = own_certificate(tmp_path / "ca")
    missing = Pebble(f"https://127.0.0.1:{port}/dir", port, ca_file, http, tls, "", None)  # type: ignore[arg-type]
    with secure_edge(tmp_path, missing) as edge:
        async with site_for_https() as running:
            edge.configure(site(running.url, "a.test"), acme=ask_pebble(missing))
            await edge.start()
            await edge.says("certificate failed: a.test")
            leaf = await edge.shown("a.test")
            assert leaf.issuer == leaf.subject, "a placeholder that it signed itself"
            one = await edge.certificate("a.test")
            assert (one["state"], one["directory"], one["failures"]) == ("waiting", "self-signed", 1)
            assert one["last_failure"]["problem"] == "unreachable"
            assert one["next_attempt"] > one["last_failure"]["time"]
            with running_pebble(tmp_path / "ca", port=port, http_port=http, tls_port=tls) as pebble:
                edge.roots = pebble.roots
                await edge.command("certs", "renew", "a.test")
                assert (await edge.verified("a.test")).status == 200


async def test_an_expired_certificate_goes_on_serving_loudly(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with secure_edge(tmp_path) as edge:
        async with site_for_https() as running:
            directory = f"https://127.0.0.1:{port}/dir"
            expired = authority().issue("a.test", days=0)
            put_into_vault(edge.data, expired, directory=directory)
            edge.configure(site(running.url, "a.test"), acme=f'directory = "{directory}"')
            await edge.start()
            assert (await edge.shown("a.test")).serial_number == expired.serial
            await edge.says("certificate expired: a.test")
            await edge.says("an expired certificate is served")
            with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
                await edge.ask("a.test")
            admin = json.loads((edge.data / "admin.json").read_text())["address"]
            health = await asyncio.to_thread(fetch, f"http://{admin}/healthz")
            assert health["checks"]["certificates"] == "a.test: expired"  # type: ignore[index]
            assert health["status"] != "ok"  # type: ignore[index]


# --- on demand


async def test_a_name_nobody_listed_gets_a_certificate_where_the_operator_says_yes(tmp_path: Path) -> None:
    need(*PROGRAMS)

    async def may(request: web.Request) -> web.StreamResponse:
        return web.Response(status=200 if request.query["domain"].endswith(".example.org") else 403)

    with running_pebble(tmp_path / "ca") as pebble, secure_edge(tmp_path, pebble) as edge:
        async with site_for_https() as running, scripted({"/ask": may}) as service:
            edge.configure(site(running.url, "*"), acme=ask_pebble(pebble, more=f'on_demand = {{ ask = "{service.url}/ask" }}'))
            await edge.start()
            seen = await asyncio.gather(*(edge.ask("shop.example.org", http2=http2) for http2 in (False, True, False)))
            assert [one.status for one in seen] == [200] * 3
            assert len({one.leaf.serial_number for one in seen}) == 1
            with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
                await edge.ask("evil.example.com")
            assert [asked.target for asked in service.asked] == [
                "/ask?domain=shop.example.org&client=127.0.0.1",
                "/ask?domain=evil.example.com&client=127.0.0.1",
            ]
            assert await edge.stop() == 0
            await edge.start()
            again = await edge.ask("shop.example.org")
            assert again.leaf.serial_number == seen[0].leaf.serial_number
            assert service.count("/ask") == 2


# --- the end


async def test_an_authority_that_says_nothing_keeps_the_edge_from_neither_serving_nor_ending(tmp_path: Path) -> None:
    asked = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with secure_edge(tmp_path) as edge:
        async with site_for_https() as running:
            edge.configure(site(running.url, "a.test"), acme=f'directory = "http://127.0.0.1:{port}/dir"')
            await edge.start()
            async with asyncio.timeout(PATIENCE):
                await asked.wait()
            assert (await edge.shown("a.test")).serial_number
            assert (await edge.certificate("a.test"))["state"] == "obtaining"
            assert await asyncio.to_thread(edge.process.stop, 10.0) == 0
            assert "Traceback" not in edge.log
    server.close()
