"""Stier 2021, section 4.2: how many weights can leave recurrent networks at once, on Reber strings.

A network of three layers is trained for each kind of cell; then a share of its input-to-hidden
weights ("i2h"), of its hidden-to-hidden weights ("h2h") or of both leaves in one shot, always from
the same network, and one epoch of training follows. What rules of two and three neighbouring
symbols reach stands beside: plain Reber strings are told by three symbols, so the embedded grammar,
where such rules guess, is the honest test of a memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from markupsafe import Markup

from nasgen.data import ngrams
from nasgen.errors import ConfigError
from nasgen.layers.recurrent import GATES
from nasgen.papers import outcome, preset, prunings
from nasgen.papers.base import Reproduction, Request, data_of, scale_of
from nasgen.papers.outcome import Compared, Target
from nasgen.papers.prunings import BASE, Lines, of
from nasgen.report.charts import Line, Mark, plot
from nasgen.report.scale import axis
from nasgen.report.sheet import Table, sheet
from nasgen.search_spaces.recurrent import chain
from nasgen.settings.config import merge, read_toml
from nasgen.store.rows import Row

PAPER: Final = "stier2021-rnn"
N_LAYERS, N_UNITS = 3, 50
BOTH, I2H, H2H = "both", "i2h", "h2h"
MODES: Final = (BOTH, I2H, H2H)
WHEN: Final = ("before", "after")  # retraining
METHODS: Final = {"magnitude": "one threshold", "class-uniform": "a threshold a layer"}
EMBEDDED: Final = "embedded"
PAPERS_CEILING: Final = 0.937  # where the paper's tanh network stays, and what two symbols tell
MARGIN: Final = 0.002  # below the unpruned network, within which a sparsity is safe
CHANCE: Final = 0.5
N_SEEDS: Final = 3  # fewer cannot tell
# (cell, what leaves, per cent) -> test accuracy right after pruning and after one epoch; the
# reference's CSV values. None: none of them is known here.
REPORTED: Final[Mapping[tuple[str, str, int], tuple[float | None, float | None]]] = {
    ("rnn_tanh", BOTH, 60): (0.937, 0.937), ("rnn_tanh", BOTH, 70): (0.933, None),
    ("rnn_tanh", BOTH, 80): (0.919, 0.933), ("rnn_tanh", BOTH, 90): (0.656, 0.925),
    ("rnn_relu", BOTH, 60): (0.993, None), ("rnn_relu", BOTH, 70): (0.986, 1.0),
    ("rnn_relu", BOTH, 80): (0.549, 1.0), ("rnn_relu", BOTH, 90): (0.503, 1.0),
    ("lstm", BOTH, 60): (1.0, None), ("lstm", BOTH, 70): (0.803, 1.0),
    ("lstm", BOTH, 80): (0.668, 1.0), ("lstm", BOTH, 90): (0.495, 0.9997),
    ("gru", BOTH, 70): (0.998, None), ("gru", BOTH, 80): (0.994, 1.0),
    ("gru", BOTH, 90): (0.551, 1.0),
    ("rnn_tanh", I2H, 70): (0.931, None), ("rnn_tanh", I2H, 80): (0.814, None),
    ("rnn_tanh", I2H, 90): (0.494, 0.739),
    ("rnn_relu", I2H, 70): (1.0, None), ("rnn_relu", I2H, 80): (0.950, None),
    ("rnn_relu", I2H, 90): (0.905, None),
    ("lstm", I2H, 70): (0.992, None), ("lstm", I2H, 80): (0.946, None),
    ("lstm", I2H, 90): (0.621, None),
    ("gru", I2H, 80): (0.997, None), ("gru", I2H, 90): (0.876, None),
    ("rnn_tanh", H2H, 80): (0.937, None), ("rnn_tanh", H2H, 90): (0.720, None),
    ("rnn_relu", H2H, 70): (0.991, None), ("rnn_relu", H2H, 80): (0.649, None),
    ("rnn_relu", H2H, 90): (0.464, None),
    ("lstm", H2H, 80): (0.999, None), ("lstm", H2H, 90): (0.953, None),
    ("lstm", H2H, 100): (0.521, 0.988),
    ("gru", H2H, 80): (0.956, None), ("gru", H2H, 90): (0.951, None),
    ("gru", H2H, 100): (0.573, 0.974),
}  # fmt: skip
# What the text calls safe to remove, in per cent.
SAFE: Final[Mapping[str, Mapping[str, int]]] = {
    BOTH: {"rnn_tanh": 80, "rnn_relu": 70, "lstm": 60, "gru": 80},
    I2H: {"rnn_tanh": 70, "rnn_relu": 70, "lstm": 70, "gru": 80},
    H2H: {"rnn_tanh": 80, "rnn_relu": 70, "lstm": 70, "gru": 80},
}
# What a unit without hidden-to-hidden weights still knows of the step before.
REASONS: Final = (
    ("lstm", "c(t) = f c(t-1) + i g", "its own state of the step before, unit by unit"),
    ("gru", "h(t) = (1 - z) n + z h(t-1)", "the same"),
    ("rnn_tanh, rnn_relu", "h(t) = act(W x(t) + b)", "nothing: only the last symbol is seen"),
)


@dataclass(frozen=True)
class Scale:
    """How much is spent.

    - `data`: the strings of plain Reber grammar.
    - `epochs`: of the network that is pruned; one follows each pruning.
    - `embedded`: strings of the embedded grammar, "" for none; `embedded_epochs` of its networks.
    - `rates`: per cent of the weights that leave. `methods`: which thresholds.
    - `when`: right after a pruning, after one more epoch, or both.
    - `seeds`: where none are named.
    - `judges`: whether it decides the targets.
    """

    data: str
    validation: float
    epochs: float
    embedded: str = ""
    embedded_epochs: float = 0.0
    rates: tuple[int, ...] = tuple(range(10, 101, 10))
    modes: tuple[str, ...] = MODES
    cells: tuple[str, ...] = tuple(GATES)
    methods: tuple[str, ...] = ("magnitude",)
    when: tuple[str, ...] = WHEN
    seeds: tuple[int, ...] = (0,)
    judges: bool = False


SCALES: Final = {
    "tiny": Scale("reber:n=600", 0.1, 4.0, rates=(50, 90, 100)),
    "quick": Scale("reber:n=6000", 0.05, 12.0, "reber-embedded:n=6000", 12.0),
    # What decides the targets, and nothing else: a sparsity is safe with all lower rates.
    "goals": Scale(
        "reber",
        0.05,
        10.0,
        "reber-embedded",
        8.0,
        rates=tuple(range(10, 100, 10)),
        modes=(BOTH,),
        when=("after",),
        seeds=(0, 1, 2),
        judges=True,
    ),
    "paper": Scale(
        "reber",
        0.05,
        20.0,
        "reber-embedded",
        20.0,
        methods=tuple(METHODS),
        seeds=(0, 1, 2),
        judges=True,
    ),
}


def reproduce(request: Request) -> Reproduction:
    """Run what is missing of every cell, matrix, rate and seed; return figures and the page.

    Raises ConfigError for an unknown scale or data that are no strings of two classes, StoreError
    where no network could be trained.
    """
    request, scale, source = scale_of(request, SCALES)
    file = prunings.opened(request, PAPER)
    settings = read_toml(preset(PAPER))
    tables = merge(
        {name: settings[name] for name in ("space", "training")},
        {"data": {"validation": scale.validation}},
    )
    sources = {BASE: source} | ({EMBEDDED: scale.embedded} if scale.embedded else {})
    rules = {name: _rules(one) for name, one in sources.items()}
    rows: list[Row] = []
    for seed in request.seeds:
        lines = Lines(PAPER, request, scale, tables, source, seed, file)
        for cell in scale.cells:
            rows += _of_cell(lines, scale, cell)
        if scale.embedded:
            other = Lines(PAPER, request, scale, tables, scale.embedded, seed, file)
            for cell in scale.cells:
                title = "dense, embedded grammar"
                origin = _origin(other, cell)
                rows.append(other.trained(cell, origin, scale.embedded_epochs, EMBEDDED, title))
    compared = [*_of_rules(rules), *_compared(rows, scale)]
    targets = _targets(rows, scale, rules)
    wrong = outcome.error_rows(_errors(rows, scale, rules))
    result_tables = [*outcome.tables(compared, targets, wrong), _reasons()]
    figures = [
        _figure(f"{mode}, {when} one epoch of training", rows, scale, mode, when)
        for mode in scale.modes
        for when in scale.when
    ]
    page = request.out / f"{PAPER}.html"
    title = f"Stier 2021, pruning recurrent networks, on {source}, scale {request.scale}"
    content = sheet(title, _notes(scale), Markup("").join(figures), result_tables)
    page.write_text(content, encoding="utf-8")
    seconds = prunings.seconds(rows)
    return Reproduction(
        request.scale, [*rows, *wrong], result_tables, page, compared, targets, seconds
    )


def is_possible(mode: str, rate: int) -> bool:
    """Tell whether so much may leave: a layer that reads nothing cuts the network in two."""
    return rate < 100 or mode == H2H


def _rules(source: str) -> dict[str, float]:
    """Return what rules of two and three symbols reach on a data set."""
    found = ngrams.of_dataset(data_of(source, "sequence", "reber:n=6000"))
    if not found:
        raise ConfigError(
            f"--data: expected strings of two classes, such as reber:n=6000, got {source}."
        )
    return found


def _origin(lines: Lines, cell: str) -> str:
    """Return the file of three layers of a cell."""
    file = lines.folder / f"{cell}.json"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        genotype = chain(cell, [N_UNITS] * N_LAYERS).to_json()
        file.write_text(json.dumps(genotype), encoding="utf-8")
    return str(file)


def _of_cell(lines: Lines, scale: Scale, cell: str) -> Iterator[Row]:
    """Yield the rows of a cell: the network, then each pruning before and after training."""
    first = lines.trained(cell, _origin(lines, cell), scale.epochs)
    yield first
    rates = [
        (mode, rate) for mode in scale.modes for rate in scale.rates if is_possible(mode, rate)
    ]
    arms = [_arm(method, *pair, "after") for method in scale.methods for pair in rates]
    lines.announce(first, dict.fromkeys(arms, 1.0))
    for method in scale.methods:
        for mode, rate in rates:
            for when in scale.when:
                algorithm = {
                    "method": method, "strategy": "one-shot", "recurrent": mode,
                    "target": rate / 100, "target_of": "matrices",
                    "epochs": 0.0 if when == "before" else 1.0,
                }  # fmt: skip
                title = f"{mode} {rate} %, {METHODS[method]}, {when} training"
                yield lines.pruned(cell, _arm(method, mode, rate, when), title, algorithm)


def _arm(method: str, mode: str, rate: int, when: str) -> str:
    return f"{method}-{mode}-{rate}-{when}"


# ---- beside the paper ----------------------------------------------------------------------------


def _of_rules(rules: Mapping[str, Mapping[str, float]]) -> list[Compared]:
    papers = {(BASE, "bigram rule"): 0.9368, (BASE, "trigram rule"): 1.0}
    return [
        Compared(name, "embedded grammar" if of == EMBEDDED else "Reber grammar", "test accuracy",
                 papers.get((of, name)), value)
        for of, found in rules.items()
        for name, value in found.items()
    ]  # fmt: skip


def _last(rows: Sequence[Row]) -> list[float]:
    return [float(row["steps"][-1]["test"]) for row in rows]


def _compared(rows: Sequence[Row], scale: Scale) -> list[Compared]:
    found = []
    for cell in scale.cells:
        papers = PAPERS_CEILING if cell == "rnn_tanh" else 1.0
        own = _last(of(rows, cell, BASE))
        found.append(Compared.of(cell, "unpruned", "test accuracy", papers, own))
        if scale.embedded:
            own = _last(of(rows, cell, EMBEDDED))
            setting = "unpruned, embedded grammar"
            found.append(Compared.of(cell, setting, "test accuracy", None, own))
    for cell in scale.cells:
        for method in scale.methods:
            for mode in scale.modes:
                title = f"{cell}, {mode}"
                title += "" if len(scale.methods) == 1 else f", {METHODS[method]}"
                for rate in scale.rates:
                    found += _of_rate(rows, scale, title, cell, method, mode, rate)
    for cell in scale.cells:
        for method in scale.methods:
            where = "safe sparsity" + ("" if len(scale.methods) == 1 else f", {METHODS[method]}")
            found += [
                Compared.of(
                    cell, f"{where} (per cent)", mode, float(SAFE[mode][cell]),
                    [float(safe(rows, scale, cell, method, mode, seed)) for seed in _seeds(rows)],
                )
                for mode in scale.modes
            ]  # fmt: skip
    return found


def _of_rate(
    rows: Sequence[Row], scale: Scale, title: str, cell: str, method: str, mode: str, rate: int
) -> list[Compared]:
    """Return the accuracies right after a pruning, and after one epoch."""
    known = REPORTED.get((cell, mode, rate), (None, None))
    papers = dict(zip(WHEN, known, strict=True))
    if not is_possible(mode, rate):
        refused = "refused: each layer keeps a weight"
        # "all 100 %" in the CSV
        return [
            Compared(title, f"{rate} %", f"{when} retraining", CHANCE, refused)
            for when in scale.when
        ]
    return [
        Compared.of(
            title, f"{rate} %", f"{when} retraining", papers[when],
            _last(of(rows, cell, _arm(method, mode, rate, when))),
        )
        for when in scale.when
    ]  # fmt: skip


def _seeds(rows: Sequence[Row]) -> list[int]:
    return sorted({row["seed"] for row in rows})


def safe(rows: Sequence[Row], scale: Scale, cell: str, method: str, mode: str, seed: int) -> int:
    """Return the largest per cent up to which all rates are safe after one epoch; 0: none is."""

    def test(arm: str) -> float:
        (value,) = _last([row for row in of(rows, cell, arm) if row["seed"] == seed])
        return value

    whole, largest = test(BASE), 0
    for rate in (rate for rate in sorted(scale.rates) if is_possible(mode, rate)):
        if test(_arm(method, mode, rate, "after")) < whole - MARGIN - 1e-9:
            break
        largest = rate
    return largest


def _targets(
    rows: Sequence[Row], scale: Scale, rules: Mapping[str, Mapping[str, float]]
) -> list[Target]:
    """Return what the numbers should reach; they are judged on all strings and three seeds."""
    found = []
    seeds, method = _seeds(rows), scale.methods[0]
    for cell in scale.cells:
        if BOTH not in scale.modes:
            break
        values = [safe(rows, scale, cell, method, BOTH, seed) for seed in seeds]
        name = f"{cell}: safe sparsity of both matrices (per cent), in every seed"
        found.append(Target.least(name, SAFE[BOTH][cell], float(min(values))))
    for cell in ("rnn_tanh",):
        if cell in scale.cells:
            own = _last(of(rows, cell, BASE))
            name = f"{cell}: test accuracy above the bigram rule, where the paper's stays"
            found.append(Target.least(name, rules[BASE]["bigram rule"], sum(own) / len(own)))
    for cell in ("lstm", "gru"):
        if scale.embedded and cell in scale.cells:
            own = _last(of(rows, cell, EMBEDDED))
            name = f"{cell}: test accuracy on the embedded grammar"
            found.append(Target.least(name, 0.99, sum(own) / len(own)))
    is_enough = scale.judges and len(seeds) >= N_SEEDS
    return found if is_enough else [replace(target, met=None) for target in found]


def _errors(
    rows: Sequence[Row], scale: Scale, rules: Mapping[str, Mapping[str, float]]
) -> list[tuple[str, str, str]]:
    """Return the paper's errors: what it says, what is right, what was measured here."""

    def reached(cell: str, arm: str, grammar: str) -> str:
        values = _last(of(rows, cell, arm))
        said = [f"{name} {100 * share:.2f} %" for name, share in rules[arm].items()]
        mean = sum(values) / max(1, len(values))
        said += [f"{cell} {100 * mean:.2f} %"] if values else []
        return f"{grammar} grammar: {', '.join(said)}"

    here = reached("rnn_tanh", BASE, "Reber")
    if scale.embedded:
        here += "; " + reached("rnn_tanh", EMBEDDED, "embedded")
    return [
        (
            "tanh networks stay at 93.7 % of the strings",
            "a rule of two symbols is right in 93.68 % of its test strings, one of three in all: "
            "plain strings need no longer memory; the embedded grammar is the honest task",
            here,
        ),
        (
            "weights leave step by step, with a threshold a layer (text)",
            "its code takes them at once, always from the same network, with one threshold for all "
            "recurrent layers",
            "at once, from the same network, with "
            + " and with ".join(METHODS[method] for method in scale.methods),
        ),
        (
            "the last state classifies a string",
            "its batches are padded with zeros and the last step of the longest string is read, so "
            "an answer depends on the other strings of its batch",
            "the state at each string's own last step",
        ),
    ]


