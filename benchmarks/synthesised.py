"""The rows of benchmarks/synthesis.py as lines of tables."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from typing import Any

from line import Line, groups

from nasgen.papers import curves, shafiee2016

MATING_MS = {"lenet": 50, "5 M weights": 1500}
FASTER = {"256": 3.0, "1": 1.3}
LEAST_CLUSTERS = 10.0  # cluster efficiency from which the latencies have goals
STEPS, MEMORY = 2.0, 1.2
LENET_FILTERS = 192
CLUSTERS_ACCURACY = 98.8  # at so many fewer clusters, and as fast


def lines(rows: list[Any]) -> Iterator[Line]:
    """Read all rows: matings, networks of runs, the best networks."""
    by_figure = {group[0]["figure"]: group for group in groups(rows, "figure")}
    for row in by_figure.get("mating", []):
        yield _mating(row)
    for row in by_figure.get("networks", []):
        yield from _networks(row)
    for found in groups(by_figure.get("best", []), "goal"):
        yield from _best(found)
    if found := by_figure.get("best", []):
        yield from _fast_enough(groups(found, "goal"))
    if found := by_figure.get("search", []):
        yield _trains_faster(found)
    for figure in ("several", "evolved"):
        for found in groups(by_figure.get(figure, []), "name"):
            yield _arm(found)
    for found in groups(by_figure.get("table1", []), "seed"):
        yield from _table1(found)
    for row in by_figure.get("steps", []):
        yield _steps(row, by_figure.get("search", []))


def modes(rows: list[Any]) -> str:
    """Return the table of environments and numbers of steps beside each other."""
    head = (
        "environment", "steps", "`training.distil`", "fewer synapses", "fewer kernels",
        "fewer filters", "validation accuracy", "trained on",
    )  # fmt: skip
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    found = [row for row in rows if row["figure"] == "modes"]
    for row in sorted(found, key=lambda row: -row["trained"]["val_accuracy"]):
        environment, algorithm = (row["settings"][name] for name in ("environment", "algorithm"))
        name = f"`{environment['name']}`"
        if "score" in environment:
            name += f', score "{environment["score"]}"'
        if environment.get("cluster_first"):
            name += f", {environment.get('cluster', 'kernel')}s first"
        cells = (
            name,
            f"{algorithm['generations']} of {algorithm['epochs']:g} epochs",
            f"{row['settings']['training']['distil']:g}",
            f"{row['efficiency']:.0f} ×",
            f"{row['cluster_efficiency']:.1f} ×",
            f"{LENET_FILTERS / row['filters']:.1f} ×",
            f"{100 * row['val_accuracy']:.1f} %",
            f"{100 * row['trained']['val_accuracy']:.1f} %",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _mating(row: Any) -> Line:
    goal = MATING_MS[row["network"]]
    return Line(
        f"a child of {row['parents']} parents, {row['network']} ({row['n_weights']:,} synapses), "
        f"mating `{row['mating']}`, environment `{row['environment']}`",
        f"{row['ms']:,.0f} ms",
        f"≤ {goal:,} ms",
        row["ms"] <= goal,
    )


def _networks(row: Any) -> Iterator[Line]:
    """Yield what the last network of a run costs, of its ancestor."""
    ancestor, *children = row["generations"]
    about = f"{row['name']}, seed {row['seed']}, "
    last = children[-1]
    yield Line(
        f"{about}generation {last['generation']}: {last['synapses']:,} synapses, "
        f"{last['kernels']:,} kernels, {last['filters']:,} filters left",
        f"{_ratio(ancestor, last, 'synapses')}, {_ratio(ancestor, last, 'kernels')}, "
        f"{_ratio(ancestor, last, 'filters')} fewer",
    )
    macs = ancestor["multiply_adds"]
    yield Line(
        f"{about}multiply-adds, of {macs / 1e6:.1f} M: compacted, gathered",
        f"1/{macs / last['multiply_adds']:.1f} and 1/{macs / last['gathered']:.1f}",
    )
    has_goal = ancestor["kernels"] / last["kernels"] >= LEAST_CLUSTERS
    yield from _latencies(about, [last["ms"]], has_goal)
    step, peak = row["step_ms"], row["peak_mib"]
    yield Line(
        f"{about}times as fast a training step is as the ancestor's, last generation",
        f"{step['ancestor'] / step['last']:.2f} × ({step['ancestor']:.1f} and {step['last']:.1f} "
        f"ms; the ancestor's children {step['first']:.1f} ms)",
        f"≥ {STEPS:g} ×",
        step["ancestor"] >= STEPS * step["last"],
    )
    yield Line(
        f"{about}memory of a worker that mates and trains, of one that trains the ancestor",
        f"{peak['last'] / peak['ancestor']:.2f} × ({peak['ancestor']:.0f} MiB)",
        f"≤ {MEMORY:g} ×",
        peak["last"] <= MEMORY * peak["ancestor"],
    )


def _latencies(about: str, found: list[Any], has_goal: bool) -> Iterator[Line]:
    """Yield how many times as fast networks answer as their ancestor, medians over networks."""
    for batch in found[0]:
        own = [ms[batch]["ancestor"] for ms in found]
        times = {
            form: statistics.median(ms[batch]["ancestor"] / ms[batch][form] for ms in found)
            for form in ("compacted", "gathered")
        }
        yield Line(
            f"{about}times as fast as the ancestor ({statistics.median(own):.2f} ms), batch "
            f"{batch}, one thread: compacted, gathered",
            f"{times['compacted']:.2f} × and {times['gathered']:.2f} ×",
            f"≥ {FASTER[batch]:g} ×" if has_goal else "",
            max(times.values()) >= FASTER[batch] if has_goal else None,
        )


def _ratio(ancestor: Any, child: Any, what: str) -> str:
    return f"{ancestor[what] / child[what]:.1f} ×"


def _best(rows: list[Any]) -> Iterator[Line]:
    """Yield the mean over seeds of the networks that a goal is about."""
    goal = rows[0]["wanted"]
    accuracy = statistics.fmean(100 * row["test_accuracy"] for row in rows)
    left = ", ".join(f"{row[goal['what']]:,}" for row in rows)
    ratio = statistics.fmean(row["efficiency"] for row in rows)
    by_cpu = all(row.get("cpu_s") and row["threads"] == 1 for row in rows)
    minutes = max(row["cpu_s" if by_cpu else "wall_s"] for row in rows) / 60
    unit = "min of a core" if by_cpu else "min"
    seeds = ", ".join(str(row["seed"]) for row in rows)
    enough = all(row["efficiency"] >= goal["efficiency"] for row in rows)
    yield Line(
        f"{rows[0]['data']}, {rows[0]['goal']}, seeds {seeds}: {rows[0]['mode']}; {left} "
        f"{goal['what']} left, test",
        f"{accuracy:.2f} % at {ratio:.0f} ×, {minutes:.0f} {unit}",
        f"≥ {goal['accuracy']:.1f} % at ≥ {goal['efficiency']:g} ×, ≤ 40 min",
        accuracy >= goal["accuracy"] and enough and minutes <= 40 if len(rows) > 1 else None,
    )
    has_goal = all(row["cluster_efficiency"] >= LEAST_CLUSTERS for row in rows)
    about = f"{rows[0]['data']}, {rows[0]['goal']}, seeds {seeds}: "
    yield from _latencies(about, [row["ms"] for row in rows], has_goal)


def _speed(rows: list[Any], batch: str) -> float:
    """Return how many times as fast networks answer as their ancestor, in their faster form."""
    forms = ("compacted", "gathered")
    found = [max(row["ms"][batch]["ancestor"] / row["ms"][batch][f] for f in forms) for row in rows]
    return statistics.median(found)


def _fast_enough(by_goal: list[list[Any]]) -> Iterator[Line]:
    """Yield the largest networks that have few clusters and are as fast as they should be."""
    few = [
        rows for rows in by_goal
        if all(row["cluster_efficiency"] >= LEAST_CLUSTERS for row in rows)
        and all(_speed(rows, batch) >= least for batch, least in FASTER.items())
    ]  # fmt: skip
    if not few:
        return
    rows = max(few, key=lambda rows: statistics.fmean(row["synapses"] for row in rows))
    accuracy = statistics.fmean(100 * row["test_accuracy"] for row in rows)
    ratio = statistics.fmean(row["cluster_efficiency"] for row in rows)
    goals = " and ".join(f"{least:g} × (batch {batch})" for batch, least in FASTER.items())
    got = " and ".join(f"{_speed(rows, batch):.2f} × (batch {batch})" for batch in FASTER)
    yield Line(
        f"{rows[0]['data']}, the largest of these networks that are fast enough: "
        f"{rows[0]['goal']}, kernels and time, one thread, test",
        f"{accuracy:.2f} % at {ratio:.1f} × fewer kernels, {got}",
        f"≥ {CLUSTERS_ACCURACY:g} % at ≥ {LEAST_CLUSTERS:g} ×, ≥ {goals}",
        accuracy >= CLUSTERS_ACCURACY if len(rows) > 1 else None,
    )


def _trains_faster(searches: list[Any]) -> Line:
    """Return how many times as many images a second the last generation of searches trains on."""
    ratios = [
        row["generations"][-1]["images_per_s"] / row["generations"][0]["images_per_s"]
        for row in sorted(searches, key=lambda row: row["seed"])
    ]
    seeds = ", ".join(str(row["seed"]) for row in sorted(searches, key=lambda row: row["seed"]))
    return Line(
        f"{searches[0]['data']}, search of the networks above, seeds {seeds}: images a second in "
        "training, last generation over the ancestor",
        f"{', '.join(f'{ratio:.2f}' for ratio in ratios)} ×",
        f"≥ {STEPS:g} ×",
        statistics.fmean(ratios) >= STEPS if len(ratios) > 1 else None,
    )


def _arm(rows: list[Any]) -> Line:
    """Return the mean over seeds of a search whose network was chosen, trained on and tested."""
    wanted, first = rows[0]["wanted"], rows[0]
    seeds = ", ".join(str(row["seed"]) for row in rows)
    accuracy = statistics.fmean(100 * row["test_accuracy"] for row in rows)
    before = statistics.fmean(100 * row["ancestor"]["test_accuracy"] for row in rows)
    least = before - wanted["below"] if wanted["accuracy"] is None else wanted["accuracy"]
    clusters = statistics.fmean(row["cluster_efficiency"] for row in rows)
    goal = f"≥ {least:.1f} % at ≥ {wanted['efficiency']:g} ×"
    goal += f", ≥ {wanted['clusters']:g} × fewer kernels" if wanted["clusters"] > 1 else ""
    counts = " and ".join(
        ", ".join(f"{row[what]:,}" for row in rows) + f" {what}" for what in ("synapses", "kernels")
    )
    return Line(
        f"{first['data']}, {first['name']}, seeds {seeds}: generation {first['generation']} of "
        f"{first['generations']}; {counts} left, ancestor {before:.2f} %, test",
        f"{accuracy:.2f} % at {statistics.fmean(row['efficiency'] for row in rows):.1f} ×, "
        f"{clusters:.1f} × fewer kernels",
        goal,
        accuracy >= least if len(rows) > 1 else None,
    )


def _table1(rows: list[Any]) -> Iterator[Line]:
    """Yield the generations of table 1 with nothing tuned, in each environment of one seed."""
    paper = shafiee2016.REPORTED["mnist"].table1
    down_to = [e for e, _ in paper.values() if 1 < e <= shafiee2016.DOWN_TO]
    about = (
        f"{rows[0]['data']}, preset `shafiee2016`, seed {rows[0]['seed']}, an epoch a generation"
    )
    scores = {}
    for row in rows:
        if row["name"] == shafiee2016.FACTOR:
            for number, (wanted, _) in list(paper.items())[1:]:
                got = curves.efficiency(row, number - 1)
                yield Line(
                    f"{about}: `{row['name']}`, synaptic efficiency in generation {number}",
                    f"{got:.1f} ×",
                    f"{wanted:g} × ± 20 %",
                    abs(got - wanted) <= 0.2 * wanted,
                )
        val = [curves.at_efficiency(row, e, "val") for e in down_to]
        scores[row["name"]] = statistics.fmean(val) if val else float("nan")
    chosen = max(scores, key=lambda name: (math.isfinite(scores[name]), scores[name]))
    for row in rows:
        is_chosen = row["name"] == chosen and len(rows) > 1
        for efficiency, accuracy in list(paper.values())[1:]:
            got = 100 * curves.at_efficiency(row, efficiency)
            least = 100 * accuracy - 1
            has_goal = is_chosen and efficiency in down_to
            yield Line(
                f"{about}: `{row['name']}`{', chosen by validation' * is_chosen}, at "
                f"{efficiency:g} ×, test",
                f"{got:.2f} % (paper {100 * accuracy:.2f} %)" if math.isfinite(got) else "–",
                f"≥ {least:.2f} %" if has_goal else "",
                got >= least if has_goal else None,
            )


def _steps(row: Any, searches: list[Any]) -> Line:
    """Return a search in few large steps beside those in small ones, at equal size and epochs."""

    def nearest(search: Any) -> Any:
        return min(search["generations"], key=lambda g: abs(g["n_synapses"] - row["synapses"]))

    beside = sorted(searches, key=lambda search: search["seed"])
    small = ", ".join(f"{100 * nearest(search)['val_accuracy']:.2f}" for search in beside)
    seeds = ", ".join(str(search["seed"]) for search in beside)
    return Line(
        f"{row['data']}, validation, {row['synapses']:,} synapses left: {row['name']} by synapses "
        f"alone, seed {row['seed']}; small steps, filters first, equal epochs, seeds {seeds}",
        f"{100 * row['val_accuracy']:.2f} %; {small} %",
    )
