"""One row of a run's history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from sys import intern
from typing import Any, Literal, Protocol

from nasgen.genotypes.base import Genotype
from nasgen.settings.fidelity import Fidelity

# ESTIMATED: its objective was predicted, nothing was trained.
State = Literal["RUNNING", "COMPLETE", "PRUNED", "FAILED", "ESTIMATED"]
Phase = Literal["search", "finish"]
BACKWARD = 3  # times the FLOPs of the forward pass: a training step
BASELINE, DISTILLED = "baseline", "distilled"  # the operators of such networks
# Why an operator gave nothing to train, in words; kinds of a plug-in's own are shown as they are.
REFUSALS = {
    "not_applicable": "did not apply",
    "no_place": "found no place",
    "unchanged": "changed nothing",
    "cycle": "would have made a cycle",
    "depth": "would have broken the depth limits",
    "size": "would have exceeded the size limit",
    "output": "would have left no single output",
    "illegal": "made an illegal network",
    "duplicate": "made only known networks",
    "dense": "found nothing pruned",
    "damaged": "found a parent's tensors damaged",
    "infeasible": "made only networks that violate the constraints",
}


COUNTS = ("n_synapses", "n_kernels", "n_filters")  # of what is alive in a network

# What ranks trials, says how long they take and how much smaller than their ancestor they are, and
# is shown of the best one while a search runs.
SLIM_METRICS = (
    "val_loss", "val_s", "val_scale", "answer_s", "epochs_done", "epochs_probed", "n_params",
    "flops", *COUNTS, "n_classifier", "n_i2h", "n_h2h", "n_units",
)  # fmt: skip
_NOTHING: Mapping[str, Any] = {}  # never written to: nothing writes to a trial
_same = lru_cache(maxsize=64)(lambda fidelity: fidelity)  # one object for equal ones


@dataclass(frozen=True, slots=True)
class Trial:
    """One evaluation of one genotype at one fidelity.

    `seq` counts trials from 0 in the order in which they started. `told` is the place of its
    result in the order of arrival and `asked_after` how many results had arrived when it was asked:
    together they make any history replayable. `objectives` are in the order of the config;
    `metrics` holds everything measured (accuracies are fractions, times in seconds). `parents` are
    seqs. `outline`, `tags` and `shown` say what the genotype is to those who do not know its kind,
    see `recorded`.
    """

    seq: int
    state: State
    genotype: Mapping[str, Any]
    key: str
    identity: str
    # "sample", "design", "seed", "continue", an operator's name, "finish", "baseline"
    operator: str
    outline: Mapping[str, Any] = field(default_factory=dict)  # JSON of the genotype's outline
    tags: tuple[int, ...] = ()  # gene tags of the genotype, ascending
    shown: Mapping[str, int] = field(default_factory=dict)  # counts for Optuna's tools
    generation: int = 0
    parents: tuple[int, ...] = ()
    plan: Mapping[str, Any] = field(default_factory=dict)
    # What it was proposed as, where a worker found out the genotype: see `genotypes.derivation`.
    derivation: Mapping[str, Any] | None = None
    goes_on: bool = False  # a further training of its parent, or of the origin, from the weights
    phase: Phase = "search"
    fidelity: Fidelity = field(default_factory=Fidelity)
    seed: int = 0
    attempt: int = 1
    asked_after: int = 0
    told: int | None = None
    cohort: int | None = None  # seq of the first of those that are trained jointly
    fell_back_from: Mapping[str, str] = field(default_factory=dict)  # operator -> why it refused
    number: int | None = None  # of the request that it answers; None: of before it was recorded
    # Since the candidate before: operator -> reason -> how often it gave nothing new.
    refusals: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    # What the filter did: "n_rejected" others, "forecast" of this one, "estimate" in its place;
    # the name of the space's "design" that it is, if it is one; what the space says of how it was
    # "drawn".
    screening: Mapping[str, Any] = field(default_factory=dict)
    objectives: Mapping[str, float] = field(default_factory=dict)
    # What the config constrains, as measured, and the sum of the violations; 0: feasible.
    constraints: Mapping[str, float] = field(default_factory=dict)
    violation: float = 0.0
    metrics: Mapping[str, Any] = field(default_factory=dict)
    curve: tuple[
        Mapping[str, float], ...
    ] = ()  # one row an epoch: epoch, train_loss, lr, elapsed_s; value where a stopper looked
    train_s: float = 0.0
    # References of the tensors it keeps: "weights", "predictions" on the validation data,
    # "optimizer" (its state, for children that go on with it), "last" (the network's own after its
    # last step, where "weights" are a mean), "support" of a sparse network, "clusters" (its
    # census, for comparisons), "logits" of an ancestor on the training data.
    refs: Mapping[str, str] = field(default_factory=dict)
    # "error", "memory", "timeout", "non-finite", "inheritance", "plan", "refused", "collapsed",
    # "infeasible", "worker"
    failure_kind: str | None = None
    failure: str | None = None
    started: str | None = None  # ISO 8601, UTC
    finished: str | None = None

    def with_estimate(self, objectives: Mapping[str, float], told: int, finished: str) -> Trial:
        """Return the trial with predicted objectives: it may be selected, but was never trained."""
        return replace(
            self, state="ESTIMATED", told=told, objectives=objectives,
            started=finished, finished=finished,
        )  # fmt: skip

    @property
    def weights_ref(self) -> str | None:
        """The reference of its weights."""
        return self.refs.get("weights")

    @property
    def predictions_ref(self) -> str | None:
        """The reference of its predictions on the validation data."""
        return self.refs.get("predictions")

    @property
    def val_s(self) -> float:
        """Seconds of a pass over the validation rows in their full size, 0 where none was made.

        In the middle of a schedule images may be smaller: "val_scale" is the share of their sides.
        """
        seconds, scale = self.metrics.get("val_s"), self.scale
        is_number = isinstance(seconds, int | float) and seconds > 0 and scale > 0
        return float(seconds) / scale**2 if is_number and seconds else 0.0

    @property
    def scale(self) -> float:
        """The side of its images at its end as a share of the full one; 0 where it is no number."""
        found = self.metrics.get("val_scale", 1.0)
        return float(found) if isinstance(found, int | float) else 0.0

    @property
    def estimate(self) -> float | None:
        """The predicted objective that stands in for training, None for a trial to be trained."""
        found = self.screening.get("estimate", {}).get("value")
        return None if found is None else float(found)

    @property
    def design(self) -> str | None:
        """The name of the space's own design that it is, None for another network."""
        found = self.screening.get("design")
        return None if found is None else str(found)

    @property
    def source(self) -> str:
        """What made it, as people read it: its operator, with the name of a design."""
        return self.operator if self.design is None else f"{self.operator} {self.design}"

    @property
    def is_sparse(self) -> bool:
        """Whether some of its weights do not exist: it has a support."""
        return "support" in self.refs

    @property
    def fallback(self) -> str:
        """Which operators failed before: "layer found no place; path was used instead" or ""."""
        if not self.fell_back_from:
            return ""
        used = "a random network" if self.operator == "sample" else self.operator
        failed = [
            f"{name} {REFUSALS.get(why) or 'did not apply (' + why.replace('_', ' ') + ')'}"
            for name, why in self.fell_back_from.items()
        ]
        return f"{', '.join(failed)}; {used} was used instead"

    @property
    def is_baseline(self) -> bool:
        """Whether it was trained as finish.baseline asks: to compare with, never as a result."""
        return self.operator == BASELINE

    @property
    def is_distilled(self) -> bool:
        """Whether it was trained on an ensemble's answers: at most its design is that of `seq`."""
        return self.operator == DISTILLED

    @property
    def is_candidate(self) -> bool:
        """Whether it may be a result of the search: it is feasible and no baseline."""
        return self.is_feasible and not self.is_baseline

    @property
    def is_feasible(self) -> bool:
        """Whether it was measured and keeps every constraint."""
        return self.state == "COMPLETE" and self.violation == 0

    @property
    def looks(self) -> dict[int, float]:
        """Epoch -> value of the first objective, where a stopper looked."""
        return {round(row["epoch"]): row["value"] for row in self.curve if "value" in row}

    @property
    def rungs_below(self) -> int:
        """How many trainings a network must still get before it compares with others.

        The rungs of successive halving that are above this trial, and one where its validation rows
        were made smaller; else 0.
        """
        rungs = (self.fidelity.rungs or 1) - 1 - (self.fidelity.rung or 0)
        return rungs + self.saw_small

    @property
    def saw_small(self) -> bool:
        """Whether its validation rows were made smaller, as in the middle of a schedule."""
        return bool(self.metrics.get("val_scale", 1.0) != 1.0)

    def with_result(self, result: Mapping[str, Any], told: int) -> Trial:
        """Return the trial completed by an evaluator's result message."""
        return replace(
            self,
            state=result["state"],
            told=told,
            objectives=dict(result.get("objectives", {})),
            metrics=dict(result.get("metrics", {})),
            curve=tuple(result.get("curve", ())),
            train_s=float(result.get("train_s", 0.0)),
            refs=dict(result.get("refs", {})),
            failure_kind=result.get("failure_kind"),
            failure=result.get("failure"),
            finished=result.get("finished"),
        )

    def with_genotype(self, genotype: Genotype, space: Shows) -> Trial:
        """Return the trial of a derivation with the explicit genotype that came of it."""
        return replace(
            self,
            key=genotype.key,
            derivation=self.genotype,
            **recorded(genotype, space),
        )

    def slim(self) -> Trial:
        """Return what a search needs of a finished trial; the ledger has the rest.

        Its genotype is left out, so that hundreds of thousands of trials fit in memory, and all
        that repeats in other trials is one object.
        """
        state: Any = intern(self.state)
        return replace(
            self,
            state=state,
            genotype=_NOTHING,
            operator=intern(self.operator),
            outline=_NOTHING,
            tags=(),
            shown=_NOTHING,
            plan=_NOTHING,
            derivation=None,
            fidelity=_same(self.fidelity),
            fell_back_from=_NOTHING,
            refusals=_NOTHING,
            screening=_NOTHING if self.design is None else {"design": self.design},
            constraints=self.constraints or _NOTHING,
            metrics={k: self.metrics[k] for k in SLIM_METRICS if k in self.metrics} or _NOTHING,
            curve=tuple(
                {"epoch": row["epoch"], "value": row["value"]}
                for row in self.curve
                if "value" in row
            ),
            refs=self.refs or _NOTHING,
            started=None,
            finished=None,
        )

    def history_row(self) -> dict[str, Any]:
        """Return the line that `nasgen show RUN --history --json` prints."""
        row = {
            "seq": self.seq,
            "generation": self.generation,
            "key": self.key,
            "operator": self.operator,
            "parents": list(self.parents),
            "state": self.state,
            "fidelity": self.fidelity.to_json(),
            "objectives": dict(self.objectives),
            "attempt": self.attempt,
        }
        if self.design is not None:
            row["design"] = self.design
        if self.is_sparse:
            row["counts"] = {name: self.metrics[name] for name in COUNTS if name in self.metrics}
        if self.constraints or self.violation:
            row |= {"constraints": dict(self.constraints), "violation": self.violation}
        return row


def training_flops(metrics: Mapping[str, Any], fidelity: Fidelity, n_train: int) -> float:
    """Return what a training cost: 3 x forward FLOPs of one row x rows seen (0: it failed).

    The backward pass computes two products where the forward pass computes one. `n_train` are the
    rows of which a fidelity's fraction is used. Rows on which its new weights were chosen count.
    """
    epochs, flops = metrics.get("epochs_done") or 0.0, metrics.get("flops") or 0.0
    probed = metrics.get("n_probed") or 0
    return float(BACKWARD * flops * (epochs * fidelity.fraction * n_train + probed))


class Shows(Protocol):
    """What `recorded` asks of a search space."""

    def shown(self, genotype: Any) -> Mapping[str, int]: ...


def recorded(genotype: Genotype, space: Shows) -> dict[str, Any]:
    """Return the fields `genotype`, `outline`, `tags` and `shown` of a trial.

    All but the first, about 2 kB in memory, are for those who read runs without knowing the kind.
    """
    data, outline = genotype.stored()
    return {
        "genotype": data,
        "outline": outline,
        "tags": tuple(sorted(genotype.tags)),
        "shown": dict(space.shown(genotype)) if genotype.is_explicit else {},
    }
