"""What the page is made from; `nasgen.runs.results` fills it from the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from nasgen.report.answers import Answered
from nasgen.settings.config import SearchConfig
from nasgen.store.trial import Trial


@dataclass(frozen=True)
class ReportView:
    """One run, as the page shows it. Accuracies are fractions, durations seconds.

    - `run`: the path that `nasgen.load` takes, from wherever it is called; `title`: the heading.
    - `metric`: what the task calls networks good by, `unit` what a row of the data is called.
    - `best`: "trial" (its seq), "val_METRIC", "test_METRIC", "n_params", "flops", "latency_ms";
      missing or None values are left out. None when nothing could be trained.
    - `front`: with several objectives, what the search returns: for each member "trial" (its seq),
      "objectives" and "test_METRIC"; `front_left_out`: how many more were not trained longer.
    - `ensemble`: "members" (each "run", "trial", "weight"), "val_METRIC", "test_METRIC".
    - `evolution`: what evolution added to what the search began with, see `loop.gains.gained`; None
      before there are results.
    - `is_complete`: whether nothing that was asked of the run is left to do.
    - `population`: seqs alive at the end; `n_filtered`: candidates a predictor rejected.
    - `audit`: how good the predictor was, see `predictors.audit.Audit.to_json`; None without one.
    - `nearest`: a sentence about the network that violates the constraints least, where all do.
    - `ended_early`: a sentence where the search found no new candidates within its budget.
    - `generations`: rows about networks that were made of their parents' weights, see
      `runs.generations.rows`; empty where there are none.
    - `notes`: sentences about how the data were read.
    - `n_train`, `n_val`, `n_test`: rows that networks are trained on, validated and tested on; None
      where an older run does not know it.
    - `answers`: answers to the test rows, by the words for whose they are; `no_answers`: why there
      are none, "" where that needs no reason.
    - `baseline`: a network that the search only drew and trained like the best one: "trial",
      "val_METRIC", "test_METRIC" and, where both were tested for classes, "won" and "lost": test
      rows that one of both answers well, the best or the baseline.
    - `commands`: the command lines that made the run, a segment each; "" for one made from Python.
    - `exports`: what was written to be used without nasgen: "of", "href" and "files", names to
      their addresses.
    - `cautions`: sentences about what differed when the run was resumed, such as versions.
    - `directions`: objective -> "maximize" or "minimize"; the first objective ranks.
    - `operator_failures`: operator -> how often it gave nothing to train, by cause
      ("duplicate", "infeasible", or the kind of its `errors.NotApplicable`).
    """

    run: str
    title: str
    config: SearchConfig
    trials: Sequence[Trial]
    best: Mapping[str, Any] | None
    ensemble: Mapping[str, Any] | None
    population: Sequence[int]
    n_filtered: int
    wall_s: float
    train_s: float
    directions: Mapping[str, str]
    operator_failures: Mapping[str, Mapping[str, int]]
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    classes: tuple[str, ...]
    data_summary: str
    audit: Mapping[str, Any] | None = None
    evolution: Mapping[str, Any] | None = None
    front: Sequence[Mapping[str, Any]] = ()
    front_left_out: int = 0
    nearest: str = ""
    ended_early: str = ""
    cautions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    generations: Sequence[Mapping[str, Any]] = ()
    n_train: int | None = None
    n_val: int | None = None
    n_test: int | None = None
    answers: Mapping[str, Answered] = field(default_factory=dict)
    no_answers: str = ""
    baseline: Mapping[str, Any] | None = None
    commands: Sequence[str] = ()
    exports: Sequence[Mapping[str, Any]] = ()
    metric: str = "accuracy"
    is_complete: bool = True
    unit: str = "images"

    @cached_property
    def by_seq(self) -> dict[int, Trial]:
        """The trials by their number."""
        return {trial.seq: trial for trial in self.trials}

    @property
    def objectives(self) -> tuple[str, ...]:
        """Names of the objectives, the ranking one first."""
        return tuple(self.directions)

    @cached_property
    def sizes(self) -> tuple[str, ...]:
        """Names of what tables say of a network's size; of synapses where some are pruned."""
        is_sparse = any(trial.is_sparse for trial in self.trials)
        return ("n_params", *(("n_synapses",) if is_sparse else ()), "flops")

    @property
    def has_test(self) -> bool:
        """Whether rows were set aside to test; answers are to validation rows where none were."""
        return self.n_test != 0

    def n_rows(self, name: str) -> int | None:
        """Return on how many rows a quantity is measured: objectives are, on validation rows."""
        return self.n_test if name.startswith("test_") else self.n_val

    @property
    def n_infeasible(self) -> int:
        """How many measured trials violate a constraint."""
        return sum(t.state == "COMPLETE" and not t.is_feasible for t in self.trials)

    def maximizes(self, name: str) -> bool:
        """Whether more is better; `default_direction` decides when `directions` does not say."""
        return self.directions.get(name, default_direction(name)) == "maximize"


def default_direction(name: str) -> str:
    """Return the direction of a quantity that is no objective: accuracies and R² grow."""
    return "maximize" if name.endswith(("accuracy", "_r2")) else "minimize"
