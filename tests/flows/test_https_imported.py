"""Certificates of another program: imported, served at once, or refused; and the old server's challenges answered meanwhile."""

import os
from pathlib import Path

import pytest
from aiohttp import web

from tests.support.certificates import TestCertificate, authority
from tests.support.edge import command, until
from tests.support.https import (
    PATIENCE,
    ask_pebble,
    files,
    put_into_vault,
    secure_edge,
    site,
    site_for_https,
)
from tests.support.parts import need
from tests.support.pebble import PROGRAMS, running_pebble
from tests.support.scripted import scripted


async def test_an_imported_certificate_is_served_at_once_and_no_authority_is_asked(tmp_path: Path) -> None:
    need(*PROGRAMS)
    one, other = authority().issue("a.test"), authority().issue("a.test")
    with running_pebble(tmp_path / "ca") as pebble, secure_edge(tmp_path, pebble) as edge:
        async with site_for_https() as running:
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
        async with site_for_https() as running, scripted({f"{folder}/known": old, f"{folder}/unknown": old}) as before:
            edge.configure(site(running.url, "a.test"), acme=f'forward_challenges = "{before.url}"')
            await edge.start()
            seen = await edge.plain("a.test", f"{folder}/known")
            assert (seen.status, seen.body) == (200, b"old.answer")
            assert (await edge.plain("a.test", f"{folder}/unknown")).status == 404
            assert asked == [("a.test", f"{folder}/known"), ("a.test", f"{folder}/unknown")]
