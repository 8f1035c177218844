"""What the commands of `docs/benchmarks.md` printed, as lines of a table beside the goals.

`TOOLS` names each command and its reader. A reader takes the JSON values that the command printed,
or the rows that it keeps, and yields lines. A goal that is missed stays in the table, as missed.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import budget_kept
import compared
import exports
import learned
import orders
import paired
import ranked
import reproduced
import sparsity
import synthesised
import worth
from line import Line, groups, wide

from nasgen.papers.painter2018 import COSTS, GAINS


@dataclass(frozen=True)
class Tool:
    """A command, how its output is read, and whether it keeps rows in docs/results itself."""

    command: str
    lines: Callable[[list[Any]], Iterator[Line]]
    keeps_rows: bool = False


def values(text: str) -> list[Any]:
    """Return the JSON values that stand one behind the other in a text."""
    text, place, found = text.strip(), 0, []
    while place < len(text):
        value, place = json.JSONDecoder().raw_decode(text, place)
        found.append(value)
        while place < len(text) and text[place].isspace():
            place += 1
    return found


def documents(file: Path) -> list[Any]:
    """Return what a file of docs/results holds: a command's output, stamped or not, or rows."""
    found = values(file.read_text(encoding="utf-8"))
    if len(found) == 1 and isinstance(found[0], dict) and "output" in found[0]:
        return list(found[0]["output"])
    return found


# ---- tables of known accuracies ------------------------------------------------------------------


def operators(found: list[Any]) -> Iterator[Line]:
    """Read `nasgen bench synthetic-dag --json`: each variant of a search, in one line."""
    for result in found:
        own = result["algorithms"]
        last = max(next(iter(own.values()))["val"], key=int)
        for name, values in own.items():
            at = values["val"][last]
            yield Line(
                f"{result['bench']}, {result['seeds']} seeds: mean best score of `{name}` at "
                f"{last} queries",
                wide(at, ""),
            )


def structure(rows: list[Any]) -> Iterator[Line]:
    """Read `nasgen reproduce stier2021-nas`: the best of the paper's three regressors, and size."""
    rows = [row for row in rows if "kind" in row]  # the last line sums the others up
    scores = {row["predictor"]: row for row in rows if row["kind"] == "predictor"}
    networks = next(row for row in rows if row["kind"] == "networks")
    which = networks.get("origin") or f"{networks['n']} networks"
    regressors = [name for name in ("ridge", "forest", "adaboost") if name in scores]
    for protocol, what in (("split", "70/30 split"), ("folds", "5-fold cross-validation")):
        best = max(regressors, key=lambda name: scores[name][protocol]["r2"]["mean"])
        text = []
        for score, sign in (("r2", "R²"), ("kendall", "tau")):
            own, size = (scores[name][protocol][score] for name in (best, "size alone"))
            text.append(
                f"{sign} {own['mean']:.2f} ± {own['sd']:.2f} (size alone {size['mean']:.2f})"
            )
        yield Line(
            f"stier2021-nas, scale {rows[0]['scale']}, {which}, 56 features, {what}, mean ± "
            f"standard deviation over splits, predictor `{best}`",
            ", ".join(text),
        )


def filtered(found: list[Any]) -> Iterator[Line]:
    """Read benchmarks/filter.py."""
    for row in found:
        factor, (low, high) = row["fewer_trainings"], row["fewer_trainings_95"]
        n = row["trainings_with_filter"]
        yield Line(
            f"{row['bench']}, {row['seeds']} seeds: trainings with a filter for the mean accuracy "
            f"that {row['queries']} reach without",
            "not reached" if n is None else f"{n:g}, 1/{factor:.2f} (1/{low:.2f} to 1/{high:.2f})",
            "≤ 1/1.7",
            factor >= 1.7,
        )


# ---- speed ---------------------------------------------------------------------------------------


