"""Trouble with the collector is said once a minute."""

import logging

from edgeproxy.telemetry.export import OncePerMinute


def test_one_line_a_minute_with_the_number_kept_back() -> None:
    now = 100.0
    quiet = OncePerMinute(lambda: now)
    record = logging.makeLogRecord({"msg": "no collector"})
    assert quiet.filter(record)
    assert not quiet.filter(record)
    now = 159.9
    assert not quiet.filter(record)
    now = 160.0
    assert quiet.filter(record)
    assert record.msg == "no collector (2 more kept back)"
    now = 220.0
    fresh = logging.makeLogRecord({"msg": "again"})
    assert quiet.filter(fresh)
    assert fresh.msg == "again"
