"""The figures of the README: one row an arm and seed in docs/results/searches.jsonl, resumable.

    python benchmarks/figures.py demo --seeds 0 1 2 3 4
    python benchmarks/figures.py cifar10-20m fashion-10m --seeds 0
    python benchmarks/figures.py --table          # writes the table into README.md

Rows that are there are not run again. Nothing else should use the cores meanwhile.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
ROWS = ROOT / "docs" / "results" / "searches.jsonl"
DATA = Path(os.environ.get("NASGEN_DATA", ROOT.parent / "shared" / "data"))
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"

# Arm -> (what it is, the search command with DATA for the folder of images).
ARMS = {
    "demo": ("digits, 8x8", ["--preset", "demo"]),
    "cifar10-20m": (
        "CIFAR-10 in 20 minutes",
        ["--data", "cifar10:DATA/cifar-10-batches-bin", "--budget", "20m"],
    ),
    "fashion-10m": (
        "Fashion-MNIST in 10 minutes",
        ["--data", "mnist:DATA/fashion-mnist", "--budget", "10m"],
    ),
}


def rows() -> list[dict[str, Any]]:
    """Return the measured rows."""
    return [json.loads(line) for line in ROWS.read_text().splitlines()] if ROWS.exists() else []


def measure(arm: str, seed: int, runs: Path) -> dict[str, Any]:
    """Run one search from the command line, its folder under `runs`, and return its row."""
    arguments = ["search", *ARMS[arm][1], "--seed", str(seed), "--json"]
    folder = runs / f"{arm}-{seed}"
    command = [a.replace("DATA", str(DATA)) for a in arguments]
    done = subprocess.run(
        [sys.executable, "-m", "nasgen", *command, "--quiet", "--out", str(folder)],
        stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    summary = json.loads(done.stdout.splitlines()[-1])
    record = json.loads((folder / "run.json").read_text())
    machine = {k: record["machine"][k] for k in ("processor", "cores")}
    del summary["run"]
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT
    ).stdout.strip()
    return {
        "arm": arm,
        "seed": seed,
        "commit": commit,
        "command": "nasgen " + " ".join(arguments),
        "measured": record["created"],
        "machine": machine,
        "versions": record["versions"],
        **summary,
    }


def table() -> str:
    """Return the README's table: medians over seeds, test accuracy in percent."""
    lines = [
        "| search | seeds | best network, test | ensemble, test | parameters | trials | wall |",
        "|---|---|---|---|---|---|---|",
    ]
    commands = []
    for arm, (title, _) in ARMS.items():
        found = [r for r in rows() if r["arm"] == arm]
        if not found:
            continue
        best = 100 * statistics.median(r["best"]["test_accuracy"] for r in found)
        ensemble = 100 * statistics.median(r["ensemble"]["test_accuracy"] for r in found)
        params = statistics.median(r["best"]["n_params"] for r in found) / 1000
        trials = statistics.median(sum(r["trials"].values()) for r in found)
        wall = statistics.median(r["wall_s"] for r in found)
        lines.append(
            f"| {title} | {len(found)} | {best:.2f} % | {ensemble:.2f} % | {params:.0f} k | "
            f"{trials:.0f} | {wall:.0f} s |"
        )
        commands.append(f"`{found[0]['command']}`")
    machines = {f"{r['machine']['cores']} cores, {r['machine']['processor']}" for r in rows()}
    note = (
        f"Medians over seeds; {'; '.join(sorted(machines))}. Each row is "
        f"`python benchmarks/figures.py ARM --seeds ...`, that is {', '.join(commands)}; the raw "
        "rows stand in `docs/results/searches.jsonl`. Networks and ensembles are chosen on "
        "validation images, test images are used once."
    )
    return "\n".join([*lines, "", note])


def write_table() -> None:
    """Put the table between the marks in README.md."""
    readme = ROOT / "README.md"
    before, rest = readme.read_text().split(BEGIN)
    readme.write_text(f"{before}{BEGIN}\n{table()}\n{END}{rest.split(END)[1]}")


def main() -> None:
    """Measure what is missing, or write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("arms", nargs="*", choices=[*ARMS, []])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--runs", type=Path, help="keep the run folders here")
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for arm, seed in itertools.product(given.arms, given.seeds):
            if any(r["arm"] == arm and r["seed"] == seed for r in rows()):
                print(f"{arm}, seed {seed}: there already")
                continue
            row = measure(arm, seed, given.runs or Path(scratch))
            ROWS.parent.mkdir(parents=True, exist_ok=True)
            with ROWS.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(json.dumps(row))
    if given.table:
        write_table()


if __name__ == "__main__":
    main()