def engine(found: list[Any]) -> Iterator[Line]:
    """Read benchmarks/engine.py: the ledger in memory, and the faster of the durable ones."""
    rates = {row["ledger"]: row["per_second"] for row in found}
    spread = {
        row["ledger"]: f", median of {row['rounds']} rounds, fastest {row['fastest']:,.0f}"
        for row in found
        if "rounds" in row
    }
    durable = {name: rate for name, rate in rates.items() if name != "memory"}
    wanted = [("memory", 1000)] if "memory" in rates else []
    wanted += [(max(durable, key=lambda name: durable[name]), 300)] if durable else []
    for name, goal in wanted:
        yield Line(
            f"new, legal, different children a second, no training, ledger `{name}`",
            f"{rates[name]:,.0f}{spread.get(name, '')}", f"≥ {goal:,}", rates[name] >= goal,
        )  # fmt: skip


def features(found: list[Any]) -> Iterator[Line]:
    """Read benchmarks/features.py."""
    for row in found:
        rate, has_goal = row["per_cpu_second"], row["features"] == "stier2021"
        yield Line(
            f"graphs of thirty vertices a second and core, features `{row['features']}`",
            f"{rate:,}",
            "≥ 2,000" if has_goal else "",
            rate >= 2000 if has_goal else None,
        )


def golem(found: list[Any]) -> Iterator[Line]:
    """Read benchmarks/golem.py."""
    of = {row["engine"]: row for row in found}
    ours, theirs = of["nasgen"], of["golem"]
    last = max(ours["best"], key=int)
    about = f"synthetic-dag, {ours['seeds']} seeds: "
    for what, a, b in (
        (f"best score after {last} evaluations", ours["best"][last], theirs["best"][last]),
        ("evaluations a second", ours["evaluations_per_s"], theirs["evaluations_per_s"]),
    ):
        yield Line(f"{about}{what}, beside GOLEM", f"{a:g} against {b:g}", "above GOLEM", a > b)


def morphisms(found: list[Any]) -> Iterator[Line]:
    """Read benchmarks/morphisms.py: the slowest ones."""
    rows = found[0]["morphisms"]
    for key, what, goal in (("ms", "morphism", 50), ("plan_ms", "heredity plan", 20)):
        name = max(rows, key=lambda n: rows[n][key])
        yield Line(
            f"slowest {what} on {found[0]['n_values'] / 1e6:.1f} M weights, `{name}`",
            f"{rows[name][key]:.1f} ms",
            f"< {goal} ms",
            rows[name][key] < goal,
        )


def shared_parameters(found: list[Any]) -> Iterator[Line]:
    """Read benchmarks/shared_parameters.py."""
    for row in found[0]:
        yield Line(
            f"memory of {row['relatives']} relatives on shared parameters ({row['kind']}), of "
            "their mean and of their parent's",
            f"{row['shared_to_mean_child']:.2f} × and {row['shared_to_parent']:.2f} × (copies "
            f"{row['copies_to_parent']:.2f} ×)",
            "≤ 2 × one network",
            row["shared_to_mean_child"] <= 2,
        )


def support(found: list[Any]) -> Iterator[Line]:
    """Read benchmarks/support.py."""
    row = found[0]
    before, after = row["multiply_adds"]
    yield Line(
        "time of a training step with a support, of one without", f"{row['masked_ratio']:.2f} ×",
        "≤ 1.05 ×", row["masked_ratio"] <= 1.05,
    )  # fmt: skip
    yield Line(
        "time of a training step after compaction, of the masked one (half of the filters pruned: "
        f"{after / before:.2f} × the multiply-adds)",
        f"{row['compacted_ratio']:.2f} ×",
    )


def training_loop(found: list[Any]) -> Iterator[Line]:
    """Read benchmarks/training_loop.py."""
    ratio, plain = found[0]["time_ratio"], found[0]["time_ratio_to_plain"]
    yield Line(
        "training time, of a hand-written loop that knows the tricks",
        f"{ratio:.2f} × ({plain:.2f} × of a plain one)", "≤ 1.10 ×", ratio <= 1.10,
    )  # fmt: skip
    if exact := found[0].get("time_ratio_to_float32"):
        yield Line(f"training time in {found[0]['precision']}, of float32", f"{exact:.2f} ×")


