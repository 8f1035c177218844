"""How well a time budget is kept, on an idle machine and on a busy one.

    python benchmarks/budget_kept.py --data cifar10:DIR --budget 2m

Busy processes, as many as are named, compute beside the search: from its start, or ("late") from
half of the budget on. The wall time is that of the whole command, the start of Python included. One
row goes to docs/results/budget-kept.jsonl for each case; what stands there is not run again.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from line import Line
from provenance import RESULTS, short, stamp

from nasgen.settings.fidelity import n_cores
from nasgen.settings.sections import seconds
from nasgen.store.rows import Row, Rows

CASES = {"idle": (0, 0.0), "busy": (1, 0.0), "late": (1, 0.5)}  # processes a core, when they begin
SAID = {
    "idle": "nothing else on the cores",
    "busy": "another process a core",
    "late": "another process a core from half of the time on",
}
WITHIN = 0.05  # of the budget


def _burn() -> None:
    while True:
        sum(i * i for i in range(100_000))


@contextmanager
def busy(n: int, after_s: float) -> Iterator[None]:
    """Let `n` processes compute inside, from `after_s` seconds on."""
    burning = [multiprocessing.Process(target=_burn, daemon=True) for _ in range(n)]
    timer = threading.Timer(after_s, lambda: [process.start() for process in burning])
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        for process in burning:
            if process.pid is not None:
                process.kill()


def kept(case: str, given: argparse.Namespace, seed: int) -> Row:
    """Run one search and return what the row holds besides its key."""
    n_a_core, share = CASES[case]
    budget_s = float(seconds(given.budget))
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, "-m", "nasgen", "search", "--data", given.data, "--seed", str(seed),
            "--budget", given.budget, "--out", f"{folder}/run", "--quiet", "--json",
        ]  # fmt: skip
        began = time.monotonic()
        with busy(n_a_core * (n_cores()), share * budget_s):
            printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        wall_s = time.monotonic() - began
        summary = json.loads(printed)
    return {
        "wall_s": round(wall_s, 2),
        "over": round(wall_s / budget_s - 1, 4),
        "best": summary["best"],
        "trials": summary["trials"],
        "plan": summary.get("plan"),
    } | stamp()


def lines(rows: Sequence[Row]) -> Iterator[Line]:
    """Yield the wall time of each search beside its budget."""
    for row in rows:
        over = row["over"]
        yield Line(
            f"`nasgen search` with {row['budget']} of {row['data']}, {SAID[row['case']]}, seed "
            f"{row['seed']}: wall time of the command",
            f"{row['wall_s']:.1f} s ({100 * over:+.1f} %)",
            f"within {100 * WITHIN:.0f} %",
            abs(over) <= WITHIN,
        )


def main() -> None:
    """Run what is missing, print the rows as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", default="digits", help="such as cifar10:DIR")
    parser.add_argument("--budget", default="1m")
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--out", type=Path, default=RESULTS / "budget-kept.jsonl")
    given = parser.parse_args()
    rows = Rows.open(given.out, ("data", "budget", "case", "seed"))
    for seed in given.seeds:
        for case in given.cases:
            row = rows.measured(
                lambda case=case, seed=seed: kept(case, given, seed),
                data=short(given.data), budget=given.budget, case=case, seed=seed,
            )  # fmt: skip
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
