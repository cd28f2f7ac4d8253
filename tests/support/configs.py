"""Configurations: the least that has no fault, and what is said of those that have some."""

from pathlib import Path

import pytest

from edgeproxy.config import Flags, load
from edgeproxy.errors import ConfigError

SITE = '[[site]]\nhosts = ["example.org"]\norigins = ["http://127.0.0.1:9000"]\n'


def faults_of(path: Path | None, flags: Flags | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path, flags or Flags())
    return caught.value.faults