def narrow_maps(found: list[Any]) -> Iterator[Line]:
    """Read benchmarks/narrow_maps.py: a line a batch size."""
    for rows in groups(found, "network", "widen", "batch", "threads"):
        first = rows[0]
        yield Line(
            f"time of a training step with narrow maps side by side, of one without: "
            f"{first['network']}, {first['widen']:g} times as wide, batches of {first['batch']}, "
            f"{first['threads']} threads",
            ", ".join(f"{row['ratio']:.2f} × at {row['side']} pixels" for row in rows),
        )


# ---- growth --------------------------------------------------------------------------------------


def painter2018(rows: list[Any]) -> Iterator[Line]:
    """Read the rows of `nasgen reproduce painter2018`: of each scale, those of its last settings.

    All seeds that both arms of a comparison have count, in pairs.
    """
    rows = [row for row in rows if "arm" in row]  # the last line of --json sums the others up
    for scale, settings in {row["scale"]: row.get("settings") for row in rows}.items():
        of_scale = [r for r in rows if (r["scale"], r.get("settings")) == (scale, settings)]
        for gain in GAINS:
            points, pairs = gain.measured(of_scale), gain.pairs(of_scale)
            if points is None:
                continue
            x, y = (statistics.fmean(values) for values in zip(*pairs, strict=True))
            yield Line(
                f"painter2018, scale {scale}, seeds: {len(pairs)}, {gain.what}, test",
                f"{x:.2f} − {y:.2f} %, paired {wide(points)} points",
                gain.goal,
                gain.met(points),
            )
        yield from _costs(of_scale, f"painter2018, scale {scale}, ")


def _costs(rows: list[Any], about: str) -> Iterator[Line]:
    """Yield what growth on shared parameters takes beside growth apart, mean over seeds."""
    for _, metric, name in COSTS:
        what = f"{metric} of growth on shared parameters, of growth's"
        apart, shared = (
            {row["seed"]: row[name] for row in rows if row["arm"] == arm and name in row}
            for arm in ("growth", "shared-flops")
        )
        if ratios := [shared[seed] / apart[seed] for seed in apart if seed in shared]:
            yield Line(f"{about}seeds: {len(ratios)}, {what}", f"{statistics.fmean(ratios):.2f} ×")


def lineage(rows: list[Any]) -> Iterator[Line]:
    """Read the rows of benchmarks/lineage.py."""
    for row in rows:
        grown, scratch = 100 * row["grown"], 100 * row["scratch"]
        yield Line(
            f"{row['data']}, seed {row['seed']}: grown network minus its architecture from scratch "
            f"({row['epochs']:.0f} epochs), for its lineage's FLOPs / {row['share']:g}, test",
            f"{grown:.2f} − {scratch:.2f} = {grown - scratch:+.2f} %",
            "≥ 0",
            round(grown - scratch, 6) >= 0,
        )


# Papers of which all figures stand in docs/papers.md -> their seeds, on MNIST. The similarities of
# Chung 2018 are said with intervals.
REPRODUCED = {"shafiee2016": range(1), "chung2017": range(1), "chung2018": range(5)}

