"""predictors, dataset: how well networks can be predicted, and the data to try it elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from nasgen.cli.app import (
    DataNow,
    Json,
    LedgerNow,
    Plugins,
    RunPath,
    command,
    said,
    table_of,
    within,
)
from nasgen.cli.output import dump

NOTHING = "-"
COLUMNS = {"r2": "R2", "kendall": "Kendall tau", "top_kendall": "tau in the best tenth"}
BENCH_LABELS = 100  # of thousands, as in published comparisons


@command
def predictors(
    action: Annotated[str, typer.Argument(metavar="evaluate")],
    source: Annotated[
        str,
        typer.Argument(
            metavar="RUN|BENCH|FILE|transfer",
            help="A run, a table of `nasgen list benches` or of FILE.py, a file of `nasgen "
            "dataset`; or transfer: the table of trainings that comes with nasgen (or such a "
            "FILE.jsonl.gz), each image set left out.",
        ),
    ],
    names: Annotated[
        str | None, typer.Option("--predictors", help="ridge,gp,... (default: all)")
    ] = None,
    repeats: Annotated[int, typer.Option(help="Number of random splits of the data.", min=1)] = 5,
    features: Annotated[
        str | None,
        typer.Option(help="What predictors read; see `nasgen list features`."),
    ] = None,
    labels: Annotated[
        int | None,
        typer.Option(
            help="Networks to learn from (default: 100 for a bench, none for transfer, else "
            "cross-validation).",
            min=5,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed.", min=0)] = 0,
    signal: Annotated[str | None, typer.Option(help="Table column of a bench to predict.")] = None,
    low: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN[@EPOCH],...",
            help="Columns of a bench that predictors read beside the features, such as the "
            "accuracy after a short training of each network.",
        ),
    ] = None,
    plugin: Plugins = None,
    data: DataNow = None,
    ledger: LedgerNow = None,
    json_: Json = False,
) -> None:
    """Evaluate predictors on unseen networks: R2, Kendall's tau, tau in the best tenth."""
    from nasgen import papers, registry
    from nasgen.bench import labels as labelled
    from nasgen.bench.base import parts
    from nasgen.errors import ConfigError
    from nasgen.papers import kept
    from nasgen.predictors import evaluate
    from nasgen.runs.session import load as load_run

    if action != "evaluate":
        raise ConfigError(f"nasgen predictors: expected 'evaluate', got '{action}'.")
    if source == "transfer" or source.endswith(".jsonl.gz"):
        if names or features or signal or low:
            raise ConfigError(
                "--predictors, --features, --signal and --low are for runs, benches and files of "
                "`nasgen dataset`; leave them out for a table of trainings."
            )
        _left_out(source, seed, labels or 0, repeats, json_)
        return
    chosen = names.split(",") if names else list(registry.names("predictors"))
    informed = [n for n in chosen if "trainings" in registry.get("predictors", n).requires]
    if names and informed:
        raise ConfigError(
            f"--predictors: '{informed[0]}' is judged by `nasgen predictors evaluate transfer`, on "
            "image sets of its table; leave it out."
        )
    chosen = [name for name in chosen if name not in informed]
    alone = {name for name in chosen if "scores" in registry.get("predictors", name).requires}
    factories = {name: registry.resolve("predictors", name) for name in chosen}
    own: dict[str, labelled.Labelled] = {}
    known = kept.table(source) if source in papers.REPRODUCTIONS else None
    file = Path(source) if known is None else known.file
    is_bench = source in registry.names("benches") or parts(source)[0] is not None
    for option, value in (("--low", low), ("--signal", signal)):
        if value and not is_bench:
            raise ConfigError(f"{option}: expected a bench, whose columns it names; leave it out.")
    if is_bench or file.is_file():
        if names and alone:
            raise ConfigError(
                f"--predictors: '{', '.join(sorted(alone))}' scores networks on images, and "
                f"{source} is a table without any; name a run."
            )
        factories = {name: f for name, f in factories.items() if name not in alone}
    if is_bench:
        short = low.split(",") if low else ()
        table = labelled.of_bench(source, signal, features=features, low=short)
        labels = labels or BENCH_LABELS
    elif file.is_file():
        table = labelled.of_file(file, features)
    else:
        run = load_run(source, plugin or (), data, ledger, said)
        # Scores have features of their own; all others read what the run's predictor reads.
        own = {name: labelled.of_run(run, predictor=name) for name in alone}
        others = [name for name in chosen if name not in alone]
        table = labelled.of_run(run, features, others[0]) if others else own[chosen[0]]
    splits = evaluate.splits_of(table.keys, labels, repeats, seed)
    found: dict[str, Any] = {
        "source": source,
        "n_labels": len(splits[0][0]),
        "n_judged": len(splits[0][1]),
        "repeats": repeats,
        "predictors": {},
    }
    if known is not None:
        found["table"] = file.name
    if low:
        found["low"] = low.split(",")
    for name, factory in factories.items():
        read, split = own.get(name, table), splits
        if read.keys != table.keys:
            split = evaluate.splits_of(read.keys, labels, repeats, seed)
        result = evaluate.evaluate(factory, read.X, read.y, read.names, split, seed, read.size)
        found["predictors"][name] = result["predictor"]
        found["size"] = result["size"] if found.get("size") is None else found["size"]
    rows = [*found["predictors"].items(), ("size alone", found["size"])]
    found["undefined"] = {
        score: evaluate.why_undefined(score, splits)
        for score in evaluate.SCORES
        if any(row is not None and row[score] is None for _, row in rows)
    }
    if json_:
        dump(found)
        return
    which = source if known is None else f"{source} ({known.said})"
    table_of(
        f"{which}: {found['n_labels']} labels, {found['n_judged']} networks evaluated, "
        f"{len(splits)} splits, mean ± standard deviation",
        ["predictor", *COLUMNS.values()],
        [[name, *(_cell(scores, s) for s in COLUMNS)] for name, scores in rows],
    )
    for score, why in found["undefined"].items():
        print(f"{NOTHING} for {COLUMNS[score]}: {why}.")
    if found["size"] is None:
        print(f"{NOTHING} for size alone: {source} tells no numbers of parameters.")


