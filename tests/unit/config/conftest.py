"""A configuration file in a folder of its own."""

from pathlib import Path

import pytest


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    def write(text: str) -> Path:
        path = tmp_path / "edge.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write
