"""What the page says in numbers: pure functions of trials, nothing of HTML."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from statistics import median

from nasgen.report.numbers import number
from nasgen.report.view import ReportView
from nasgen.store.trial import Trial

NOT_OPERATORS = (
    "sample",
    "design",
    "seed",
    "continue",
    "finish",
    "baseline",
)  # first networks, further trainings


def value(trial: Trial, name: str) -> float | None:
    """Return an objective or metric of a COMPLETE trial; None if it is missing or not finite."""
    if trial.state != "COMPLETE":
        return None
    found = number(trial.objectives.get(name))
    return number(trial.metrics.get(name)) if found is None else found


def cost(view: ReportView, trial: Trial, name: str) -> float:
    """Return a quantity such that less is better; infinite where it is missing."""
    found = value(trial, name)
    if found is None:
        return inf
    return -found if view.maximizes(name) else found


def rank(view: ReportView, trials: Iterable[Trial]) -> list[Trial]:
    """Return the trials that have the first objective, best first.

    Those that violate constraints less come first, as in the search; ties go by the other
    objectives, then to the earlier one.
    """
    scored = [
        ((t.violation, *(cost(view, t, name) for name in view.objectives), t.seq), t)
        for t in trials
        if value(t, view.objectives[0]) is not None
    ]
    return [t for _, t in sorted(scored, key=lambda row: row[0])]


@dataclass(frozen=True)
class OperatorRow:
    """How one operator did. `n_better` of `n_compared` children beat their best parent in the first
    objective; `median_gain` > 0 is an improvement whatever the direction. `n_fell_back` trials were
    made by another operator, or drawn, because this one refused; `reasons` are all its refusals."""

    operator: str
    n_tried: int
    n_complete: int
    n_pruned: int
    n_failed: int
    n_compared: int
    n_better: int
    median_gain: float | None
    n_fell_back: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)

    @property
    def n_refused(self) -> int:
        return sum(self.reasons.values())

    @property
    def rate(self) -> float | None:
        """Share of compared children that beat their best parent."""
        return self.n_better / self.n_compared if self.n_compared else None


def operator_rows(view: ReportView) -> list[OperatorRow]:
    """Return one row an operator, most successful first; samples and finalists come last."""
    groups: dict[str, list[Trial]] = {name: [] for name in view.operator_failures}
    for trial in view.trials:
        groups.setdefault(trial.operator, []).append(trial)
    rows = [_operator_row(view, name, trials) for name, trials in groups.items()]
    return sorted(
        rows,
        key=lambda r: (
            r.operator in NOT_OPERATORS,
            -(r.rate if r.rate is not None else -1.0),
            -r.n_tried,
            r.operator,
        ),
    )


def _operator_row(view: ReportView, name: str, trials: Sequence[Trial]) -> OperatorRow:
    gains = [gain for t in trials if (gain := gain_over_parents(view, t)) is not None]
    refused = {why: n for why, n in view.operator_failures.get(name, {}).items() if n}
    return OperatorRow(
        operator=name,
        n_tried=len(trials),
        n_complete=sum(t.state == "COMPLETE" for t in trials),
        n_pruned=sum(t.state == "PRUNED" for t in trials),
        n_failed=sum(t.state == "FAILED" for t in trials),
        n_compared=len(gains),
        n_better=sum(gain > 0 for gain in gains),
        median_gain=median(gains) if gains else None,
        n_fell_back=sum(name in t.fell_back_from for t in view.trials),
        reasons=dict(sorted(refused.items(), key=lambda item: (-item[1], item[0]))),
    )


def gain_over_parents(view: ReportView, trial: Trial) -> float | None:
    """Return by how much a trial beats its best parent in the first objective (> 0 is better)."""
    name = view.objectives[0]
    parents = rank(view, (view.by_seq[p] for p in trial.parents if p in view.by_seq))
    own, best = value(trial, name), value(parents[0], name) if parents else None
    if own is None or best is None:
        return None
    return own - best if view.maximizes(name) else best - own


def front(points: Mapping[int, Sequence[float]], maximize: Sequence[bool]) -> list[int]:
    """Return the keys of the points that no other point dominates, in order of the first value.

    Of equal points the one with the smallest key is kept.
    """
    costs = {
        key: tuple(-v if up else v for v, up in zip(values, maximize, strict=True))
        for key, values in points.items()
    }
    kept: list[int] = []
    # In this order a point can only be dominated by one that is kept already.
    for key in sorted(costs, key=lambda k: (costs[k], k)):
        if not any(
            all(a <= b for a, b in zip(costs[other], costs[key], strict=True)) for other in kept
        ):
            kept.append(key)
    return kept


def points(view: ReportView, names: Sequence[str]) -> dict[int, tuple[float, ...]]:
    """Return seq -> values of the feasible trials that have all of these quantities."""
    rows = {}
    for trial in view.trials:
        if not trial.is_candidate:
            continue
        found = tuple(v for name in names if (v := value(trial, name)) is not None)
        if len(found) == len(names):
            rows[trial.seq] = found
    return rows


def ancestors(view: ReportView, seq: int) -> list[Trial]:
    """Return a trial and all its ancestors in the run, latest first. Safe on damaged lineages."""
    seen: dict[int, Trial] = {}
    waiting = [seq]
    while waiting:
        here = waiting.pop()
        if here in view.by_seq and here not in seen:
            seen[here] = view.by_seq[here]
            # A parent is always older: anything else would be a cycle.
            waiting += [p for p in seen[here].parents if p < here]
    return sorted(seen.values(), key=lambda t: -t.seq)


@dataclass(frozen=True)
class FailureRow:
    """One cause of failure, its first message and the trials that met it."""

    kind: str
    seqs: tuple[int, ...]
    message: str


def failure_rows(trials: Iterable[Trial]) -> list[FailureRow]:
    """Return the FAILED trials by kind, the most frequent kind first."""
    groups: dict[str, list[Trial]] = {}
    for trial in sorted(trials, key=lambda t: t.seq):
        if trial.state == "FAILED":
            groups.setdefault(trial.failure_kind or "error", []).append(trial)
    rows = [
        FailureRow(kind, tuple(t.seq for t in found), found[0].failure or "no message was kept")
        for kind, found in groups.items()
    ]
    return sorted(rows, key=lambda r: (-len(r.seqs), r.kind))


def showpieces(view: ReportView, n: int = 3) -> list[Trial]:
    """Return the `n` best feasible trials of distinct architecture, the best network first."""
    best = best_trial(view)
    found = {} if best is None else {best.key: best}
    for trial in rank(view, (t for t in view.trials if t.is_candidate)):
        found.setdefault(trial.key, trial)
    return list(found.values())[:n]


def best_trial(view: ReportView) -> Trial | None:
    """Return the trial that `view.best` names, or None."""
    seq = (view.best or {}).get("trial")
    return view.by_seq.get(seq) if isinstance(seq, int) else None


def states(trials: Iterable[Trial]) -> dict[str, int]:
    """Return how many trials are in each state, in the order of a trial's life."""
    counts = dict.fromkeys(("COMPLETE", "PRUNED", "FAILED", "RUNNING", "ESTIMATED"), 0)
    for trial in trials:
        counts[trial.state] = counts.get(trial.state, 0) + 1
    return {state: n for state, n in counts.items() if n}


def thinned(view: ReportView, limit: int, keep: Iterable[int] = ()) -> list[Trial]:
    """Return at most about `limit` trials in order: all of `keep`, the rest evenly spaced."""
    trials = list(view.trials)
    wanted = set(keep)
    rest = [t.seq for t in trials if t.seq not in wanted]
    room = max(0, limit - len(wanted))
    if len(rest) > room:
        rest = [rest[i * len(rest) // room] for i in range(room)]
    wanted |= set(rest)
    return [t for t in trials if t.seq in wanted]
