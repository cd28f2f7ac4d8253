"""What the tests of the body store share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edgeproxy.storage.bodies import BodyStore


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[BodyStore]:
    store = BodyStore(tmp_path / "data")
    await store.open()
    yield store
    await store.close()
