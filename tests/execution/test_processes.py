"""Workers that hang, die, keep silent or talk rubbish cost their own job and nobody's time."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nasgen.errors import EvaluationError
from nasgen.execution.base import Executor
from nasgen.execution.pipe import environment
from nasgen.execution.processes import Processes
from nasgen.execution.serial import Serial

FACTORY = "tests.misbehaving_evaluator:make"
LIMIT_S = 0.3
ROOT = Path(__file__).parents[2]


def _played(executor: Executor, jobs: list[dict[str, Any]], within_s: float = 20) -> dict[int, Any]:
    """Run jobs to their results, by seq; fail rather than wait for ever."""
    until = time.monotonic() + within_s
    executor.start()
    results: dict[int, Any] = {}
    waiting = list(jobs)
    while waiting or executor.n_in_flight:
        assert time.monotonic() < until, f"no end; so far: {results}"
        while waiting and executor.has_room():
            executor.submit(waiting.pop(0))
        for message in executor.collect(0.05):
            if "result" in message:
                seq = message["result"]["seq"]
                assert seq not in results
                results[seq] = message["result"]
    return results


def _jobs(n: int, **more: Any) -> list[dict[str, Any]]:
    return [{"seq": seq, **more} for seq in range(n)]


STEPS = """
import resource
import numpy as np

def step():
    kept = [np.ones(3 * 2**20) for _ in range(6)]  # of 24 MiB
    while kept:
        kept.pop()

step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators have other words")
def test_a_worker_keeps_the_memory_of_a_step_for_the_next_one() -> None:
    def faults(env: dict[str, str]) -> int:
        command = [sys.executable, "-c", STEPS]
        return int(subprocess.run(command, env=env, capture_output=True, check=True).stdout)

    bare = {name: text for name, text in os.environ.items() if not name.startswith("MALLOC_")}
    assert faults(environment(1)) < 100 < 1000 < faults(bare)


def test_the_users_own_settings_of_memory_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1")
    assert environment(3)["MALLOC_TRIM_THRESHOLD_"] == "1"
    assert environment(3)["OMP_NUM_THREADS"] == "3"


BEHAVIOUR = {  # seq -> what the plug-in does, kind of the failure, what its reason says
    0: ("sleep", "timeout", "training.time_limit and execution.grace had passed, 0."),
    2: ("die", "worker", "ended with exit code 7, 2 times"),
    3: ("leave", "error", "SystemExit: 3: code of a plug-in asked the process to exit"),
    4: ("interrupt", "error", "KeyboardInterrupt"),
    5: ("shout", "error", "BaseException: neither an error nor an exit"),
    6: ("close_pipe", "worker", "closed its message pipe and went on, 2 times"),
    7: ("leave_child", "worker", "ended with exit code 7, 2 times"),
    8: ("garbage", "worker", 'carried "garbage", which is no message'),
    9: ("half", "worker", 'carried "{"result": {"se{"result":'),
    10: ("unserialisable", "error", "object is not JSON serializable"),
    11: ("say_other", "worker", "which is no message"),
    12: ("nested", "worker", 'carried "[[[[['),
}
FINE = {13: "fork", 14: "start_child", 15: "group", 16: "read"}
N = 18


@pytest.fixture(scope="module")
def results() -> Iterator[dict[int, Any]]:
    """The results of all jobs in turn on one worker, each of which must not spoil the next."""
    behaviour = {seq: name for seq, (name, *_) in BEHAVIOUR.items()} | FINE
    executor = Processes(FACTORY, {"behaviour": {str(k): v for k, v in behaviour.items()}}, 1)
    # Only the first hangs; the others have time to be slow on a busy machine.
    jobs = [{**job, "limit_s": LIMIT_S if job["seq"] == 0 else 60.0} for job in _jobs(N)]
    found = _played(executor, jobs, within_s=60)
    yield found
    executor.close()


@pytest.mark.parametrize("seq", sorted(BEHAVIOUR))
def test_what_a_worker_does_wrong_fails_its_job_with_the_reason(
    results: dict[int, Any], seq: int
) -> None:
    _, kind, reason = BEHAVIOUR[seq]
    assert results[seq]["state"] == "FAILED"
    assert results[seq]["failure_kind"] == kind
    assert reason in results[seq]["failure"]


@pytest.mark.parametrize("seq", sorted(set(range(N)) - set(BEHAVIOUR)))
def test_a_job_is_none_the_worse_for_those_before_it(results: dict[int, Any], seq: int) -> None:
    assert results[seq]["state"] == "COMPLETE"


def test_jobs_are_nothing_that_a_plugin_can_read(results: dict[int, Any]) -> None:
    assert results[16]["metrics"] == {"read": 0}


def test_workers_are_as_nice_as_the_driver_and_out_of_reach_of_ctrl_c(
    results: dict[int, Any],
) -> None:
    found = results[15]["metrics"]
    assert found["session"] == os.getsid(0)  # within which Linux weighs nice values
    assert found["group"] == found["pid"] != os.getpgid(0)  # Ctrl-C goes to the driver's group
    assert found["nice"] == os.nice(0)
    assert found["ignored"]  # a group in the background may be stopped by its terminal


