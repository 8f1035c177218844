"""A search history with real genotypes and invented measurements."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest

from nasgen import registry
from nasgen.errors import NotApplicable
from nasgen.genotypes import Child, Dag
from nasgen.genotypes.kinds import accepted, varies
from nasgen.report.view import ReportView
from nasgen.search_spaces.dag_cnn import DagCnn
from nasgen.settings.config import parse
from nasgen.store.trial import Trial, recorded

MakeView = Callable[..., ReportView]


def measured(dag: Dag, rng: np.random.Generator, epochs: float) -> dict[str, Any]:
    """Return invented but plausible measurements: wider and deeper is better, with noise."""
    channels = [int(v.get("channels")) for v in dag.inner if v.op == "conv"]
    params = 500 + sum(9 * a * b for a, b in zip([3, *channels], channels, strict=False))
    flops = params * 2 * 160
    score = 0.42 + 0.035 * math.log10(params) + 0.012 * min(dag.depth, 12)
    score += 0.05 * math.log2(epochs / 4 + 1) + rng.normal(0, 0.02)
    return {
        "val_accuracy": float(min(score, 0.97)),
        "val_loss": float(1.4 - score),
        "n_params": params,
        "flops": flops,
    }


def curve(rng: np.random.Generator, epochs: int, end: float) -> tuple[dict[str, float], ...]:
    """Return a falling training loss."""
    return tuple(
        {
            "epoch": float(e + 1),
            "train_loss": float(end + 1.7 * math.exp(-3 * e / epochs) + rng.normal(0, 0.02)),
            "lr": 0.004,
            "elapsed_s": 6.0 * (e + 1),
        }
        for e in range(epochs)
    )


def grow(dag: Dag, space: DagCnn, name: str, rng: np.random.Generator) -> Dag | None:
    """Return a mutant, or None when the operator does not apply."""
    try:
        child = registry.resolve("mutations", name)(dag, space, rng)
    except NotApplicable:
        return None
    return child.genotype if isinstance(child, Child) else child


@cache
def history(n: int, seed: int, names: tuple[str, ...], fail: float) -> tuple[Trial, ...]:
    """Return `n` trials of a generational search: 12 samples, then mutants of good ones."""
    rng = np.random.default_rng(seed)
    space = DagCnn(max_channels=96)
    mutations = registry.usual("mutations").values()
    operators = [e.name for e in mutations if varies(accepted(e), space.genotype)] + ["subgraph"]
    trials: list[Trial] = []
    dags: dict[int, Dag] = {}
    while len(trials) < n:
        seq = len(trials)
        alive = sorted(
            (t for t in trials if t.state == "COMPLETE"), key=lambda t: -t.metrics["val_accuracy"]
        )[:12]
        parents: tuple[int, ...] = ()
        operator, dag = "sample", space.sample(rng)
        if seq >= 12 and len(alive) > 1:
            operator = str(rng.choice(operators))
            chosen = rng.choice(len(alive), size=2, replace=False)
            parents = tuple(alive[int(c)].seq for c in chosen[: 2 if operator == "subgraph" else 1])
            mutation = "insert-subgraph" if operator == "subgraph" else operator
            mutant = grow(dags[parents[0]], space, mutation, rng)
            if mutant is None:
                continue
            dag = mutant
        dag = dag.mint(seed, seq)
        dags[seq] = dag
        failed = rng.random() < fail
        numbers = {} if failed else measured(dag, rng, 4)
        trials.append(
            Trial(
                seq=seq,
                state="FAILED" if failed else "COMPLETE",
                key=dag.key,
                identity=f"i{seq}",
                operator=operator,
                **recorded(dag, space),
                generation=seq // 12,
                parents=parents,
                told=seq,
                metrics=numbers,
                objectives={k: numbers[k] for k in names if k in numbers},
                curve=() if failed else curve(rng, 4, 0.6),
                train_s=float(rng.uniform(4, 20)),
                failure_kind=str(rng.choice(["memory", "timeout", "error"])) if failed else None,
                failure="needed 9.1 GiB, 7.8 GiB are free" if failed else None,
            )
        )
    return tuple(trials)


def finalists(trials: Sequence[Trial], n: int, seed: int) -> list[Trial]:
    """Return longer trainings of the best trials."""
    rng = np.random.default_rng(seed + 1)
    best = sorted(
        (t for t in trials if t.state == "COMPLETE"), key=lambda t: -t.metrics["val_accuracy"]
    )[:n]
    found = []
    for i, parent in enumerate(best):
        dag = Dag.from_json(parent.genotype)
        numbers = {**measured(dag, rng, 16), "val_accuracy": parent.metrics["val_accuracy"] + 0.06}
        found.append(
            Trial(
                seq=len(trials) + i,
                state="COMPLETE",
                genotype=parent.genotype,
                key=parent.key,
                identity=f"f{i}",
                operator="finish",
                outline=parent.outline,
                tags=parent.tags,
                shown=parent.shown,
                parents=(parent.seq,),
                phase="finish",
                metrics=numbers,
                objectives={k: numbers[k] for k in parent.objectives},
                curve=curve(rng, 16, 0.35 + 0.05 * i),
                train_s=90.0,
            )
        )
    return found


@pytest.fixture(scope="session")
def make_view() -> MakeView:
    """Return a function that makes a view of an invented run."""
    return build_view


def build_view(
    n: int = 60,
    objectives: tuple[str, ...] = ("val_accuracy",),
    fail: float = 0.07,
    n_finish: int = 3,
    seed: int = 3,
    **changes: Any,
) -> ReportView:
    """Return a view of an invented run; `changes` replace fields of the view."""
    searched = history(n, seed, objectives, fail)
    last = finalists(searched, n_finish, seed)
    trials = [*searched, *last]
    complete = [t for t in trials if t.state == "COMPLETE"]
    best = max(complete, key=lambda t: t.metrics["val_accuracy"], default=None)
    fields: dict[str, Any] = {
        "run": "runs/cifar10-night",
        "title": "CIFAR-10, one night",
        "config": parse({"objectives": {"names": list(objectives)}, "seed": seed}),
        "trials": trials,
        "best": best
        and {
            "trial": best.seq,
            "val_accuracy": best.metrics["val_accuracy"],
            "test_accuracy": best.metrics["val_accuracy"] - 0.006,
            "n_params": best.metrics["n_params"],
            "flops": best.metrics["flops"],
            "latency_ms": 1.84,
        },
        "ensemble": {
            "members": [
                {"run": "runs/cifar10-night", "trial": t.seq, "weight": w}
                for t, w in zip(last, (0.52, 0.32, 0.16), strict=False)
            ],
            "val_accuracy": 0.872,
            "test_accuracy": 0.866,
        }
        if last
        else None,
        "population": [t.seq for t in complete[-12:]],
        "n_filtered": 41,
        "wall_s": 3605.0,
        "train_s": 6830.0,
        "directions": {
            "val_accuracy": "maximize",
            "n_params": "minimize",
            "flops": "minimize",
            "error_rate": "minimize",
        },
        "operator_failures": {
            "remove": {"not_applicable": 7, "duplicate": 3, "illegal": 0},
            "relabel": {"not_applicable": 0, "duplicate": 11, "illegal": 0},
        },
        "machine": {"cpu": "AMD EPYC, 2 cores", "memory_gib": 15.6, "os": "Linux 6.1"},
        "versions": {"nasgen": "0.1.0", "python": "3.11.7", "torch": "2.4.0"},
        "classes": ("aeroplane", "car", "bird", "cat", "deer", "dog", "frog", "horse"),
        "data_summary": "45 000 training, 5 000 validation and 10 000 test images, 3×32×32",
    }
    return ReportView(**{**fields, **changes})
