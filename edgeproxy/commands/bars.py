"""Bars that move while a command works: one for each phase, on standard error, and none where that is no terminal.

Owns: how they look. Must not write to standard output, which belongs to the answer.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

Move = Callable[[str, int, int | None], None]
"""The phase, how much of it is done, and of how much; None while that is not known. The bar is made when its phase begins."""


@contextmanager
def bars(*, show: bool = True, stay: bool = False, waiting: str = "") -> Iterator[Move]:
    """Bars until the end of the block; with `stay` they are left on the terminal. `waiting` says what is waited for until the
    first phase begins: minutes, at worst."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=not stay, disable=not (show and console.is_terminal)) as progress:
        phases: dict[str, TaskID] = {}
        first = [progress.add_task(waiting, total=None)] if waiting else []

        def move(phase: str, done: int, total: int | None) -> None:
            while first:
                progress.remove_task(first.pop())
            if phase not in phases:
                phases[phase] = progress.add_task(phase, total=total)
            progress.update(phases[phase], completed=done, total=total)

        yield move
