"""HTTPS by itself, the whole of it: an edge process, an authority that validates, and clients that verify what they are shown."""

import asyncio
import contextlib
import json
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509

from tests.support.certificates import TestCertificate, authority
from tests.support.challenge_servers import dns_hook_script
from tests.support.edge import ROOT, command, until
from tests.support.https import (
    PATIENCE,
    SecureEdge,
    ask_pebble,
    blind,
    connected,
    files,
    put_into_vault,
    secure_edge,
    site,
    trusting,
)
from tests.support.parts import need
from tests.support.pebble import PROGRAMS, Pebble, free_ports, own_certificate, running_pebble
from tests.support.scripted import Scripted, page, scripted

NAMES = ("a.test", "b.test", "127.0.0.1")


@asynccontextmanager
async def origin() -> AsyncIterator[Scripted]:
    """A site with one page that is kept and one that is not."""
    ways = {"/": page("hello", Cache_Control="no-store"), "/kept": page("kept", Cache_Control="max-age=600")}
    async with scripted(ways) as running:
        yield running


async def kept(edge: SecureEdge, name: str) -> None:
    """Wait until the answer to /kept comes out of the store."""

    async def hit() -> bool | None:
        return "hit" in (await edge.ask(name, "/kept"))["cache-status"] or None

    await until(hit, PATIENCE)


# --- obtaining


@pytest.mark.parametrize("reuse", [0, 50, 100])
async def test_one_command_brings_a_site_onto_https(tmp_path: Path, reuse: int) -> None:
    need(*PROGRAMS)
    with running_pebble(tmp_path / "ca", nonce_reject=20, authz_reuse=reuse) as pebble, secure_edge(tmp_path, pebble) as edge:
        async with origin() as site:
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
        async with origin() as running:
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
        async with origin() as running:
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
        async with origin() as running:
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
        async with origin() as running:
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
        async with origin() as running:
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


# --- bringing one along


async def test_an_imported_certificate_is_served_at_once_and_no_authority_is_asked(tmp_path: Path) -> None:
    need(*PROGRAMS)
    one, other = authority().issue("a.test"), authority().issue("a.test")
    with running_pebble(tmp_path / "ca") as pebble, secure_edge(tmp_path, pebble) as edge:
        async with origin() as running:
            edge.roots = lambda: authority().pem
            imported = await edge.command("certs", "import", "a.test", *files(tmp_path, one))
            assert imported["names"] == ["a.test"]
            assert edge.data.stat().st_mode & 0o077 == 0
            edge.configure(site(running.url, "a.test"), acme=ask_pebble(pebble))
            await edge.start()
            assert (await edge.ask("a.test")).leaf.serial_number == one.serial
            assert (await edge.certificate("a.test"))["state"] == "held"
            # while it runs, it takes over
            await edge.command("certs", "import", "a.test", *files(tmp_path, other))

            async def taken() -> bool | None:
                return (await edge.shown("a.test")).serial_number == other.serial or None

            await until(taken, PATIENCE)
            assert (await edge.ask("a.test", http2=True)).status == 200
            assert "POST" not in (tmp_path / "ca" / "pebble.log").read_text()


@pytest.mark.parametrize(
    ("names", "days", "mixed", "text"),
    [
        (("b.test",), 60, False, "is for other names"),
        (("a.test",), 0, False, "has expired"),
        (("a.test",), 60, True, "key"),
    ],
)
def test_what_cannot_be_imported_is_refused(tmp_path: Path, names: tuple[str, ...], days: int, mixed: bool, text: str) -> None:
    made = authority().issue(*names, days=days)
    if mixed:
        made = TestCertificate(made.chain, authority().issue("a.test").key, made.fingerprint)
    done = command("certs", "import", "a.test", *files(tmp_path, made), "--data", str(tmp_path / "data"))
    assert done.returncode != 0
    assert text in done.stderr
    assert not list((tmp_path / "data").glob("tls/certificates/*/*.pem"))


def test_what_root_imports_belongs_to_the_user_of_the_edge(tmp_path: Path) -> None:
    need(root=True)
    (tmp_path / "data").mkdir(mode=0o700)
    os.chown(tmp_path / "data", 12_345, 12_346)
    done = command("certs", "import", "a.test", *files(tmp_path, authority().issue("a.test")), "--data", str(tmp_path / "data"))
    assert done.returncode == 0, done.stderr
    made = list((tmp_path / "data").rglob("*"))
    assert any(path.suffix == ".pem" for path in made)
    assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(12_345, 12_346)}


