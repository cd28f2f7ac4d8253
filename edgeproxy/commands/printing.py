"""How answers look on a terminal, and how they look to a script.

Owns: tables, units, times, and the cleaning of text that came from outside. Must not ask anybody anything.
"""

import json
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

_WIDTH_OF_PIPES = 400


def print_json(content: object) -> None:
    """`content` as JSON, one document."""
    sys.stdout.write(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def print_line(text: str) -> None:
    """One line on standard output, as it is, however wide the terminal."""
    sys.stdout.write(clean(text) + "\n")


def complain(text: str) -> None:
    """One line on standard error, with the program's name."""
    sys.stderr.write(f"edgeproxy: {clean(text)}\n")


def answer_no(text: str) -> NoReturn:
    """End with status 1: the command worked, and the answer is no."""
    complain(text)
    raise typer.Exit(1)


def wrong_usage(text: str) -> NoReturn:
    """End with status 2: the command was not understood."""
    complain(text)
    raise typer.Exit(2)


def print_facts(title: str, facts: Iterable[tuple[str, object]]) -> None:
    """Names and values under a title; values that are None are left out."""
    rows = [(name, clean(str(value))) for name, value in facts if value is not None]
    wide = max((len(name) for name, _ in rows), default=0)
    console = _console()
    console.print(Text(clean(title), style="bold"), soft_wrap=True)
    for name, value in rows:
        # One line each, that the terminal may wrap: a key that is copied from two lines of ours is no key.
        console.print(Text.assemble((f"{name:<{wide}}  ", "dim"), value), soft_wrap=True)


def print_table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table. Columns whose head ends in "#" are numbers, aligned to the right."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for head in heads:
        table.add_column(head.rstrip("#"), justify="right" if head.endswith("#") else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(clean("–" if cell is None else str(cell))) for cell in row))
    _console().print(table)


def _console() -> Console:
    """As wide as the terminal; wide enough for a whole row in one line where a program reads it."""
    console = Console(highlight=False)
    return console if console.is_terminal or "COLUMNS" in os.environ else Console(highlight=False, width=_WIDTH_OF_PIPES)


def clean(text: str) -> str:
    """`text` without characters that steer a terminal: a URL or a header of a stranger may hold them."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def bytes_text(octets: Any) -> str | None:
    """As "1.5 GiB"; None stays None."""
    if not isinstance(octets, int | float):
        return None
    size = float(octets)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" or size == int(size) else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def time_text(instant: Any) -> str | None:
    """An instant in milliseconds as UTC; None stays None."""
    if not isinstance(instant, int):
        return None
    return datetime.fromtimestamp(instant / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def seconds_text(seconds: Any) -> str | None:
    """As "3d 4h" or "-1m 30s"; None stays None."""
    if not isinstance(seconds, int | float):
        return None
    left = abs(int(seconds))
    parts = []
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count:
            parts.append(f"{count}{unit}")
    return ("-" if seconds <= -1 else "") + (" ".join(parts[:2]) or "0s")


def count_text(number: int, noun: str) -> str:
    """As "1 fault", "3 faults"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def percent_text(fraction: Any) -> str | None:
    """As "93.1 %"; None stays None."""
    return f"{fraction * 100:.1f} %" if isinstance(fraction, int | float) else None
