"""Stier 2021, section 4.1: five ways to prune dense networks on MNIST, beside equal-epoch controls.

The paper prunes 784-100-10 and 784-300-100-10 step by step, by a share of what is left or by a
fixed number, with a short training behind each step, and finds that the smallest weights of the
whole network ("class-blinded") can go best: 97.5 % at 80 % compression, half a point more than
before. Each step is further training, though, so that a dense network of as many epochs stands
beside it here, which the paper lacks, and a small dense one of as many weights.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from markupsafe import Markup

from nasgen.papers import outcome, preset, prunings
from nasgen.papers.base import Reproduction, Request, data_of, scale_of
from nasgen.papers.outcome import Compared, Target
from nasgen.papers.prunings import BASE, Lines, at_share, of
from nasgen.papers.smaller import narrowed
from nasgen.report.charts import Line, Mark, plot
from nasgen.report.scale import axis
from nasgen.report.sheet import sheet
from nasgen.runs.results import Run
from nasgen.settings.config import merge, read_toml
from nasgen.store.rows import Row

PAPER: Final = "stier2021-pruning"
NETWORKS: Final = {"mlp-100": "784-100-10", "lenet-300-100": "784-300-100-10"}
BLINDED: Final = "magnitude"
# Method -> the paper's word for it.
METHODS: Final = {
    BLINDED: "magnitude, class-blinded",
    "class-uniform": "magnitude, class-uniform",
    "class-distributed": "magnitude, class-distributed",
    "obd": "optimal brain damage",
    "random": "random",
}
RELATIVE, FIXED_SIZE = "relative", "fixed-size"
DENSE, SMALL = "dense", "small"
CONTROLS: Final = {
    DENSE: "control: dense, as many epochs",
    SMALL: "control: small and dense, from scratch",
}
HEADLINE: Final = 0.8  # share of the weights that is gone where the paper reports 97.5 %
DEEP: Final = 0.95  # where methods are compared
LAST: Final = 1 - 1 / 56  # where a relative line ends: DNS is there with 1.99 % error
SHARES: Final = (0.5, HEADLINE, 0.9, DEEP, LAST)
# What the text and the abstract say of the class-blinded method; the figure has no numbers.
REPORTED: Final = {0.0: 0.970, HEADLINE: 0.975}
WORST: Final = 0.01  # by which random pruning should be worse than all others at DEEP


@dataclass(frozen=True)
class Scale:
    """How much is spent.

    - `data`: what it is about, a loader's name, or "digits".
    - `fraction`: share of the training images; `validation`: share held out.
    - `first_epochs`, `epochs`: of the dense network, and behind each step.
    - `to_headline`: steps of a relative line in which 80 % of the weights leave.
    - `size`: share of the original number that a step of a fixed-size line takes.
    - `seeds`: where none are named; the paper repeats 25 times.
    - `training`: a recipe that differs from that of the paper's preset.
    """

    data: str
    fraction: float
    validation: float
    first_epochs: float
    epochs: float
    to_headline: int
    size: float
    seeds: tuple[int, ...] = (0,)
    networks: tuple[str, ...] = tuple(NETWORKS)
    training: Mapping[str, Any] = field(default_factory=dict)

    @property
    def of_remaining(self) -> float:
        """Share of what is left that a step of a relative line takes."""
        return float(1.0 - (1.0 - HEADLINE) ** (1 / self.to_headline))

    @property
    def n_steps(self) -> dict[str, int]:
        """Strategy -> steps of a line, at most."""
        relative = math.log(1.0 - LAST) / math.log(1.0 - self.of_remaining)
        return {RELATIVE: math.ceil(relative), FIXED_SIZE: math.ceil(DEEP / self.size)}

    @property
    def control_epochs(self) -> float:
        """Epochs of a relative line up to 80 %."""
        return self.first_epochs + self.to_headline * self.epochs


SCALES: Final = {
    "tiny": Scale("digits", 1.0, 0.2, 5.0, 1.0, 2, 0.4, training={"batch_size": 16}),
    "quick": Scale("mnist", 0.1, 0.02, 8.0, 1.0, 2, 0.2, (0, 1, 2), training={"batch_size": 32}),
    # 7,940 of 79,400 weights a step lie between the paper's 5,000 and 10,000.
    "paper": Scale("mnist", 1.0, 0.1, 20.0, 2.0, 3, 0.1, (0, 1, 2, 3, 4)),
}


def reproduce(request: Request) -> Reproduction:
    """Run what is missing of every method, strategy, control and seed; return figures and the page.

    Raises ConfigError for an unknown scale or missing data, StoreError where no network could be
    trained.
    """
    request, scale, source = scale_of(request, SCALES)
    data_of(source, "image", "mnist:DIR or digits")
    file = prunings.opened(request, PAPER)
    settings = read_toml(preset(PAPER))
    tables = merge(
        {name: settings[name] for name in ("training", "prediction")},
        {
            "data": {"validation": scale.validation},
            "training": {"fraction": scale.fraction, **scale.training},
            # As wide as the widest of the networks.
            "space": {"name": "dag-cnn", "min_depth": 1, "max_channels": 300},
        },
    )
    rows: list[Row] = []
    for seed in request.seeds:
        lines = Lines(PAPER, request, scale, tables, source, seed, file, classifier=True)
        for network in scale.networks:
            rows += _of_network(lines, scale, network)
    is_full = request.scale == "paper"
    compared = [c for n in scale.networks for c in _compared(rows, n)]
    targets = _targets(rows, scale, is_full)
    figures = [
        _figure(f"{NETWORKS[n]}, {strategy}", _of_strategy(rows, n, strategy))
        for n in scale.networks
        for strategy in (RELATIVE, FIXED_SIZE)
    ]
    wrong = outcome.error_rows(_errors(rows, scale))
    result_tables = outcome.tables(compared, targets, wrong)
    page = request.out / f"{PAPER}.html"
    title = f"Stier 2021, pruning, on {source}, scale {request.scale}"
    content = sheet(title, _notes(scale), Markup("").join(figures), result_tables)
    page.write_text(content, encoding="utf-8")
    seconds = prunings.seconds(rows)
    return Reproduction(
        request.scale, [*rows, *wrong], result_tables, page, compared, targets, seconds
    )


def _of_network(lines: Lines, scale: Scale, network: str) -> list[Row]:
    """Return the rows of a network: dense, by each method and strategy, the controls."""
    first = lines.trained(network, network, scale.first_epochs)
    n_first = first["steps"][0]["n"]
    rows = [first]
    strategies: dict[str, dict[str, Any]] = {
        RELATIVE: {"of_remaining": scale.of_remaining, "target": LAST},
        FIXED_SIZE: {"size": round(scale.size * n_first), "target": DEEP},
    }
    epochs = {
        _arm(method, strategy): scale.epochs * n
        for strategy, n in scale.n_steps.items()
        for method in METHODS
    }
    lines.announce(first, epochs | dict.fromkeys(CONTROLS, scale.control_epochs))
    for strategy, options in strategies.items():
        for method, words in METHODS.items():
            algorithm = {
                "method": method, "strategy": strategy, "epochs": scale.epochs, **options
            }  # fmt: skip
            arm = _arm(method, strategy)
            rows.append(lines.pruned(network, arm, f"{words}, {strategy}", algorithm))
    rows.append(lines.trained(network, network, scale.control_epochs, DENSE, CONTROLS[DENSE]))
    folder = lines.base(network)
    narrow = folder.parent / f"{SMALL}.json"
    if not narrow.exists():
        run = Run.open(folder)  # both of its parts are as many times narrower
        wanted = round((1.0 - HEADLINE) * run.trial(0).metrics["n_synapses"])
        narrow.write_text(json.dumps(narrowed(run, wanted)), encoding="utf-8")
    small = lines.trained(network, str(narrow), scale.control_epochs, SMALL, CONTROLS[SMALL])
    return [*rows, small]


def _arm(method: str, strategy: str) -> str:
    return f"{method}-{strategy}"


def _of_strategy(rows: Sequence[Row], network: str, strategy: str) -> dict[str, list[Row]]:
    """Return method -> its rows, one a seed."""
    return {method: of(rows, network, _arm(method, strategy)) for method in METHODS}


# ---- beside the paper ----------------------------------------------------------------------------


def _compared(rows: Sequence[Row], network: str) -> list[Compared]:
    name = NETWORKS[network]
    whole = {row["seed"]: row["steps"][0]["n"] for row in of(rows, network, BASE)}

    def line(arm: str, setting: str, own: Sequence[Row], share: float | None) -> list[Compared]:
        ends = share is None
        tests = [r["steps"][-1]["test"] if share is None else at_share(r, share) for r in own]
        vals = [r["steps"][-1]["val"] if share is None else at_share(r, share, "val") for r in own]
        sizes = [
            float(r["steps"][-1]["n"]) if ends else whole[r["seed"]] * (1.0 - (share or 0.0))
            for r in own
        ]
        is_papers = network == "mlp-100" and ("blinded" in arm or arm == f"{name}, dense")
        known = REPORTED.get(0.0 if ends else share or 0.0) if is_papers else None
        return [
            Compared.of(arm, setting, "weights left", None, sizes),
            Compared.of(arm, setting, "test accuracy", known, tests),
            Compared.of(arm, setting, "validation accuracy", None, vals),
        ]

    found = line(f"{name}, dense", "before pruning", of(rows, network, BASE), None)
    for strategy in (RELATIVE, FIXED_SIZE):
        for method, own in _of_strategy(rows, network, strategy).items():
            title = f"{name}, {METHODS[method]}, {strategy}"
            for share in SHARES:
                if any(math.isfinite(at_share(row, share)) for row in own):
                    found += line(title, f"{100 * share:.3g} % gone", own, share)
    for control, title in CONTROLS.items():
        where = f"epochs as at {100 * HEADLINE:g} %"
        found += line(f"{name}, {title}", where, of(rows, network, control), None)
    return found


def _targets(rows: Sequence[Row], scale: Scale, is_full: bool) -> list[Target]:
    """Return what the numbers should reach; accuracies are judged at the scale of the paper."""
    found = []

    def judged(target: Target, here: bool) -> None:
        found.append(target if here else replace(target, met=None))

    for network in scale.networks:
        name = NETWORKS[network]
        own = _of_strategy(rows, network, RELATIVE)
        dense = _mean([row["steps"][-1]["test"] for row in of(rows, network, DENSE)])
        blinded = _mean([at_share(row, HEADLINE) for row in own[BLINDED]])
        if network == "mlp-100":
            judged(
                Target.least(f"{name}: test accuracy of the dense control", 0.98, dense), is_full
            )
            judged(
                Target.least(
                    f"{name}: class-blinded at 80 %, minus the dense control of as many epochs",
                    -0.001, None if None in (blinded, dense) else blinded - dense,  # type: ignore[operator]
                ), is_full,
            )  # fmt: skip
        else:
            last = _mean([row["steps"][-1]["test"] for row in own[BLINDED]])
            judged(
                Target.least(f"{name}: test accuracy of class-blinded at 56x", 0.98, last), is_full
            )
        deep = {m: _mean([at_share(row, DEEP) for row in of_m]) for m, of_m in own.items()}
        known = {m: value for m, value in deep.items() if value is not None}
        others = [value for m, value in known.items() if m != "random"]
        both = BLINDED in known and "class-uniform" in known
        gain = known[BLINDED] - known["class-uniform"] if both else None
        worst = min(others) - known["random"] if others and "random" in known else None
        is_enough = is_full or len(of(rows, network, BASE)) > 1  # one seed cannot tell
        judged(
            Target.least(f"{name}: at 95 %, class-blinded minus class-uniform", 0.0, gain),
            is_enough,
        )
        judged(
            Target.least(f"{name}: at 95 %, the worst other method minus random", WORST, worst),
            is_enough,
        )
    return found


def _errors(rows: Sequence[Row], scale: Scale) -> list[tuple[str, str, str]]:
    """Return the paper's errors: what it says, what is right, what was measured here."""
    gains = []
    for network in scale.networks:
        dense = _mean([row["steps"][-1]["test"] for row in of(rows, network, DENSE)])
        own = _of_strategy(rows, network, RELATIVE)[BLINDED]
        blinded = _mean([at_share(row, HEADLINE) for row in own])
        if dense is not None and blinded is not None:
            gains.append(f"{NETWORKS[network]} {100 * (blinded - dense):+.2f} points")
    return [
        (
            "pruned networks are better than whole ones: 97.5 % at 80 % gone, 97.0 % before",
            "each step trained them further; the whole network for as many epochs is the control",
            "class-blinded at 80 % minus that control: " + (", ".join(gains) or "–"),
        ),
        (
            "class-uniform takes the same number of weights of each layer",
            "its code takes the same percentage of each",
            "the same percentage",
        ),
        (
            "class-distributed divides by the deviation of a layer",
            "its code counts the zeros of what left, so the deviation drifts from step to step",
            "that of living weights; the other is an option",
        ),
        (
            "optimal brain damage by the second derivatives of the loss",
            "its code takes the loss of the last validation batch alone, a double backward pass a "
            "weight; such saliencies can be negative",
            "the mean over training rows, exact for networks of rectifiers, never negative",
        ),
    ]


