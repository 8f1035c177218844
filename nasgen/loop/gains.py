"""By how much evolution has beaten what a search began with: an ancestor, designs, random draws."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, get_args

from nasgen.loop.ranks import ranked
from nasgen.settings.objectives import Objective
from nasgen.store.trial import BASELINE, Trial

Origin = Literal["ancestor", "design", "draw", "evolved"]
Part = tuple[int, bool, float, int]
# Operator -> what it began the search with; a "seed" is the one network that all descend from.
BEGINNINGS: Final[Mapping[str, Origin]] = {
    "seed": "ancestor", "design": "design", "sample": "draw", BASELINE: "draw",
}  # fmt: skip


def first_of(trial: Trial, trials: Mapping[int, Trial]) -> Trial:
    """Return the first training of a trial's network: what it goes on from, however often."""
    while (trial.goes_on or trial.phase == "finish") and trial.parents:
        if trial.parents[0] not in trials:
            break
        trial = trials[trial.parents[0]]
    return trial


def _wholes(trials: Mapping[int, Trial]) -> dict[int, int]:
    """Return of each trial how many whole schedules what it descends from has had.

    A later segment of a run breeds on finalists.
    """
    found: dict[int, int] = {}
    for seq in sorted(trials):  # parents come first
        above = next((trials[p] for p in trials[seq].parents[:1] if p in trials), None)
        found[seq] = 0 if above is None else found[above.seq] + (above.phase == "finish")
    return found


def _part(trial: Trial, wholes: Mapping[int, int]) -> Part:
    """Return which part of the training a trial has had: trials of one part are comparable."""
    fidelity = trial.fidelity
    is_last = trial.phase == "finish"
    return wholes[trial.seq], is_last, fidelity.stretch[1], fidelity.rung or 0


def baseline(trials: Iterable[Trial], best: Trial) -> Trial | None:
    """Return the network beside which the best one is to be shown, None where there is none.

    That is the one that finish.baseline asked for, else the first random network that has had the
    same part of the training as the best: among finalists, where that is one.
    """
    known = {trial.seq: trial for trial in trials}
    wholes, found = _wholes(known), []
    for trial in known.values():
        first = first_of(trial, known)
        is_drawn = BEGINNINGS.get(first.operator) == "draw"
        if trial.state == "COMPLETE" and is_drawn and _part(trial, wholes) == _part(best, wholes):
            found.append((not trial.is_baseline, first.seq, trial.seq))
    return known[min(found)[-1]] if found else None


def gained(
    trials: Iterable[Trial], objectives: Sequence[Objective], last: Trial | None = None
) -> dict[str, Any] | None:
    """Return the best network of each origin by the first objective, None before there are any.

    {"phase", "objective", "ancestor", "design", "draw", "evolved", "over", "gain"}: an origin has
    "trial" (a seq), "value", where it was counted "n_synapses" and, for a design, "name", or is
    None. "over" names the origin, "ancestor", "design" or "draw", of the best that the search began
    with, "gain" is by how much the best evolved network is better, whatever the objective's
    direction; None where there are not both. What is compared had the same part of the training:
    the latest part in which there are both, else the first.

    Where the run was made for one network, the `last`, that is "evolved" of its part, however good
    others are, and "is_last" is True.
    """
    all_trials = {trial.seq: trial for trial in trials}
    wholes = _wholes(all_trials)
    part_of_last = None if last is None else _part(last, wholes)
    parts: dict[Part, dict[Origin, Trial]] = {}
    for trial in ranked(all_trials.values(), objectives):
        first = first_of(trial, all_trials)
        origin: Origin = BEGINNINGS.get(first.operator, "evolved")
        part = _part(trial, wholes)
        is_passed = last is not None and part == part_of_last and trial.seq != last.seq
        if trial.is_feasible and not (origin == "evolved" and is_passed):
            parts.setdefault(part, {}).setdefault(origin, trial)
    if not parts:
        return None
    both = [part for part in sorted(parts) if "evolved" in parts[part] and len(parts[part]) > 1]
    chosen = both[-1] if both else min(parts)
    goal, found = objectives[0], parts[chosen]

    def told(origin: Origin) -> dict[str, Any] | None:
        if (trial := found.get(origin)) is None:
            return None
        value: dict[str, Any] = {"trial": trial.seq, "value": trial.objectives[goal.name]}
        if (name := first_of(trial, all_trials).design) is not None:
            value = {"name": name, **value}
        if (n := trial.metrics.get("n_synapses")) is not None:
            value["n_synapses"] = n
        return value

    gain = over = None
    begun = {found[origin].seq: origin for origin in BEGINNINGS.values() if origin in found}
    if "evolved" in found and begun:
        best = ranked((all_trials[seq] for seq in begun), objectives)[0]
        over = begun[best.seq]
        gain = found["evolved"].objectives[goal.name] - best.objectives[goal.name]
        gain = gain if goal.direction == "maximize" else -gain
    return {
        "phase": "finish" if chosen[1] else "search",
        "objective": goal.name,
        **{origin: told(origin) for origin in get_args(Origin)},
        "over": over,
        "gain": gain,
        **({} if last is None else {"is_last": True}),
    }