def _left_out(source: str, seed: int, n_labels: int, repeats: int, json_: bool) -> None:
    """Evaluate the predictor 'transfer' on each image set of its table without that set."""
    from nasgen.predictors import leaving_out, trainings

    path = trainings.SHIPPED if source == "transfer" else Path(source)
    each = leaving_out.left_out(trainings.read(path), seed, n_labels, repeats)
    whole = leaving_out.summary(each)
    if json_:
        dump({"source": source, "n_labels": n_labels, "left_out": whole, "sets": each})
        return
    rows = [
        [row["left_out"] if i == 0 else "", str(row["n"]) if i == 0 else "", name,
         *(NOTHING if scores[s] is None else f"{scores[s]:.3f}" for s in leaving_out.SCORES)]
        for row in whole
        for i, (name, scores) in enumerate(row["predictors"].items())
    ]  # fmt: skip
    table_of(
        f"{source}: each known image set left out with all that comes from it, {n_labels} labels "
        "of its own, networks compared at equal training time",
        ["left out", "networks", "predictor", "Kendall tau", "at similar cost", "best tenth",
         f"worse than the chosen of {leaving_out.N_OFFERED}"],
        rows,
    )  # fmt: skip


def _cell(scores: Any, name: str) -> str:
    if scores is None or scores[name] is None:
        return NOTHING
    return within(scores[name]["mean"], scores[name]["sd"], 3)


@command
def dataset(
    run: RunPath,
    out: Annotated[
        Path | None,
        typer.Option(help="File to write: .csv, .csv.gz or .parquet (default: RUN.csv)."),
    ] = None,
    plugin: Plugins = None,
    data: DataNow = None,
    ledger: LedgerNow = None,
    json_: Json = False,
) -> None:
    """Write the features and results of a run's networks to a table."""
    from nasgen.bench.labels import of_run, write
    from nasgen.runs.session import load

    found = load(run, plugin or (), data, ledger, said)
    path = out if out is not None else Path(f"{found.name}.csv")
    n = write(of_run(found), path)
    dump({"dataset": str(path), "rows": n}) if json_ else print(f"{path}: {n} networks")
