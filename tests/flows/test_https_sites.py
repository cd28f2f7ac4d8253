"""What sites say about HTTPS: redirects, HSTS, known clients, names and addresses that are served or not."""

import asyncio
import ssl
from pathlib import Path

import pytest
from cryptography import x509

from tests.support.certificates import authority
from tests.support.edge import until
from tests.support.https import (
    PATIENCE,
    SecureEdge,
    blind,
    connected,
    put_into_vault,
    secure_edge,
    site,
    site_for_https,
)


async def kept(edge: SecureEdge, name: str) -> None:
    """Wait until the answer to /kept comes out of the store."""

    async def hit() -> bool | None:
        return "hit" in (await edge.ask(name, "/kept"))["cache-status"] or None

    await until(hit, PATIENCE)


async def test_plain_http_is_sent_to_https_except_for_challenges(tmp_path: Path) -> None:
    put_into_vault(tmp_path / "data", authority().issue("a.test"))
    put_into_vault(tmp_path / "data", authority().issue("open.test"))
    with secure_edge(tmp_path) as edge:
        async with site_for_https() as running:
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
        async with site_for_https() as running:
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
        async with site_for_https() as running:
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
        async with site_for_https() as running:
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
        async with site_for_https() as running:
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
        async with site_for_https() as running:
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
