"""Trains networks of the paper's space (Stier 2021, 4.4), as many as are wanted, bit by bit.

    python benchmarks/paper_space.py collect --seeds 0 1 2 3 --minutes 60
    python benchmarks/paper_space.py add OTHER.csv.gz

The table is nasgen/papers/stier2021-space.csv.gz, a row a network, with seed, machine and commit.
`nasgen reproduce stier2021-nas` takes it instead of training once it has 1,000 networks; the paper
has 2,472. `collect` adds to it and may be ended at any time. A seed is a genetic search of the
preset `stier2021` over 120 networks, at the scale "quick" of the reproduction: one epoch over 4,000
images of CIFAR-10. A search that was ended goes on from its folder in --runs, which is removed when
the search is over; where the folder is gone, the rows stay and the seed is left as it is. Several
sessions take different seeds, and `add` brings their tables together. One training at a time on one
thread, at the lowest priority, unless --workers says more.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from provenance import ROOT, short, stamp

from nasgen.bench import labels
from nasgen.bench.labels import Labelled
from nasgen.errors import NasgenError
from nasgen.papers import PRESETS, kept, preset, stier2021_nas
from nasgen.papers.base import DATA, finished
from nasgen.runs import reading
from nasgen.runs.results import Run
from nasgen.settings.config import read_toml
from nasgen.store.rows import Row

FOLDER = Path(os.environ.get(DATA, str(ROOT.parent / "shared" / "data")))
NETWORKS = 120  # of a seed: the budget of the preset
SEEDS = range(21)  # 2,520 networks, a few more than the paper has
SCALE = replace(stier2021_nas.SCALES[stier2021_nas.KEPT_SCALE], networks=NETWORKS)
TABLE = PRESETS / f"{kept.LARGER[stier2021_nas.PAPER]}.csv.gz"
LOWEST = 19  # priority


class OutOfTimeError(Exception):
    """The minutes are over; what is trained is kept."""


def collect(given: argparse.Namespace, overrides: Sequence[dict[str, Any]] = ()) -> None:
    """Train networks of the seeds until all are complete or the minutes are over."""
    deadline = time.monotonic() + 60 * given.minutes
    own = {"execution": {"workers": given.workers, "threads_per_trial": 1}}
    for seed in given.seeds:
        folder = given.runs / f"seed{seed}"
        if not folder.exists() and (n := len(rows_of(given.table, seed))):
            say(f"seed {seed}: {n} networks are in the table already")
            continue
        if time.monotonic() >= deadline:
            break
        is_over = searched(given, seed, folder, deadline, (own, *overrides))
        added = keep(given, seed, folder)
        say(f"seed {seed}: {added} networks added, {'complete' if is_over else 'to be continued'}")
        if is_over:
            shutil.rmtree(folder)


def searched(
    given: argparse.Namespace, seed: int, folder: Path, deadline: float, overrides: Sequence[Any]
) -> bool:
    """Begin the search of a seed or go on with it; return whether it is over."""

    def end(event: str, data: Any) -> None:
        if event == "told" and time.monotonic() >= deadline:
            raise OutOfTimeError

    try:
        finished(folder, stier2021_nas.tables(SCALE, given.source, seed), overrides, (end,))
    except (OutOfTimeError, KeyboardInterrupt) as error:
        if isinstance(error, KeyboardInterrupt):
            keep(given, seed, folder)
            raise
        return False
    return True


def keep(given: argparse.Namespace, seed: int, folder: Path) -> int:
    """Add to the table what a search has trained and the table lacks; return how many."""
    if not (folder / "run.json").exists():
        return 0
    run = Run.open(folder)
    if not any(t.state == "COMPLETE" for t in run.trials):
        return 0
    found = labels.of_run(run, stier2021_nas.FEATURES)
    known = {row["trial"] for row in rows_of(given.table, seed)}
    now = stamp()
    about: Row = {
        "seed": seed, "data": short(given.source), **now["machine"], "commit": now["commit"],
        "measured": now["measured"],
    }  # fmt: skip
    new = [i for i, row in enumerate(found.rows) if str(row["trial"]) not in known]
    return merge(given.table, only(found, new, about)) if new else 0


def merge(table: Path, *parts: Labelled) -> int:
    """Add networks that a table has not, and return how many; the file is replaced as a whole."""
    every = [labels.of_file(table), *parts] if table.is_file() else [*parts]
    found = labels.together(every)
    first = {key: i for i, key in reversed(list(enumerate(found.keys)))}
    found = only(found, sorted(first.values()))
    before = len(every[0].y) if table.is_file() else 0
    other = table.with_name(f"new-{table.name}")
    labels.write(found, other)
    other.replace(table)
    return len(found.y) - before


def only(found: Labelled, places: Sequence[int], more: Row | None = None) -> Labelled:
    """Return the networks at these places, their rows with `more`."""
    at = list(places)
    return Labelled(
        found.X[at],
        found.y[at],
        found.names,
        tuple(found.keys[i] for i in at),
        tuple({**(more or {}), **found.rows[i]} for i in at),
        None if found.size is None else found.size[at],
    )


def rows_of(table: Path, seed: int) -> list[Row]:
    """Return the rows of a seed."""
    if not table.is_file():
        return []
    return [dict(row) for row in labels.of_file(table).rows if row["seed"] == str(seed)]


def add(given: argparse.Namespace) -> None:
    """Add the networks of other tables of the paper's space."""
    space = reading.resolved(read_toml(preset(stier2021_nas.PRESET))).space
    for path in given.others:
        other = labels.of_file(path, stier2021_nas.FEATURES)
        labels.check_space(path, other, space, f"preset '{stier2021_nas.PRESET}'")
        say(f"{path}: {merge(given.table, other)} networks added")


def say(text: str) -> None:
    """Print a line at once."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Collect networks, or add those of other tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("collect", help="train networks, a row each")
    command.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    command.add_argument("--minutes", type=float, default=math.inf, help="default: no end")
    command.add_argument("--workers", type=int, default=1)
    command.add_argument("--source", default=f"cifar10:{FOLDER / 'cifar-10-batches-bin'}")
    command.add_argument(
        "--runs", type=Path, default=ROOT / "runs" / "paper-space", help="folder of the searches"
    )
    command.add_argument("--table", type=Path, default=TABLE)
    command = commands.add_parser("add", help="add the networks of other such tables")
    command.add_argument("others", type=Path, nargs="+")
    command.add_argument("--table", type=Path, default=TABLE)
    given = parser.parse_args()
    try:
        if given.command == "add":
            add(given)
        else:
            os.nice(LOWEST)
            collect(given)
        if given.table.is_file():
            print(f"{given.table}: {labels.n_rows(given.table):,} networks")
    except NasgenError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
