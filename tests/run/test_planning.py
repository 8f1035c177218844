"""What a budget buys is measured, said and recorded before the first training, or refused."""

from __future__ import annotations

import itertools
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import nasgen
from nasgen.cli import app
from nasgen.data.base import make as made
from nasgen.errors import ConfigError
from nasgen.evaluation.tasks.classification import Classification
from nasgen.execution.serial import Serial
from nasgen.runs import designs, forecast, planning, reading
from nasgen.runs.journal import LOG
from nasgen.runs.planning import Needed, Timing, TooShortError, check, timed, typical
from nasgen.runs.progress import plan_lines
from nasgen.runs.reserve import LOADING
from nasgen.runs.resolved import Resolved
from nasgen.settings.budget import Budget
from nasgen.settings.cores import Speed
from nasgen.settings.fidelity import thread_counts
from nasgen.settings.plan import Plan, Round
from tests.conftest import every_core
from tests.played import plan_of, resolved_of

TINY = {
    "algorithm": {"name": "genetic"},
    "space": {"max_channels": 16},
    "training": {"epochs": 0.1},
    "execution": {"executor": "serial"},
    "finish": {"networks": 0},
}


# ---- timing --------------------------------------------------------------------------------------


class Stopwatch:
    """Answers jobs about speed as it is told to; each has its own seconds."""

    def __init__(self, context: Mapping[str, Any]) -> None:
        self.answers, self.asked = list(context["answers"]), 0

    def evaluate(self, job: Mapping[str, Any], report: Callable[..., bool]) -> dict[str, Any]:
        answer = self.answers[self.asked]
        self.asked += 1
        assert job["seq"] < 0  # no trial's
        if answer is None:
            return {"seq": job["seq"], "state": "FAILED", "failure": "broken", "metrics": {}}
        row_s = {str(n): answer["row_s"][str(n)] for n in job["speed"]["threads"]}
        return {"seq": job["seq"], "state": "COMPLETE", "metrics": {**answer, "row_s": row_s}}


def make(context: Mapping[str, Any]) -> Stopwatch:
    """The entry point."""
    return Stopwatch(context)


GOOD = {
    "row_s": {"1": 4.0, "2": 2.5, "4": 3.0}, "val_s": 7.0, "answer_s": 0.7, "wall_s": 0.001,
    "flops": 5e6,
}  # fmt: skip


def _timing(*answers: Any, most: int = 4) -> Timing | None:
    executor = Serial("tests.run.test_planning:make", {"answers": answers})
    return timed(executor, [{"kind": "dag"}], 0, 1, most, 60.0)


def test_one_thread_and_more_are_timed_and_the_fastest_counts() -> None:
    timing = _timing(GOOD, {**GOOD, "answer_s": 0.5})
    assert timing is not None
    assert (timing.answer_s, timing.answer_gain) == (0.5, pytest.approx(1.4))
    assert (timing.row_s, timing.row_s_all, timing.threads, timing.val_s) == (4.0, 2.5, 2, 7.0)
    assert timing.flops == 5e6
    assert timing.row_s / timing.row_s_all == pytest.approx(1.6)
    assert 0 <= timing.load_s < 5
    slower = {**GOOD, "row_s": {"1": 1.0, "2": 1.5, "4": 2.0}}
    timing = _timing(slower, {**slower, "answer_s": 0.9})
    assert timing is not None
    assert (timing.answer_s, timing.answer_gain) == (0.7, 1.0)
    assert (timing.row_s_all, timing.threads) == (1.0, 1)  # more threads gain nothing
    timing = _timing(GOOD, most=1)
    assert timing is not None
    assert timing.row_s == timing.row_s_all


@pytest.mark.parametrize(
    "wrong",
    [
        {"val_s": math.nan},
        {"val_s": "7"},
        {"val_s": -1.0},
        {"answer_s": 0.0},
        {"wall_s": None},
        {"row_s": {"1": math.inf, "2": 1.0, "4": 1.0}},
        {"row_s": {"1": True, "2": 1.0, "4": 1.0}},
        {"flops": -1.0},
        {"flops": None},
    ],
    ids=str,
)
def test_an_answer_that_is_no_speed_is_not_believed(wrong: dict[str, Any]) -> None:
    assert _timing({**GOOD, **wrong}, {**GOOD, **wrong}) is None
    timing = _timing(GOOD, {**GOOD, **wrong})
    assert timing is not None
    assert timing.threads == 1


