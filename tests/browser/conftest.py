"""What the tests in a browser share."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support import outage
from tests.support.parts import need


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[outage.Scene]:
    """One browser and one site for all tests of a module, which come in the order of a visit."""
    need("chromium")
    async with outage.scene(tmp_path_factory.mktemp("scene")) as made:
        yield made
