"""What rows of real trainings say, as lines of the table: heredity, less training, tricks.

`claims.py` names the commands.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from line import Json, Line, groups, wide

from nasgen.bench.summary import spread

BySeed = dict[int, Json]


def heredity(rows: list[Any]) -> Iterator[Line]:
    """Read the rows of benchmarks/heredity.py: half of the epochs."""
    import heredity as script

    for group in groups(rows, "data", "seed", "fraction", "epochs"):
        half = script.summary(group).get("share 0.5", {})
        about = f"{group[0]['data']}: children, half of the epochs, minus all epochs from scratch, "
        all_, plan, random = (half.get(name, {}) for name in (
            "inherited", "inherited, operators with a plan", "unplanned, the same children"
        ))  # fmt: skip
        if "gain" in all_:
            yield Line(
                f"{about}weights inherited, points",
                f"{all_['gain']:+.2f} ± {all_['ci95']:.2f} ({all_['n']} children)",
                "≥ 0",
                all_["gain"] >= 0,
            )
        if "gain" in plan and "gain" in random:
            yield Line(
                f"{about}function preserved, and the same with random padding, points",
                f"{plan['gain']:+.2f} ± {plan['ci95']:.2f}, "
                f"{random['gain']:+.2f} ± {random['ci95']:.2f} ({plan['n']} children)",
            )


def less_training(rows: list[Any]) -> Iterator[Line]:
    """Read the rows of benchmarks/less_training.py."""
    import less_training as script

    for group in _latest(rows):
        found = {
            arm: row["to_same_best"]
            for arm, row in script.summary(group).items()
            if arm != script.BASE and "to_same_best" in row
        }
        seeds, data = len({row["seed"] for row in group}), group[0]["settings"]["data"]
        arms = sorted(found.items(), key=lambda item: item[1]["train_s"])
        if arms:
            yield Line(
                f"{data}, seeds: {seeds}, training time to the accuracy that both reach, of that "
                "of full training, median",
                ", ".join(f"{arm} {shares['train_s']:.2f}" for arm, shares in arms),
            )


def screened(rows: list[Any]) -> Iterator[Line]:
    """Read the rows of benchmarks/screened.py."""
    import screened as script

    for group in _latest(rows):
        found = script.summary(group)
        if not found["seeds"]:
            continue
        gain, n = found["difference"], found["trainings"]
        yield Line(
            f"{group[0]['settings']['data']}, real training, paired seeds: "
            f"{found['seeds']}, best validation accuracy of {n['screened']} trainings with a "
            f"filter minus {n['plain']} without, points",
            f"{found['screened']:.2f} − {found['plain']:.2f} %, paired {wide(gain)}",
            "no loss: mean ≥ 0",
            # Not the interval's upper end: the noisier a loss, the easier that would reach 0.
            gain["mean"] >= 0,
        )


def paper_search(rows: list[Any]) -> Iterator[Line]:
    """Read the rows of benchmarks/paper_search.py: each arm beside the paper, pairs by seed."""
    import paper_search as script

    goal = 100 * script.PAPERS_ACCURACY
    for group in groups(rows, "data", "budget_s"):
        data, budget_s = group[0]["data"], group[0]["budget_s"]
        about = f"{data}, {budget_s / 3600:g} h: "
        is_whole = budget_s == script.in_seconds(script.BUDGET)
        has_goal = is_whole and data.startswith(script.PAPERS_DATA)
        arms: dict[str, dict[int, float]] = {}
        for own in groups([row for row in group if row["test_accuracy"] is not None], "arm"):
            arm = own[0]["arm"]
            arms[arm] = {row["seed"]: 100 * row["test_accuracy"] for row in own}
            found = spread(np.array([*arms[arm].values()]))
            trained = np.mean([row["trials"]["complete"] for row in own])
            estimated = np.mean([row["trials"]["estimated"] for row in own])
            yield Line(
                f"{about}`{arm}`, seeds: {len(own)}, network chosen on validation images, test",
                f"{wide(found, '')} %, {trained:.0f} networks trained, {estimated:.0f} estimated",
                f"≥ {goal:.1f} % (the paper)" if has_goal else "",
                found["mean"] >= goal if has_goal else None,
            )
        for first, second in script.PAIRS:
            common = sorted(set(arms.get(first, {})) & set(arms.get(second, {})))
            if common:
                gains = np.array([arms[first][seed] - arms[second][seed] for seed in common])
                yield Line(
                    f"{about}`{first}` minus `{second}`, paired seeds: {len(common)}, test, points",
                    wide(spread(gains)),
                )


def _latest(rows: Sequence[Json]) -> list[list[Json]]:
    """Return the rows of equal settings together, of those that differ in the recipe the last."""
    found = {}
    for group in groups(rows, "settings"):
        settings = {k: v for k, v in group[0]["settings"].items() if k != "recipe"}
        found[json.dumps(settings, sort_keys=True)] = group
    return list(found.values())


# ---- the predictor that knows trainings of before ------------------------------------------------

ORDERS = {
    "kendall": "Kendall tau",
    "chosen": "share of networks that are worse than the one chosen from 30",
}


def left_out(found: list[Any]) -> Iterator[Line]:
    """Read `nasgen predictors evaluate transfer`: image sets that its table was without."""
    for result in found:
        for row in result["left_out"]:
            for score, what in ORDERS.items():
                own = {name: scores[score] for name, scores in row["predictors"].items()}
                value = own.pop("transfer")
                others = {name: other for name, other in own.items() if other is not None}
                if value is None or not others:
                    continue
                beside = ", ".join(f"{name} {other:.3f}" for name, other in others.items())
                yield Line(
                    f"left out: {row['left_out']}, {row['n']} networks on {row['sets']} image "
                    f"sets, {result['n_labels']} labels: {what}, predictor `transfer`",
                    f"{value:.3f} ({beside})",
                    "above the others",
                    value > max(others.values()),
                )


# ---- the trainer, trick by trick -----------------------------------------------------------------


def tricks(rows: Sequence[Json]) -> Iterator[Line]:
    """Read the rows of benchmarks/trainer/run.py: tricks alone, together, all but each."""
    for settings, arms in _settings(rows):
        every = max(arms, key=len)
        whole = "all tricks" if len(every) > 2 else _named(every)
        for names, own in sorted(arms.items()):
            left_out = sorted(set(every) - set(names))
            what = whole if names == every else f"{_named(names)} alone"
            if names:
                yield from _against(settings, f"{what}, minus plain", own, arms.get(()))
            if len(left_out) == 1 and len(names) == len(every) - 1 > 0:
                yield from _against(
                    settings, f"{whole}, minus the same without `{left_out[0]}`", arms[every], own
                )


def _named(tricks: Sequence[str]) -> str:
    """Return tricks as lines name them."""
    return " with ".join(f"`{name}`" for name in tricks)


def _settings(rows: Sequence[Json]) -> Iterator[tuple[Json, dict[tuple[str, ...], BySeed]]]:
    """Yield settings, and {tricks: {seed: row}} of the trainings that succeeded."""
    found: dict[str, dict[tuple[str, ...], BySeed]] = {}
    for row in rows:
        if "failed" not in row:
            arms = found.setdefault(json.dumps(row["settings"], sort_keys=True), {})
            arms.setdefault(tuple(sorted(row["tricks"])), {})[row["seed"]] = row
    yield from ((json.loads(text), arms) for text, arms in found.items())


def _against(
    settings: Mapping[str, Any], what: str, own: BySeed, other: BySeed | None
) -> Iterator[Line]:
    """Yield the difference of two arms in points, with one view and with all views."""
    common = sorted(set(own) & set(other or {}))
    if not common or other is None:
        return
    texts = []
    views = [v for v in own[common[0]]["accuracy"] if v in other[common[0]]["accuracy"]]
    for v in dict.fromkeys((views[0], views[-1])):
        gains = [own[s]["accuracy"][v] - other[s]["accuracy"][v] for s in common]
        texts.append(wide(spread(100 * np.array(gains))))
    cost = (
        f"{settings['seconds']:g} s"
        if settings["seconds"] is not None
        else f"operations of {settings['epochs']:g} epochs"
    )
    network = settings["network"].removesuffix(".json")
    widened = "" if settings["widen"] == 1 else f", {settings['widen']:g} × as wide"
    part = "test" if settings["on_all"] else "validation"
    seeds = f"{len(common)} seed{'' if len(common) == 1 else 's'}"
    data = settings["data"].rpartition(":")[2]
    yield Line(
        f"{data}, {network}{widened}, {cost}, {seeds}, {part}: {what}, points with one view and "
        "with all",
        ", ".join(texts),
    )
