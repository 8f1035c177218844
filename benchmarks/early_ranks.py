"""How well an early measurement ranks networks for the end of their training, from the table.

    python benchmarks/early_ranks.py

Each network of the table of trainings was measured after numbers of images that double, and all of
a level cost about the same time. Compared are pairs of networks on the same image set, of the same
number of measurements, of which one was shown at most twice as many images as the other. Printed is
Kendall's tau between the measurement `back` doublings before the end, by accuracy and by loss, and
the accuracy at the end; "close" are pairs that end within three points. "larger_overtakes" is the
share of pairs that change places in which the one that is shown fewer images wins.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nasgen.predictors import trainings

Point = tuple[int, float, float]  # images, accuracy, loss
NEAR = 1.0  # doublings of images between two networks of a pair, at most
CLOSE = 0.03  # difference of accuracies


def pairs(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[list[Point], list[Point]]]:
    """Yield the measurements of two networks that may be compared."""
    alike: dict[Any, list[list[Point]]] = defaultdict(list)
    for row in rows:
        if not row["diverged"]:
            points = [(int(n), float(a), float(loss)) for n, a, loss, *_ in row["points"]]
            alike[row["set"], len(points)].append(points)
    for group in alike.values():
        for one, other in itertools.combinations(group, 2):
            if abs(math.log2(one[-1][0] / other[-1][0])) <= NEAR and one[-1][1] != other[-1][1]:
                yield one, other


def summary(rows: Sequence[Mapping[str, Any]], back: int) -> dict[str, Any]:
    """Return what measurements `back` doublings before the end say of the end."""
    signs: dict[str, list[int]] = {"accuracy": [], "loss": [], "close": []}
    overtaken = []
    for one, other in pairs(rows):
        if len(one) <= back:
            continue
        (n, early, loss), (m, early2, loss2) = one[-1 - back], other[-1 - back]
        ahead = 1 if one[-1][1] > other[-1][1] else -1
        by_accuracy = ahead * ((early > early2) - (early < early2))
        signs["accuracy"].append(by_accuracy)
        signs["loss"].append(ahead * ((loss < loss2) - (loss > loss2)))
        if abs(one[-1][1] - other[-1][1]) < CLOSE:
            signs["close"].append(by_accuracy)
        if by_accuracy < 0 and n != m:
            overtaken.append((n < m) == (ahead > 0))
    tau = {name: round(sum(of) / len(of), 3) for name, of in signs.items() if of}
    larger = round(sum(overtaken) / len(overtaken), 3) if overtaken else None
    counts = {"pairs": len(signs["accuracy"]), "close_pairs": len(signs["close"])}
    return {**counts, "tau": tau, "larger_overtakes": larger, "n_overtaken": len(overtaken)}


def main() -> None:
    """Print the summaries for one and for two doublings."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--table", type=Path, default=trainings.SHIPPED)
    _, rows = trainings.lines(parser.parse_args().table)
    found = {f"{2**back} times as few images": summary(rows, back) for back in (1, 2)}
    print(json.dumps({"networks": len(rows)} | found, indent=2))


if __name__ == "__main__":
    main()
