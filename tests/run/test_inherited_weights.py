"""A search whose children start from their parents' weights: it runs, repeats and helps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nasgen

TABLES: dict[str, Any] = {
    "data": {"source": "digits"},
    "space": {"max_channels": 16, "max_stages": 2},
    "algorithm": {"population": 4, "crossover_prob": 0.3},
    "training": {"epochs": 1.0, "inherit_weights": True},
    "budget": {"trials": 12},
    "finish": {"networks": 0},
    "execution": {"executor": "serial"},
}


def test_children_that_inherit_complete_and_beat_their_cold_twins(tmp_path: Path) -> None:
    warm = nasgen.run(TABLES, out=tmp_path / "warm")
    assert {t.state for t in warm.trials} == {"COMPLETE"}
    children = [t for t in warm.trials if t.parents]
    assert len(children) == 8
    evaluator = warm.evaluator(threads=1)
    gains = []
    for child in children:
        cold = evaluator.evaluate(
            {
                "seq": child.seq,
                "genotype": dict(child.genotype),
                "fidelity": child.fidelity.to_json(),
                "seed": child.seed,
            }
        )
        gains.append(child.metrics["val_loss"] - cold["metrics"]["val_loss"])
    # After one epoch a warm start must be ahead: on average, and for most children.
    assert sum(gains) < 0
    assert sum(g < 0 for g in gains) > len(gains) / 2


def test_a_second_leg_of_an_inheriting_run_replays_and_goes_on(tmp_path: Path) -> None:
    first = nasgen.run(TABLES, out=tmp_path / "run")
    again = nasgen.resume(tmp_path / "run", trials="+4")
    assert [t.history_row() for t in again.trials[:12]] == [t.history_row() for t in first.trials]
    assert len(again.trials) == 16
    assert len({t.identity for t in again.trials}) == 16
