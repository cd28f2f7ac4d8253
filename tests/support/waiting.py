"""How a test waits for what a page in a browser shows."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any


async def until_true(
    ask: Callable[[str], Awaitable[Any]], expression: str, seconds: float, console: Sequence[str] | None = None
) -> Any:
    """Ask for an expression until it gives something true; fails the test with what it gave last, and what the console says."""
    end, value = time.monotonic() + seconds, None
    while time.monotonic() < end:
        if value := await ask(expression):
            return value
        await asyncio.sleep(0.02)
    said = "" if console is None else f"; the console says {console}"
    raise AssertionError(f"{expression} stays {value!r}{said}")
