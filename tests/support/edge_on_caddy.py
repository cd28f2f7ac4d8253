"""A whole edge beside Caddy's acme_server, inside its namespace: prints, as JSON, what clients that verify were served."""

import asyncio
import json
import os
import sys
from pathlib import Path

from tests.support.edge import EdgeProcess
from tests.support.https import SecureEdge
from tests.support.scripted import page, scripted

NAMES = ["www.made-up.test", "made-up.test", "127.0.0.1"]


async def main(folder: Path) -> None:
    ca_file = os.environ["CADDY_CA_FILE"]
    edge = SecureEdge(folder, 80, 443, Path(ca_file).read_bytes)
    seen = []
    async with scripted({"/": page("hello", Cache_Control="max-age=60")}) as origin:
        hosts = [flag for name in NAMES for flag in ("--host", name)]
        ca = ("--email", "a@example.org", "--acme-directory", os.environ["CADDY_DIRECTORY"], "--acme-ca", ca_file)
        edge.process = EdgeProcess(folder / "edge.toml")
        edge.process.flags = ("--origin", origin.url, *hosts, *ca, "--data", str(edge.data))
        try:
            await edge.start()
            for name in NAMES:
                await edge.verified(name)
                for http2 in (False, True):
                    answer = await edge.ask(name, http2=http2)
                    seen.append([name, answer.alpn, answer.status, answer.body.decode()])
                moved = await edge.plain(name, "/path?query=1")
                seen.append([moved.status, moved["location"]])
            assert await edge.stop() == 0
        finally:
            if edge.process.process is not None and edge.process.process.poll() is None:
                edge.process.kill()
                print(edge.log, file=sys.stderr)
    print(json.dumps(seen))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
