"""Scripts in place of the built ones, for tests of how they are served and not of what they do."""

import pytest

from edgeproxy.exchange.service_worker import SCRIPTS

PLACEHOLDERS = {name: f"// {name}\n".encode() for name in SCRIPTS}


@pytest.fixture
def placeholder_scripts(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """The edge of the test serves these."""
    monkeypatch.setattr("edgeproxy.browsers.load_scripts", lambda: PLACEHOLDERS)
    return PLACEHOLDERS