async def test_tokens_that_are_not_ours_are_answered_by_the_old_server(tmp_path: Path) -> None:
    asked = []

    async def old(request: web.Request) -> web.StreamResponse:
        asked.append((request.headers["Host"], request.path))
        return web.Response(text="old.answer") if request.path.endswith("/known") else web.Response(status=404)

    folder = "/.well-known/acme-challenge"
    put_into_vault(tmp_path / "data", authority().issue("a.test"))
    with secure_edge(tmp_path) as edge:
        async with origin() as running, scripted({f"{folder}/known": old, f"{folder}/unknown": old}) as before:
            edge.configure(site(running.url, "a.test"), acme=f'forward_challenges = "{before.url}"')
            await edge.start()
            seen = await edge.plain("a.test", f"{folder}/known")
            assert (seen.status, seen.body) == (200, b"old.answer")
            assert (await edge.plain("a.test", f"{folder}/unknown")).status == 404
            assert asked == [("a.test", f"{folder}/known"), ("a.test", f"{folder}/unknown")]


# --- the front door


async def test_plain_http_is_sent_to_https_except_for_challenges(tmp_path: Path) -> None:
    put_into_vault(tmp_path / "data", authority().issue("a.test"))
    put_into_vault(tmp_path / "data", authority().issue("open.test"))
    with secure_edge(tmp_path) as edge:
        async with origin() as running:
            edge.configure(site(running.url, "a.test"), site(running.url, "open.test", tls="redirect = false"))
            await edge.start()
            await kept(edge, "a.test")
            for target in ("/", "/kept", "/kept?a=1&b=%20", "/no/such"):
                seen = await edge.plain("a.test", target)
                assert (seen.status, seen["location"]) == (308, f"https://a.test:{edge.https}{target}")
                assert not seen["strict-transport-security"]
            asked = len(running.asked)
            assert (await edge.plain("a.test:8080", "/x"))["location"] == f"https://a.test:{edge.https}/x"
            assert len(running.asked) == asked
            seen = await edge.plain("a.test", "/.well-known/acme-challenge/nobody-knows")
            assert seen.status == 404
            assert running.asked[-1].target == "/.well-known/acme-challenge/nobody-knows"
            assert (await edge.plain("open.test", "/")).status == 200


async def test_hsts_is_said_over_https_only_where_it_is_configured(tmp_path: Path) -> None:
    put_into_vault(tmp_path / "data", authority().issue("a.test", "b.test"))
    with secure_edge(tmp_path) as edge:
        async with origin() as running:
            tls = 'hsts = "1d"\nhsts_subdomains = true\nredirect = false'
            edge.configure(site(running.url, "a.test", tls=tls), site(running.url, "b.test"))
            await edge.start()
            await kept(edge, "a.test")
            for http2 in (False, True):
                for target in ("/", "/kept", "/kept", "/missing"):
                    seen = await edge.ask("a.test", target, http2=http2)
                    assert seen["strict-transport-security"] == "max-age=86400; includeSubDomains", target
                assert not (await edge.ask("b.test", "/", http2=http2))["strict-transport-security"]
            assert not (await edge.plain("a.test", "/kept"))["strict-transport-security"]


async def test_a_site_for_known_clients_beside_an_open_one(tmp_path: Path) -> None:
    known, stranger = authority().issue("me", client=True), authority("somebody else").issue("me", client=True)
    (tmp_path / "clients.pem").write_bytes(authority().pem)
    for name in ("open.test", "also.test", "closed.test"):
        put_into_vault(tmp_path / "data", authority().issue(name))
    with secure_edge(tmp_path) as edge:
        async with origin() as running:
            closed = f'client_auth = "required"\nclient_ca_file = "{tmp_path}/clients.pem"'
            edge.configure(
                site(running.url, "open.test"), site(running.url, "also.test"), site(running.url, "closed.test", tls=closed)
            )
            await edge.start()
            await kept(edge, "open.test")
            for http2 in (False, True):
                for own in (None, stranger):
                    with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
                        await edge.ask("closed.test", http2=http2, own=own)
                assert (await edge.ask("closed.test", "/kept", http2=http2, own=known)).status == 200
                for target in ("/", "/kept"):  # cached for it as well
                    assert (await edge.ask("open.test", target, http2=http2, host="closed.test")).status == 421
                    assert (await edge.ask("open.test", target, http2=http2, host="also.test")).status == 200
                assert (await edge.ask("open.test", http2=http2, host="nowhere.test")).status == 421
                assert (await edge.ask("closed.test", http2=http2, own=known, host="open.test")).status == 421


async def test_a_name_that_is_not_served_gets_an_alert(tmp_path: Path) -> None:
    put_into_vault(tmp_path / "data", authority().issue("a.test"))
    put_into_vault(tmp_path / "data", authority().issue("b.test"))
    with secure_edge(tmp_path) as edge:
        async with origin() as running:
            edge.configure(site(running.url, "a.test", "b.test"))
            await edge.start()
            for name in ("other.test", "127.0.0.1", "x.a.test"):
                with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
                    async with connected(edge.https, name, blind()):
                        pass
            assert (await edge.ask("a.test")).status == 200


