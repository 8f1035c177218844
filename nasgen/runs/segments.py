"""The segments of a run: what a resume adds, and what has changed since the run was made.

A run records what its results depend on beyond its config: the recipe with every default resolved
and its revision, plug-ins by digest, versions, threads; and of its task and objectives what readers
need, who import no plug-in. What differs on resume is said, never mixed in
silence.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nasgen.data.base import Dataset
from nasgen.data.split import Split, split
from nasgen.errors import ConfigError, NasgenError, StoreError, typed
from nasgen.evaluation.recipe import Recipe, n_batches
from nasgen.loop.search import Search
from nasgen.registry.plugins import digests_of, named
from nasgen.runs import commands, reading
from nasgen.runs.resolved import Resolved
from nasgen.settings.config import SearchConfig
from nasgen.settings.plan import FOLLOWED, Plan
from nasgen.store.folder import RunFolder, versions
from nasgen.store.trial import Trial

MATTER = ("nasgen", "torch", "numpy")  # libraries that results depend on


def facts(resolved: Resolved, dataset: Dataset) -> dict[str, Any]:
    """Return what the results of a segment depend on, as run.json keeps it."""
    config = resolved.config
    resolved_recipe = Recipe.of(config.training, dataset.shape).digest()
    recipe = f"{resolved.recipe_digest}/{resolved_recipe}"
    return {
        "recipe": hashlib.blake2b(recipe.encode(), digest_size=8).hexdigest(),
        "threads": config.execution.threads_per_trial,
        "versions": versions(),
        "plugins": digests_of(config.plugins.files, config.plugins.modules),
        "measured": {
            "task": {"metric": resolved.task.metric, "direction": resolved.task.direction},
            "objectives": {
                o.name: {"direction": o.direction, "unit": o.unit} for o in resolved.objectives
            },
        },
    }


def n_steps(config: SearchConfig, dataset: Dataset, parts: Split) -> int:
    """Return the updates in an epoch of a search trial; `parts` are all rows of the run."""
    data, fraction = config.data, config.training.fraction
    if fraction < 1:
        parts = split(dataset, data.validation, data.split_seed, fraction)
    n_rows = len(parts.train)
    return n_batches(n_rows, Recipe.of(config.training, dataset.shape).batch_for(n_rows))


def changes(record: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return what differs from the segment before, a sentence each."""
    texts = []
    then = {Path(file).name: digest for file, digest in record.get("plugins", {}).items()}
    for file, digest in now["plugins"].items():
        if then.get(Path(file).name, digest) != digest:
            texts.append(
                f"the plug-in {file} has changed since the run used it; recorded candidates stay, "
                "new ones are made with it as it is now (`nasgen resume --verify` says what "
                "would differ)"
            )
    old = record.get("versions", {})
    moved = [
        f"{name} {old[name]} is now {now['versions'][name]}"
        for name in MATTER
        if name in old and old[name] != now["versions"][name]
    ]
    if moved:
        texts.append(f"{', '.join(moved)}: results may differ slightly from those before")
    if record.get("threads", now["threads"]) != now["threads"]:
        texts.append(
            f"execution.threads_per_trial was {record['threads']} and is {now['threads']}: results "
            "may differ slightly from those before"
        )
    if record.get("recipe") not in (None, now["recipe"]):
        texts.append(
            "networks are now trained by another recipe than before: a setting of [training], a "
            "default or the training itself has changed; compare trials of the two segments with "
            "care"
        )
    return texts


def take(record: dict[str, Any], now: Mapping[str, Any]) -> None:
    """Write what a new segment depends on into run.json's record.

    A run of format 1 has trial identities without the resolved recipe, and keeps that.
    """
    record |= {name: now[name] for name in ("threads", "versions", "plugins", "measured")}
    if record.get("recipe") is not None:
        record["recipe"] = now["recipe"]


def leg_record(trials: int | None, time_s: float | None) -> dict[str, Any]:
    """Return what run.json holds of a segment that is to be searched."""
    leg = {"trials": trials, "time_s": time_s, "spent_s": 0.0, "done": False, "n_done": 0}
    return {**leg, "command": commands.line()}


def plans(record: Mapping[str, Any]) -> dict[int, Plan]:
    """Return the plans of the segments that follow one, by the seq of their first trial."""
    found, first = {}, 0
    for leg in record["legs"]:
        if (leg.get("plan") or {}).get("strategy") in FOLLOWED:
            found[first] = Plan.of(leg["plan"])
        first += leg["n_done"] + leg.get("n_estimated", 0)
    return found


