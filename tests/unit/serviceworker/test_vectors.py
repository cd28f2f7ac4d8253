"""The vectors in the folder of the worker are what the ledger's code writes today. UPDATE=1 writes them anew."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.sw_vectors import ledger_vectors, site_vectors

VECTORS = Path(__file__).parents[3] / "sw" / "test" / "vectors"


@pytest.mark.parametrize(("name", "make"), [("ledger.json", ledger_vectors), ("site.json", site_vectors)])
def test_the_committed_vectors_are_what_the_code_writes(name: str, make: Callable[[], dict[str, Any]]) -> None:
    made = json.dumps(make(), indent=1, ensure_ascii=False) + "\n"
    if os.environ.get("UPDATE") == "1":
        (VECTORS / name).write_text(made)
    assert (VECTORS / name).read_text() == made
