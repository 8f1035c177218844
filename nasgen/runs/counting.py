"""What the summary of a run says without testing any network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from nasgen.loop import front
from nasgen.loop.gains import gained
from nasgen.runs import offered, segments

if TYPE_CHECKING:
    from nasgen.runs.results import Run

STATES: Final = {
    "complete": "COMPLETE",
    "failed": "FAILED",
    "pruned": "PRUNED",
    "estimated": "ESTIMATED",
}


def counted(run: Run, n_filtered: int = 0) -> dict[str, Any]:
    """Return the summary of a run whose best network and ensemble are not known yet (None)."""
    trials = run.trials
    counts = {k: sum(t.state == state for t in trials) for k, state in STATES.items()}
    constrained: dict[str, Any] = {}
    if run.constraints:
        n = sum(t.state == "COMPLETE" and not t.is_feasible for t in trials)
        constrained = {"infeasible": n, "nearest": run.nearest}
    several: dict[str, Any] = {}
    if len(run.objectives) > 1:
        several["front"] = [{"trial": t.seq, "objectives": dict(t.objectives)} for t in run.front]
        several["front_left_out"] = front.left_out(trials, run.objectives)
    return {
        "run": str(run.path),
        "trials": {**counts, "filtered": n_filtered},
        **constrained,
        "plan": run.record["legs"][-1].get("plan"),
        "ended_early": segments.ended_early(run.record, len(trials)),
        "best": None,
        **several,
        "ensemble": None,
        "evolution": gained(trials, run.objectives, offered.last(run)),
        "wall_s": round(sum(leg["spent_s"] for leg in run.record["legs"]), 3),
        "train_s": round(sum(t.train_s for t in trials), 3),
    }