def _reasons() -> Table:
    columns = ("cell", "without hidden-to-hidden weights", "what a unit still reads")
    return Table("At 100 % h2h", columns, [list(row) for row in REASONS])


def _figure(description: str, rows: Sequence[Row], scale: Scale, mode: str, when: str) -> Markup:
    """Draw test accuracy against the share that is gone, as in figures 2b and 5."""
    lines, marks, xs, ys = [], [], [0.0, 100.0], [CHANCE]
    method = scale.methods[0]
    for i, cell in enumerate(scale.cells):
        for seed in _seeds(rows):
            points = []
            for rate in (0, *scale.rates):
                arm = _arm(method, mode, rate, when) if rate else BASE
                own = [row for row in of(rows, cell, arm) if row["seed"] == seed]
                points += [(float(rate), value) for value in _last(own)]
            name = f"{cell}, seed {seed}"
            lines.append(Line(points, f"c{i}", name, cell if seed == _seeds(rows)[0] else ""))
            marks += [Mark(x, y, f"{name}: {100 * y:.2f} % at {x:g} %", f"c{i}") for x, y in points]
            ys += [y for _, y in points]
    across = axis(xs, "share", "per cent of these weights that are gone", log=False)
    return plot(description, across, axis(ys, "test_accuracy", "test accuracy"), marks, lines)


def _notes(scale: Scale) -> tuple[str, ...]:
    return (
        f"Three layers of 50 units behind an embedding of 50, trained for {scale.epochs:g} epochs; "
        "each pruning begins with that network and takes the smallest weights of all recurrent "
        "layers at once, as the paper's code does (its text has a threshold a layer and prunes in "
        "steps). The state is read at each string's own last step, not at the last step of a "
        "padded batch. Per cents are of the recurrent weights of that kind; the embedding and the "
        "classifier lose nothing.",
        "Safe: within 0.2 points of the unpruned network after one epoch, at this rate and at all "
        "lower ones. At 100 % of i2h or of both no input reaches the classifier, so nasgen refuses "
        "it; the paper's networks guess there.",
        "The bigram rule turns down what has two neighbours unseen in grammatical strings, the "
        "trigram rule three. The paper's tanh network stays at what the bigram rule reaches. On "
        "strings of the embedded grammar both are near chance.",
    )
