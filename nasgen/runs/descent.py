"""Of what a network was made, in sentences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nasgen.engine.algorithms.prune import counts
from nasgen.engine.steps import Steps
from nasgen.layers.recurrent import MATRICES

if TYPE_CHECKING:
    from nasgen.runs.results import Run
    from nasgen.store.trial import Trial


def descent(run: Run, trial: Trial) -> Iterator[str]:
    """Yield what made a network that has its parents' weights: operator, parents, what is left."""
    made = trial.derivation
    if made is None:
        if trial.goes_on and trial.parents:
            yield f"made by: a further training of trial {trial.parents[0]}"
        return
    parents = " and ".join(map(str, trial.parents))
    kind = str(made["group"]).removesuffix("s")
    of = f"trial{'' if len(trial.parents) == 1 else 's'} {parents}"
    if kind != "pruning":
        yield f"made by: the {kind} '{made['operator']}' of {of}"
        return
    options, settings = run.config.algorithm.options, made.get("settings", {})
    given = [f"{name} {settings[name]}" for name in ("protect", "recurrent") if name in settings]
    whole = settings.get("options", {}).get("granularity", "weight")
    if run.config.algorithm.name == "prune":
        strategy = str(options.get("strategy", Steps.strategy))
        given = [f"strategy {strategy}, step {trial.generation}", *given]
    words = f" ({'; '.join([*given, f'of {whole}s'])})"
    yield f"made by: the pruning '{made['operator']}' of {of}{words}"
    first = _first(run, trial)
    names = counts(whole, settings)
    before, now = (sum(int(t.metrics.get(n) or 0) for n in names) for t in (first, trial))
    is_part = settings.get("of") == "matrices"
    what = f"{MATRICES[settings['recurrent']]} {whole}" if is_part else whole
    if is_part and whole == "filter":
        what = "hidden unit"
    if before:
        yield (
            f"left: {now:,} of the {before:,} {what}s of trial {first.seq}, "
            f"{100 * now / before:.3g} %"
        )


def _first(run: Run, trial: Trial) -> Trial:
    """Return the network that a line of descent began with."""
    trials, here = {t.seq: t for t in run.trials}, trial
    while here.parents and here.parents[0] in trials and here.parents[0] < here.seq:
        here = trials[here.parents[0]]
    return here
