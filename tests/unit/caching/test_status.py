"""RFC 9211 (Cache-Status) and RFC 9209 (Proxy-Status): well-formed, and the parameters mean what those say."""

import pytest

from edgeproxy.caching.model import Reason
from edgeproxy.caching.status import cache_status_forward, cache_status_hit, cache_status_refused, proxy_status
from edgeproxy.wire import structured


def test_a_hit_says_how_long_it_stays_fresh() -> None:
    assert cache_status_hit(Reason.FRESH, 30) == "edgeproxy;hit;ttl=30;detail=fresh"


def test_a_stale_hit_has_a_negative_ttl() -> None:
    assert cache_status_hit(Reason.STALE_WHILE_REVALIDATE, -5) == "edgeproxy;hit;ttl=-5;detail=stale-while-revalidate"


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_makes_well_formed_fields(reason: Reason) -> None:
    made = (
        cache_status_hit(reason, -1, collapsed=True),
        cache_status_forward(reason, fwd_status=200, stored=True, collapsed=True, ttl=5),
        cache_status_refused(reason),
    )
    for value in made:
        members = structured.parse_list((value,))
        assert members is not None
        name, parameters = members[0]
        assert str(name) == "edgeproxy"
        assert str(parameters["detail"]) == reason


FORWARDS = [
    (Reason.MISS, "uri-miss"),
    (Reason.VARY_MISS, "vary-miss"),
    (Reason.STALE, "stale"),
    (Reason.STALE_ORIGIN_FAILED, "stale"),
    (Reason.REQUEST_DIRECTIVE, "request"),
    (Reason.METHOD, "method"),
    (Reason.UPGRADE, "bypass"),
]


@pytest.mark.parametrize(("reason", "fwd"), FORWARDS)
def test_why_a_request_went_forward(reason: Reason, fwd: str) -> None:
    assert cache_status_forward(reason) == f"edgeproxy;fwd={fwd};detail={reason}"


def test_a_detail_can_say_why_it_was_not_stored() -> None:
    expected = "edgeproxy;fwd=uri-miss;fwd-status=200;detail=private"
    assert cache_status_forward(Reason.MISS, fwd_status=200, detail=Reason.PRIVATE) == expected


def test_proxy_status_escapes_what_a_string_cannot_carry() -> None:
    assert proxy_status("dns_error", 'no "ä"\n') == 'edgeproxy;error=dns_error;details="no \\"?\\"?"'
    assert proxy_status("connection_refused") == "edgeproxy;error=connection_refused"
