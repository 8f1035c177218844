"""Runs campaigns and prints their counts: python -m tests.campaigns [kills] [inputs] [writes].

Each batch is a process and a row of docs/results/campaigns.jsonl. What was run on this code already
is left out, so that a campaign can be stopped and gone on with. Ends with 1 if there is any fault.

    python -m tests.campaigns --again inputs csv 3 17    one input again, with its traceback
    python -m tests.campaigns --table                    the counts so far
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.campaigns import inputs, kills, writes
from tests.campaigns.parts import generator, made
from tests.campaigns.rows import ROOT, Rows, n_faults, table

NAMES = ("kills", "inputs", "writes")


def units(name: str, scale: float) -> Iterator[tuple[str, int]]:
    """Give (part, batch) of a campaign; a scale of 2 does everything twice, with other seeds."""
    if name == "inputs":
        yield from inputs.batches(scale)
    elif name == "kills":
        for number in range(max(1, round(scale * kills.N_BATCHES))):
            for algorithm in kills.ALGORITHMS:
                yield algorithm, number
    else:  # there are no more writes than these
        for part in (*writes.PARTS, writes.LIMITED):
            for number in range(writes.N_BATCHES):
                yield part, number


def run(name: str, part: str, number: int) -> dict[str, Any]:
    """Run a batch in this process and return its counts."""
    if name == "inputs":
        return inputs.supervised(part, number)
    return kills.batch(part, number) if name == "kills" else writes.batch(part, number)


def in_process(name: str, part: str, number: int) -> dict[str, Any]:
    """Run a batch in a process of its own."""
    command = [sys.executable, "-m", "tests.campaigns", "--one", name, part, str(number)]
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=env, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def again(part: str, batch: int, number: int) -> None:
    """Read one input as the campaign did, and let its error through."""
    with tempfile.TemporaryDirectory(prefix="campaign-") as folder, made(part, Path(folder)) as own:
        own.draw(generator(part, batch, number))()
    print("accepted")


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.campaigns", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("campaigns", nargs="*", metavar="CAMPAIGN", help=", ".join(NAMES))
    parser.add_argument("--scale", type=float, default=1.0, help="length of kills and inputs")
    parser.add_argument("--jobs", type=int, default=1, help="batches at a time")
    parser.add_argument("--results", type=Path, default=Rows().path, help="file of the rows")
    parser.add_argument("--table", action="store_true", help="print the counts of all rows")
    parser.add_argument("--again", nargs=4, metavar=("inputs", "PART", "BATCH", "NUMBER"))
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if wrong := set(given.campaigns) - set(NAMES):
        parser.error(f"expected {', '.join(NAMES)}, got {', '.join(sorted(wrong))}")
    if given.again:
        again(given.again[1], int(given.again[2]), int(given.again[3]))
        return 0
    if given.one:
        name, part, number = given.one
        print(json.dumps(run(name, part, int(number))))
        return 0
    rows = Rows(given.results)
    if not given.table:
        todo = [
            (name, part, number)
            for name in given.campaigns or NAMES
            for part, number in units(name, given.scale)
            if not rows.has(name, part, number)
        ]
        with ThreadPoolExecutor(given.jobs) as pool:
            for unit, found in zip(todo, pool.map(lambda u: in_process(*u), todo), strict=True):
                rows.add(*unit, found)
                print(*unit, json.dumps(found), flush=True)
    print("\n".join(table(rows.current())))
    return 1 if any(n_faults(row) for row in rows.current()) else 0


if __name__ == "__main__":
    sys.exit(main())
