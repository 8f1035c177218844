"""How well networks are ordered, as lines: by predictors, and by scores without any training.

`claims.py` names the commands.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from line import Json, Line

from nasgen.bench import table
from nasgen.predictors.order import log_ranks
from nasgen.predictors.zero_cost import POOLED

# Goals of a predictor with 100 labels: Kendall's tau, and tau in the best tenth.
Goals = tuple[float, float]
WITH_FEATURES: Goals = (0.68, 0.18)
WITH_LOW: Goals = (0.86, 0.50)  # beside the features the accuracy after twelve epochs
SAID = {"kendall": "Kendall tau", "top_kendall": "tau in the best tenth"}

FLOOR = ("n_layers", "flops")  # what every other score must beat
# On about 9,400 cells, from the log of the authors of VKDNW (github.com/ondratybl/VKDNW).
PUBLISHED = {"n_layers": 0.626, "flops": 0.623, "zico": 0.607, "az_nas": 0.712, "vkdnw_agg": 0.750}
OF_A_VALUE = {"row", "score", "value", "seconds", "commit", "measured", "machine"}

Values = dict[int, float | None]  # row of the table -> score of its network


def predicted(found: Sequence[Any], goals: Goals = WITH_FEATURES) -> Iterator[Line]:
    """Read `nasgen predictors evaluate`: the one with the best Kendall tau, beside ridge."""
    rows = found[0]["predictors"]
    best = max(rows, key=lambda name: rows[name]["kendall"]["mean"])
    read = "".join(f", {column} read" for column in found[0].get("low", ()))
    about = (
        f"{found[0]['source']}, {found[0]['n_labels']} labels{read}, {found[0]['repeats']} draws: "
    )
    beside = {"ridge": rows.get("ridge"), "size alone": found[0].get("size")}
    for (score, what), goal in zip(SAID.items(), goals, strict=True):
        value = rows[best][score]["mean"]
        others = ", ".join(
            f"{name} {r[score]['mean']:.3f}" for name, r in beside.items() if r and r[score]
        )
        yield Line(
            f"{about}{what}, predictor `{best}`",
            f"{value:.3f}" + (f" ({others})" if others else ""),
            f"≥ {goal:.2f}",
            value >= goal,
        )


def untrained(rows: Sequence[Any]) -> Iterator[Line]:
    """Read the rows of benchmarks/zero_cost.py: the tau of each score with the test accuracy."""
    import zero_cost as script

    labels = table.load(script.BENCH).columns[script.COLUMN]
    groups: dict[str, list[Json]] = {}
    for row in rows:
        settings = {key: value for key, value in row.items() if key not in OF_A_VALUE}
        groups.setdefault(json.dumps(settings, sort_keys=True), []).append(row)
    for text, group in groups.items():
        values: dict[str, Values] = {}
        for row in group:
            values.setdefault(row["score"], {})[row["row"]] = row["value"]
        for name, parts in POOLED.items():
            if set(parts) <= set(values):
                values[name] = _pooled([values[part] for part in parts])
        taus = {
            name: script.correlated([*found.values()], labels[[*found]])
            for name, found in values.items()
        }
        known = {name: tau for name, (*_, tau, _) in taus.items() if tau is not None}
        floor = max((known[name] for name in FLOOR if name in known), default=None)
        where = ", ".join(f"{key} {value}" for key, value in json.loads(text).items())
        for name, (said, within, tau, n) in taus.items():
            published = f"; published {PUBLISHED[name]:.3f}" if name in PUBLISHED else ""
            has_goal = floor is not None and tau is not None and name not in FLOOR
            yield Line(
                f"{script.BENCH}, {where}: Kendall tau of `{name}` with {script.COLUMN}, {n} cells",
                f"{said}{f' ({within})' * bool(within)}{published}",
                f"above `n_layers` and `flops`, {floor:+.3f}" if has_goal else "",
                tau > floor if has_goal else None,
            )


def _pooled(parts: Sequence[Values]) -> Values:
    """Return the order of a pool by several scores, of the cells that have all of them."""
    cells = [cell for cell in parts[0] if all(cell in part for part in parts)]
    columns = [[part[cell] for part in parts] for cell in cells]
    return dict(zip(cells, log_ranks(np.array(columns, dtype=np.float64)).tolist(), strict=True))