def _mean(values: Sequence[float]) -> float | None:
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite and len(finite) == len(values) else None


def _figure(description: str, by_method: Mapping[str, Sequence[Row]]) -> Markup:
    """Draw test accuracy against how many times fewer weights there are, as in figure 2a."""
    lines, marks, xs, ys = [], [], [], []
    for i, (method, rows) in enumerate(by_method.items()):
        for row in rows:
            whole = row["steps"][0]["n"]
            points = [(whole / max(1, step["n"]), step["test"]) for step in row["steps"]]
            name = f"{METHODS[method]}, seed {row['seed']}"
            lines.append(Line(points, f"c{i}", name, method if row is rows[0] else ""))
            marks += [
                Mark(x, y, f"{name}: {100 * y:.2f} % at {x:.3g}x", f"c{i}") for x, y in points
            ]
            xs += [x for x, _ in points]
            ys += [y for _, y in points]
    across = axis(xs, "n_synapses", "times fewer weights")
    up = axis(ys, "test_accuracy", "test accuracy")
    return plot(description, across, up, marks, lines)


def _notes(scale: Scale) -> tuple[str, ...]:
    return (
        f"Each network is trained for {scale.first_epochs:g} epochs of a share of "
        f"{scale.fraction:g} of the training images; all lines of a seed begin with it. Behind a "
        f"step there are {scale.epochs:g} epochs. A relative line takes "
        f"{100 * scale.of_remaining:.3g} % of what is left in a step, a fixed-size line "
        f"{100 * scale.size:g} % of the original number; the last step of each ends at its target. "
        "Weights are those of all layers, the classifier among them as in the paper (79,400 and "
        "266,200), without biases. Between two steps "
        "accuracies are interpolated in the logarithm of the number of weights.",
        "The paper compares 97.5 % at 80 % with 97.0 % before pruning, but each step trained its "
        "network further. 'dense, as many epochs' is the same network trained from scratch for all "
        "epochs of a relative line up to 80 %; 'small and dense' has about a fifth of the weights "
        "and as many epochs. Random pruning is one of the methods. Nothing is chosen by test "
        "images.",
    )