# DATA stands for the folder of images, GOLEM for an interpreter that has thegolem, GROWN for the
# folder of a finished growth.
TOOLS = {
    "pays": Tool(
        "python benchmarks/pays.py --tasks cifar10-10m cifar10-20m fashion-10m digits-1m "
        "--seeds 300 301 302",
        worth.lines,
        True,
    ),
    "greedy": Tool("python benchmarks/greedy.py --tasks fashion-5m digits-1m", paired.lines, True),
    "selection": Tool("python benchmarks/ensembles.py selection", exports.selection),
    "exported": Tool("python benchmarks/ensembles.py exported", exports.lines, True),
    "ten-tables": Tool("python benchmarks/ten_tables.py", ranked.lines, True),
    "budget-kept": Tool(
        "python benchmarks/budget_kept.py --data cifar10:DATA/cifar-10-batches-bin --budget 2m",
        budget_kept.lines,
        True,
    ),
    "bench-nasbench201": Tool(
        "nasgen bench nasbench201 --algorithms aging,local,genetic+rank --seeds 500 "
        "--queries 25,50,100,150 --json",
        compared.bench,
    ),
    "bench-nasbench-macro": Tool("nasgen bench nasbench-macro --seeds 100 --json", compared.bench),
    **{name: Tool(command, compared.features) for name, command in compared.COMMANDS.items()},
    "bench-synthetic-dag": Tool(
        "nasgen bench synthetic-dag --seeds 20 --queries 100,200,500,1000 --json", operators
    ),
    "predictors-nasbench201": Tool(
        "nasgen predictors evaluate nasbench201 --repeats 20 --json", orders.predicted
    ),
    "predictors-low": Tool(
        "nasgen predictors evaluate nasbench201 --low c10_valid_12ep --repeats 20 --json",
        partial(orders.predicted, goals=orders.WITH_LOW),
    ),
    "zero-cost": Tool(
        "python benchmarks/zero_cost.py cifar10:DATA/cifar-10-batches-bin --cells 300",
        orders.untrained,
        True,
    ),
    "transfer": Tool("nasgen predictors evaluate transfer --json", learned.left_out),
    # Without --data, which would set aside its table of networks that are trained already.
    "stier2021-nas": Tool("nasgen reproduce stier2021-nas --quiet --json", structure),
    "paper-search": Tool("python benchmarks/paper_search.py --seeds 0", learned.paper_search, True),
    "filter": Tool("python benchmarks/filter.py --seeds 100", filtered),
    "screened": Tool(
        "python benchmarks/screened.py --data mnist:DATA/fashion-mnist", learned.screened, True
    ),
    "engine": Tool("python benchmarks/engine.py", engine),
    "features": Tool("python benchmarks/features.py", features),
    "golem": Tool("python benchmarks/golem.py --python GOLEM", golem),
    "training_loop": Tool("python benchmarks/training_loop.py", training_loop),
    "narrow_maps": Tool("python benchmarks/narrow_maps.py", narrow_maps),
    "morphisms": Tool("python benchmarks/morphisms.py", morphisms),
    "shared_parameters": Tool("python benchmarks/shared_parameters.py", shared_parameters),
    "support": Tool("python benchmarks/support.py", support),
    "curvature": Tool("python benchmarks/curvature.py", sparsity.curvature),
    "lenet_pruned": Tool(
        "python benchmarks/lenet_pruned.py --data mnist:DATA/mnist", sparsity.lenet_pruned
    ),
    "recurrent": Tool("python benchmarks/recurrent.py", sparsity.recurrent),
    "abreast": Tool("python benchmarks/abreast.py --batch 32 128", sparsity.abreast),
    "synthesis": Tool("python benchmarks/synthesis.py mating", synthesised.lines, True),
    "painter2018": Tool(
        "nasgen reproduce painter2018 --data cifar10:DATA/cifar-10-batches-bin --quiet --json",
        painter2018,
    ),
    "trainer": Tool(
        "python benchmarks/trainer/run.py --network resnet9 --data "
        "cifar10:DATA/cifar-10-batches-bin --seconds 120",
        learned.tricks,
        True,
    ),
    "lineage": Tool("python benchmarks/lineage.py GROWN", lineage, True),
    "heredity": Tool(
        "python benchmarks/heredity.py --data cifar10:DATA/cifar-10-batches-bin",
        learned.heredity,
        True,
    ),
    "less-training": Tool(
        "python benchmarks/less_training.py --data mnist:DATA/fashion-mnist --fraction 0.02 "
        "--validation 0.02 --trials 24 --seeds 5",
        learned.less_training,
        True,
    ),
    **{
        paper: Tool(
            " ".join(
                (
                    f"nasgen reproduce {paper} --data mnist:DATA/mnist",
                    *(f"--seed {seed}" for seed in seeds if len(seeds) > 1),
                    "--quiet --json",
                )
            ),
            reproduced.lines,
        )
        for paper, seeds in REPRODUCED.items()
    },
    **{
        paper: Tool(command, reproduced.lines)
        for paper, (command, _) in sparsity.REPRODUCED.items()
    },
}
