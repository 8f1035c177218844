"""Small search spaces: a refusal is a gap, and a search ends only when nothing new is left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import nasgen
from nasgen.cli import app
from nasgen.errors import NotApplicable
from nasgen.genotypes import Child
from nasgen.runs.resolved import Resolved
from tests.played import Played, StoppedError, resolved_of, rows

SMALL = {"name": "mlp", "widths": [8, 16], "max_channels": 16, "max_vertices": 3}
TINY = {**SMALL, "max_vertices": 2, "layers": ["dense", "sum"]}
ALGORITHMS = ("random", "genetic", "aging", "local", "nsga2")


def searched(algorithm: str, space: dict[str, Any], **more: Any) -> Resolved:
    names = ["val_accuracy", "n_params"] if algorithm.startswith("nsga") else ["val_accuracy"]
    return resolved_of(algorithm, more, space=space, objectives={"names": names})


def reachable(resolved: Resolved) -> set[str]:
    """Return the keys of all networks that draws and mutations reach."""
    space, rng = resolved.space, np.random.default_rng(0)
    waiting = [space.sample(rng) for _ in range(20)]
    found = {genotype.key for genotype in waiting}
    mutations = [op for op in resolved.operators.table if op.group == "mutations"]
    while waiting:
        here = waiting.pop()
        for mutation in mutations * 12:
            try:
                child = Child.of(mutation.function(here, space, rng))
            except NotApplicable:
                continue
            assert child is not None
            if child.genotype.key not in found:
                found.add(child.genotype.key)
                waiting.append(child.genotype)
    return found


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_search_gets_its_trials_where_draws_give_six_networks_of_more_than_a_hundred(
    algorithm: str,
) -> None:
    resolved = searched(algorithm, SMALL)
    rng = np.random.default_rng(1)
    assert len({resolved.space.sample(rng).key for _ in range(200)}) < 10
    played = Played(resolved, 60, 0)
    assert len({t.key for t in played.run()}) == 60
    assert "spent" not in [event for event, _ in played.events]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_space_is_spent_when_all_its_networks_are_trained(algorithm: str) -> None:
    resolved = searched(algorithm, TINY)
    played = Played(resolved, 60, 0)
    keys = {t.key for t in played.run()}
    assert keys >= reachable(resolved)  # crossovers give further widths
    assert len(keys) < 60
    assert [event for event, _ in played.events].count("spent") == 1


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_stopped_search_goes_on_where_some_candidates_could_not_be_made(algorithm: str) -> None:
    expected = rows(Played(searched(algorithm, TINY), 60, 0).run())
    undisturbed = Played(searched(algorithm, SMALL), 40, 0)
    whole = rows(undisturbed.run())
    breeder = undisturbed.search.algorithm.breeder
    assert breeder.n_asked > len(whole)  # there were gaps
    for seq in (9, 17):
        ledger = Played(searched(algorithm, SMALL), 40, 0).stopped_at(seq)
        again = Played(searched(algorithm, SMALL), 40, 0, ledger=ledger)
        assert rows(again.run()) == whole, seq
        assert again.search.algorithm.breeder.failures == breeder.failures
    # As the end is noticed, too.
    stopped = Played(searched(algorithm, TINY), 60, 0)
    stopped.stop = ("spent", 1)
    with pytest.raises(StoppedError):
        stopped.run()
    again = Played(searched(algorithm, TINY), 60, 0, ledger=stopped.ledger)
    assert rows(again.run()) == expected
    assert "spent" in [event for event, _ in again.events]


def test_an_algorithm_that_does_not_wait_asks_again_when_a_result_has_come() -> None:
    """Two workers: while the first two networks are out there is nothing to breed from."""
    played = Played(searched("aging", {**TINY, "widths": [8]}), 60, 0, workers=2)
    keys = {t.key for t in played.run()}
    assert keys >= reachable(searched("aging", {**TINY, "widths": [8]}))


@pytest.mark.parametrize("algorithm", ["genetic", "nsga2"])
def test_a_population_of_two_breeds(algorithm: str) -> None:
    trials = Played(searched(algorithm, SMALL, population=2), 20, 0).run()
    assert len(trials) == 20
    assert len({t.generation for t in trials}) > 4


def test_summary_json_and_report_say_that_a_search_ended_early(tmp_path: Path) -> None:
    lines = [f"{i % 7},{i % 3},{'ab'[i % 2]}" for i in range(60)]
    (tmp_path / "rows.csv").write_text("\n".join(["size,age,y", *lines]))
    settings = [
        "space.name=mlp", "space.widths=[8]", "space.max_channels=8", "space.max_vertices=2",
        'space.layers=["dense", "sum"]', "training.epochs=0.5", "execution.executor=serial",
        "finish.networks=0",
    ]  # fmt: skip
    done = CliRunner().invoke(
        app,
        ["search", "--data", f"csv:{tmp_path / 'rows.csv'}?target=y", "--trials", "12", "--json",
         "--quiet", "--out", str(tmp_path / "run"), *(p for s in settings for p in ("--set", s))],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout)
    n = summary["trials"]["complete"]
    said = f"the search ended early, after {n} of 12 trials: it found no new candidates"
    assert n < 12
    assert summary["ended_early"].startswith(said)
    assert said[1:] in (tmp_path / "run/report.html").read_text()
    shown = CliRunner().invoke(app, ["status", str(tmp_path / "run")])
    assert said in shown.stdout
    run = nasgen.load(tmp_path / "run")
    assert [t.operator for t in run.trials].count("sample") < n


def test_a_search_that_gets_its_trials_does_not_say_so(tmp_path: Path) -> None:
    tables = {"execution": {"executor": "serial"}, "finish": {"networks": 0}}
    data = np.arange(80.0).reshape(40, 2) % 7, np.arange(40) % 2
    tables |= {"training": {"epochs": 0.5}, "algorithm": {"name": "fixed"}}
    run = nasgen.run(tables, data=data, out=tmp_path / "run", overrides=[{"budget": {"trials": 9}}])
    assert run.summary["trials"]["complete"] == 1  # all that `fixed` wants
    assert run.summary["ended_early"] is None
