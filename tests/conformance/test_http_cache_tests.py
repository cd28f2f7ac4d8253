"""The public suite http-cache-tests against a real edge, judged by the record beside this file, which may only get better.

`make conformance` runs it; with UPDATE=1 it writes what got better into the record. The raw results are left in conformance-out/.
"""

import json
import os
import shutil
from pathlib import Path
from string import Template

import pytest

from tests.support.cache_tests import Record, asked_tests, compare, run_client, running_origin
from tests.support.edge import ROOT, EdgeProcess

HERE = Path(__file__).parent
PACKAGE = HERE / "node_modules" / "http-cache-tests"
RECORD = HERE / "http-cache-tests.json"
RAW = ROOT / "conformance-out" / "http-cache-tests.json"


@pytest.mark.conformance
@pytest.mark.timeout(360)
def test_no_test_of_the_suite_does_worse_than_on_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not PACKAGE.exists() or shutil.which("node") is None:
        missing = "Node.js, or the package http-cache-tests: make node-parts"
        assert os.environ.get("CI") != "true", f"missing: {missing}"
        pytest.skip(f"missing: {missing}")
    with running_origin(HERE, tmp_path) as origin:
        config = tmp_path / "edge.toml"
        config.write_text(Template((HERE / "edge.toml").read_text()).substitute(origin=origin, data=tmp_path / "data"))
        edge = EdgeProcess(config)
        base = edge.start()
        try:
            results = run_client(PACKAGE, base)
        finally:
            stopped = edge.stop()
    RAW.parent.mkdir(exist_ok=True)
    RAW.write_text(json.dumps(results, indent=1) + "\n")
    version = json.loads((PACKAGE / "package.json").read_text())["version"]
    asked = asked_tests(HERE)
    found = compare(Record.read(RECORD), version, asked, results)
    if os.environ.get("UPDATE") == "1":
        found.better.write(RECORD)
        found = compare(found.better, version, asked, results)
    with capsys.disabled():
        print(f"\n{found.summary}")
    if found.faults:
        pytest.fail("\n".join(found.faults), pytrace=False)
    assert stopped == 0, edge.log.read_text()


ASKED = [
    {"id": "must", "suite": "cc", "kind": "required", "browser_only": False},
    {"id": "may", "suite": "cc", "kind": "check", "browser_only": False},
    {"id": "page", "suite": "cc", "kind": "required", "browser_only": True},
    {"id": "old", "suite": "surrogate-control", "kind": "required", "browser_only": False},
]
FAILED = ["Assertion", "no"]


def _record(must: str | None = None, may: str | None = None, old: str | None = None) -> Record:
    """On record each test passed, or is open for the reason given."""
    given = {"required": ("must", must), "optimal": ("", None), "check": ("may", may), "surrogate-control": ("old", old)}
    return Record(
        "1",
        {section: {test} if test and why is None else set() for section, (test, why) in given.items()},
        {section: {} if why is None else {test: why} for section, (test, why) in given.items()},
    )


def test_a_run_as_on_record_has_no_faults_and_counts_the_surrogate_suite_apart() -> None:
    found = compare(_record(may="free to"), "1", ASKED, {"must": True, "may": FAILED, "old": True})
    assert found.faults == []
    assert found.better == _record(may="free to")
    assert found.summary == "http-cache-tests 1: required 1 of 1, check 0 of 1, surrogate-control 1 of 1"


@pytest.mark.parametrize("test", ["must", "old"])
def test_a_passed_test_that_fails_is_a_fault_that_no_update_can_hide(test: str) -> None:
    found = compare(_record(), "1", ASKED, {"must": True, "may": True, "old": True, test: FAILED})
    assert len(found.faults) == 1
    assert f"{test}: passed before, and fails now: Assertion: no" in found.faults[0]
    assert found.better == _record()


def test_a_test_without_a_result_counts_as_failed() -> None:
    found = compare(_record(), "1", ASKED, {"may": True, "old": True})
    assert [fault.partition(": ")[0] for fault in found.faults] == ["required must"]


def test_an_open_test_that_passes_must_be_recorded_and_an_update_does_it() -> None:
    results = {"must": True, "may": True, "old": True}
    found = compare(_record(must="hard"), "1", ASKED, results)
    assert found.faults == ["required must: passes now; run with UPDATE=1 to record it"]
    assert compare(found.better, "1", ASKED, results).faults == []


def test_a_check_may_change_its_answer_but_needs_a_reason_then() -> None:
    results = {"must": True, "may": FAILED, "old": True}
    found = compare(_record(), "1", ASKED, results)
    assert len(found.faults) == 1
    again = compare(found.better, "1", ASKED, results)
    assert again.faults == ["check may: open without a reason in the record: Assertion: no"]


def test_another_version_and_tests_that_are_gone_are_faults() -> None:
    found = compare(_record(), "2", ASKED[1:], {"may": True, "old": True})
    assert found.faults == [
        "the package is 2, the record is of 1",
        "required must: on record, but the package has no such test",
    ]


def test_a_record_reads_as_it_was_written(tmp_path: Path) -> None:
    kept = _record(must="hard")
    kept.write(tmp_path / "record.json")
    assert Record.read(tmp_path / "record.json") == kept
