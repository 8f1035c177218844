"""What a run made is not made again on resume: no operator, draw or choice is repeated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nasgen.engine.draws import sampled
from nasgen.engine.operators import Operator, Operators
from nasgen.errors import OperatorError, StoreError
from nasgen.execution.serial import Serial
from nasgen.loop import resuming
from nasgen.loop.search import Search
from nasgen.operators.mutation.relabel import relabel
from nasgen.predictors.filter import Filter
from nasgen.runs import reading
from nasgen.search_spaces.base import Draw
from nasgen.search_spaces.random_graph_mlp import RandomGraphMlp
from nasgen.settings.budget import Budget
from nasgen.store.ledger import Ledger
from tests.played import plan_of

ALGORITHMS = ("genetic", "aging", "local", "nsga2", "growth", "random")
TRIALS = 44


class Killed(Exception):  # noqa: N818 - what a kill would be
    pass


class Playing:
    """A search on the toy evaluator; `stop_at` ends it once that trial is in the ledger."""

    def __init__(
        self,
        name: str = "genetic",
        ledger: Ledger | None = None,
        stop_at: int | None = None,
        seed: int = 3,
        **tables: Any,
    ) -> None:
        section = {"name": name, "population": 6, **tables.pop("algorithm", {})}
        resolved = reading.resolved(
            {"seed": seed, "algorithm": section, "space": {"max_channels": 64}, **tables}
        )
        self.ledger = ledger or Ledger.create("memory", {"val_accuracy": "maximize"}, ["sample"])
        self.stop_at = stop_at
        self.rejected: list[tuple[int, str]] = []
        self.screen = resolved.screen()
        self.search: Search = Search(
            plan_of(resolved, inherit_weights=resolved.inherits),
            resolved.algorithm(
                lambda p: self.search.is_new(p),
                self.screen,
                lambda p: self.search.forget(p),
                lambda p, predicted: self.search.reject(p, predicted),
            ),
            Serial("tests.toy_evaluator:make", {}),
            self.ledger,
            Budget(TRIALS, 2),
            set(),
            (self._note,),
            screen=self.screen,
        )
        self.breeder = self.search.algorithm.breeder
        self.breeder.designs = lambda: resolved.space.designs((3, 32, 32), 10)

    def _note(self, event: str, data: Mapping[str, Any]) -> None:
        if event == "rejected":
            self.rejected.append((data["number"], data["proposal"].genotype.key))
        if event == "submitted" and data["trial"].seq >= (self.stop_at or TRIALS * 2):
            raise Killed

    def run(self) -> list[dict[str, Any]]:
        self.search.run(self.ledger.trials(), 0)
        return [{**t.history_row(), "attempt": 1} for t in self.ledger.trials()]

    def killed(self) -> Ledger:
        with pytest.raises(Killed):
            self.run()
        return self.ledger


CASES: dict[str, dict[str, Any]] = {
    **{name: {"algorithm": {}} for name in ALGORITHMS},
    "rungs": {"algorithm": {"rungs": 2, "eta": 2}},
    "adapt": {"algorithm": {"adapt": True}},
    "joint growth": {"algorithm": {"shared": True}},
    "filter": {"predictor": {"name": "ridge", "warmup": 8}},
    "substitute": {"predictor": {"name": "ridge", "warmup": 8, "mode": "substitute"}},
}


def named(case: str) -> str:
    return case if case in ALGORITHMS else "growth" if "growth" in case else "genetic"


@cache
def undisturbed(case: str) -> tuple[Playing, list[dict[str, Any]]]:
    """Return a whole search and its history; tests only read its ledger."""
    whole = Playing(named(case), **CASES[case])
    return whole, whole.run()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("stop_at", [7, 25])
def test_nothing_that_the_ledger_holds_is_made_again(case: str, stop_at: int) -> None:
    whole, expected = undisturbed(case)
    ledger = Playing(named(case), stop_at=stop_at, **CASES[case]).killed()
    numbers = {t.number for t in ledger.trials()}
    again = Playing(named(case), ledger, **CASES[case])
    made = again.breeder._numbered
    new: list[int] = []

    def numbered(proposal: Any, number: int) -> Any:
        new.append(number)
        return made(proposal, number)

    again.breeder._numbered = numbered  # type: ignore[method-assign]
    assert again.run() == expected
    assert None not in numbers
    assert not numbers & set(new)
    assert again.breeder.failures == whole.breeder.failures
    assert again.breeder.n_filtered == whole.breeder.n_filtered
    assert again.rejected == [r for r in whole.rejected if r[0] >= again.rejected[0][0]] or (
        not again.rejected
    )
    if whole.screen is not None and again.screen is not None:
        assert again.screen.audit.to_json() == whole.screen.audit.to_json()


@pytest.mark.parametrize("stop_at", [7, 25])
def test_a_filter_fits_and_predicts_for_new_candidates_alone(
    stop_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Playing(stop_at=stop_at, **CASES["filter"]).killed()
    again = Playing(ledger=ledger, **CASES["filter"])
    calls: list[str] = []
    for name in ("_fit", "choose"):
        monkeypatch.setattr(Filter, name, lambda self, *a, name=name, **k: calls.append(name))
    resuming.replay(again.search, ledger.trials()[:6])  # the first batch, which is complete
    assert calls == []


def test_an_operator_that_reads_files_of_parents_which_are_gone_resumes(tmp_path: Path) -> None:
    """Weights of dead parents are deleted, so an operator that reads them cannot run again."""

    def playing(ledger: Ledger | None = None, stop_at: int | None = None) -> Playing:
        made = Playing("genetic", ledger, stop_at)

        def reads(parent: Any, space: Any, rng: np.random.Generator) -> Any:
            assert (tmp_path / parent.key).read_text() == "weights"
            return relabel(parent, space, rng)

        def keep(event: str, data: Mapping[str, Any]) -> None:
            if event == "told":
                (tmp_path / data["trial"].key).write_text("weights")
                alive = {i.genotype.key for i in made.search.algorithm.alive}
                for file in tmp_path.iterdir():
                    if file.name not in alive:
                        file.unlink()

        made.search.listeners = (keep, *made.search.listeners)
        made.breeder.operators = Operators((Operator("reads", reads),))
        return made

    expected = playing().run()
    for file in tmp_path.iterdir():
        file.unlink()
    ledger = playing(stop_at=30).killed()
    left = {file.name for file in tmp_path.iterdir()}
    by_seq = {t.seq: t.key for t in ledger.trials()}
    assert any(by_seq[p] not in left for t in ledger.trials() for p in t.parents)
    assert playing(ledger).run() == expected


def test_a_changed_operator_resumes_and_verifying_says_what_differs() -> None:
    def changed(parent: Any, space: Any, rng: np.random.Generator) -> Any:
        return relabel(parent, space, np.random.default_rng(0))

    first, rows = undisturbed("genetic")
    same = Playing(ledger=first.ledger)
    assert resuming.verify(same.search, first.ledger.trials()) == []
    other = Playing(ledger=first.ledger)
    usual = other.breeder.operators.pool(several=False, n_parents=1) | {
        "relabel": Operator("relabel", changed)
    }
    other.breeder.operators = Operators(tuple(usual.values()))
    found = resuming.verify(other.search, first.ledger.trials())
    assert found
    assert len({d.trial for d in found}) == len(found)
    assert {d.trial for d in found} <= {t.seq for t in first.ledger.trials() if t.parents}
    assert "recorded is" in str(found[0])
    ledger = Playing(stop_at=20).killed()
    resumed = Playing(ledger=ledger)
    resumed.breeder.operators = Operators(tuple(usual.values()))
    assert resumed.run()[:21] == rows[:21]


@pytest.mark.parametrize("case", CASES)
def test_verifying_an_unchanged_run_finds_no_difference(case: str) -> None:
    played, _ = undisturbed(case)
    again = Playing(named(case), played.ledger, **CASES[case])
    assert resuming.verify(again.search, played.ledger.trials()) == []


def test_another_seed_is_named_by_verifying() -> None:
    first, _ = undisturbed("genetic")
    found = resuming.verify(Playing(ledger=first.ledger, seed=5).search, first.ledger.trials())
    first_drawn = next(t.seq for t in first.ledger.trials() if t.operator != "design")
    assert found[0].trial == first_drawn > 0, "designs are the same for all seeds"
    assert any("network" in difference.what for difference in found)


def test_an_algorithm_that_asks_otherwise_is_an_error_and_not_a_guess() -> None:
    ledger = Playing(stop_at=20).killed()
    # A larger batch than the recorded one: the requests no longer have their numbers.
    with pytest.raises(StoreError, match="does not ask for trial"):
        Playing("growth", ledger).run()


def test_what_a_space_says_of_a_draw_is_recorded_and_missing_in_runs_of_before() -> None:
    space = {"name": "random-graph-mlp", "prior": "watts-strogatz", "rewired": 0.1, "most": 12}
    played = Playing("random", space=space)
    played.run()
    trials = played.ledger.trials()
    drawn = [t for t in trials if t.operator == "sample"]
    assert len(drawn) > TRIALS / 2
    for trial in drawn:
        ring = trial.screening["drawn"]["ring"]
        assert sorted(ring) == list(range(len(ring)))
    assert len({tuple(t.screening["drawn"]["ring"]) for t in drawn}) > len(drawn) / 2

    def verified(stored: list[Any]) -> list[Any]:
        return resuming.verify(Playing("random", played.ledger, space=space).search, stored)

    assert verified(trials) == []
    assert verified([replace(t, screening={}) for t in trials]) == []
    other = {"drawn": {"ring": list(range(10))}}
    assert len(verified([replace(t, screening=other) for t in drawn])) == len(drawn)


@pytest.mark.parametrize(
    ("draw", "said"),
    [
        (lambda own: {"ring": [1]}, r"expected a nasgen\.search_spaces\.base\.Draw"),
        (lambda own: Draw(own.genotype, {"ring": {1}}), "set is not JSON serializable"),
        (lambda own: Draw(own.genotype, {"p": float("nan")}), "not JSON compliant"),
    ],
)
def test_what_cannot_be_recorded_of_a_draw_is_a_fault_of_the_space(draw: Any, said: str) -> None:
    space = RandomGraphMlp()
    with pytest.raises(OperatorError, match=rf"search space's sample\(\) raised .*{said}"):
        sampled(lambda: draw(space.draw(np.random.default_rng(0))), space, 60.0)
