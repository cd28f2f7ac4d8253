"""A session resumes across processes and across a renewal of the certificate, and ends with its epoch."""

import asyncio
import ssl
from pathlib import Path

import pytest

from edgeproxy.clock import ManualClock, SystemClock
from edgeproxy.tls.tickets import EPOCH_SECONDS, TicketKeys
from tests.support.certificates import authority, certificate
from tests.support.front import client_context, fetch, front_door, site, tickets_of
from tests.support.front_process import front_process
from tests.support.serving import on_uvloop

VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
A = {"a.test": site("a.test")}


@on_uvloop
@pytest.mark.parametrize("version", VERSIONS)
async def test_in_another_process_on_the_same_folder(version: ssl.TLSVersion, tmp_path: Path) -> None:
    context = client_context(maximum=version)
    tickets = TicketKeys.open(tmp_path, SystemClock())
    async with front_door(A, tickets=tickets) as door, front_process(tmp_path, authority().issue("a.test"), "a.test") as port:
        session = (await door.fetch("a.test", context=context)).session
        assert (await asyncio.to_thread(fetch, port, "a.test", context=context, session=session)).resumed


@on_uvloop
@pytest.mark.parametrize("version", VERSIONS)
async def test_across_a_renewal(version: ssl.TLSVersion) -> None:
    context = client_context(maximum=version)
    async with front_door(A) as door:
        session = (await door.fetch("a.test", context=context)).session
        renewed = authority().issue("a.test")
        door.directory.replace({"a.test": site("a.test", served=renewed)})
        again = await door.fetch("a.test", context=context, session=session)
        assert again.resumed
        # A resumed handshake shows no certificate; what the client reports is the one it saw first.
        assert again.serial == certificate("a.test").serial
        assert (await door.fetch("a.test", context=client_context(maximum=version))).serial == renewed.serial


@on_uvloop
@pytest.mark.parametrize("version", VERSIONS)
async def test_until_the_epoch_ends(version: ssl.TLSVersion) -> None:
    clock = ManualClock()
    context = client_context(maximum=version)
    async with front_door(A, tickets=tickets_of(bytes(32), clock)) as door:
        session = (await door.fetch("a.test", context=context)).session
        clock.advance(EPOCH_SECONDS)
        late = await door.fetch("a.test", context=context, session=session)
        assert (late.status, late.resumed) == (200, False)
        assert (await door.fetch("a.test", context=context, session=late.session)).resumed


@on_uvloop
async def test_only_in_the_process_itself_without_the_inside_of_openssl() -> None:
    context = client_context()
    async with front_door(A, native=False) as door:
        session = (await door.fetch("a.test", context=context)).session
        assert (await door.fetch("a.test", context=context, session=session)).resumed
        door.directory.replace({"a.test": site("a.test", served=authority().issue("a.test"))})
        assert not (await door.fetch("a.test", context=context, session=session)).resumed
