"""The rows of benchmarks/synthesis.py as lines of tables."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

from line import Line, groups

MATING_MS = {"lenet": 50, "5 M weights": 1500}
FASTER = {"256": 3.0, "1": 1.3}
LEAST_CLUSTERS = 10.0  # cluster efficiency from which the latencies have goals
STEPS, MEMORY = 2.0, 1.2


def lines(rows: list[Any]) -> Iterator[Line]:
    """Read all rows: matings, networks of runs, the best networks."""
    by_figure = {group[0]["figure"]: group for group in groups(rows, "figure")}
    for row in by_figure.get("mating", []):
        yield _mating(row)
    for row in by_figure.get("networks", []):
        yield from _networks(row)
    for found in groups(by_figure.get("best", []), "goal"):
        yield from _best(found)


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