def test_without_a_speed_there_is_none() -> None:
    assert _timing(None) is None
    executor = Serial("tests.run.test_planning:make", {"answers": ()})
    assert timed(executor, [], 0, 1, 4, 60.0) is None


@given(st.integers(1, 300))
def test_numbers_of_threads_double_up_to_all(most: int) -> None:
    counts = thread_counts(most)
    assert counts[0] == 1
    assert counts[-1] == most
    assert counts == sorted(set(counts))
    assert all(b <= 2 * a for a, b in itertools.pairwise(counts))


def test_typical_networks_are_those_that_a_search_begins_with() -> None:
    drawn = typical(resolved_of("random")).networks
    assert len(drawn) == planning.N_DRAWN
    assert drawn == typical(resolved_of("random")).networks  # the seed's
    few = resolved_of("random", objectives={"constraint": "n_params < 100k"})
    kept = typical(few).networks
    assert kept
    assert all(one in drawn for one in kept)
    fixed = reading.resolved({"algorithm": {"name": "fixed"}, "origin": {"network": "resnet9"}})
    assert len(typical(fixed).networks) == 1


class _Offer(designs.Offer):
    """The designs for large colour images, of which there are many."""

    _sizes = (3, 32, 32), 10


def offer_of(run: Resolved) -> designs.Offer:
    arrays = made("blank", np.zeros((20, 1, 8, 8), dtype=np.uint8), np.arange(20) % 2)
    return _Offer(run, Path(), arrays, np.arange(50_000))


def test_growth_is_planned_with_the_seed_and_a_search_with_designs() -> None:
    growth, search = (
        reading.resolved({"algorithm": {"name": name}, "budget": {"time": "10m"}})
        for name in ("growth", "lineage")
    )
    (seed,), are_designs = typical(growth, offer_of(growth))
    assert not are_designs
    assert seed.key == growth.space.seed(np.random.default_rng(0)).key
    offer = offer_of(search)
    offered = [design.genotype for design in offer()]
    assert typical(search, offer) == (offered[: planning.N_DRAWN], True)


@pytest.mark.parametrize("row_s", [1e-4, 1.4e-3, 5e-3])
def test_a_plan_is_made_with_the_networks_that_are_trained(row_s: float) -> None:
    """A fast machine begins with larger ones than those that told how fast it is."""
    run = reading.resolved({"budget": {"time": "10m"}, "data": {"source": "digits"}})
    offer = offer_of(run)
    first = typical(run, offer)
    flops = 2 * median(map(offer.macs, first.networks))
    timing = Timing(1.5 * row_s, row_s, 2, 2.0, 3.0, flops, answer_s=row_s / 3)
    planned, begins = planning._at_its_pace(timing, first, run, offer, math.inf)
    # What is recorded of it gives the same pace, so the search begins with those networks.
    recorded = {"speed": {"image_s_all": planned.row_s_all}, "pace": planned.pace}
    assert designs.pace_of(recorded) == pytest.approx(timing.pace)
    trained = typical(run, partial(offer, designs.pace_of(recorded)))
    assert begins == trained
    flops = 2 * median(map(offer.macs, trained.networks))
    assert planned.flops == pytest.approx(max(flops, timing.flops))
    assert (planned == timing) == (flops <= timing.flops)
    assert planned.row_s == pytest.approx(timing.row_s * planned.flops / timing.flops)
    assert planned.row_s / planned.row_s_all == pytest.approx(timing.row_s / timing.row_s_all)
    assert planned.load_s == timing.load_s


def bounded(bound: float, time: str = "30s") -> tuple[Resolved, designs.Offer]:
    """Return a search whose networks have fewer parameters than a bound, and its designs."""
    run = reading.resolved(
        {
            "algorithm": {"name": "lineage"},
            "budget": {"time": time},
            "objectives": {"constraint": f"n_params < {bound:.0f}"},
        }
    )
    return run, offer_of(run)


