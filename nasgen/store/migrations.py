"""What older versions wrote, in the words of this one: one function for each step to a new format.

Commands that read a run migrate in memory; resuming it writes the new format, but leaves recorded
trials as they are, since a ledger may hold rows of several formats. Format 1 is that of 0.1.0; 2
records with each trial what preceded it, its outline, tags and shown parameters; 3 is that of runs
that may begin with designs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from nasgen import genotypes
from nasgen.errors import StoreError
from nasgen.settings.record import faults
from nasgen.store.trial import Trial

FORMAT: Final = 3  # raise it with each change of what is stored, and add a step below
Tables = dict[str, Any]


def checked(found: Any, where: str) -> int:
    """Return a stored format number; StoreError for one that this version does not know."""
    if isinstance(found, int) and not isinstance(found, bool) and 1 <= found <= FORMAT:
        return found
    newer = isinstance(found, int) and found > FORMAT
    raise StoreError(
        f"{where} has format {found!r}, this nasgen reads formats 1 to {FORMAT}; "
        + ("open it with the newer version that wrote it." if newer else "the file is damaged.")
    )


def record(data: Mapping[str, Any], where: str) -> Tables:
    """Return run.json in the present format; StoreError where it lacks what a run records."""
    found = checked(data.get("schema"), where)
    try:
        present = _through(_RECORD, dict(data), found) | {"schema": FORMAT}
    except (KeyError, TypeError, ValueError):  # it lacks what the step reads: said below
        present = dict(data)
    if problems := faults(present):
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise StoreError(
            f"{where} is damaged: {problems[0]}{more}. Put it back from a copy; the ledger beside "
            "it is not concerned."
        )
    return present


def config(tables: Mapping[str, Any], found: int) -> Tables:
    """Return the tables of a run's config.toml, written in format `found`."""
    return _through(_CONFIG, dict(tables), found)


def trial(row: Mapping[str, Any], params: Mapping[str, Any], kind: str) -> Tables:
    """Return a row of the ledger, its result included, with the fields of today's `Trial`.

    `params` are the parameters that Optuna shows of it, `kind` is the genotypes' of the run's
    space: format 1 called all of them "dag".
    """
    return dict(row) if is_current(row) else _trial_1(dict(row), params, kind)


def is_current(row: Mapping[str, Any]) -> bool:
    """Tell whether a row of the ledger is in the present format."""
    return "number" in row


def with_rejections(trials: Sequence[Trial], rejected: Sequence[Mapping[str, Any]]) -> list[Trial]:
    """Return a run's trials, those of format 1 with the candidates that the filter rejected.

    Format 1 kept these apart, a line of candidates.jsonl each; here the first trial of their
    generation takes them. What was forecast is not known any more: the audit begins anew.
    """
    counts: dict[int, int] = {}
    for i, line in enumerate(rejected, 1):
        generation = line.get("generation")
        if not isinstance(generation, int):
            raise StoreError(
                f"line {i} of candidates.jsonl has no generation; remove the line, then resume."
            )
        counts[generation] = counts.get(generation, 0) + 1
    result = []
    for t in trials:
        if t.number is None and t.phase == "search" and (n := counts.pop(t.generation, 0)):
            t = replace(t, screening={**t.screening, "n_rejected": n})
        result.append(t)
    return result


def _record_1(data: Tables) -> Tables:
    return data | {"data": {"form": "image", "task": "classification", **data["data"]}}


def _config_1(tables: Tables) -> Tables:
    if "pruning" in tables:  # what ends a training early
        stopping = dict(tables.pop("pruning"))
        if "pruner" in stopping:
            stopping["stopper"] = stopping.pop("pruner")
        tables["stopping"] = stopping
    data = {"source": "digits", "task": "classification", **tables.get("data", {})}
    scheme, _, rest = data["source"].partition(":")
    if scheme == "csv" and "shape=" not in rest:  # tables were images of one row
        data["source"] += "&shape=row"
    tables["data"] = data
    origin = tables.get("origin", {})
    if "genotype" in origin:
        tables["origin"] = {"network": origin["genotype"]}
    return tables


def _config_2(tables: Tables) -> Tables:
    # Such a run began with draws, so what it lacks of a first generation is drawn too; and it goes
    # on to answer as it was tested.
    algorithm = {**tables.get("algorithm", {}), "designs": False}
    return {"prediction": {"views": "none"}} | tables | {"algorithm": algorithm}


def _trial_1(row: Tables, params: Mapping[str, Any], kind: str) -> Tables:
    row.setdefault("goes_on", row["operator"] == "continue")
    fell_back = row.get("fell_back_from", {})
    row["refusals"] = {operator: {why: 1} for operator, why in fell_back.items()}
    if row["state"] == "ESTIMATED":
        row["screening"] = {"estimate": {"value": next(iter(row["objectives"].values()))}}
    row["genotype"] = {**row["genotype"], "kind": kind}
    if not row.get("outline"):
        genotype = genotypes.read(row["genotype"])
        row["outline"], row["tags"] = genotype.outline().to_json(), sorted(genotype.tags)
        row["shown"] = {k: v for k, v in params.items() if k != "operator"}
    for name in ("weights", "predictions", "optimizer"):
        if ref := row.pop(f"{name}_ref", None):
            row.setdefault("refs", {})[name] = ref
    return row


_RECORD: Final[dict[int, Callable[[Tables], Tables]]] = {1: _record_1, 2: dict}
_CONFIG: Final[dict[int, Callable[[Tables], Tables]]] = {1: _config_1, 2: _config_2}


def _through(steps: Mapping[int, Callable[[Tables], Tables]], data: Tables, found: int) -> Tables:
    for number in range(found, FORMAT):
        data = steps[number](data)
    return data