def ended_early(record: Mapping[str, Any], n_trials: int) -> str | None:
    """Return why the last segment ended before its budget was spent, a sentence, or None.

    `n_trials` are the trials of the run so far.
    """
    legs = record["legs"]
    if not legs[-1].get("spent"):
        return str(legs[-1].get("why_ended", "")) or None
    n_asked = legs[-1]["trials"]
    of = "" if n_asked is None else f" of {sum(b['n_done'] for b in legs[:-1]) + n_asked}"
    return (
        f"the search ended early, after {n_trials}{of} trials: it found no new candidates; a wider "
        "search space ([space]) has more."
    )


def end(search: Search) -> str:
    """Return a sentence where an algorithm has ended a segment that had a budget left, or ""."""
    algorithm = search.algorithm
    has_ended = search.is_over and algorithm.has_ended
    if not has_ended or algorithm.why_ended or search.n_trained:
        return algorithm.why_ended if has_ended else ""
    return (
        f"no trial was added: '{type(algorithm).__name__.lower()}' asks for no more than the "
        f"{len(search.trials)} that the run has, as its settings in [algorithm] say."
    )


def is_result(trial: Trial) -> bool:
    """Tell whether a trial has ended with more than its run began with: it was trained, or failed.

    A pruning begins with a network that has its weights and is only measured.
    """
    return trial.state != "COMPLETE" or trial.metrics.get("epochs_done") != 0


def discard(folder: RunFolder, config: SearchConfig, error: NasgenError, has_results: bool) -> None:
    """Free the name of a run that an error has ended before any result, and say so in the error.

    A run whose ledger is kept elsewhere stays, as it is named there too, and so does one that could
    not be written.
    """
    if has_results or config.store.ledger is not None or isinstance(error, StoreError):
        return
    folder.discard()
    error.args = tuple(
        arg.replace("then resume the run", "then begin it again") if isinstance(arg, str) else arg
        for arg in error.args
    )


def added_leg(
    record: Mapping[str, Any],
    trials: str | int | None,
    time_s: float | None,
    path: str | Path,
    resolved: Resolved,
) -> dict[str, Any] | None:
    """Return the segment that a resume adds, or None when it only continues an interrupted one."""
    legs = record["legs"]
    if trials is None and time_s is None:
        if legs[-1]["done"] and record["summary"] is not None:
            more = "add work with --trials +100 or --budget 10m."
            if resolved.algorithm_type.made_for_the_last:
                further = typed("prune", path, "--target", "0.5")
                more = (
                    f"go on from the network that it ended with, such as by {further}. Only where "
                    "a budget ended it before that, --trials +10 goes on."
                )
            raise ConfigError(
                f"{path} is complete ({sum(leg['n_done'] for leg in legs)} trials); {more}"
            )
        return None
    if time_s is not None and not reading.MIN_TIME_S <= time_s < math.inf:
        raise ConfigError(
            f"--budget: expected at least {reading.MIN_TIME_S:.0f} s, because starting workers and "
            f"writing the report take some, got {time_s:g} s."
        )
    n_added: int | None = None
    if trials is not None:
        planned = _planned(legs)
        text = str(trials)
        try:
            n_added = int(text) if text.startswith("+") else int(text) - planned
        except ValueError:
            raise ConfigError(
                f"--trials: expected a number such as +100 (more) or 140 (total), got '{text}'."
            ) from None
        if n_added < 1:
            raise ConfigError(
                f"--trials {text}: {path} already has {planned} trials; add more: --trials +100."
            )
    return leg_record(n_added, time_s)


def total(record: Mapping[str, Any], coming: Mapping[str, Any]) -> int | None:
    """Return how many trials the run has when the segment `coming` ends; None: no limit."""
    if coming["trials"] is None:
        return None
    return _planned(record["legs"][: record["legs"].index(coming) + 1])


def _planned(legs: Iterable[Mapping[str, Any]]) -> int:
    return sum(leg["n_done"] if leg["done"] else leg["trials"] or 0 for leg in legs)


def more_plugins(
    tables: Mapping[str, Any], overrides: Iterable[Mapping[str, Any]], more: Sequence[Any]
) -> dict[str, list[str]]:
    """Return the [plugins] table of a config with further plug-ins."""
    table = named(more)
    for given in (tables, *overrides):
        section = given.get("plugins", {})
        if isinstance(section, Mapping):  # what is none is reported with the other mistakes
            for key in table:
                table[key] = [*section.get(key, ()), *table[key]]
    return {key: list(dict.fromkeys(values)) for key, values in table.items()}
