"""What the load tools print is read right, wrong answers are found in it, and names reach SNI."""

from pathlib import Path

import pytest

from benchmarks.authority import CIPHER, HOST
from benchmarks.connects import Tally, is_right, is_whole, summed
from benchmarks.origin import answer
from benchmarks.scenarios import PLAIN, SECURE, Scenario, scenarios
from benchmarks.tools import ToolFailed, connects_command, h2load_command, read_h2load, read_h2load_log, read_result, wrk_command

SIZE = 10_240

H2LOAD = """\
starting benchmark...
spawning thread #0: 4 total client(s). Timing-based test with 0s of warm-up time and 1s of main duration for measurements.
Main benchmark duration is started for thread #0.
TLS Protocol: TLSv1.3
Cipher: TLS_AES_256_GCM_SHA384
Server Temp Key: X25519 253 bits
Application protocol: h2
Stopped all clients for thread #0

finished in {finished}, 10062.00 req/s, 101.64MB/s
requests: {done} total, 10070 started, {done} done, {succeeded} succeeded, {failed} failed, {errored} errored, 0 timeout
status codes: {succeeded} 2xx, 0 3xx, {failed} 4xx, 0 5xx
traffic: 101.64MB (106575386) total, 3.20MB (3359222) headers (space savings 11.43%), 98.26MB ({data}) data
                     min         max         mean         sd        +/- sd
time for request:      145us     11.56ms       733us       757us    95.25%
"""

LOG = ["1795648935523516\t200\t100\n", "1795648935523518\t200\t300\n", "1795648935524358\t200\t200\n"]


def h2load(**changes: object) -> str:
    usual = {"finished": "1.00s", "done": 3, "succeeded": 3, "failed": 0, "errored": 0, "data": 3 * SIZE}
    return H2LOAD.format(**{**usual, **changes})


def find(key: str) -> Scenario:
    return next(scenario for scenario in scenarios(10, "run") if scenario.key == key)


def test_h2load_figures_come_from_its_summary_and_its_log() -> None:
    read = read_h2load(h2load(), LOG, SIZE)
    assert read["spoken"] == f"TLSv1.3 {CIPHER}"
    assert (read["requests"], read["seconds"], read["bytes"], read["p50_us"]) == (3, 1.0, 3 * SIZE, 200)
    assert 200 < read["p99_us"] <= 300
    assert (read["bad_status"], read["socket_errors"]) == (0, 0)


@pytest.mark.parametrize(("text", "seconds"), [("2.01s", 2.01), ("999.50ms", 0.9995), ("850us", 0.00085)])
def test_h2load_duration_has_units(text: str, seconds: float) -> None:
    assert read_h2load(h2load(finished=text), LOG, SIZE)["seconds"] == pytest.approx(seconds)


def test_h2load_failures_and_errors_are_counted() -> None:
    read = read_h2load(h2load(done=6, failed=2, errored=1), LOG, SIZE)
    assert (read["requests"], read["socket_errors"]) == (3, 3)


@pytest.mark.parametrize(("missing", "wrong"), [(0, 0), (1, 1), (SIZE, 1), (2 * SIZE, 2)])
def test_h2load_bodies_that_are_too_short_in_sum_are_wrong_answers(missing: int, wrong: int) -> None:
    assert read_h2load(h2load(data=3 * SIZE - missing), LOG, SIZE)["bad_status"] == wrong


def test_h2load_that_spoke_http_1_measured_nothing_of_http_2() -> None:
    text = h2load().replace("Application protocol: h2", "Application protocol: http/1.1")
    assert read_h2load(text, LOG, SIZE)["bad_status"] == 3


def test_h2load_that_ended_early_is_a_failure() -> None:
    with pytest.raises(ToolFailed, match="could not resolve"):
        read_h2load("could not resolve\n", [], SIZE)


def test_h2load_log_tells_status_and_leaves_out_what_was_cut_off() -> None:
    assert read_h2load_log(["1\t200\t5\n", "2\t503\t7\n", "3\t-1\t9\n"]) == ([5, 7], 1)


def test_h2load_without_any_answer_is_a_sample_without_figures() -> None:
    read = read_h2load(h2load(done=0, succeeded=0, data=0), [], SIZE)
    assert (read["requests"], read["bad_status"]) == (0, 0)


def test_result_line_is_found_among_what_a_tool_prints() -> None:
    assert read_result('Running 1s test\nRESULT {"requests":7}\nRequests/sec: 1\n') == {"requests": 7}
    with pytest.raises(ToolFailed, match="unable to connect"):
        read_result("unable to connect\n")


def test_wrk_is_given_the_name_over_tls_and_the_address_without() -> None:
    assert f"https://{HOST}:8443" in wrk_command(find("tls-10k"), 8443, 1.0)
    assert "http://127.0.0.1:8080" in wrk_command(find("hit-10k"), 8080, 1.0)


def test_every_run_of_wrk_draws_other_numbers() -> None:
    first, second = (wrk_command(find("zipf"), 8080, 1.0)[-1] for _ in range(2))
    assert first != second


@pytest.mark.parametrize(("key", "streams"), [("h2-10k-1", "-m1"), ("h2-10k-10", "-m10")])
def test_h2load_is_given_name_address_streams_and_cipher(key: str, streams: str) -> None:
    command = h2load_command(find(key), 8443, 2.0, Path("log"))
    assert command[-2:] == ["--connect-to=127.0.0.1:8443", f"https://{HOST}/b/10240"]
    assert {streams, "-D2s", "--log-file=log", f"--tls13-ciphers={CIPHER}"} <= set(command)


@pytest.mark.parametrize(("key", "mode"), [("handshake", "full"), ("resumed", "resumed")])
def test_connects_is_given_port_mode_and_seconds(key: str, mode: str) -> None:
    assert connects_command(find(key), 8443, 1.5)[-3:] == ["8443", mode, "1.5"]


def test_only_the_answer_that_belongs_to_the_path_is_right() -> None:
    good = answer(100, "max-age=3600")
    assert is_right(good)
    assert is_whole(good)
    assert not is_whole(good[:-1])
    assert not is_whole(b"")
    assert not is_right(good[:-1])
    assert not is_right(good.replace(b" 200 ", b" 421 ", 1))
    assert not is_right(b"")


def test_tallies_of_all_processes_are_summed() -> None:
    one = Tally([0.001, 0.003], wrong=1, errors=2, seconds=1.0, spoken="TLSv1.3 X")
    other = Tally([0.002], errors=1, seconds=1.1, spoken="TLSv1.3 X")
    read = summed([one, other])
    assert (read["requests"], read["seconds"], read["p50_us"]) == (3, 1.1, 2000)
    assert (read["bad_status"], read["socket_errors"], read["spoken"]) == (1, 3, "TLSv1.3 X")


def test_tallies_without_a_connection_are_a_sample_without_figures() -> None:
    assert summed([Tally(errors=5)])["requests"] == 0


def test_keys_are_those_of_the_scenarios() -> None:
    assert {scenario.key for scenario in scenarios(10, "run")} | {"crowd"} == {*PLAIN, *SECURE}
    assert all(bool(scenario.protocol) is (scenario.key in SECURE) for scenario in scenarios(10, "run"))
