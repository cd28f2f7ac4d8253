"""Bars that move on a terminal while a command works, and the word that is there before anything moves.

Owns: how they look. On standard error, and only where that is a terminal.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

Move = Callable[[str, int, int | None], None]
"""Phase, how much of it is done, and of how much; None when that is not known yet."""


class Mover:
    """One bar for each phase, made when it begins. Until the first does, `waiting` says what is waited for: minutes, at worst."""

    def __init__(self, bars: Progress, waiting: str) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._first: TaskID | None = bars.add_task(waiting, total=None)

    def __call__(self, phase: str, done: int, total: int | None) -> None:
        if self._first is not None:
            self._bars.remove_task(self._first)
            self._first = None
        if phase not in self._tasks:
            self._tasks[phase] = self._bars.add_task(phase, total=total)
        self._bars.update(self._tasks[phase], completed=done, total=total)


@contextmanager
def bars(*, show: bool, waiting: str) -> Iterator[Move]:
    """Bars for the length of a block; what moves them may be called either way."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not (show and console.is_terminal)) as progress:
        yield Mover(progress, waiting)
