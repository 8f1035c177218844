"""search, resume, train: commands that make networks."""

from __future__ import annotations

import faulthandler
import math
import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import reduce
from pathlib import Path
from typing import Annotated, Any

import typer

from nasgen.cli.app import (
    EXIT_BUG,
    EXIT_NOTHING,
    EXIT_USER,
    DataNow,
    Json,
    LedgerNow,
    Plugins,
    RunPath,
    Threads,
    Trials,
    command,
    console_of,
    one_trial,
    said,
    seconds_of,
    table_of,
    threads_of,
)
from nasgen.cli.output import apart, dump

LAST_RESORT_S = 5.0  # after the time budget and its grace


@command
def search(
    config: Annotated[
        Path | None,
        typer.Argument(metavar="CONFIG.toml", help="Settings; `nasgen new` writes a file."),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="Preset to start from; see `nasgen list presets`.")
    ] = None,
    space: Annotated[
        str | None, typer.Option(help="Search space; see `nasgen list search_spaces`.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Data set: digits (default), mnist:DIR, cifar10:DIR, folder:DIR, npz:FILE, "
            "'csv:FILE?target=COLUMN', ..."
        ),
    ] = None,
    algorithm: Annotated[
        str | None,
        typer.Option(
            help="lineage (default with a time budget), genetic (otherwise), random, ...; see "
            "`nasgen list algorithms`."
        ),
    ] = None,
    trials: Annotated[int | None, typer.Option(help="Total number of networks to train.")] = None,
    budget: Annotated[str | None, typer.Option(help="Wall time in total: 90s, 10m, 1h.")] = None,
    seed: Annotated[int | None, typer.Option(help="Random seed (default: 0).")] = None,
    workers: Annotated[
        int | None, typer.Option(help="Worker processes (default: one per core; one with a GPU).")
    ] = None,
    threads: Annotated[
        str | None,
        typer.Option(
            metavar="N|auto",
            help="CPU threads of each training; auto (default): 1, and for the networks that are "
            "trained last as many as are fastest.",
        ),
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto (default), cpu, cuda or cuda:N.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Run folder to create (default: a new one in runs/).")
    ] = None,
    plugin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE|MODULE",
            help="Python file or module that registers operators, layers, ...; may be repeated.",
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="SECTION.KEY=VALUE",
            help="Override any setting, such as 'objectives.constraint=n_params < 200k'; 'KEY=' "
            "takes back what a preset sets. `nasgen new` lists all settings. May be repeated.",
        ),
    ] = None,
    json_: Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
) -> None:
    """Search for networks: evolve and train them, build an ensemble, write a report."""
    began = time.monotonic()
    from nasgen import papers
    from nasgen.errors import ConfigError
    from nasgen.runs.segments import more_plugins
    from nasgen.runs.session import run
    from nasgen.runs.trust import check_config
    from nasgen.settings.config import assignments, merge, read_toml

    tables: dict[str, Any] = {}
    if preset is not None:
        tables = read_toml(papers.preset(preset))
    presets, read = tables, dict[str, Any]()
    if config is not None:
        read = read_toml(config)
        check_config(config, read, plugin or ())
        tables = merge(tables, read)
    flags: dict[str, Any] = {}
    for path, given in {
        "space.name": space,
        "data.source": data,
        "algorithm.name": algorithm,
        "budget.trials": trials,
        "budget.time": budget,
        "execution.workers": workers,
        "execution.threads_per_trial": None if threads is None else threads_of(threads) or 1,
        "execution.device": device,
    }.items():
        if given is not None:
            section, key = path.split(".")
            flags.setdefault(section, {})[key] = given
    if seed is not None:
        flags["seed"] = seed
    own = tables.get("plugins", {})
    if plugin and isinstance(own, Mapping) and all(isinstance(v, list) for v in own.values()):
        flags["plugins"] = more_plugins(tables, (), plugin)  # else what is wrong is said below
    where = str(config) if config is not None else "settings"
    overrides = [flags, assignments(set_ or [])]
    if preset is not None:
        presets = _without_strangers(presets, [read, *overrides])
        tables = merge(presets, read)

    def start(listeners: tuple[Any, ...]) -> Any:
        return run(
            tables, out=out, overrides=overrides, listeners=listeners, where=where, began=began
        )

    try:
        run_search(start, json_, quiet)
    except ConfigError as error:
        others = [read, *overrides]
        raise ConfigError(_blaming(p, preset, presets, others) for p in error.problems) from None