def test_designs_that_break_a_constraint_are_none_to_begin_with() -> None:
    """Else one draw would get all the time of a short budget, as the first design does."""
    run, offer = bounded(1)
    sizes = [run.violation(design.genotype) + 1 for design in offer()]
    run, offer = bounded(min(sizes))
    begins = typical(run, offer)
    assert not begins.are_designs
    assert begins == typical(run)  # draws, as of a space without designs
    run, offer = bounded(median(sizes))
    kept = [d.genotype for d in offer() if run.violation(d.genotype) <= 0]
    assert 0 < len(kept) < len(offer())
    assert typical(run, offer) == (kept[: planning.N_DRAWN], True)


@pytest.mark.parametrize(("share", "strategy"), [(0.5, "lines"), (2.0, "one")])
def test_one_network_gets_all_the_time_only_where_it_is_a_design(
    share: float, strategy: str
) -> None:
    run, offer = bounded(1, "10m")
    smallest = min(run.violation(design.genotype) + 1 for design in offer())
    run, offer = bounded(share * smallest, "10m")
    # At the usual pace, so that the designs are those that were asked.
    answer = {"row_s": {"1": 1e-3}, "val_s": 2.5, "answer_s": 1e-4, "wall_s": 1e-3, "flops": 5.4e7}
    executor = Serial("tests.run.test_planning:make", {"answers": (answer,)})
    leg = {"trials": None, "time_s": 600.0, "n_done": 0}
    about = {"legs": [leg]}, leg, run, plan_of(run, n_train=45_000), Budget(None, 1, 600.0)
    plan = planning.made(*about, executor, 1e4, offer)
    assert plan["strategy"] == strategy


def test_whether_designs_are_kept_is_asked_at_the_speed_of_the_machine() -> None:
    """A faster one begins with larger designs, all of which may break a bound."""
    run, offer = bounded(1)
    usual, fast = (
        [run.violation(design.genotype) + 1 for design in offer(pace)] for pace in (1.0, 25.0)
    )
    assert min(usual) < min(fast)
    run, offer = bounded(min(fast))
    first = typical(run, offer)
    flops = 2 * median(map(offer.macs, first.networks))
    for pace, is_kept in ((1.0, True), (25.0, False)):
        row_s = flops / 2 / pace / designs.MACS_A_SECOND
        timing = Timing(row_s, row_s, 1, 2.0, 3.0, flops)
        _, begins = planning._at_its_pace(timing, first, run, offer, math.inf)
        assert begins.are_designs == is_kept


# ---- a budget that is too short ------------------------------------------------------------------

SECONDS = st.floats(1e-6, 100.0)


@given(
    SECONDS, SECONDS, SECONDS, SECONDS, st.floats(10.0, 1e4), st.integers(2, 100_000),
    st.floats(0.0, 1.0),
)  # fmt: skip
def test_the_shortest_budget_that_is_named_works(
    row_s: float, val_s: float, gone_s: float, ending_s: float, budget_s: float, n_train: int,
    power: float,
) -> None:  # fmt: skip
    """Whatever networks a longer one begins with: their cost grows with its square root at most."""

    def needed(seconds: float) -> Needed:
        timing = Timing(row_s, row_s, 1, val_s, 0.0, answer_s=ending_s / planning.SHORT_ROWS)
        larger = timing.larger((seconds / budget_s) ** (power / 2))
        return Needed.of(n_train, gone_s, planning.SHORT_ROWS, larger)

    try:
        check(budget_s, needed(budget_s), needed)
        assert budget_s >= needed(budget_s).all_s
    except TooShortError as error:
        assert budget_s < needed(budget_s).all_s
        shortest = float(str(error).split("Use a budget of ")[1].split("s ")[0])
        assert shortest > budget_s
        check(shortest, needed(shortest), needed)
        least = min(n_train, planning.SHORT_ROWS) * row_s + val_s
        assert needed(budget_s).all_s >= least + gone_s + ending_s