async def test_behind_a_proxy_that_is_trusted_its_word_counts_for_what_is_secure(tmp_path: Path) -> None:
    put_into_vault(tmp_path / "data", authority().issue("a.test"))
    with secure_edge(tmp_path) as edge:
        async with origin() as running:
            path = edge.configure(site(running.url, "a.test"))
            path.write_text(path.read_text().replace("[edge]", '[edge]\ntrusted_proxies = ["127.0.0.1"]'))
            await edge.start()
            await kept(edge, "a.test")
            for target in ("/", "/kept", "/kept"):
                assert (await edge.plain("a.test", target)).status == 308
                assert (await edge.plain("a.test", target, "X-Forwarded-Proto: https")).status == 200
                assert (await edge.plain("a.test", target, "X-Forwarded-Proto: http")).status == 308


async def test_addresses_of_both_families_get_their_own_certificates(tmp_path: Path) -> None:
    with secure_edge(tmp_path) as edge:
        async with origin() as running:
            path = edge.configure(site(running.url, "127.0.0.1", "[::1]", "localhost"))
            path.write_text(path.read_text().replace("https = [", f'https = ["[::1]:{edge.https}", '))
            await edge.start()
            for address, name in (("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("127.0.0.1", "localhost"), ("::1", "localhost")):
                _, writer = await asyncio.open_connection(address, edge.https, ssl=blind(), server_hostname=name)
                shown = x509.load_der_x509_certificate(writer.get_extra_info("ssl_object").getpeercert(True))
                writer.transport.abort()
                names = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
                assert [str(one.value) for one in names] == [name]
                assert shown.issuer == shown.subject
            assert {one["state"] for one in await edge.certificates()} == {"local"}
            moved = await edge.plain("[::1]", "/x")
            assert (moved.status, moved["location"]) == (308, f"https://[::1]:{edge.https}/x")


# --- on demand


async def test_a_name_nobody_listed_gets_a_certificate_where_the_operator_says_yes(tmp_path: Path) -> None:
    need(*PROGRAMS)

    async def may(request: web.Request) -> web.StreamResponse:
        return web.Response(status=200 if request.query["domain"].endswith(".example.org") else 403)

    with running_pebble(tmp_path / "ca") as pebble, secure_edge(tmp_path, pebble) as edge:
        async with origin() as running, scripted({"/ask": may}) as service:
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
        async with origin() as running:
            edge.configure(site(running.url, "a.test"), acme=f'directory = "http://127.0.0.1:{port}/dir"')
            await edge.start()
            async with asyncio.timeout(PATIENCE):
                await asked.wait()
            assert (await edge.shown("a.test")).serial_number
            assert (await edge.certificate("a.test"))["state"] == "obtaining"
            assert await asyncio.to_thread(edge.process.stop, 10.0) == 0
            assert "Traceback" not in edge.log
    server.close()


# --- reload


async def test_a_reload_adds_a_host_while_connections_go_on(tmp_path: Path) -> None:
    need(*PROGRAMS)

    async def echo(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(f"echo {message.data}")
        return socket

    with running_pebble(tmp_path / "ca") as pebble, secure_edge(tmp_path, pebble) as edge:
        async with origin() as running:
            running.ways["/ws"] = echo
            edge.configure(site(running.url, "a.test"), acme=ask_pebble(pebble))
            await edge.start()
            await edge.verified("a.test")
            context = trusting(pebble.roots())
            async with (
                connected(edge.https, "a.test", context) as one,
                connected(edge.https, "a.test", trusting(pebble.roots(), http2=True)) as two,
                websocket(edge, context) as socket,
            ):
                await socket.send_str("before")
                assert await socket.receive_str() == "echo before"
                edge.configure(site(running.url, "a.test", "b.test"), acme=ask_pebble(pebble))
                assert await edge.command("reload") == {"applied": True, "faults": [], "restart": []}
                assert (await edge.verified("b.test")).status == 200
                await socket.send_str("after")
                assert await socket.receive_str() == "echo after"
                assert (await one.ask("a.test")).status == (await two.ask("a.test")).status == 200
                assert (await one.ask("b.test")).status == 200, "one site, one policy"


@asynccontextmanager
async def websocket(edge: SecureEdge, context: ssl.SSLContext):  # type: ignore[no-untyped-def]
    """A WebSocket to /ws of a.test."""
    import aiohttp

    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(
            f"https://127.0.0.1:{edge.https}/ws", ssl=context, server_hostname="a.test", headers={"Host": "a.test"}
        ) as socket,
    ):
        yield socket


async def test_a_reload_brings_https_to_an_edge_that_had_none(tmp_path: Path) -> None:
    need(*PROGRAMS)
    with running_pebble(tmp_path / "ca") as pebble, secure_edge(tmp_path, pebble) as edge:
        async with origin() as running:
            edge.configure(site(running.url, "a.test"), https=False)
            await edge.start()
            assert (await edge.plain("a.test")).status == 200
            assert await edge.certificates() == []
            edge.configure(site(running.url, "a.test"), acme=ask_pebble(pebble))
            assert await edge.command("reload") == {"applied": True, "faults": [], "restart": []}
            assert (await edge.verified("a.test")).status == 200
            assert (await edge.plain("a.test")).status == 308
            assert "only with a restart" not in edge.log


async def test_a_reload_that_cannot_be_applied_changes_nothing(tmp_path: Path) -> None:
    put_into_vault(tmp_path / "data", authority().issue("a.test"))
    (tmp_path / "clients.pem").write_text("no PEM at all")
    (taken, new) = free_ports(2)
    with secure_edge(tmp_path) as edge:
        async with origin() as running:
            server = await asyncio.start_server(lambda *_: None, "127.0.0.1", taken)
            good, https, http = site(running.url, "a.test"), edge.https, edge.http
            edge.configure(good)
            await edge.start()
            bad = f'client_auth = "required"\nclient_ca_file = "{tmp_path}/clients.pem"'
            for sites, ports, text in (
                (site(running.url, "a.test", tls=bad), (new, https), "client_ca_file cannot be used"),
                (good, (new, taken), "address"),
            ):
                edge.http, edge.https = ports
                edge.configure(sites)
                edge.http, edge.https = http, https
                done = await asyncio.to_thread(command, "reload", "--data", str(edge.data))
                assert done.returncode == 2
                assert text in done.stdout
                assert (await edge.ask("a.test", http2=True)).status == 200
                assert (await edge.plain("a.test")).status == 308
                with pytest.raises(ConnectionRefusedError):
                    await asyncio.open_connection("127.0.0.1", new)
            server.close()


async def test_a_start_that_cannot_serve_https_leaves_a_word_and_nothing_running(tmp_path: Path) -> None:
    with secure_edge(tmp_path) as edge:
        async with origin() as running:
            server = await asyncio.start_server(lambda *_: None, "127.0.0.1", edge.https)
            edge.configure(site(running.url, "a.test"))
            with contextlib.suppress(AssertionError):
                await edge.start()
            assert edge.process.process is not None
            assert edge.process.process.wait(10) == 1
            assert f"127.0.0.1:{edge.https}" in edge.log
            assert "Traceback" not in edge.log
            server.close()


# --- systemd

_WITH_SOCKETS = """
import fcntl, os, sys
for number, given in enumerate(sys.argv[1:3]):
    os.dup2(fcntl.fcntl(int(given), fcntl.F_DUPFD, 10), 3 + number)
os.environ.update(LISTEN_FDS="2", LISTEN_FDNAMES="http:https", LISTEN_PID=str(os.getpid()))
os.execv(sys.executable, [sys.executable, "-m", "edgeproxy", "run", "--config", sys.argv[3]])
"""


async def test_sockets_of_both_ways_that_were_handed_over_wait_through_a_restart(tmp_path: Path) -> None:
    put_into_vault(tmp_path / "data", authority().issue("a.test"))
    with socket.create_server(("127.0.0.1", 0)) as http, socket.create_server(("127.0.0.1", 0)) as https:
        edge = SecureEdge(tmp_path, http.getsockname()[1], https.getsockname()[1], lambda: authority().pem)
        async with origin() as running:
            # The same addresses stand in the file: they must not be bound a second time, at a reload neither.
            path = edge.configure(site(running.url, "a.test"))
            fds = [http.fileno(), https.fileno()]
            for _ in range(2):
                waiting = asyncio.gather(edge.ask("a.test", http2=True), edge.plain("a.test", "/x"))
                with edge.process.log.open("ab") as log:
                    command_line = [sys.executable, "-c", _WITH_SOCKETS, *map(str, fds), str(path)]
                    process = subprocess.Popen(command_line, cwd=ROOT, pass_fds=fds, stderr=log, stdout=subprocess.DEVNULL)
                try:
                    secure, moved = await waiting
                    assert (secure.status, moved.status) == (200, 308)
                    assert await edge.command("reload") == {"applied": True, "faults": [], "restart": []}
                    assert (await edge.ask("a.test")).status == 200
                    process.terminate()
                    assert await asyncio.to_thread(process.wait, PATIENCE) == 0
                finally:
                    process.kill()
                    process.wait()
