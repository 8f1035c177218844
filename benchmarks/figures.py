"""The figures of the documents: measured here, kept in docs/results/, written as tables.

    python benchmarks/figures.py demo --seeds 0 1 2 3 4     # searches: a row an arm and seed
    python benchmarks/figures.py engine features            # other commands: their output, stamped
    python benchmarks/figures.py --table                    # writes the tables of the documents

What is there is not run again; delete a row or a file to repeat it. `python benchmarks/NAME.py >
docs/results/NAME.json` is as good, but for commit and machine. Nothing else should use the cores
meanwhile.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import shlex
import statistics
import string
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import compared
import exports
import growing
import headlines
import one_parent
import paired
import ranked
import reproduced
import sparsity
import synthesised
import worth
from claims import REPRODUCED, TOOLS, documents, values
from line import Line
from provenance import RESULTS, ROOT, commit, modules, stamp

from nasgen import papers
from nasgen.settings.config import assignments, merge, parse, read_toml
from nasgen.settings.fidelity import n_cores
from nasgen.store.rows import Row, Rows

SEARCHES = "searches.jsonl"
README = ROOT / "README.md"
FIGURES = ROOT / "docs" / "figures.md"
WORTH = ROOT / "docs" / "is-it-worth-it.md"
ENSEMBLES = ROOT / "docs" / "ensembles.md"
TRAINING = ROOT / "docs" / "training.md"
BENCHMARKS = ROOT / "docs" / "benchmarks.md"
PREDICTORS = ROOT / "docs" / "predictors.md"
ESTIMATORS = ROOT / "docs" / "estimators.md"
PAPERS = ROOT / "docs" / "papers.md"
SYNTHESIS = ROOT / "docs" / "synthesis.md"
PRUNING = ROOT / "docs" / "pruning.md"
PRIORS = ROOT / "docs" / "priors.md"
GROWTH = ROOT / "docs" / "growth.md"
# Parts of these two: the commands whose lines they show.
TIMES = {"PRUNING": ("curvature", "lenet_pruned", "recurrent"), "PRIORS": ("abreast",)}
# Parts of documents that show lines with their goals: the document, the commands.
BESIDE = {
    "saving": ("PREDICTORS", ("less-training", "screened", "heredity")),
    "predictors": ("PREDICTORS", ("transfer",)),
    "trainer": ("TRAINING", ("trainer",)),
    "budget": ("TRAINING", ("budget-kept",)),
    "ensemble-costs": ("ENSEMBLES", ("selection",)),
    "paths": ("BENCHMARKS", tuple(compared.COMMANDS)),
    "low": ("BENCHMARKS", ("predictors-low",)),
    "zero-cost": ("BENCHMARKS", ("zero-cost",)),
    "paper-search": ("PAPERS", ("paper-search",)),
}
# Parts that have a table of their own: the document, the command whose rows it shows, and how.
SHOWN = {
    "ensembles": ("ENSEMBLES", "greedy", paired.table),
    "ensembles-beside": ("ENSEMBLES", "greedy", paired.beside_table),
    "exported": ("ENSEMBLES", "exported", exports.table),
    "ten-tables": ("ESTIMATORS", "ten-tables", ranked.table),
}
PLACES = {
    "DATA": os.environ.get("NASGEN_DATA", str(ROOT.parent / "shared" / "data")),
    "GOLEM": os.environ.get("GOLEM_PYTHON", sys.executable),
    "GROWN": os.environ.get("GROWN_RUN", "runs/cifar10-45m-growth-0"),
    "CORES": str(n_cores()),
}
CIFAR10 = ["--data", "cifar10:DATA/cifar-10-batches-bin"]
# Flags of a search -> the settings that they stand for.
FLAGS = {"--data": "data.source", "--budget": "budget.time", "--algorithm": "algorithm.name"}


@dataclass(frozen=True)
class Arm:
    """A search and its goals, all medians over seeds: test accuracies in %, wall time in s."""

    title: str
    arguments: list[str]
    best: float | None = None
    ensemble: float | None = None
    wall_s: float | None = None


ARMS = {
    "demo": Arm("digits, preset demo", ["--preset", "demo"], ensemble=98.5, wall_s=120),
    "fashion-10m": Arm(
        "Fashion-MNIST in 10 minutes",
        ["--data", "mnist:DATA/fashion-mnist", "--budget", "10m"],
        best=92, wall_s=630,
    ),
    "cifar10-20m": Arm(
        "CIFAR-10 in 20 minutes", [*CIFAR10, "--budget", "20m"], best=84, wall_s=1260
    ),
    "cifar10-45m-growth": Arm(
        "CIFAR-10 in 45 minutes, growth",
        [*CIFAR10, "--preset", "growth", "--budget", "45m"],
        best=85, ensemble=87, wall_s=2835,
    ),
    "cifar10-60m": Arm(
        "CIFAR-10 in an hour", [*CIFAR10, "--budget", "60m"], best=90, ensemble=91.5, wall_s=3780
    ),
    "cifar10-60m-random": Arm(
        "CIFAR-10 in an hour, random search",
        [*CIFAR10, "--budget", "60m", "--algorithm", "random"],
        wall_s=3780,
    ),
    # No search: one hand-made network, a whole learning-rate cycle, all cores.
    "cifar10-60m-fixed": Arm(
        "CIFAR-10 in an hour, ResNet-9 at a quarter of its width",
        [
            *CIFAR10, "--budget", "60m", "--algorithm", "fixed",
            "--set", "origin.network=resnet9",
            "--set", "training.seconds=58m", "--set", "training.epochs=1000",
            "--set", "finish.networks=0", "--set", "execution.threads_per_trial=CORES",
        ],
        wall_s=3780,
    ),
}  # fmt: skip


def placed(argument: str) -> str:
    """Return an argument with what its capitals stand for."""
    for name, value in PLACES.items():
        argument = argument.replace(name, value)
    return argument


def unplaced(text: str) -> str:
    """Return a command's output with the paths of this machine named as in `PLACES`."""
    for name in ("DATA", "GOLEM", "GROWN"):
        text = text.replace(PLACES[name], name)
    return text


