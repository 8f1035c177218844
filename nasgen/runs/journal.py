"""What a run writes down while it goes on, line by line: log.jsonl and candidates.jsonl."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from nasgen.engine.proposal import Proposal

LOG: Final = "log.jsonl"  # what happened when, resumed sessions included
CANDIDATES: Final = "candidates.jsonl"  # what a predictor rejected


def candidate(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the line of a rejected candidate."""
    proposal: Proposal = data["proposal"]
    return {
        "generation": proposal.generation,
        "operator": proposal.operator,
        "parents": list(proposal.parents),
        "key": proposal.genotype.key,
        "predicted": data["predicted"],
    }


def line(event: str, data: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what the log keeps of an event, None for those that come too often to keep."""
    if event == "audit":
        judged: dict[str, Any] = data["judgement"].to_json()
        return judged
    if event in ("submitted", "told", "estimated"):
        trial = data["trial"]
        kept = {"seq": trial.seq, "operator": trial.operator, "attempt": trial.attempt}
        if trial.fell_back_from and event == "submitted":
            kept["fell_back_from"] = dict(trial.fell_back_from)
        if event != "submitted":
            kept |= {"state": trial.state, "objectives": dict(trial.objectives)}
            kept |= {"train_s": trial.train_s, "failure": trial.failure}
        return kept
    if event in ("start", "phase", "generation", "spent", "end"):
        return {k: v for k, v in data.items() if k != "search"}
    return None
