"""The site of `tests.support.site` as a process of its own, so that it can be killed with SIGKILL and come back on its port."""

import asyncio
import select
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from tests.support.site import Site

ROOT = Path(__file__).parents[2]
STARTS_WITHIN = 20.0


@dataclass
class OriginProcess:
    """`start`, `kill`, `start` again: the port stays the same. Use as a context manager, so that none is left behind."""

    port: int = 0
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def __enter__(self) -> "OriginProcess":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, version: str = "1") -> None:
        """Start, and wait until it listens. `version` is that of all its pages."""
        arguments = [sys.executable, "-m", "tests.support.origin_process", str(self.port), version]
        process = self.process = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert select.select([process.stdout], [], [], STARTS_WITHIN)[0], "the origin did not start"
        self.port = int(process.stdout.readline())

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None


async def serve(port: int, version: str) -> None:
    """The site on `port` (0: any free one), which is told on stdout; until the process is killed."""
    site = Site(version=version)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", site.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2]))