@pytest.mark.parametrize("row_s", [1e-4, 1.4e-3, 5e-3])
def test_a_longer_budget_is_expected_to_begin_with_its_own_designs(row_s: float) -> None:
    """As the run with that budget finds out when it times them, in proportion to operations."""

    def told(time: str, longer: float = 1.0) -> Timing:
        run = reading.resolved({"budget": {"time": time}, "data": {"source": "digits"}})
        offer = offer_of(run)
        first = typical(run, offer)
        flops = 2 * median(map(offer.macs, first.networks))
        cost = flops / 3e7
        timing = Timing(1.5 * cost * row_s, cost * row_s, 2, 2.0 * cost, 3.0, flops)
        return planning._at_its_pace(timing, first, run, offer, math.inf, longer)[0]

    short, expected, found = told("30s"), told("30s", 20.0), told("10m")
    assert expected.flops > 2 * short.flops
    for name in ("flops", "row_s", "row_s_all", "val_s"):
        assert getattr(expected, name) == pytest.approx(getattr(found, name))


@dataclass(frozen=True)
class _Slow(Classification):  # type: ignore[misc]
    """A task of three classes whose loss takes its time: an epoch takes twenty seconds."""

    @classmethod
    def fit(cls, dataset: Any, rows: Any) -> _Slow:
        return cls(3)

    def loss(self, outputs: Any, targets: Any, smoothing: float = 0.0) -> Any:
        time.sleep(0.15)
        return super().loss(outputs, targets, smoothing)


@pytest.fixture
def slow(registry_restored: None) -> str:
    nasgen.task("slow")(_Slow)
    return "slow"


def test_a_budget_shorter_than_a_training_is_refused_and_leaves_nothing(
    slow: str, tmp_path: Path
) -> None:
    training = {**TINY["training"], "batch_size": 8}
    timed_out = {**TINY, "data": {"task": slow}, "budget": {"time": "10s"}, "training": training}
    rng = np.random.default_rng(0)
    data = rng.integers(0, 256, (1200, 1, 8, 8)).astype(np.uint8), np.arange(1200) % 3
    with pytest.raises(ConfigError, match=r"budget.time: expected at least \d+ s, got 10 s"):
        nasgen.run(timed_out, out=tmp_path / "run", plugins=[_Slow], data=data)
    assert not (tmp_path / "run").exists()
    some = {**timed_out, "budget": {"trials": 1}, "training": {**training, "epochs": 0.01}}
    run = nasgen.run(some, out=tmp_path / "run", plugins=[_Slow], data=data)
    before = {**run.record}
    with pytest.raises(ConfigError, match=r"Use a budget of \d+s or more"):
        nasgen.resume(run.path, time_s=10.0, plugins=[_Slow])
    assert nasgen.load(run.path).record["legs"] == before["legs"]
    assert nasgen.load(run.path).is_complete


# ---- a run with a plan ---------------------------------------------------------------------------


class Seen:
    """A listener that keeps what happened; `stop_at` ends the run as Ctrl-C does."""

    def __init__(self, stop_at: str = "") -> None:
        self.events: list[tuple[str, Mapping[str, Any]]] = []
        self.stop_at = stop_at

    def __call__(self, event: str, data: Mapping[str, Any]) -> None:
        self.events.append((event, data))
        if event == self.stop_at:
            raise KeyboardInterrupt

    def named(self, name: str) -> list[Mapping[str, Any]]:
        return [data for event, data in self.events if event == name]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Seen]:
    """A run with a time budget that was interrupted at its first training."""
    seen, path = Seen("submitted"), tmp_path_factory.mktemp("planned") / "run"
    tables = {**TINY, "budget": {"trials": 3, "time": "2m"}, "predictor": {"name": "forest"}}
    with every_core(), pytest.raises(KeyboardInterrupt):
        nasgen.run(tables, out=path, listeners=(seen,))
    return path, seen