def _without_strangers(
    tables: Mapping[str, Any], later: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return a preset's tables without options of members in whose place others are named.

    `--preset synthesis --set environment.name=factor` leaves out what only `rank` takes. Members of
    plug-ins count: they are loaded, and what is wrong with them is said when the config is read.
    """
    from nasgen.registry import plugins
    from nasgen.settings.config import merge

    merged = reduce(merge, later, dict(tables))
    section = merged.get("plugins", {})
    lists = section if isinstance(section, Mapping) else {}
    files, modules = (lists.get(key, []) for key in ("files", "modules"))
    if not isinstance(files, list | tuple) or not isinstance(modules, list | tuple):
        return dict(tables)
    with plugins.Scope(map(str, files), map(str, modules)).load([]).active():
        return _without_options_of_others(tables, later)


def _without_options_of_others(
    tables: Mapping[str, Any], later: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    from nasgen import registry

    found = dict(tables)
    for group, section in registry.CONFIGURED.items():
        first, *others = [t.get(section) for t in (tables, *later)]
        named = [
            table["name"] for table in others if isinstance(table, Mapping) and "name" in table
        ]
        if not isinstance(first, Mapping) or "name" not in first or not named:
            continue
        names = (first["name"], named[-1])
        if all(isinstance(name, str) and registry.known(group, name) for name in names):
            old, new = (registry.options_of(registry.resolve(group, name)) for name in names)
            strange = set(old) - set(new)
            found[section] = {k: v for k, v in first.items() if k not in strange}
    return found


def _blaming(
    problem: str,
    preset: str | None,
    tables: Mapping[str, Any],
    later: Sequence[Mapping[str, Any]],
) -> str:
    """Return a problem with a setting, and whether it comes from the preset alone."""
    found = re.search(r"(\w+)\.(\w+)(?::|' is no setting)", problem)
    if found is None or found[2] not in tables.get(found[1], {}):
        return problem
    if any(found[2] in others.get(found[1], {}) for others in later):
        return problem
    is_other = found[0].endswith(":")  # else no value would be right
    change = f"; change it by --set {found[1]}.{found[2]}=..." if is_other else "."
    return f"{problem} The preset '{preset}' sets it{change}"


@command
def resume(
    run: RunPath,
    trials: Trials = None,
    budget: Annotated[str | None, typer.Option(help="Additional wall time: 90s, 10m, 1h.")] = None,
    workers: Annotated[
        int | None, typer.Option(help="Worker processes (default: as before).", min=1)
    ] = None,
    threads: Annotated[
        str | None,
        typer.Option(
            metavar="N|auto", help="CPU threads of each training; auto (default): as before."
        ),
    ] = None,
    plugin: Plugins = None,
    data: DataNow = None,
    ledger: LedgerNow = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify", help="First make all recorded networks again, and say what differs."
        ),
    ] = False,
    json_: Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
) -> None:
    """Continue an interrupted run, or give a finished run more networks or more time."""
    began = time.monotonic()
    from nasgen.errors import ConfigError, typed
    from nasgen.runs.paths import run_and_trial
    from nasgen.runs.session import resume as continue_run

    time_s = seconds_of("--budget", budget)
    named: dict[str, Any] = {"plugins": plugin or (), "data": data, "ledger": ledger}
    is_more = trials is not None or budget is not None
    run, trial = run_and_trial(run)
    if trial:
        raise ConfigError(
            f"{run}:{trial}: a run goes on as a whole; leave ':{trial}' out, or train that network "
            f"alone: {typed('train', f'{run}:{trial}')}."
        )
    if verify and _is_verified_alone(run, named, is_more, json_):
        return
    run_search(
        lambda listeners: continue_run(
            run,
            trials=trials,
            time_s=time_s,
            workers=workers,
            threads=threads_of(threads),
            listeners=listeners,
            say=said,
            began=began,
            **named,
        ),
        json_,
        quiet,
    )


def _is_verified_alone(run: Path, named: Mapping[str, Any], more: bool, json_: bool) -> bool:
    """Verify a run, and tell whether nothing is left to do; exit if something differs."""
    from nasgen.runs.session import load, verify

    differences = verify(run, say=said, **named)
    for difference in differences:
        dump(asdict(difference)) if json_ else print(difference)
    n, n_gone = sum(not d.is_gone for d in differences), sum(d.is_gone for d in differences)
    if n:
        print(
            f"{n} recorded network{'' if n == 1 else 's'} would differ if made again; not resumed.",
            file=sys.stderr,
        )
        raise typer.Exit(EXIT_USER)
    ledger = named["ledger"]
    trials = [t for t in load(run, ledger=ledger).trials if t.phase == "search"]
    n_old = sum(t.number is None for t in trials)
    print(
        f"{len(trials) - n_old - n_gone} recorded networks are made again as they are"
        + (f"; {n_old} of an older format cannot be made again" if n_old else "")
        + (f"; {n_gone} cannot be made again, because what made them is gone." if n_gone else "."),
        file=sys.stderr,
    )
    record = load(run).record
    return not more and record["legs"][-1]["done"] and record["summary"] is not None


def run_search(start: Callable[[tuple[Any, ...]], Any], json_: bool, quiet: bool) -> None:
    from nasgen.errors import typed

    finished = run_watched(start, quiet)
    summary = finished.summary
    if json_:
        dump(summary)
    else:
        print_summary(summary, finished)
    if summary["best"] is None:
        nearest = summary.get("nearest")
        history = typed("show", summary["run"], "--history")
        why = nearest["message"] if nearest else f"no trial completed; {history} says why."
        print(f"error: {why}", file=sys.stderr)
        raise typer.Exit(EXIT_NOTHING)


def run_watched(start: Callable[[tuple[Any, ...]], Any], quiet: bool) -> Any:
    """Return the finished run of a search that `start` begins, shown while it goes on."""
    from contextlib import nullcontext

    from nasgen.errors import typed
    from nasgen.runs.progress import listener

    console = console_of(stderr=True)
    view = None if quiet else listener(console)
    path: list[Path] = []

    def remember(event: str, data: Mapping[str, Any]) -> None:
        if event == "run":
            path.append(data["path"])
            if data["time_s"] is not None:
                grace_s = data["resolved"].config.execution.grace
                seconds = data["time_s"] + grace_s + LAST_RESORT_S
                faulthandler.dump_traceback_later(seconds, exit=True, file=2)
        elif event == "start" and not math.isinf(ends_in_s := data["search"].budget.ends_in_s):
            # The last resort: code that never lets Python run again; its place is printed.
            faulthandler.dump_traceback_later(ends_in_s + LAST_RESORT_S, exit=True, file=2)
        elif event == "end":
            faulthandler.cancel_dump_traceback_later()
        elif event == "stuck":
            print(f"error: {data['text']}", file=sys.stderr, flush=True)
            os._exit(EXIT_BUG)  # from another thread: nothing else ends the one that is stuck

    listeners = (remember,) if view is None else (remember, view)
    try:
        with apart(), view or nullcontext():
            finished = start(listeners)
    except KeyboardInterrupt:
        where = f"; continue with {typed('resume', path[0])}" if path else ""
        print(f"Interrupted; all finished trials are saved{where}.", file=sys.stderr)
        raise
    finally:
        faulthandler.cancel_dump_traceback_later()
    return finished


def print_summary(summary: Mapping[str, Any], run: Any) -> None:
    from nasgen.report.gains import sentence
    from nasgen.report.numbers import change
    from nasgen.runs.progress import duration, plain, value

    rows, metric = [], run.task.metric
    best, ensemble = summary["best"], summary["ensemble"]
    if best is not None:
        names = (f"val_{metric}", f"test_{metric}", "n_params", "flops")
        figures = [value(name, best[name]) for name in names]
        rows.append([f"best network: trial {best['trial']}", *figures])
    if ensemble is not None:
        figures = [value(metric, ensemble[f"{part}_{metric}"]) for part in ("val", "test")]
        n = len(ensemble["members"])
        rows.append([f"ensemble of {n} network{'' if n == 1 else 's'}", *figures, "", ""])
    if rows:
        table_of("", ["", f"val_{metric}", f"test_{metric}", "params", "FLOPs"], rows)
    on, gap = ((ensemble or {}).get(key) for key in ("selected_on", "gap"))
    if on is not None and gap is not None:
        apart = plain(change(metric, gap))
        print(f"note:   {on['rows']} validation rows chose the ensemble; gap to test rows: {apart}")
    one = (best or {}).get(f"test_{metric}_one_view")
    if one is not None and (n := best.get("views", 1)) > 1:
        shown = value(metric, one)
        print(f"note:   test figures average {n} views of an image; best network with one: {shown}")
    if (row := summary.get("baseline")) is not None and run.trial(row["trial"]).is_baseline:
        figures = [value(metric, row[f"{part}_{metric}"]) for part in ("val", "test")]
        print(
            f"note:   baseline: trial {row['trial']}, a random network trained like a finalist: "
            f"val_{metric} {figures[0]}, test_{metric} {figures[1]}"
        )
    if summary.get("front"):
        order = [objective.name for objective in run.objectives]
        test = f"test_{metric}"
        table_of(
            "front",
            ["trial", *order, test],
            [
                [
                    row["trial"],
                    *(value(name, row["objectives"][name]) for name in order),
                    value(metric, row.get(test)),
                ]
                for row in summary["front"]
            ],
        )
    if summary.get("front_left_out"):
        more = f"{summary['front_left_out']} more on the front"
        print(f"note:   {more} were not trained longer; see finish.networks")
    if text := sentence(summary.get("evolution")):
        part = "finalists" if summary["evolution"]["phase"] == "finish" else "search"
        print(f"{part}: {plain(text)}")
    counts = ", ".join(f"{k} {state}" for state, k in summary["trials"].items() if k)
    print(f"trials: {counts or 'none'}; {duration(summary['wall_s'])}")
    if summary.get("ended_early"):
        print(f"note:   {summary['ended_early']}")
    if summary.get("infeasible"):
        print(f"infeasible: {summary['infeasible']} of the completed trials violate a constraint")
    print(f"run:    {summary['run']}")
    print(f"report: {run.report_path}")


@command
def train(
    run: RunPath,
    trial: Annotated[
        int | None, typer.Option(help="Number of the trial (default: the best).")
    ] = None,
    best: Annotated[
        bool, typer.Option("--best", help="Train the best trial (this is the default).")
    ] = False,
    epochs: Annotated[
        float | None,
        typer.Option(help="Epochs (default: 4 times those of the search).", min=1e-3),
    ] = None,
    with_validation: Annotated[
        bool, typer.Option("--with-validation", help="Train on the validation rows as well.")
    ] = False,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="training.KEY=VALUE",
            help="Override a training setting, for example one that `nasgen tune` found.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="New folder for the network; `ensemble`, `predict`, `export` read it."),
    ] = None,
    threads: Threads = None,
    plugin: Plugins = None,
    data: DataNow = None,
    ledger: LedgerNow = None,
    json_: Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
) -> None:
    """Train one network of a run again, longer than the search did, and test it.

    It begins anew; a pruned, mated or regrown network goes on from the weights that it has.
    """
    from nasgen.errors import ConfigError
    from nasgen.runs.progress import epochs as of_epochs
    from nasgen.runs.progress import value
    from nasgen.runs.session import load
    from nasgen.settings.config import assignments

    if trial is not None and best:
        raise ConfigError("--trial and --best exclude each other; give one of them.")
    console = console_of(stderr=True)

    def note(row: Mapping[str, Any]) -> None:
        if quiet:
            return
        text = f"{of_epochs(row)}, loss {row['train_loss']:.4f}"
        console.print(text, end="\r" if console.is_terminal else "\n", highlight=False)

    found = load(run, plugin or (), data, ledger, said, threads_of(threads))
    if best and found.named is not None:
        raise ConfigError(f"--best: {run} names a trial already; leave one of them out.")
    trial = one_trial(found, trial)
    if set_:
        found = found.with_recipe(assignments(set_))
    record, metric = found.train(trial, epochs, with_validation, note, out=out), found.task.metric
    if json_:
        dump(record)
        return
    if record["begins"] == "weights":
        print(f"trial {record['trial']} went on from the weights that it had")
    for part in ("val", "test"):
        print(f"{part} {metric}: {value(metric, record[f'{part}_{metric}'])}")
    print(f"weights: {record['weights']}")
    if out is not None:
        print(f"folder: {record['out']}")
