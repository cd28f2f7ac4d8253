"""A validator that ends by SIGKILL at one step of writing down what it cosigns.

`python -m tests.support.validator_killed DATA PORT STEP`, where STEP is
`before` (nothing is written), `inside` (within the transaction) or `after` (it is on the disk, and nobody was told).
"""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from edgeproxy.validator.process import ServeSettings, running
from edgeproxy.validator.state import State


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Dying:
    """A connection that does not come to its commit."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def execute(self, statement: str, *values: object) -> Any:
        if statement == "COMMIT":
            die()
        return self._connection.execute(statement, *values)


def arm(step: str) -> None:
    advance = State.advance

    def dying(self: State, before: Any, after: Any) -> bool:
        if step == "before":
            die()
        if step == "inside":
            self._connection = Dying(self._connection)  # type: ignore[assignment]
        advance(self, before, after)
        die()
        return False

    State.advance = dying  # type: ignore[method-assign]


async def serve(data: Path, port: int) -> None:
    async with running(ServeSettings(data, (f"127.0.0.1:{port}",))):
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    arm(sys.argv[3])
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2])))
