"""How values look on a terminal, and that text of strangers cannot steer it."""

import pytest

from edgeproxy.commands.printing import bytes_text, clean, percent_text, seconds_text, time_text


def test_text_of_strangers_cannot_steer_the_terminal() -> None:
    assert clean("a\x1b[2Jb\nc\u202ed") == "a\\x1b[2Jb\\nc\\u202ed"
    assert clean("Füße · 日本") == "Füße · 日本"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (59, "59s"), (3_725, "1h 2m"), (86_400, "1d"), (-90, "-1m 30s"), (None, None)]
)
def test_seconds_are_shown_in_two_units(seconds: int | None, text: str | None) -> None:
    assert seconds_text(seconds) == text


@pytest.mark.parametrize(
    ("octets", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 30, "5 GiB"), (3 << 41, "6.0 TiB"), (None, None)]
)
def test_sizes_are_shown_in_binary_units(octets: int | None, text: str | None) -> None:
    assert bytes_text(octets) == text


def test_times_and_shares_that_are_not_known_stay_unknown() -> None:
    assert time_text(None) is None
    assert percent_text(None) is None
    assert time_text(0) == "1970-01-01 00:00:00 UTC"
