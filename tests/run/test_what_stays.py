"""Which artifacts stay is one function: the running search and `nasgen gc` cannot disagree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nasgen
from nasgen.loop.keeping import N_KEPT_BEST, Keeping, staying
from nasgen.runs.garbage import collect_garbage
from nasgen.settings.objectives import Objective
from nasgen.store.trial import Trial

ACCURACY, SIZE = Objective("val_accuracy", "maximize"), Objective("n_params", "minimize")


def trial(seq: int, accuracy: float, size: float = 1.0, **fields: Any) -> Trial:
    refs = {name: f"{name}{seq}" for name in ("weights", "predictions")}
    refs["support"] = f"support {fields.get('key', seq)}"  # a part of what network it is
    values = {"val_accuracy": accuracy, "n_params": size}
    given: dict[str, Any] = {"key": str(seq), "genotype": {}, "identity": str(seq)} | fields
    return Trial(
        seq=seq, state="COMPLETE", operator="sample", objectives=values, refs=refs, **given
    )


def kept(trials: list[Trial], alive: Any = (), flying: Any = (), **settings: Any) -> set[int]:
    """Return whose weights stay; a trial's other artifacts stay with them."""
    keeping = Keeping(**{"weights": "population", "objectives": (ACCURACY, SIZE)} | settings)
    refs = staying({t.seq: t for t in trials}, alive, flying, keeping)
    seqs = {t.seq for t in trials if t.refs["weights"] in refs}
    assert {t.seq for t in trials if t.refs["support"] in refs} == seqs
    return seqs


def test_the_population_and_the_best_networks_stay() -> None:
    trials = [trial(i, accuracy=i / 100) for i in range(60)]
    assert kept(trials, alive=[3]) == {3, *range(60 - N_KEPT_BEST, 60)}
    twins = [trial(i, accuracy=0.9 + i / 1e4, key="one") for i in range(60, 70)]
    assert kept(trials + twins) == {*range(60 - N_KEPT_BEST + 1, 70)}


def test_the_front_stays_and_the_living_where_children_need_them() -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 6, (80, 2)) / 8  # many equals
    trials = [trial(i, *map(float, v)) for i, v in enumerate(values)]

    def dominated(a: Any) -> bool:
        better = (values[:, 0] >= a[0]) & (values[:, 1] <= a[1])
        return bool((better & ((values != a).any(axis=1))).any())

    front = {i for i, v in enumerate(values) if not dominated(v)}
    found = kept(trials, alive=[1, 2], weights="pareto")
    assert front <= found
    assert len(found - front) <= 1  # the best one by the first objective
    assert kept(trials, [1, 2], weights="pareto", goes_on=True) == found | {1, 2}


def test_parents_finalists_members_and_what_a_selection_compares_stay() -> None:
    trials = [trial(i, accuracy=i / 100, size=i) for i in range(9)]
    trials.append(trial(9, 0.0, 99.0, phase="finish", parents=(8,)))
    trials += [trial(10, 0.0, 99.0, parents=(4,), cohort=10), trial(11, 0.0, 99.0, parents=(5,))]
    trials[11] = trial(11, 0.0, 99.0, parents=(5,), cohort=10)
    settings: dict[str, Any] = {"weights": "pareto", "objectives": (ACCURACY,)}
    best = {8}
    assert kept(trials, **settings) == best | {9}
    assert kept(trials, flying=[10], **settings) == best | {9, 4, 5}  # its cohort's too
    assert kept(trials, **settings, n_finalists=2) == best | {9, 7, 6}
    assert kept(trials, **settings, named=frozenset({3})) == best | {9, 3}
    keeping = Keeping("pareto", (ACCURACY,), always=frozenset({"predictions"}))
    refs = staying({t.seq: t for t in trials}, (), (), keeping)
    assert {t.refs["predictions"] for t in trials} <= refs
    assert kept(trials, **settings | {"weights": "all"}) == {*range(12)}


@pytest.mark.parametrize("keep", ["population", "pareto"])
def test_collecting_garbage_after_a_search_frees_nothing_more(keep: str, tmp_path: Path) -> None:
    tables = {
        "data": {"source": "digits"},
        "space": {"max_channels": 8},
        "algorithm": {"name": "aging", "population": 2, "tournament": 2},
        "training": {"epochs": 0.1, "inherit_weights": True},
        "execution": {"executor": "serial"},
        "store": {"keep_weights": keep},
        "budget": {"trials": 30},
        "finish": {"networks": 1, "epochs": 0.1},
    }
    run = nasgen.run(tables, out=tmp_path / "run")
    before = run.folder.artifacts.stored()
    assert len(before) < len({ref for t in run.trials for ref in t.refs.values()})
    assert collect_garbage(run) == 0
    assert run.folder.artifacts.stored() == before
