"""A client cannot make the edge begin the handshake again (CVE-2009-3555, and the cost of it)."""

import asyncio
import shutil
import subprocess

import pytest

from tests.support.front import front_door, site
from tests.support.serving import on_uvloop


@on_uvloop
@pytest.mark.skipif(shutil.which("openssl") is None, reason="missing: openssl")
async def test_renegotiation_is_refused() -> None:
    async with front_door({"a.test": site("a.test")}) as door:
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{door.port}", "-servername", "a.test", "-tls1_2"]
        said = b"R\nGET /ready HTTP/1.0\r\n\r\n"
        done = await asyncio.to_thread(subprocess.run, command, input=said, capture_output=True, timeout=30)
        assert b"RENEGOTIATING" in done.stderr + done.stdout
        assert b"no renegotiation" in done.stderr
        assert b"HTTP/1." not in done.stdout
