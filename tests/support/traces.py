"""What is left of something in the files of a folder."""

from pathlib import Path


def traces(folder: Path, *needles: bytes) -> list[str]:
    """Which files of a data folder have any of these bytes, a name of a file included."""
    found = []
    for path in sorted(folder.rglob("*")):
        data = path.read_bytes() if path.is_file() else b""
        found += [f"{path.name}: {needle[:40]!r}" for needle in needles if needle in data or needle.hex() in path.name]
    return found
