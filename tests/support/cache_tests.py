"""The npm package http-cache-tests: its origin, its client, and the comparison of what came out with what is on record.

The record is a file that may only get better. It names every test of the package: passed, or open with a reason.
"""

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Results = Mapping[str, Any]
"""By test id, true or [kind of failure, message], as the client prints them."""

SECTIONS = ("required", "optimal", "check", "surrogate-control")
"""The kinds of the package. The suite surrogate-control stands apart, since published results leave it out."""

RATCHETED = frozenset({"required", "optimal", "surrogate-control"})
"""Where passing is better than not. A `check` asks how a cache behaves where the standard leaves it free."""


@dataclass(frozen=True)
class Record:
    """What is known of each test. `open` gives the reason in plain words; both are by section."""

    package: str
    passed: dict[str, set[str]]
    open: dict[str, dict[str, str]]

    @classmethod
    def read(cls, path: Path) -> "Record":
        kept = json.loads(path.read_text())
        return cls(
            kept["package"],
            {section: set(kept["passed"].get(section, ())) for section in SECTIONS},
            {section: dict(kept["open"].get(section, {})) for section in SECTIONS},
        )

    def write(self, path: Path) -> None:
        passed = {section: sorted(self.passed[section]) for section in SECTIONS}
        still_open = {section: dict(sorted(self.open[section].items())) for section in SECTIONS}
        kept = {"package": self.package, "open": still_open, "passed": passed}
        path.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")


@dataclass(frozen=True)
class Comparison:
    """How a run differs from the record. `faults` is empty when they agree; `better` is the record that the run deserves."""

    faults: list[str]
    better: Record
    counts: dict[str, tuple[int, int]] = field(default_factory=dict)
    """By section: passed, and all."""

    @property
    def summary(self) -> str:
        """One line for people."""
        parts = [f"{section} {passed} of {total}" for section, (passed, total) in self.counts.items()]
        return f"http-cache-tests {self.better.package}: {', '.join(parts)}"


def section_of(test: Mapping[str, Any]) -> str:
    """Where a test is counted."""
    return "surrogate-control" if test["suite"] == "surrogate-control" else str(test["kind"])


def compare(record: Record, package: str, asked: list[dict[str, Any]], results: Results) -> Comparison:
    """Judge `results` by `record`. `asked` is what `score.mjs` prints; tests for browsers are left out."""
    sections = {test["id"]: section_of(test) for test in asked if not test["browser_only"]}
    faults = [] if package == record.package else [f"the package is {package}, the record is of {record.package}"]
    better = Record(package, {section: set() for section in SECTIONS}, {section: {} for section in SECTIONS})
    for test, section in sections.items():
        fault = _judge(test, section, results.get(test, ["Missing", "there is no result"]), record, better)
        if fault:
            faults.append(fault)
    for section in SECTIONS:
        known = record.passed[section] | record.open[section].keys()
        faults.extend(f"{section} {test}: on record, but the package has no such test" for test in known - sections.keys())
    counts = {
        section: (sum(results.get(test) is True for test, its in sections.items() if its == section), total)
        for section in SECTIONS
        if (total := sum(its == section for its in sections.values()))
    }
    return Comparison(faults, better, counts)


def _judge(test: str, section: str, result: Any, record: Record, better: Record) -> str | None:
    """Put `test` where it belongs in `better`; what is wrong with it in `record`, if anything."""
    was_passed = test in record.passed[section]
    reason = record.open[section].get(test)
    if result is True:
        better.passed[section].add(test)
        return None if was_passed and reason is None else f"{section} {test}: passes now; run with UPDATE=1 to record it"
    if was_passed and section in RATCHETED:
        better.passed[section].add(test)
        return f"{section} {test}: passed before, and fails now: {_text(result)}"
    better.open[section][test] = reason or ""
    if was_passed:
        return f"{section} {test}: answered yes before, and no now: {_text(result)}; run with UPDATE=1 to record it"
    return None if reason else f"{section} {test}: open without a reason in the record: {_text(result)}"


def _text(result: Any) -> str:
    return ": ".join(str(part) for part in result) if isinstance(result, list) else repr(result)


@contextmanager
def running_origin(folder: Path, scratch: Path, deadline: float = 30.0) -> Iterator[str]:
    """The package's origin server on a free port of the loopback address; gives its base URL."""
    said = scratch / "origin.log"
    with said.open("wb") as log:
        command = ["node", "origin.mjs", str(scratch / "origin.pid")]
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
    try:
        end = time.monotonic() + deadline
        while (found := re.search(r"Listening on (http://127\.0\.0\.1:\d+)/", said.read_text())) is None:
            assert process.poll() is None, f"the origin ended at its start: {said.read_text()}"
            assert time.monotonic() < end, f"the origin did not start: {said.read_text()}"
            time.sleep(0.01)
        yield found[1]
    finally:
        process.kill()
        process.wait(10)


def run_client(package: Path, base: str, deadline: float = 240.0) -> dict[str, Any]:
    """Every test of the package against `base`; as the npm script `cli` does it, without npm in between."""
    environ = {**os.environ, "npm_config_base": base, "npm_config_id": "", "npm_package_config_id": ""}
    command = ["node", "--no-warnings", "cli.mjs"]
    done = subprocess.run(command, cwd=package, env=environ, capture_output=True, text=True, timeout=deadline, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout, done.stderr
    results: dict[str, Any] = json.loads(done.stdout)
    return results


def asked_tests(folder: Path) -> list[dict[str, Any]]:
    """What the package asks: `score.mjs`."""
    done = subprocess.run(["node", "score.mjs"], cwd=folder, capture_output=True, text=True, timeout=60, check=True)
    tests: list[dict[str, Any]] = json.loads(done.stdout)
    return tests
