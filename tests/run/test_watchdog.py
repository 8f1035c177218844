"""A search ends when its time is over, whatever a plug-in does in the driver or in a worker."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nasgen
from nasgen.engine.operators import Operator, Operators
from nasgen.errors import NasgenError, OperatorError
from nasgen.execution.processes import Processes
from nasgen.execution.serial import Serial
from nasgen.settings.budget import Budget
from tests.played import Played, resolved_of

MISBEHAVING = "tests.misbehaving_evaluator:make"
ROOT = Path(__file__).parents[2]


def _timed(time_s: float, grace_s: float, **more: Any) -> Played:
    played = Played(resolved_of("random"), **more)
    played.search.budget = Budget(None, 2, time_s=time_s, grace_s=grace_s)
    return played


@pytest.mark.parametrize("kind", [Processes, Serial])
def test_a_budget_ends_jobs_that_hang_and_no_finish_begins(kind: type[Any]) -> None:
    context = {"behaviour": {str(seq): "sleep" for seq in range(100)}}
    played = _timed(1.0, 0.5, executor=kind(MISBEHAVING, context, 1))
    began = time.monotonic()
    trials = played.run()
    assert time.monotonic() - began < 6
    assert {(t.state, t.failure_kind, t.phase) for t in trials} == {("FAILED", "timeout", "search")}


def test_a_late_resume_gives_what_it_starts_again_the_grace() -> None:
    now = [0.0]
    budget = Budget(None, 0, time_s=10.0, spent_s=9.0, grace_s=3.0, clock=lambda: now[0])
    assert budget.ends_in_s == pytest.approx(4.0)
    now[0] = 500.0
    assert budget.ends_in_s == pytest.approx(3.0)
    assert Budget(5, 0).ends_in_s == float("inf")


def _with_operator(played: Played, function: Callable[..., Any], limit_s: float) -> None:
    breeder = played.search.algorithm.breeder
    breeder.operators = Operators((Operator("mine", function),))
    breeder.limit_s = limit_s


def _sleeps(parent: Any, space: Any, rng: Any) -> Any:
    time.sleep(100)


def _exits(parent: Any, space: Any, rng: Any) -> Any:
    sys.exit(0)


def _shouts(parent: Any, space: Any, rng: Any) -> Any:
    raise BaseException("neither an error nor an exit")


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (_sleeps, r"operator 'mine' has not returned after 0\.\d s: it is in _sleeps"),
        (_exits, "operator 'mine' raised SystemExit: 0 "),
        (_shouts, "operator 'mine' raised BaseException: neither an error nor an exit "),
    ],
)
def test_an_operator_that_hangs_or_exits_stops_the_run_by_name(
    function: Callable[..., Any], message: str
) -> None:
    played = Played(resolved_of())
    _with_operator(played, function, limit_s=0.2)
    with pytest.raises(OperatorError, match=message):
        played.run()


def test_the_time_budget_ends_an_operator_before_its_own_limit() -> None:
    played = _timed(0.8, 0.2)
    played.search.algorithm = Played(resolved_of("genetic")).search.algorithm
    played.search.algorithm.breeder.is_new = lambda proposal: True
    _with_operator(played, _sleeps, limit_s=60)
    with pytest.raises(
        OperatorError, match=r"operator 'mine' has not returned after .*the time bud"
    ):
        played.run()


DEAF = """
    import ctypes
    from dataclasses import replace

    import nasgen.loop.search, nasgen.cli.searching
    from nasgen.engine.operators import Operator, Operators
    from nasgen.settings.budget import Budget
    from tests.played import Played, resolved_of

    def deaf(parent, space, rng):
        while True:
            try:
                ctypes.{library}(None).sleep(1000)
            except BaseException:
                pass

    nasgen.loop.search.STUCK_S = {stuck_s}
    nasgen.cli.searching.LAST_RESORT_S = 0.6
    played = Played(resolved_of())
    played.search.algorithm.breeder.operators = Operators((Operator("mine", deaf),))
    played.search.budget = Budget(None, 0, time_s=0.5, grace_s=0.2)

    def start(listeners):
        played.search.listeners = listeners
        played.run()

    nasgen.cli.searching.run_search(start, json_=False, quiet=True)
"""


@pytest.mark.parametrize(
    ("library", "stuck_s", "named"),
    [
        ("CDLL", 0.2, "error: operator 'mine' has not returned after"),
        ("PyDLL", 30, "in deaf"),
    ],
)
def test_what_nothing_can_interrupt_is_named_and_the_command_exits_with_1(
    library: str, stuck_s: float, named: str
) -> None:
    """Foreign code ignores timers; some does not even let another thread of Python run."""
    script = textwrap.dedent(DEAF).format(library=library, stuck_s=stuck_s)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 1
    assert named in done.stderr


HANGING = """
import os, time, nasgen

@nasgen.objective("hangs", options={"direction": "minimize"})
def hangs(measured):
    open("COUNT", "a").write("x")
    if os.path.getsize("COUNT") == 2:
        time.sleep(1000)
    return 1.0
"""


def test_a_trial_that_hangs_in_an_objective_fails_alone(
    tmp_path: Path, registry_restored: None
) -> None:
    plugin = tmp_path / "hangs.py"
    plugin.write_text(HANGING.replace("COUNT", str(tmp_path / "count")))
    rng = np.random.default_rng(0)
    run = nasgen.run(
        {
            "algorithm": {"name": "random"},
            "budget": {"trials": 3},
            "objectives": {"names": ["val_accuracy", "hangs"]},
            "training": {"epochs": 0.1, "time_limit": 6.0},
            "execution": {"workers": 1, "grace": 0.1},
            "finish": {"networks": 0},
            "ensemble": {"candidates": 1},
            "space": {"max_channels": 8},
            "plugins": {"files": [str(plugin)]},
        },
        data=(rng.random((90, 8, 8)), np.arange(90) % 3),
        out=tmp_path / "run",
    )
    assert [t.state for t in run.trials] == ["COMPLETE", "FAILED", "COMPLETE"]
    assert run.trials[1].failure_kind == "timeout"
    assert "training.time_limit and execution.grace had passed" in str(run.trials[1].failure)


SLOW = """
import time, nasgen

@nasgen.dataset("slow")
def slow(rest):
    time.sleep(1000)
"""


def test_a_data_set_that_is_never_read_is_named(tmp_path: Path, registry_restored: None) -> None:
    plugin = tmp_path / "slow.py"
    plugin.write_text(SLOW)
    tables = {
        "data": {"source": "slow:"},
        "plugins": {"files": [str(plugin)]},
        "execution": {"start_limit": 0.2},
    }
    with pytest.raises(NasgenError, match=r"slow:: reading .* 0\.\d s: it is in slow .*line 6"):
        nasgen.run(tables, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
