"""The window in which an authority wants a certificate renewed: RFC 9773 section 4.2."""

import json

import pytest

from edgeproxy.errors import IssuanceFailed
from edgeproxy.tls.acme.network import Reply
from edgeproxy.tls.acme.renewal_info import LATEST_CHECK, SOONEST_CHECK, USUAL_CHECK, RenewalInfo, read_renewal_info

NOW = 1_764_000_000.0


def reply(document: object, retry_at: float | None = None) -> Reply:
    return Reply(200, {}, json.dumps(document).encode(), retry_at)


def window(start: object, end: object, **more: object) -> dict[str, object]:
    return {"suggestedWindow": {"start": start, "end": end}, **more}


@pytest.mark.parametrize(
    ("retry_at", "check_after"),
    [
        (None, NOW + USUAL_CHECK),
        (NOW, NOW + SOONEST_CHECK),
        (NOW + 3_600, NOW + 3_600),
        (NOW + 10 * 86_400, NOW + LATEST_CHECK),
    ],
)
def test_the_next_look_is_bounded(retry_at: float | None, check_after: float) -> None:
    document = window("2025-01-02T04:00:00Z", "2025-01-03T04:00:00Z")
    assert read_renewal_info(reply(document, retry_at), NOW) == RenewalInfo(1_735_790_400.0, 1_735_876_800.0, "", check_after)


@pytest.mark.parametrize("text", ["2025-01-02T04:00:00Z", "2025-01-02T04:00:00.000Z", "2025-01-02T09:30:00+05:30"])
def test_times_are_points_in_time(text: str) -> None:
    assert read_renewal_info(reply(window(text, "2025-01-03T04:00:00Z")), NOW).start == 1_735_790_400.0


@pytest.mark.parametrize(
    ("page", "kept"),
    [
        ("https://ca.test/why?x=1", "https://ca.test/why?x=1"),
        ("javascript:alert(1)", ""),
        ("https://ca.test/\x1b[31m", ""),
        ("https://ca.test/" + "x" * 5_000, ""),
        (7, ""),
    ],
)
def test_only_a_page_is_a_reason(page: object, kept: str) -> None:
    document = window("2025-01-02T04:00:00Z", "2025-01-03T04:00:00Z", explanationURL=page)
    assert read_renewal_info(reply(document), NOW).explanation_url == kept


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"suggestedWindow": "soon"},
        window(None, "2025-01-03T04:00:00Z"),
        window("2025-01-02", "2025-01-03"),
        window("2025-01-02T04:00:00", "2025-01-03T04:00:00"),  # without an offset it could be anywhere
        window("2025-01-03T04:00:00Z", "2025-01-03T04:00:00Z"),
        window("2025-01-03T04:00:00Z", "2025-01-02T04:00:00Z"),
        [],
    ],
)
def test_what_is_no_window(document: object) -> None:
    with pytest.raises(IssuanceFailed) as failed:
        read_renewal_info(reply(document), NOW)
    assert failed.value.problem == "badAnswer"
