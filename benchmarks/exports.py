"""What `ensembles.py` has measured: choosing an ensemble, exported ensembles, ONNX Runtime.

Times of the same call in turns, the least of many; a ratio below 1 says that the first takes less.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from line import Line

Row = dict[str, Any]
MOST_S, MOST_GB = 5.0, 2.0  # to choose an ensemble, and of memory for it
GIB: Final = 2**30 / 1e9  # GB
SIZE: Final = ("members", "rows", "classes", "best_accuracy", "peak_gib")  # keys that are no method


def selection(found: Sequence[Row]) -> Iterator[Line]:
    """Yield seconds of each method and the memory of all, beside their goals."""
    for row in found:
        of = f"{row['members']} networks, {row['rows']:,} rows, {row.get('classes', 100)} classes"
        for name, took in row.items():
            if name not in SIZE:
                yield Line(
                    f"choosing an ensemble by {name}: {of}", f"{took['seconds']:.2f} s",
                    f"< {MOST_S:g} s", took["seconds"] < MOST_S,
                )  # fmt: skip
        peak = row["peak_gib"] * GIB
        yield Line(
            f"most memory of that process: {of}", f"{peak:.2f} GB", f"< {MOST_GB:g} GB",
            peak < MOST_GB,
        )  # fmt: skip


def lines(rows: Sequence[Row]) -> Iterator[Line]:
    """Yield each ratio of times: one line a network, number of threads and rows at once."""
    for row in sorted(rows, key=lambda row: (row["figure"], row["threads"])):
        threads = f"{row['threads']} thread{'s' * (row['threads'] != 1)}"
        for n, ratio in row["ratio"].items():
            at_once = f"{n} row{'s' * (n != '1')} at once, {threads}"
            if row["figure"] == "exported":
                yield Line(
                    f"exported ensemble of five beside its members one after another, "
                    f"{row['network']}: time for {at_once}",
                    f"{ratio:.2f} × ({written(row['units'])})", "≤ 1 ×", ratio <= 1,
                )  # fmt: skip
            else:
                yield Line(
                    f"ONNX Runtime beside torch, best network of {row['network']}: time for "
                    f"{at_once}",
                    f"{ratio:.2f} × ({row['onnxruntime_ms'][n]:.3g} ms)",
                )  # fmt: skip


def table(rows: Sequence[Row]) -> str:
    """Return the ratios of exported ensembles, a line a network, then what ONNX Runtime takes."""
    own = [row for row in rows if row["figure"] == "exported"]
    if not own:
        return "Nothing was measured yet."
    cases = sorted({(row["threads"], int(n)) for row in own for n in row["ratio"]})
    heads = [f"{n} row{'s' * (n != 1)}, {t} thread{'s' * (t != 1)}" for t, n in cases]
    text = [f"| networks | computed | {' | '.join(heads)} |", "|---|---|" + "---|" * len(heads)]
    for network in dict.fromkeys(row["network"] for row in own):
        found = {row["threads"]: row for row in own if row["network"] == network}
        ratios = [found[t]["ratio"].get(str(n)) if t in found else None for t, n in cases]
        said = ["–" if r is None else f"{r:.2f}" if r <= 1 else f"**{r:.2f}**" for r in ratios]
        how = ", ".join(dict.fromkeys(written(row["units"]) for row in found.values()))
        text.append(f"| {network} | {how} | {' | '.join(said)} |")
    others = [f"{line.what}: {line.measured}." for line in lines(rows) if not line.goal]
    return "\n".join([*text, *("" for _ in others[:1]), *others])


def written(units: Sequence[tuple[str, int]]) -> str:
    """Return how networks of an export are computed: joined where that is faster."""
    found = dict.fromkeys("joined" if n > 1 else "one after another" for _, n in units)
    return ", ".join(found)
