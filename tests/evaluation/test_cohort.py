"""Relatives in joint training: equal turns on one storage, and one result for each."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nasgen.errors import EvaluationError
from nasgen.evaluation.evaluator import Evaluator
from nasgen.evaluation.images import ImageBatches, Normaliser
from nasgen.evaluation.recipe import Recipe
from nasgen.evaluation.training import Row, Trainee, make_optimizer, train_together
from nasgen.genotypes import Dag, Draft, tags
from nasgen.settings.config import Training
from nasgen.store.artifacts import Artifacts

Json = dict[str, Any]
HALF = Normaliser(torch.full((1, 1, 1, 1), 128.0), torch.full((1, 1, 1, 1), 64.0))


def _dag() -> Dag:
    draft = Draft()
    here = draft.input
    for n in (6, 8):
        here = draft.add("conv", [here], channels=n, kernel=3)
    draft.connect(here, draft.output)
    return draft.freeze().mint(0, 0)


def _evaluator(folder: Path, **training: Any) -> Evaluator:
    context = {
        "seed": 0,
        "space": {"name": "dag-cnn", "max_channels": 32},
        "data": {"source": "digits"},
        "training": {"optimizer": "adamw", **training},
        "objectives": ["val_accuracy", "n_params"],
        "device": "cpu",
        "threads": 1,
    }
    return Evaluator(json.loads(json.dumps(context)), Artifacts(folder))


WITH_OPTIMIZER = ["weights", "predictions", "optimizer"]


def _job(seq: int, genotype: Dag, epochs: float = 0.5, **changes: Any) -> Json:
    fidelity = {"epochs": epochs, "fraction": 0.5, "seconds": None}
    return {
        "seq": seq,
        "attempt": 1,
        "genotype": genotype.to_json(),
        "fidelity": fidelity,
        "seed": seq,
        "with_validation": False,
        "inherit": None,
    } | changes


def _wider(trial: int, by: int = 2) -> tuple[Dag, Json]:
    """A child with more channels, which its readers ignore at first."""
    dag = _dag()
    vertex = dag.inner[trial % 2]
    child = dag.change(vertex.tag, channels=vertex.channels + by).mint(0, trial)
    new = tags.expand(child.vertex(vertex.tag).channel_tags)[vertex.channels :]
    return child, {"in": {str(tag): {"zero": True} for tag in new}}


def _parent(evaluator: Evaluator, keep: bool = True) -> Json:
    result = evaluator.evaluate(_job(0, _dag(), 1, wants=WITH_OPTIMIZER if keep else ["weights"]))
    assert result["state"] == "COMPLETE"
    return {"genotype": _dag().to_json(), "refs": result["refs"]}


def _members(parent: Json, n: int, epochs: float = 0.5, **changes: Any) -> list[Json]:
    jobs = []
    for trial in range(1, n + 1):
        child, plan = _wider(trial)
        inherit = json.loads(json.dumps({"parents": [parent], "plan": plan}))
        jobs.append(_job(trial, child, epochs, inherit=inherit, **changes))
    return jobs


def _timeless(result: Json) -> Json:
    kept = {k: v for k, v in result.items() if k not in ("train_s", "finished", "curve")}
    slow = ("images_per_s", "val_s")
    kept["metrics"] = {k: v for k, v in result["metrics"].items() if k not in slow}
    kept["losses"] = [(row["epoch"], row["train_loss"], row["lr"]) for row in result["curve"]]
    return kept


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("inherits", [True, False])
def test_a_cohort_of_one_gives_bit_by_bit_what_the_job_gives(
    tmp_path: Path, optimizer: str, inherits: bool
) -> None:
    evaluator = _evaluator(tmp_path, optimizer=optimizer)
    job = _job(3, _dag(), wants=WITH_OPTIMIZER)
    if inherits:
        job = _members(_parent(evaluator), 1, wants=WITH_OPTIMIZER)[0]
    alone = evaluator.evaluate(job)
    cohort = evaluator.evaluate({"seq": job["seq"], "cohort": [job]})
    assert alone["state"] == "COMPLETE"
    assert cohort["seq"] == job["seq"]
    # The references are digests of weights, predictions and moments.
    assert [_timeless(result) for result in cohort["cohort"]] == [_timeless(alone)]
    assert alone["refs"]["optimizer"]


def test_moments_are_kept_only_when_asked_for_and_make_a_difference(tmp_path: Path) -> None:
    evaluator = _evaluator(tmp_path)
    parent = _parent(evaluator)
    (with_moments,) = _members(parent, 1)
    weights = {"weights": parent["refs"]["weights"]}
    (without,) = _members(parent | {"refs": weights}, 1)
    results = [evaluator.evaluate(job) for job in (with_moments, without)]
    assert all("optimizer" not in result["refs"] for result in results)
    assert results[0]["refs"]["weights"] != results[1]["refs"]["weights"]


def test_members_train_the_slices_they_share_and_nothing_is_shared_afterwards(
    tmp_path: Path,
) -> None:
    evaluator = _evaluator(tmp_path)
    rows: list[Json] = []
    jobs = _members(_parent(evaluator), 3, wants=WITH_OPTIMIZER)
    message = evaluator.evaluate({"seq": 1, "cohort": jobs}, lambda row: rows.append(row) is None)
    assert json.loads(json.dumps(message)) == message
    results = message["cohort"]
    assert [result["seq"] for result in results] == [1, 2, 3]
    assert {result["state"] for result in results} == {"COMPLETE"}
    assert len({result["metrics"]["epochs_done"] for result in results}) == 1
    assert len({result["refs"]["weights"] for result in results}) == 3
    assert {row["seq"] for row in rows} == {1, 2, 3}
    assert all(row["n_epochs"] == 0.5 for row in rows)
    kept = [evaluator.artifacts.load(result["refs"]["weights"]) for result in results]
    before = evaluator.artifacts.load(jobs[0]["inherit"]["parents"][0]["refs"]["weights"])
    shared, statistics = "steps.conv_0.conv.weight", "steps.conv_0.norm.running_mean"
    assert (kept[0][shared][:6] == kept[1][shared][:6]).all()
    assert (kept[0][shared][:6] != before[shared]).any()
    assert (kept[0][statistics][:6] != kept[1][statistics][:6]).any()
    for job, result in zip(jobs, results, strict=True):
        again = evaluator.inference.predict(
            job["genotype"], result["refs"]["weights"], "validation"
        )
        accuracy = float((again.argmax(1) == evaluator.inference.targets("validation")).mean())
        assert accuracy == result["objectives"]["val_accuracy"]
        moments = evaluator.artifacts.load(result["refs"]["optimizer"])
        weights = evaluator.artifacts.load(result["refs"]["weights"])
        named = [name for name in weights if f"{name}/exp_avg" in moments]
        assert len(named) == 8
        assert all(moments[f"{name}/exp_avg"].shape == weights[name].shape for name in named)


def test_the_same_cohort_gives_the_same_results(tmp_path: Path) -> None:
    evaluator = _evaluator(tmp_path)
    jobs = _members(_parent(evaluator), 2, 0.3)
    first, second = (evaluator.evaluate({"seq": 1, "cohort": jobs})["cohort"] for _ in range(2))
    assert [_timeless(r) for r in first] == [_timeless(r) for r in second]


def test_who_is_told_to_stop_stops_alone(tmp_path: Path) -> None:
    evaluator = _evaluator(tmp_path)
    jobs = _members(_parent(evaluator), 3, 2)
    results = evaluator.evaluate({"seq": 1, "cohort": jobs}, lambda row: row["seq"] != 2)["cohort"]
    assert [r["state"] for r in results] == ["COMPLETE", "PRUNED", "COMPLETE"]
    assert [r["metrics"]["epochs_done"] for r in results][::2] == [2, 2]
    assert results[1]["metrics"]["epochs_done"] < 2
    assert results[1]["refs"] == {}


def test_a_member_that_cannot_be_built_fails_alone(tmp_path: Path) -> None:
    evaluator = _evaluator(tmp_path, on_bad_parent="drop")
    jobs = _members(_parent(evaluator), 3, 0.2)
    jobs[0]["genotype"] = {"kind": "dag"}
    jobs[2]["inherit"]["parents"][0]["refs"]["weights"] = "0" * 40
    results = evaluator.evaluate({"seq": 1, "cohort": jobs})["cohort"]
    assert [r["failure_kind"] for r in results] == ["error", None, "inheritance"]
    assert results[1]["state"] == "COMPLETE"


def test_when_one_diverges_all_fail_and_the_reason_names_it(tmp_path: Path) -> None:
    evaluator = _evaluator(tmp_path)
    parent = _parent(evaluator, keep=False)
    hot = _evaluator(tmp_path, optimizer="sgd", lr=1e30)
    results = hot.evaluate({"seq": 1, "cohort": _members(parent, 3, 5)})["cohort"]
    assert {(r["state"], r["failure_kind"]) for r in results} == {("FAILED", "non-finite")}
    (culprit,) = [r for r in results if r["failure"].startswith("the training loss became")]
    others = [r for r in results if r is not culprit]
    assert all(r["failure"].startswith(f"trial {culprit['seq']}, which") for r in others)


def test_members_of_different_fidelity_are_refused(tmp_path: Path) -> None:
    evaluator = _evaluator(tmp_path)
    jobs = [_job(1, _dag(), 1), _job(2, _dag(), 2)]
    results = evaluator.evaluate({"seq": 1, "cohort": jobs})["cohort"]
    assert all("the same 'fidelity'" in r["failure"] for r in results)


def test_the_time_limit_and_the_seconds_count_for_each_member(tmp_path: Path) -> None:
    parent = _parent(_evaluator(tmp_path))
    limited = _evaluator(tmp_path, time_limit=0.2)
    results = limited.evaluate({"seq": 1, "cohort": _members(parent, 2, 10_000)})["cohort"]
    assert {r["failure_kind"] for r in results} == {"timeout"}
    assert all("time limit of 0.4 s" in r["failure"] for r in results)
    jobs = _members(parent, 2)
    for job in jobs:
        job["fidelity"] = {"epochs": 10_000.0, "fraction": 0.5, "seconds": 0.3}
    results = _evaluator(tmp_path).evaluate({"seq": 1, "cohort": jobs})["cohort"]
    assert {r["state"] for r in results} == {"COMPLETE"}
    assert len({r["metrics"]["epochs_done"] for r in results}) == 1
    assert results[0]["metrics"]["epochs_done"] < 10_000


# ---- the loop itself -----------------------------------------------------------------------------


def _trainees(n: int, log: list[int], **options: Any) -> list[Trainee]:
    def trainee(i: int) -> Trainee:
        torch.manual_seed(i)
        network = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
        draw = torch.Generator().manual_seed(i)
        images = torch.randint(0, 255, (64, 1, 4, 4), generator=draw).to(torch.uint8)
        labels = torch.arange(64) % 2
        batches = ImageBatches(images, labels, torch.arange(64), 16, HALF, draw)

        def forward(x: torch.Tensor) -> torch.Tensor:
            log.append(i)
            return network(x) * options.get("factors", [1.0] * n)[i]

        report = options.get("report", lambda row: True)
        return Trainee(network, batches, F.cross_entropy, report, forward)

    return [trainee(i) for i in range(n)]


def _together(trainees: list[Trainee], epochs: float, **changes: Any) -> None:
    recipe = Recipe.of(Training(), (1, 4, 4))
    optimizer = make_optimizer(nn.ModuleList(t.network for t in trainees), recipe)
    turns = torch.Generator().manual_seed(0)
    train_together(trainees, optimizer, recipe, epochs, turns=turns, **changes)


def test_in_every_round_each_member_has_one_turn_in_a_shuffled_order() -> None:
    log: list[int] = []
    _together(_trainees(4, log), 2)
    rounds = [log[i : i + 4] for i in range(0, len(log), 4)]
    assert len(rounds) == 8
    assert all(sorted(turn) == [0, 1, 2, 3] for turn in rounds)
    assert len({tuple(turn) for turn in rounds}) > 1


def test_the_first_member_without_a_finite_loss_is_the_culprit() -> None:
    trainees = _trainees(3, [], factors=[1.0, float("nan"), 1.0])
    with pytest.raises(EvaluationError, match="became nan"):
        _together(trainees, 1)
    assert [t.history.diverged for t in trainees] == [False, True, False]


def test_training_ends_when_everybody_was_told_to_stop() -> None:
    rows: list[Row] = []
    log: list[int] = []
    trainees = _trainees(2, log, report=lambda row: rows.append(row) is not None)
    _together(trainees, 50)
    assert log.count(0) == log.count(1) <= 4
    assert all(t.history.stopped for t in trainees)
    assert len(rows) == 2


def test_seconds_are_what_a_member_may_use_on_average(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks) * 0.001)
    log: list[int] = []
    trainees = _trainees(3, log)
    _together(trainees, 100_000, seconds=0.2)
    assert log.count(0) == log.count(1) == log.count(2)
    assert all(0.18 < t.history.train_s < 0.21 for t in trainees)
    assert all(t.history.curve[-1]["lr"] < 0.004 * 0.05 for t in trainees)