def settings_of(arm: str) -> str:
    """Return the digest of all settings of a search, those of its preset and defaults included.

    Folders and cores of this machine do not count.
    """
    given, found, sets = ARMS[arm].arguments, dict[str, Any](), list[str]()
    for flag, value in zip(given[::2], given[1::2], strict=True):
        if flag == "--preset":
            found = read_toml(papers.preset(value))
        else:
            sets.append(f"{FLAGS[flag]}={value}" if flag in FLAGS else value.replace("CORES", "1"))
    settings = parse(merge(found, assignments(sets))).model_dump(mode="json")
    text = json.dumps(settings, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


def of_last_settings(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of the settings that were measured last; those of before had others."""
    return [row for row in rows if row.get("settings") == rows[-1].get("settings")]


def measure(arm: str, seed: int, runs: Path) -> Row:
    """Run one search from the command line, its folder under `runs`, and return its row."""
    arguments = ["search", *ARMS[arm].arguments, "--seed", str(seed), "--json"]
    folder = runs / f"{arm}-{seed}"
    began_with = commit()
    done = subprocess.run(
        [sys.executable, "-m", "nasgen", *map(placed, arguments), "--quiet", "--out", str(folder)],
        stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    summary = json.loads(done.stdout.splitlines()[-1])
    record = json.loads((folder / "run.json").read_text())
    del summary["run"]
    return {
        "commit": began_with,
        "command": "nasgen " + shlex.join(arguments),
        "measured": record["created"],
        "machine": {k: record["machine"][k] for k in ("processor", "cores")},
        "versions": record["versions"],
        **summary,
    }


def keep(name: str) -> None:
    """Run a command and keep its output with commit and machine; one that keeps rows just runs."""
    tool, file = TOOLS[name], RESULTS / f"{name}.json"
    if file.exists():
        print(f"{name}: there already")
        return
    start = {"nasgen": [sys.executable, "-m", "nasgen"], "python": [sys.executable]}
    program, *arguments = shlex.split(tool.command)
    done = subprocess.run(
        [*start[program], *map(placed, arguments)],
        stdout=None if tool.keeps_rows else subprocess.PIPE, text=True, check=True, cwd=ROOT,
        env=os.environ | {"PYTHONPATH": modules(), "NASGEN_DATA": PLACES["DATA"]},
    )  # fmt: skip
    if tool.keeps_rows:
        return
    result = {"command": tool.command, **stamp(), "output": values(unplaced(done.stdout))}
    RESULTS.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"{name}: {file}")


# ---- the table -----------------------------------------------------------------------------------


def search_lines(arm: str, found: list[Row]) -> Iterator[Line]:
    """Yield the medians over seeds of a search: accuracies on test images, wall time."""
    goals, seeds = ARMS[arm], len({row["seed"] for row in found})

    def percent(part: str) -> float:
        return 100 * statistics.median(row[part]["test_accuracy"] for row in found)

    def line(part: str, value: float, text: str, goal: float | None, sign: str, unit: str) -> Line:
        what = f"{goals.title}, seeds: {seeds}, {part}"
        if goal is None:
            return Line(what, text)
        return Line(
            what, text, f"{sign} {goal:g} {unit}", value >= goal if sign == "≥" else value <= goal
        )

    best, ensemble = percent("best"), percent("ensemble")
    params = statistics.median(row["best"]["n_params"] for row in found) / 1000
    untrained = ("filtered", "estimated")
    trials = statistics.median(
        sum(n for state, n in row["trials"].items() if state not in untrained) for row in found
    )
    wall = statistics.median(row["wall_s"] for row in found)
    yield line(
        "best network, test", best, f"{best:.2f} %, {params:.0f} k weights", goals.best, "≥", "%"
    )
    yield line("ensemble, test", ensemble, f"{ensemble:.2f} %", goals.ensemble, "≥", "%")
    yield line("wall time", wall, f"{wall:.0f} s, {trials:.0f} trials", goals.wall_s, "≤", "s")


def outputs(name: str) -> list[Any]:
    """Return what is kept of a command: its output, its rows, or nothing."""
    files = (RESULTS / f"{name}{ending}" for ending in (".json", ".jsonl"))
    return [found for file in files if file.exists() for found in documents(file)]


def lines() -> Iterator[tuple[Line, str, str]]:
    """Yield each line of the table with command and machines, for all that lies in docs/results."""
    file = RESULTS / SEARCHES
    rows = documents(file) if file.exists() else []
    known = all_machines()
    for arm in ARMS:
        if found := of_last_settings([row for row in rows if row["arm"] == arm]):
            for line in search_lines(arm, found):
                yield line, found[0]["command"], on(_machines_of(found), known)
    for name, tool in TOOLS.items():
        machines = on(_machines_of([row for row in stamped(name) if _counts(row)]), known)
        command = made_by(name) or tool.command
        yield from ((line, command, machines) for line in tool_lines(name))


def tool_lines(name: str) -> list[Line]:
    """Return the lines of a command; none where nothing is kept of it or it is unknown."""
    if name not in TOOLS or not (found := outputs(name)):
        return []
    tool = TOOLS[name]
    try:
        return list(tool.lines(found))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        sys.exit(
            f"{RESULTS / name}: expected what `{tool.command}` prints, but reading it failed "
            f"({type(error).__name__}: {error}). Delete it and measure again."
        )


def table() -> str:
    """Return the table of all figures, each command above what it measured, and notes."""
    text = ["| command, and what it measured | measured | goal | reached |", "|---|---|---|---|"]
    for (command, machines), group in itertools.groupby(lines(), key=lambda found: found[1:]):
        text.append(f"| `{command}` | {machines}| | |")
        text += (line.cells() for line, *_ in group)
    note = (
        "Intervals are 95 %. Searches are medians over the seeds that were run with the settings "
        "measured last; networks and ensembles are chosen on validation images, test images are "
        "used once. The raw output of each command stands in "
        "`docs/results/`; DATA stands for a folder of images, GOLEM for an interpreter, "
        "GROWN for the folder of a growth. "
        "`python benchmarks/figures.py --table` writes this table, missed goals included."
    )
    known = all_machines()
    machines = "; ".join(
        name if len(known) == 1 else f"{letter}: {name}"
        for letter, name in zip(string.ascii_uppercase, known, strict=False)
    )
    what = "Machine" if len(known) == 1 else "Machines"
    return "\n".join([*text, "", note + (f" {what}: {machines}." if machines else "")])


def stamped(name: str) -> list[Any]:
    """Return what is kept of a command as it lies there, with its stamps."""
    files = (RESULTS / f"{name}{ending}" for ending in (".json", ".jsonl"))
    return [row for file in files if file.exists() for row in values(file.read_text("utf-8"))]


def made_by(name: str) -> str:
    """Return the one command whose output is kept; "" where there are several, or none is named."""
    found = {row.get("command", "") for row in stamped(name) if isinstance(row, dict)}
    return found.pop() if len(found) == 1 else ""


def sources(names: Sequence[str]) -> list[str]:
    """Return a line for the figures of several commands: command, commits and machines of each."""
    found = []
    for name in names:
        rows = [row for row in stamped(name) if isinstance(row, dict)]
        commits = dict.fromkeys(row["commit"] for row in rows if "commit" in row)
        if commits:
            command, machines = made_by(name) or TOOLS[name].command, _machines_of(rows)
            found.append(f"`{command}` (commit {', '.join([*commits, *machines])})")
    return [f"Measured by {'; '.join(found)}."] if found else []


def _counts(row: Any) -> bool:
    """Tell whether a row is of the stage that documents report, where rows have stages."""
    return not isinstance(row, dict) or row.get("stage", worth.FINAL) == worth.FINAL


def _machines_of(found: Sequence[Any]) -> list[str]:
    machines = [row["machine"] for row in found if isinstance(row, dict) and "machine" in row]
    return sorted({f"{machine['cores']} cores, {machine['processor']}" for machine in machines})


def all_machines() -> list[str]:
    """Return the machines of all that lies in docs/results, in the order of their letters."""
    return _machines_of([row for file in RESULTS.glob("*.json*") for row in stamped(file.stem)])


def on(machines: Sequence[str], known: Sequence[str]) -> str:
    """Return the letters of machines; nothing when only one is known at all."""
    letters = [string.ascii_uppercase[known.index(name)] for name in machines]
    return f"on {', '.join(letters)} " if letters and len(known) > 1 else ""


def write_table() -> None:
    """Put all figures into their documents.

    All of them, those of papers, the headlines, whether a search pays.
    """
    _between(FIGURES, "figures", table())
    in_papers = dict.fromkeys(REPRODUCED, PAPERS)
    elsewhere = {name: globals()[document] for name, (_, document) in sparsity.REPRODUCED.items()}
    for name, document in (in_papers | elsewhere).items():
        stamp = next((row for row in stamped(name) if isinstance(row, dict)), None)
        text = reproduced.page(outputs(name), TOOLS[name].command, stamp)
        _between(document, name, text)
    for document, tools in TIMES.items():
        found = worth.as_table(line for tool in tools for line in tool_lines(tool))
        text = "\n\n".join([found, *sources(tools)])
        _between(globals()[document], "times", text)
    for name, text in worth.page(outputs("pays")).items():
        _between(WORTH, name, text)
    for name, (document, tools) in BESIDE.items():
        found = worth.as_table(line for tool in tools for line in tool_lines(tool))
        _between(globals()[document], name, "\n\n".join([found, *sources(tools)]))
    for name, (document, tool, shown) in SHOWN.items():
        _between(globals()[document], name, shown(outputs(tool)))
    _between(SYNTHESIS, "costs", worth.as_table(tool_lines("synthesis")))
    _between(SYNTHESIS, "modes", synthesised.modes(outputs("synthesis")))
    targets = [line for name in REPRODUCED for line in tool_lines(name)]
    _between(SYNTHESIS, "targets", worth.as_table(targets))
    _between(PAPERS, "one-parent", one_parent.table(outputs("one_parent")))
    _between(GROWTH, "growing", growing.table(outputs("growing")))
    _between(README, "headlines", headlines.table(line for line, *_ in lines()))


def _between(file: Path, name: str, text: str) -> None:
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, rest = file.read_text(encoding="utf-8").split(begin)
    file.write_text(f"{before}{begin}\n{text}\n{end}{rest.split(end)[1]}", encoding="utf-8")


def main() -> None:
    """Measure what is missing, or write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join([*ARMS, *TOOLS])}")
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0], help="random seeds of searches (default: 0)"
    )
    parser.add_argument("--runs", type=Path, help="folder in which the run folders are kept")
    parser.add_argument("--table", action="store_true", help="write the tables of the documents")
    given = parser.parse_args()
    if unknown := [name for name in given.names if name not in ARMS and name not in TOOLS]:
        parser.error(f"expected some of {', '.join([*ARMS, *TOOLS])}, got {', '.join(unknown)}")
    rows = Rows.open(RESULTS / SEARCHES, ("arm", "seed", "settings"))
    searches = [name for name in given.names if name in ARMS]
    with tempfile.TemporaryDirectory() as scratch:
        for arm, seed in itertools.product(searches, given.seeds):
            row = rows.measured(
                lambda arm=arm, seed=seed: measure(arm, seed, given.runs or Path(scratch)),
                arm=arm, seed=seed, settings=settings_of(arm),
            )  # fmt: skip
            print(json.dumps(row), flush=True)
    for name in given.names:
        if name in TOOLS:
            keep(name)
    if given.table:
        write_table()


if __name__ == "__main__":
    main()
