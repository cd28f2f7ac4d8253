"""A keeper for whom days pass in milliseconds, and an authority that is real in what it signs."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.keepers import Lab, Start
from tests.support.local_authority import LocalAuthority
from tests.support.time_lapse import TimeLapse


@pytest.fixture
def lapse() -> TimeLapse:
    return TimeLapse()


@pytest.fixture
def authority(lapse: TimeLapse) -> LocalAuthority:
    return LocalAuthority(lapse.clock)


@pytest.fixture
async def make(tmp_path: Path, lapse: TimeLapse) -> AsyncIterator[Start]:
    labs: list[Lab] = []

    def new(*issuers: LocalAuthority, **settings: object) -> Lab:
        labs.append(Lab(tmp_path / "tls", issuers, lapse, **settings))
        return labs[-1]

    yield new
    for lab in labs:
        await lab.stop()