def test_what_a_plugin_started_ends_with_its_worker(results: dict[int, Any]) -> None:
    executor = Processes(FACTORY, {"behaviour": {"0": "start_child"}}, 1)
    child = _played(executor, _jobs(1))[0]["metrics"]["child"]
    os.kill(child, 0)
    executor.close()
    until = time.monotonic() + 5
    while _is_running(child) and time.monotonic() < until:
        time.sleep(0.02)
    assert not _is_running(child)


def _is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


DRIVER = """
from nasgen.execution.processes import Processes
executor = Processes("tests.misbehaving_evaluator:make", {"behaviour": {"0": "hold"}}, 1)
executor.submit({"seq": 0})
while True:
    executor.collect(1.0)
"""


def test_a_worker_that_nothing_interrupts_ends_with_its_driver() -> None:
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    assert driver.stderr is not None
    worker = int(driver.stderr.readline())
    driver.kill()
    driver.wait()
    driver.stderr.close()
    until = time.monotonic() + 5
    while _is_running(worker) and time.monotonic() < until:
        time.sleep(0.02)
    assert not _is_running(worker)


def test_two_jobs_of_one_worker_that_dies_twice_both_end() -> None:
    """As when a run with two trials in flight is resumed with one worker."""
    executor = Processes(FACTORY, {"behaviour": {"0": "die"}}, 1)
    for job in _jobs(2):
        executor.submit(job)
    results = _played(executor, [])
    assert [results[seq]["state"] for seq in (0, 1)] == ["FAILED", "COMPLETE"]
    executor.close()


def test_at_the_deadline_all_jobs_end_those_that_wait_too() -> None:
    executor = Processes(FACTORY, {"behaviour": {"0": "sleep", "1": "swallow"}}, 2)
    for job in _jobs(3):
        executor.submit(job)
    executor.deadline = time.monotonic() + 1.5
    results = _played(executor, [], within_s=5)
    assert [results[seq]["failure_kind"] for seq in range(3)] == ["timeout"] * 3
    assert "the time budget and execution.grace had passed" in results[0]["failure"]
    executor.close()


@pytest.mark.parametrize("kind", [Processes, Serial])
def test_a_worker_that_does_not_start_ends_the_run_with_the_setting(kind: type[Executor]) -> None:
    executor = kind(FACTORY, {"start": "sleep", "start_limit": 0.3}, 1)
    with pytest.raises(EvaluationError, match=r"not started within .* execution\.start_limit"):
        _played(executor, _jobs(1), within_s=10)


def test_a_worker_that_cannot_be_understood_at_its_start_ends_the_run() -> None:
    executor = Processes(FACTORY, {"start": "garbage"}, 1)
    with pytest.raises(EvaluationError, match=r'cannot start: .* "garbage", which is no message'):
        _played(executor, _jobs(1), within_s=10)


def test_serial_jobs_are_interrupted_too() -> None:
    """Unless they swallow interrupts of every kind."""
    executor = Serial(FACTORY, {"behaviour": {"0": "sleep", "1": "swallow", "2": "sleep"}}, 1)
    jobs = [{"seq": 0, "limit_s": LIMIT_S}, {"seq": 1, "limit_s": LIMIT_S}, {"seq": 2}]
    executor.deadline = time.monotonic() + 1.5
    results = _played(executor, jobs, within_s=5)
    assert [results[seq]["failure_kind"] for seq in range(3)] == ["timeout"] * 3
    assert "training.time_limit" in results[1]["failure"]
    assert "the time budget" in results[2]["failure"]


@pytest.mark.parametrize("kind", [Processes, Serial])
def test_from_another_thread_only_processes_end_what_hangs(kind: type[Executor]) -> None:
    """Nothing in a process can end one of its threads, as SECURITY.md and the settings say."""
    executor = kind(FACTORY, {"behaviour": {"0": "nap"}}, 1)
    states: list[str] = []

    def drive() -> None:
        results = _played(executor, [{"seq": 0, "limit_s": 0.1}])
        states.append(results[0]["state"])

    driver = threading.Thread(target=drive)
    driver.start()
    driver.join()
    assert states == ["FAILED" if kind is Processes else "COMPLETE"]
    executor.close()


def test_a_long_message_is_read_in_linear_time_and_an_endless_one_is_not_kept() -> None:
    executor = Processes(FACTORY, {"behaviour": {"0": "huge", "1": "endless"}}, 1)
    began = time.process_time()
    results = _played(executor, _jobs(2), within_s=30)
    took_s = time.process_time() - began  # of the driver; in quadratic time about 10 s
    assert len(results[0]["metrics"]["text"]) == 50_000_000
    assert results[1]["failure_kind"] == "worker"
    assert 'carried "xxx' in results[1]["failure"]
    assert took_s < 3.0
    executor.close()
