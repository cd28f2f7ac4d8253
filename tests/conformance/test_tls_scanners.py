"""What independent scanners say of the front door: sslyze against Mozilla's recommendation, testssl against its whole list.

sslyze wants an older `cryptography` than the edge, so it lives in a virtual environment of its own at the root, .venv-sslyze.
testssl takes more than a minute: `pytest -m scanner`.
"""

import asyncio
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from edgeproxy.serving.stream import Stream
from edgeproxy.tls.contexts import TlsPolicy
from edgeproxy.wire.fields import Fields
from tests.support.certificates import authority
from tests.support.edge import ROOT
from tests.support.front import Door, front_door, site
from tests.support.serving import RecordingHandler

SSLYZE = ROOT / ".venv-sslyze" / "bin" / "sslyze"
ALLOWED = {
    "cert_revocation": "the test's CA publishes no list of revoked certificates",
    "DNS_CAArecord": "localhost has no CAA record",
    "security_headers": "those are the site's to send",
    "engine_problem": "about the scanner's own OpenSSL",
}
"""Findings of testssl that come from the laboratory, and why."""


def need(found: bool, missing: str) -> None:
    if not found:
        assert os.environ.get("CI") != "true", f"missing: {missing}"
        pytest.skip(f"missing: {missing}")


async def page(stream: Stream) -> None:
    await stream.send_head(200, Fields((("Strict-Transport-Security", "max-age=31536000"),)), 2)
    await stream.send(b"ok")
    await stream.finish()


async def scanned(command: list[str], port_at: str, tmp_path: Path, policy: TlsPolicy) -> subprocess.CompletedProcess[str]:
    """Run a scanner against a front door; `port_at` in the command becomes its address."""
    (tmp_path / "root.pem").write_bytes(authority().pem)
    served = site("localhost", policy=policy, served=authority().issue("localhost", "127.0.0.1", days=89))

    async def run(door: Door) -> subprocess.CompletedProcess[str]:
        filled = [part.replace(port_at, f"localhost:{door.port}") for part in command]
        return await asyncio.to_thread(
            subprocess.run, filled, capture_output=True, text=True, cwd=tmp_path, stdin=subprocess.DEVNULL, timeout=400
        )

    async with front_door({"localhost": served}, default=served, handler=RecordingHandler({"/": page})) as door:
        return await run(door)


async def test_sslyze_finds_it_compliant_with_mozillas_intermediate_configuration(tmp_path: Path) -> None:
    need(SSLYZE.exists(), "sslyze in .venv-sslyze: make scanners")
    command = [str(SSLYZE), "--mozilla_config=intermediate", "--certinfo_ca_file", "root.pem", "AT"]
    done = await scanned(command, "AT", tmp_path, TlsPolicy(http2=False))
    assert "OK - Compliant" in done.stdout, done.stdout[-3000:]
    assert done.returncode == 0


@pytest.mark.scanner
@pytest.mark.timeout(420)
async def test_testssl_finds_nothing_that_is_not_the_laboratorys(tmp_path: Path) -> None:
    need(shutil.which("testssl") is not None, "testssl (Debian package testssl.sh)")
    command = ["testssl", "--quiet", "--color", "0", "--warnings", "off", "--add-ca", "root.pem", "--jsonfile", "found.json"]
    done = await scanned([*command, "https://AT"], "AT", tmp_path, TlsPolicy(http2=False))
    findings = json.loads((tmp_path / "found.json").read_text())
    assert len(findings) > 100, done.stdout[-3000:]
    bad = [finding for finding in findings if finding["severity"] not in ("OK", "INFO") and finding["id"] not in ALLOWED]
    assert bad == []