def test_the_plan_comes_before_the_first_training(stopped: tuple[Path, Seen]) -> None:
    path, seen = stopped
    names = [name for name, _ in seen.events]
    assert names.index("run") < names.index("plan") < names.index("submitted")
    (shown,) = seen.named("plan")
    plan = shown["plan"]
    assert nasgen.load(path).record["legs"][0]["plan"] == json.loads(json.dumps(plan))
    lines = [json.loads(line) for line in (path / LOG).read_text().splitlines()]
    events = [line["event"] for line in lines]
    assert events.index("plan") < events.index("submitted")
    assert lines[events.index("plan")]["plan"] == json.loads(json.dumps(plan))
    assert plan["trials"] == 3
    assert plan["predictor"] == {"name": "forest", "needs": 2, "fitted": True}
    speed = Speed.of(plan["speed"])
    assert 0 < speed.image_s_all <= speed.image_s < 1
    assert 0 < speed.val_s < plan["trial_s"] < 60
    assert 0 < speed.answer_s < speed.val_s
    assert speed.answer_gain >= 1
    assert speed.end_s > LOADING * plan["load_s"] > 0
    status = CliRunner().invoke(app, ["status", str(path)])
    assert plan_lines(plan)[0] in status.output
    text = "\n".join(plan_lines(**shown))
    for part in ("plan:   about 3 networks of about", "to train on one image", "'forest' screens"):
        assert part in text


def test_a_resumed_run_follows_the_recorded_plan(stopped: tuple[Path, Seen]) -> None:
    path, _ = stopped
    record = json.loads((path / "run.json").read_text())
    record["legs"][0]["plan"]["load_s"] = 12.5  # as on another day
    (path / "run.json").write_text(json.dumps(record))
    seen = Seen()
    run = nasgen.resume(path, listeners=(seen,))
    (shown,) = seen.named("plan")
    assert shown["plan"] == record["legs"][0]["plan"]
    (start,) = seen.named("start")
    assert start["search"].budget.reserve_s > 12.5 * LOADING
    assert run.record["legs"][0]["plan"]["load_s"] == 12.5
    assert len(run.trials) == 3


PLANNED = {
    "trials": 10, "trial_s": 12.4, "generations": 3, "finalists": 2, "finish_s": 200.0,
    "predictor": {"name": "forest", "needs": 16, "fitted": False}, "speed": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (
            {"strategy": "trials", **PLANNED},
            "about 8 networks of about 12 s each in 3 generations; then the best 2 are trained "
            "again for 3 min 20 s",
        ),
        (
            {"strategy": "lines", **PLANNED, "finalists": 1, "threads": 2},
            "9 trainings of about 12 s each in 3 rounds; then the best one goes on for 3 min 20 s "
            "on 2 threads",
        ),
        (
            {"strategy": "lines", **PLANNED, "settles": True},
            "at most 8 trainings of about 12 s each in 3 rounds; then the best 2 go on for 3 min "
            "20 s",
        ),
        (
            {"strategy": "lines", **PLANNED, "further": True},
            "then the best 2 go on for 3 min 20 s, and others after them while time is left",
        ),
        (
            {"strategy": "one", **PLANNED, "trials": 1, "finalists": 0},
            "1 network, trained for about 12 s: there is too little time for comparing several "
            "first to pay (algorithm.population = 4 compares 4)",
        ),
        (
            {"strategy": "trials", **PLANNED, "trial_s": None, "finish_s": None},
            "8 networks in 3 generations; then the best 2 are trained again",
        ),
    ],
    ids=str,
)
def test_a_plan_is_said_in_words(plan: dict[str, Any], said: str) -> None:
    lines = plan_lines(plan)
    assert said in lines[0]
    needs = "more than 16 trained networks"
    if plan["strategy"] != "trials":
        needs = "16 trained networks before the last round"
    assert f"'forest' is not used: it needs {needs}" in lines[-1]


@pytest.mark.parametrize(
    ("rounds", "n_labels"),
    [
        (((0, 1),), 0),
        (((0, 8), (1, 3), (1, 1)), 12),
        (((0, 8), (4, 0)), 0),  # whose networks are all drawn first
        ((), -1),
    ],
)
def test_a_predictor_screens_where_it_has_labels_before_the_last_round(
    rounds: tuple[tuple[int, int], ...], n_labels: int
) -> None:
    """What is trained in the last round was chosen before its trainings ended."""
    plan = Plan("lines", tuple(Round(*pair) for pair in rounds), 5.0, 0.2, 1)
    for warmup in (2, 12, 13):
        run = resolved_of("lineage", predictor={"name": "forest", "warmup": warmup})
        expected = {"name": "forest", "needs": warmup, "fitted": n_labels >= warmup}
        assert forecast.of_plan(plan, run)["predictor"] == expected
