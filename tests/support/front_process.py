"""A front door in a process of its own: `python -m tests.support.front_process TICKET_FOLDER CERTIFICATE_FILE NAME`.

Prints its port, serves NAME until its standard input ends. The file holds key and chain.
"""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import uvloop

from edgeproxy.clock import SystemClock
from edgeproxy.tls.tickets import TicketKeys
from tests.support.certificates import TestCertificate
from tests.support.front import front_door, site
from tests.support.serving import PATIENCE


@contextlib.asynccontextmanager
async def front_process(tickets: Path, served: TestCertificate, name: str) -> AsyncIterator[int]:
    """The port of a front door in another process."""
    file = tickets / "served.pem"
    file.write_bytes(served.key + served.chain)
    command = (sys.executable, "-m", "tests.support.front_process", str(tickets), str(file), name)
    process = await asyncio.create_subprocess_exec(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield int(await asyncio.wait_for(process.stdout.readline(), PATIENCE))
    finally:
        process.stdin.close()
        await asyncio.wait_for(process.wait(), PATIENCE)


async def main(folder: str, file: str, name: str) -> None:
    """Serve until the standard input ends."""
    pem = Path(file).read_bytes()
    served = TestCertificate(pem, pem, "in a file")
    tickets = TicketKeys.open(Path(folder), SystemClock())
    async with front_door({name: site(name, served=served)}, tickets=tickets) as door:
        print(door.port, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(*sys.argv[1:]))
