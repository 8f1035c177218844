"""prune: one network made smaller by taking weights away."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from nasgen.cli.app import (
    EXIT_NOTHING,
    EXIT_USER,
    Json,
    Plugins,
    command,
    said,
    table_of,
    threads_of,
)
from nasgen.cli.output import dump
from nasgen.cli.searching import run_watched

if TYPE_CHECKING:
    from nasgen.runs.pruning import Pruned

# Settings of [algorithm] whose option has another name, and how sentences name a setting.
OPTIONS: Final = {"epochs": "--retrain", "first_epochs": "--epochs"}
QUOTES: Final = "'"
GRANULARITY: Final = re.compile(r"\balgorithm\.operators\.[\w-]+\.granularity\b")
METHOD: Final = re.compile(r"\balgorithm\.prunings: '([^']*)'")
SETTING: Final = re.compile(
    r"(?:settings: )?\balgorithm\.(?P<name>protect|recurrent|classifier|target|strategy|steps|"
    r"of_original|of_remaining|size|bucket|epochs|first_epochs|rounds|compact|target_of)\b"
    r"(?: \(prune\))?(?: = (?P<value>'[^']*'))?"
)


@command
def prune(
    network: Annotated[
        str,
        typer.Argument(
            metavar="RUN[:TRIAL]|NETWORK",
            help="A network of a run, with its weights (default: the best), or a name (`nasgen "
            "list networks`), a JSON file or a graph (.graphml, .edgelist), which is trained "
            "first.",
        ),
    ],
    method: Annotated[
        str, typer.Option(help="Which weights leave; see `nasgen list prunings`.")
    ] = "magnitude",
    strategy: Annotated[
        str,
        typer.Option(
            help="How they leave: one-shot, iterative, relative, fixed-size, bucket, gradual."
        ),
    ] = "one-shot",
    target: Annotated[
        float,
        typer.Option(
            help="Share of the weights that is gone in the end, of all layers but the classifier; "
            "those of --protect count too. With --recurrent it is a share of the named matrices "
            "alone (or of the hidden units, of both with --granularity filter; kernels count in "
            "all layers), and 1 takes all of h2h."
        ),
    ] = 0.8,
    granularity: Annotated[
        str,
        typer.Option(
            help="What leaves as a whole: weight, kernel, or filter (a neuron of a dense layer, a "
            "hidden unit of a recurrent one, through all gates)."
        ),
    ] = "weight",
    steps: Annotated[
        int | None,
        typer.Option(help="Steps of iterative and gradual (default: 5), of others at most."),
    ] = None,
    of_original: Annotated[
        float | None,
        typer.Option(help="Share of the original weights that a step takes (iterative)."),
    ] = None,
    of_remaining: Annotated[
        float | None,
        typer.Option(
            help="Share of the remaining weights that a step takes (relative; default: 0.5)."
        ),
    ] = None,
    size: Annotated[
        int | None, typer.Option(help="Weights that a step takes (fixed-size).")
    ] = None,
    bucket: Annotated[
        float | None,
        typer.Option(
            help="Sum of the saliencies that a step takes (bucket). The plan says how large the "
            "sum of all is, or else the table behind each step does."
        ),
    ] = None,
    retrain: Annotated[
        float, typer.Option(help="Epochs of training behind each step; 0: none.", min=0)
    ] = 2.0,
    rounds: Annotated[
        int,
        typer.Option(
            help="Most trainings behind a step, each of --retrain epochs: another one follows as "
            "long as they gain.",
            min=1,
        ),
    ] = 1,
    protect: Annotated[
        str, typer.Option(help="Layers that lose nothing: none, first, last or both.")
    ] = "none",
    recurrent: Annotated[
        str,
        typer.Option(
            help="Of recurrent networks, what loses weights: all, both (matrices of the recurrent "
            "layers), i2h (what they read of a step), h2h (of the step before). --target is then a "
            "share of these."
        ),
    ] = "all",
    classifier: Annotated[
        bool,
        typer.Option(
            "--classifier/--no-classifier", help="The classifier loses weights too, which count."
        ),
    ] = False,
    epochs: Annotated[
        float | None,
        typer.Option(
            help="Epochs for a network without weights (default: as a search has them).", min=1e-3
        ),
    ] = None,
    compact: Annotated[
        bool,
        typer.Option(
            "--compact/--no-compact",
            help="Remove channels that died, which computes the same; or keep the shape, with "
            "zeros.",
        ),
    ] = True,
    seed: Annotated[
        int | None, typer.Option(help="Random seed (default: the run's, else 0).", min=0)
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Run folder to create (default: a new one in runs/).")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="SECTION.KEY=VALUE",
            help="Override any setting, such as training.lr=0.01. May be repeated.",
        ),
    ] = None,
    threads: Annotated[
        str | None,
        typer.Option(
            metavar="N|auto",
            help="CPU threads of each training; auto (default): as many as are fastest, which is "
            "tried first.",
        ),
    ] = None,
    plugin: Plugins = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Data set: digits, mnist:DIR, ... (default: the run's, else digits); of a run, "
            "where its data lie now."
        ),
    ] = None,
    json_: Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
) -> None:
    """Take weights away from a trained network, and train what is left, step by step."""
    from nasgen.errors import ConfigError
    from nasgen.runs import pruning
    from nasgen.runs.session import named_of
    from nasgen.settings.config import assignments

    algorithm = {
        "strategy": strategy, "target": target, "steps": steps, "of_original": of_original,
        "of_remaining": of_remaining, "size": size, "bucket": bucket, "epochs": retrain,
        "rounds": rounds, "first_epochs": epochs, "compact": compact,
    }  # fmt: skip
    wanted = pruning.Wanted(
        method,
        algorithm,
        {} if granularity == "weight" else {"granularity": granularity},
        protect,
        recurrent,
        classifier,
        seed,
        assignments(set_ or []),
    )
    found: list[Pruned] = []

    def start(listeners: tuple[Any, ...]) -> Any:
        named = named_of(plugin or (), data, None, said)
        try:
            made = pruning.prune(network, wanted, named, out, listeners, threads_of(threads))
        except ConfigError as error:
            raise ConfigError([_as_typed(problem) for problem in error.problems]) from None
        found.append(made)
        return made.run

    run_watched(start, quiet)
    made = found[0]
    if json_:
        dump(made.to_json())
    else:
        _print(made, classifier)
    if not made.is_reached:
        failed = next((t for t in reversed(made.run.trials) if t.state == "FAILED"), None)
        is_once = strategy == "one-shot"
        what = "take another --strategy, such as iterative" if is_once else "raise --steps"
        why = f"there were no more steps; {what}."
        if failed is not None:
            how = "Take a smaller --target, or more steps with --retrain."
            if strategy == "bucket" and failed.failure_kind == "refused":
                how = "Take a larger --bucket, or a smaller --target."
            why = f"{failed.failure} {how}"
        print(
            f"error: {made.left} {granularity}s are left, more than the {made.wanted} that "
            f"--target {target:g} asks for: {why}",
            file=sys.stderr,
        )
        is_asked = failed is not None and failed.failure_kind == "refused"
        raise typer.Exit(EXIT_USER if is_asked else EXIT_NOTHING)


def _as_typed(problem: str) -> str:
    """Return a sentence about settings with the options of `nasgen prune` that set them."""

    def option(found: re.Match[str]) -> str:
        name, value = found["name"], found["value"]
        word = OPTIONS.get(name, "--" + name.replace("_", "-"))
        return word if value is None else f"{word} {value.strip(QUOTES)}"

    problem = GRANULARITY.sub("--granularity", problem.removeprefix("origin.network: "))
    problem = re.sub(r"^settings: '", "--set: '", problem)
    problem = re.sub(r"\bwith strategy = '(\S+)'", r"with --strategy \1", problem)
    return SETTING.sub(option, METHOD.sub(r"--method \1", problem))


def _print(made: Pruned, classifier: bool) -> None:
    from nasgen.engine.algorithms.prune import MATRICES, UNITS
    from nasgen.runs.progress import value

    metric = f"val_{made.run.task.metric}"
    columns = ["step", "trial", "weights", "filters", "compression", metric, "epochs"]
    rows = [
        [
            row["step"],
            row["trial"],
            row["n_synapses"] + (row["n_classifier"] if classifier else 0),
            row["n_filters"],
            f"{row['compression']:.3g}x",
            value(metric, row[metric]),
            f"{row['epochs']:g}",
        ]
        for row in made.steps
    ]
    has_units = made.settings.get("of") == "matrices" and made.settings["granularity"] == "filter"
    of_part = (UNITS,) if has_units else MATRICES.get(str(made.settings.get("recurrent")), ())
    for name in of_part:
        columns.append(name.removeprefix("n_"))  # what is left of it
        for shown, row in zip(rows, made.steps, strict=True):
            shown.append(f"{100 * row[name] / max(1, made.steps[0][name]):.3g} %")
    if any("saliency" in row for row in made.steps):
        columns += ["saliency", "gone"]  # of all that could leave, and of what left
        for shown, row in zip(rows, made.steps, strict=True):
            sums = [row.get(name) for name in ("saliency", "saliency_gone")]
            shown += ["" if one is None else f"{one:.4g}" for one in sums]
    table_of("", columns, rows)
    last = made.steps[-1]["trial"]
    tested = made.run.network(last).tested()
    for name, figure in tested.items():
        if name == f"test_{made.run.task.metric}":
            print(f"{name} of trial {last}: {value(name, figure)}")
    of_what = "with" if classifier else "but"
    print(f"weights: of layers {of_what} the classifier; network: {made.run.path}:{last}")
    print(f"report: {made.run.report_path}")
