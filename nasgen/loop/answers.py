"""What comes back for a job, checked where it comes in: evaluators run code of plug-ins.

Behind this door, results have the fields and types that `Trial.with_result` and the readers of
trials rely on. What has not is a failed trial with the reason.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from numbers import Real
from typing import Any, Final

from nasgen import genotypes
from nasgen.errors import NasgenError
from nasgen.genotypes.derivation import Derivation
from nasgen.settings.recordable import recordable
from nasgen.settings.text import readable
from nasgen.store.trial import Trial

Json = dict[str, Any]
STATES: Final = ("COMPLETE", "PRUNED", "FAILED")
NUMBERS: Final = (  # read by the driver
    "val_loss", "val_s", "val_scale", "answer_s", "images_per_s", "epochs_done", "epochs_probed",
    "n_params", "flops",
)  # fmt: skip


def results(
    answer: Mapping[str, Any], members: Sequence[Trial], objectives: Collection[str] = ()
) -> list[Json]:
    """Return one result for each member of a cohort.

    What ended the whole cohort, such as a worker that died, ended every member. One that cannot be
    recorded is a failure, whatever evaluator it comes from, and so is one that is no result or
    lacks one of the `objectives`.
    """
    if "cohort" not in answer:
        return [_checked({**answer, "seq": m.seq}, m, objectives) for m in members]
    given = answer["cohort"] if isinstance(answer["cohort"], list) else []
    found = {r.get("seq"): r for r in given if isinstance(r, dict) and _is_int(r.get("seq"))}
    missing = failure("error", "the joint training returned no result for this member.")
    return [
        _checked(found.get(member.seq, {**missing, "seq": member.seq}), member, objectives)
        for member in members
    ]


def failure(kind: str, sentence: str) -> Json:
    """Return what a result says of a failure."""
    return {"state": "FAILED", "failure_kind": kind, "failure": sentence}


def progress(report: Any) -> Mapping[str, float]:
    """Return the numbers of a report, which names its trial and the epoch; {} for anything else."""
    if not isinstance(report, Mapping) or not _is_int(report.get("seq")):
        return {}
    named = {"seq", "epoch", "n_epochs"} <= set(report)
    is_sound = named and all(map(_is_number, report.values())) and "event" not in report
    return report if is_sound else {}


def _checked(result: Json, member: Trial, objectives: Collection[str]) -> Json:
    problem = next(_problems(result, member, objectives), None)
    if problem is not None:
        sentence = f"the evaluator's answer is no result: {problem}."
        return {"seq": member.seq, **failure("worker", sentence)}
    kept = recordable(result)
    if kept["state"] == "FAILED":
        reason = kept.get("failure") or "the evaluator gave no reason."
        kept["failure_kind"] = kept.get("failure_kind") or "error"
        kept["failure"] = readable(reason)
    return kept


def _problems(result: Json, member: Trial, objectives: Collection[str]) -> Iterator[str]:
    state = result.get("state")
    if not isinstance(state, str) or state not in STATES:
        yield f"state: expected one of {', '.join(STATES)}, got {_shown(state)}"
    for name in ("metrics", "objectives", "refs"):
        part = result.get(name, {})
        if not isinstance(part, Mapping) or not all(isinstance(key, str) for key in part):
            yield f"{name}: expected names and values, got {_shown(part)}"
            return
    for name, value in result.get("objectives", {}).items():
        if not _is_number(value):
            yield f"objective '{name}': expected a number, got {_shown(value)}"
    if state == "COMPLETE":
        for name in objectives:
            if name not in result.get("objectives", {}):
                yield f"objective '{name}' is missing"
    for name in NUMBERS:
        value = result.get("metrics", {}).get(name)
        if value is not None and not _is_number(value):
            yield f"metric '{name}': expected a number, got {_shown(value)}"
    for name, ref in result.get("refs", {}).items():
        if not isinstance(ref, str):
            yield f"reference '{name}': expected a text, got {_shown(ref)}"
    curve = result.get("curve", ())
    if not isinstance(curve, list | tuple) or not all(map(_is_row, curve)):
        yield f"curve: expected rows with an epoch, all numbers, got {_shown(curve)}"
    if not _is_finite(seconds := result.get("train_s", 0.0)):
        yield f"train_s: expected seconds, got {_shown(seconds)}"
    for name in ("failure", "failure_kind", "finished"):
        if not isinstance(text := result.get(name), str | None):
            yield f"{name}: expected a text, got {_shown(text)}"
    yield from _of_genotype(result, member)


def _of_genotype(result: Json, member: Trial) -> Iterator[str]:
    """A derivation's network comes with the result, and no other network changes."""
    proposed = member.genotype if member.derivation is None else member.derivation
    is_derived = proposed.get("kind") == Derivation.kind
    if "genotype" not in result:
        if is_derived and result.get("state") != "FAILED":
            yield "the genotype that the derivation gave is missing"
        return
    if not is_derived:
        yield "genotype: the trial has one already"
        return
    try:
        if not genotypes.read(result["genotype"]).is_explicit:
            yield "genotype: expected a network, got another derivation"
    except NasgenError as error:
        yield f"genotype: {error}"


def _is_row(row: Any) -> bool:
    if not isinstance(row, Mapping):
        return False
    is_text = all(isinstance(key, str) for key in row)
    return is_text and _is_finite(row.get("epoch")) and all(map(_is_number, row.values()))


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    """Tell whether a value is a number that a float can hold, NaN and infinity included."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    try:
        float(value)
    except (OverflowError, ValueError):
        return False
    return True


def _is_finite(value: Any) -> bool:
    return _is_number(value) and math.isfinite(float(value))


def _shown(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:60]}… ({type(value).__name__})"
