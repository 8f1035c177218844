"""Settings of a checked config that are legal but suspicious, a sentence each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from nasgen import registry
from nasgen.data.targets import CLASSIFICATION, MANY_CLASSES, REGRESSION
from nasgen.engine.algorithms.synthesis import Synthesis
from nasgen.registry import plugins
from nasgen.runs import loose, origin
from nasgen.runs.resolved import Resolved
from nasgen.settings import constraints
from nasgen.settings.config import TABLES
from nasgen.settings.fidelity import n_baselines, n_finish, population
from nasgen.settings.sections import OptionSection

FEW_VALUES: Final = 10  # so few different whole numbers may well be classes


def cautions(run: Resolved) -> list[str]:
    """Return the suspicious but legal settings, a sentence each."""
    found = [*run.dataset.notes, *_on_data(run), *_on_algorithm(run), *_on_origin(run)]
    found += [*_on_growth(run), *_on_synthesis(run), *_on_predictor(run)]
    return [*found, *_on_baseline(run)]


def on_plan(run: Resolved, plan: Mapping[str, Any]) -> list[str]:
    """Return what is set and has no effect in a segment with this plan, a sentence each."""
    if not run.config.finish.baseline or plan["strategy"] != "one":
        return []
    return [
        "finish.baseline: no baseline is trained, as there is too little time to compare networks "
        "first; use a longer budget."
    ]


def _on_data(run: Resolved) -> list[str]:
    if run.dataset.task == REGRESSION and (n := _whole_values(run.dataset.targets)):
        return [
            f"data.task: the targets are {n} different whole numbers, read as values to predict; "
            "if they are classes, give them as integers or texts."
        ]
    classes = run.dataset.classes if run.dataset.task == CLASSIFICATION else ()
    if len(classes) <= MANY_CLASSES or not all(_is_integer(c) for c in classes):
        return []
    return [
        f"data.task: the targets are {len(classes)} different integers, read as classes; if they "
        "are values to predict, set data.task = 'regression'."
    ]


def _on_algorithm(run: Resolved) -> list[str]:
    section = run.config.algorithm
    if not any(getattr(section, group) for group in TABLES):
        if not run.space_type.varied:  # nor could one fit
            return (
                []
                if section.name == "random"
                else [
                    f"space.name: networks of '{run.config.space.name}' are drawn, not changed, so "
                    "every network is drawn at random."
                ]
            )
        return [
            f"space.name: no operator fits '{run.config.space.name}', so every network is drawn at "
            "random; register a mutation for it, or derive it from nasgen.search_spaces.graph."
            "GraphSpace, which built-in operators on graphs need."
        ]
    named = [group for group in ("crossovers", "matings") if getattr(section, group)]
    with run.scope.active():
        if not named or run.algorithm_type.crosses:
            return []
    return [
        f"algorithm.{' and algorithm.'.join(named)}: '{section.name}' search uses one parent, so "
        "crossovers and matings are not used; leave them out, or choose another algorithm."
    ]


def _on_growth(run: Resolved) -> list[str]:
    """Return that a growth whose schedule has an end is never trained to it."""
    section = run.config.algorithm
    if section.name != "growth" or not section.options.get("last"):
        return []
    if section.options.get("rounds") or n_finish(run.config, run.config.budget.trials):
        return []
    return [
        "algorithm.last: without algorithm.rounds the last training is that of [finish], which "
        "has no networks here, so every network stops in the middle of its schedule; set "
        "finish.networks or algorithm.rounds."
    ]


def _on_baseline(run: Resolved) -> list[str]:
    """Return that a baseline that is asked for is not trained."""
    trials = run.config.budget.trials
    if not run.config.finish.baseline or n_baselines(run.config, trials):
        return []
    if not n_finish(run.config, trials):
        why = "it is trained beside finalists, of which there are none here; set finish.networks"
    else:
        why = "it would leave the search a single network to train; set a larger budget.trials"
    return [f"finish.baseline: no baseline is trained, as {why}."]


def _on_synthesis(run: Resolved) -> list[str]:
    """Say what of a synthesis cannot be meant: equal children, parents that have learnt apart."""
    config = run.config
    with run.scope.active():
        if not issubclass(run.algorithm_type, Synthesis):
            return []
        table, texts = run.operators.table, []
    n_children, n_ancestors = population(config), _whole(config.algorithm, "ancestors") or 1
    if n_children > 1 and n_ancestors == 1 and not any(operator.draws for operator in table):
        texts.append(
            f"algorithm.population: environment '{config.environment.name}' draws nothing, so the "
            f"{n_children} children of one ancestor would be equal and a generation has one "
            "network; set environment.noise or temperature, or algorithm.population = 1."
        )
    scheduled = _whole(config.environment, "generations")
    lengths = {"algorithm.generations": _whole(config.algorithm, "generations")}
    if config.budget.trials is not None:
        n_of_trials = max(config.budget.trials - n_ancestors, 0) // n_children
        lengths["budget.trials"] = n_of_trials
    known = {length: name for name, length in reversed(lengths.items()) if length is not None}
    if scheduled and known and scheduled > (shortest := min(known)):
        texts.append(
            f"environment.generations: the schedule ends in generation {scheduled} and the search "
            f"with {shortest} ({known[shortest]}), so environment.final is not reached; "
            "make them equal."
        )
    early = [str(c) for c in run.constraints if constraints.before_training(c.name)]
    if early:
        texts.append(
            f"objectives.constraint: '{early[0]}' is known before training, so children that "
            "violate it are not trained, and a synthesis that begins with a larger network ends in "
            "its first generation; leave it out, and choose among the generations."
        )
    if n_ancestors > 1 and config.algorithm.parents > 1:
        texts.append(
            f"algorithm.ancestors: a mean over descendants of {n_ancestors} networks that were "
            "trained apart is one of unrelated weights; children begin from little."
        )
    return texts


def _whole(section: OptionSection, option: str) -> int | None:
    """Return an option that was found to be a whole number, in whatever form it was given."""
    given = section.options.get(option)
    return None if given is None else int(float(given))


def _on_origin(run: Resolved) -> list[str]:
    """Say what of the network of [origin] keeps its size, where something is to thin it out."""
    if run.origin is None:
        return []
    texts = [run.origin.note] if run.origin.note else []
    if origin.is_bare_graph(network := run.config.origin.network):
        texts.append(
            f"{network} is a graph: its vertices become a network of the search space "
            f"'{run.config.space.name}' (space.name)."
        )
    section = run.config.algorithm
    if not section.matings and not section.prunings:
        return texts
    with run.scope.active():
        ops = sorted({node.op for node in run.origin.genotype.outline().nodes})
        known = [op for op in ops if registry.known("layers", op)]
        firm = [op for op in known if not registry.resolve("layers", op).keeps_zero]
    if firm:
        texts.append(
            f"origin.network: all channels of {', '.join(map(repr, firm))}, and of what such a "
            "layer reads, stay, because the layer does not promise `keeps_zero`: synapses leave "
            "there, but tensors keep their size; the rest of the network gets smaller."
        )
    return texts


def _whole_values(targets: Any) -> int:
    """Return how many values there are if these may well be classes, else 0."""
    values = np.unique(targets)
    is_few = targets.ndim == 1 and len(values) <= FEW_VALUES and len(values) < len(targets) / 2
    return len(values) if is_few and bool((values == np.round(values)).all()) else 0


def _is_integer(text: str) -> bool:
    return text.removeprefix("-").isdecimal()


def _on_predictor(run: Resolved) -> list[str]:
    config = run.config
    trials, warmup = config.budget.trials, config.predictor.warmup
    if trials is None and config.budget.time is None:
        trials = run.default_trials
    texts = [
        f"{group} '{entry.name}' is registered in {entry.origin}, where another process does not "
        "find it; to resume the run later, put it in a file and name that in plugins.files."
        for group, entry in loose.named_in(config)
        if plugins.path_of(entry.target) is None
    ]
    # One that nobody asked for may well be idle in a short run.
    if not run.is_predictor_asked or trials is None or warmup < trials:
        return texts
    return [
        *texts,
        f"predictor.warmup: expected fewer than the {trials} trials, got {warmup}; '"
        f"{config.predictor.name}' will never be fitted. Lower it, or give more trials.",
    ]
