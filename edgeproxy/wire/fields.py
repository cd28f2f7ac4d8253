"""Header fields (RFC 9110 section 5): ordered, immutable, looked up without regard to case.

Owns: the type. Must not know what any field means. Text is latin-1 decoded bytes, so that every byte of a field survives.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Self


class Fields:
    """Field lines in the order received, with the names as received."""

    __slots__ = ("_index", "lines", "memo")

    lines: tuple[tuple[str, str], ...]
    memo: dict[str, Any]
    """Room for whoever reads them to keep what follows from these fields alone; never part of the value."""

    def __init__(self, lines: Iterable[tuple[str, str]] = ()) -> None:
        self.lines = tuple(lines)
        self._index: dict[str, tuple[str, ...]] | None = None
        self.memo = {}

    def _by_name(self) -> dict[str, tuple[str, ...]]:
        index = self._index
        if index is None:
            index = {}
            for name, value in self.lines:
                lower = name.lower()
                index[lower] = (*index[lower], value) if lower in index else (value,)
            self._index = index
        return index

    def get(self, name: str) -> str | None:
        """The combined value of all lines called `name` (lower case), joined by ", " (section 5.3); None when absent."""
        values = self._by_name().get(name)
        if values is None:
            return None
        return values[0] if len(values) == 1 else ", ".join(values)

    def all(self, name: str) -> tuple[str, ...]:
        """The values of the lines called `name` (lower case), uncombined."""
        return self._by_name().get(name, ())

    def names(self) -> frozenset[str]:
        """All names, in lower case."""
        return frozenset(self._by_name())

    def without(self, names: frozenset[str]) -> "Fields":
        """These fields less the lines whose lower-case name is in `names`."""
        return Fields(line for line in self.lines if line[0].lower() not in names)

    def plus(self, *lines: tuple[str, str]) -> "Fields":
        """These fields with `lines` after them."""
        return Fields((*self.lines, *lines))

    def replacing(self, name: str, value: str) -> "Fields":
        """These fields with exactly one line `name`, placed last."""
        return self.without(frozenset((name.lower(),))).plus((name, value))

    def encode(self) -> bytes:
        """The lines as HTTP/1 writes them, each ended by CRLF, without the empty line."""
        return "".join(f"{name}: {value}\r\n" for name, value in self.lines).encode("latin-1")

    def __contains__(self, name: str) -> bool:
        return name in self._by_name()

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.lines)

    def __len__(self) -> int:
        return len(self.lines)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fields) and self.lines == other.lines

    def __hash__(self) -> int:
        return hash(self.lines)

    def __repr__(self) -> str:
        return f"Fields({list(self.lines)!r})"

    @classmethod
    def of(cls, **lines: str) -> Self:
        """For short literals: `Fields.of(cache_control="no-store")`."""
        return cls((name.replace("_", "-"), value) for name, value in lines.items())
