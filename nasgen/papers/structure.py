"""What the structure of random graphs tells of their accuracy, with the controls that it needs.

Per kind of units: Pearson's r of each property, also with size taken out; R2, Spearman and Kendall
of what predictors say of networks that they have not seen, by repeated 10-fold cross-validation;
the same from size alone and from the number of sources alone; the single split of the paper (a
tenth held back) drawn many times. Properties are scaled inside the folds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from nasgen import registry, seeding
from nasgen.bench.labels import Labelled
from nasgen.predictors import evaluate, scores
from nasgen.predictors.base import Floats
from nasgen.predictors.features.random_graph import RandomGraph, RandomGraphDirected
from nasgen.predictors.importance import correlations, importances

N_FOLDS: Final = 10
N_DRAWS: Final = 30  # of the single split
HELD_SHARE: Final = 0.1  # of it
N_RESAMPLES: Final = 1000
MANY: Final = 3  # times as many as by chance: properties hang together, so numbers vary
FEWEST: Final = 20  # networks, of which each of ten folds holds two: fewer give no interval of R2
PREDICTORS: Final = {"ridge": "Bayesian ridge", "forest": "random forest", "adaboost": "AdaBoost"}
USUAL: Final = "forest"  # by which sets of properties are compared
OF_CONTROLS: Final = ("ridge", "forest")
SIZES: Final = ("nodes", "edges", "source_nodes", "sink_nodes")
ALL, DIRECTED, SIZE, SOURCES, REST = (
    "23 properties",
    "directed properties",
    "size alone",
    "source nodes alone",
    "properties but size",
)
# The directed set has what has no direction besides.
SETS: Final[Mapping[str, tuple[str, ...]]] = {
    ALL: RandomGraph.names,
    DIRECTED: ("layers", *SIZES, "density", *RandomGraphDirected.names),
    SIZE: SIZES,
    SOURCES: ("source_nodes",),
    REST: tuple(name for name in RandomGraph.names if name not in SIZES),
}


@dataclass(frozen=True)
class Score:
    """A mean over repeats, and the 95 % interval over networks; None where it is not defined.

    R2 of fewer than `FEWEST` networks has no interval.
    """

    mean: float | None
    low: float | None = None
    high: float | None = None

    @classmethod
    def of_r(cls, r: float, n: int, share: float = scores.PEARSON, n_given: int = 0) -> Score:
        """Return a correlation of `n` networks with its interval."""
        if not np.isfinite(r):
            return cls(None)
        low, high = scores.interval(r, n, share, n_given) or (None, None)
        return cls(float(r), low, high)

    @property
    def is_above_0(self) -> bool:
        """Whether the whole interval is."""
        return self.low is not None and self.low > 0

    @property
    def is_not_0(self) -> bool:
        """Whether the whole interval is on one side of 0."""
        return self.low is not None and self.high is not None and self.low * self.high > 0

    def to_json(self) -> dict[str, float | None]:
        """Return plain JSON data."""
        named = {"mean": self.mean, "low": self.low, "high": self.high}
        return {k: None if v is None else round(v, 4) for k, v in named.items()}


@dataclass(frozen=True)
class Told:
    """What structure tells of the networks of one kind of units.

    `alone` and `beside`: property -> r with accuracy, and r with size taken out. `judged`: (set,
    predictor) -> {"r2", "spearman", "kendall"}. `gains`: control -> by how much R2 of `ALL` is
    above the control's, both by `USUAL`. `draws`: predictor -> R2 of `ALL` in each single split
    that has one; `n_held` networks are held back there. Of `n_draws` splits those whose held-back
    networks are equally accurate have none. `missed`: properties that `USUAL` would miss most, with
    the R2 lost without them; none of fewer than `FEWEST` networks.
    """

    n: int
    alone: Mapping[str, Score]
    beside: Mapping[str, Score]
    judged: Mapping[tuple[str, str], Mapping[str, Score]]
    gains: Mapping[str, Score]
    draws: Mapping[str, Floats]
    n_draws: int
    n_held: int
    missed: Sequence[tuple[str, float]]

    @property
    def is_few(self) -> bool:
        """Whether there are too few networks to say what survives."""
        return self.n < FEWEST

    @property
    def n_undefined(self) -> int:
        """How many single splits give no R2, the same ones for all predictors."""
        return self.n_draws - len(self.draws[USUAL])


def predictors_of(features: str) -> tuple[str, ...]:
    """Return the predictors that read a set: all where it is the paper's."""
    return tuple(PREDICTORS) if features == ALL else OF_CONTROLS


def told(found: Labelled, repeats: int, seed: int) -> Told:
    """Return what structure tells of labelled networks.

    Their accuracies differ. Raises DataError for fewer than `evaluate.MIN_GROUPS` different ones.
    """
    y, n = found.y, len(found.y)
    splits = evaluate.folds(found.keys, repeats, seed, min(N_FOLDS, len(set(found.keys))))
    columns = {name: found.X[:, found.names.index(name)] for name in found.names}
    given = _size(columns)
    r = dict(zip(found.names, correlations(found.X, y).tolist(), strict=True))
    rest = dict(zip(found.names, correlations(found.X, y, given).tolist(), strict=True))
    predicted: dict[tuple[str, str], Floats] = {}
    judged = {}
    for name, properties in SETS.items():
        X = np.column_stack([columns[p] for p in properties])  # noqa: N806
        for predictor in predictors_of(name):
            make = registry.resolve("predictors", predictor)
            said = evaluate.held_out(make, X, y, splits, seed, repeats)
            predicted[name, predictor] = said
            judged[name, predictor] = _scores(said, y, seed)
    n_held = max(2, round(HELD_SHARE * n))
    n_other = len(set(found.keys)) - n_held
    single = evaluate.draws(found.keys, n_other, n_held, N_DRAWS, seed)
    X = np.column_stack([columns[p] for p in RandomGraph.names])  # noqa: N806
    usual = registry.resolve("predictors", USUAL)
    weights = np.full(X.shape[1], np.nan)
    if n >= FEWEST:
        weights = importances(usual, X, y, splits[: len(splits) // repeats], seed)
    order = np.argsort(-weights, kind="stable")
    return Told(
        n,
        {name: Score.of_r(value, n) for name, value in r.items()},
        {
            name: Score.of_r(value, n, n_given=given.shape[1])
            for name, value in rest.items()
            if name not in SIZES
        },
        judged,
        {
            control: _gain(predicted[ALL, USUAL], predicted[control, USUAL], y, seed)
            for control in (SIZE, SOURCES)
        },
        {
            predictor: evaluate.r2_each(
                registry.resolve("predictors", predictor), X, y, single, seed
            )
            for predictor in PREDICTORS
        },
        len(single),
        n_held,
        [(RandomGraph.names[i], w) for i in order.tolist() if np.isfinite(w := float(weights[i]))],
    )


def _size(columns: Mapping[str, Floats]) -> Floats:
    """Return what is taken out as size, (n, 5)."""
    return np.column_stack([*(columns[name] for name in SIZES), np.log(columns["nodes"])])


def _scores(predicted: Floats, y: Floats, seed: int) -> dict[str, Score]:
    """Return the scores of held-back predictions (repeats, n)."""
    r2 = float(_r2(predicted, y).mean())
    found = {"r2": Score(r2, *_ends(_resampled(predicted, y, seed)))}
    for name, score, share in (
        ("spearman", scores.spearman, scores.RANKS),
        ("kendall", scores.kendall, scores.PAIRS),
    ):
        values = [value for said in predicted if (value := score(said, y)) is not None]
        mean = float(np.mean(values)) if values else np.nan
        found[name] = Score.of_r(mean, len(y), share)
    return found


def _gain(predicted: Floats, rival: Floats, y: Floats, seed: int) -> Score:
    """Return by how much R2 is above that of a rival, on the same resampled networks."""
    mean = float(_r2(predicted, y).mean() - _r2(rival, y).mean())
    return Score(mean, *_ends(_resampled(predicted, y, seed) - _resampled(rival, y, seed)))


def _r2(predicted: Floats, y: Floats) -> Floats:
    found: Floats = 1 - ((y - predicted) ** 2).sum(axis=1) / ((y - y.mean()) ** 2).sum()
    return found


def _resampled(predicted: Floats, y: Floats, seed: int) -> Floats:
    """Return R2, mean over repeats, of networks drawn with replacement, (N_RESAMPLES,).

    Errors are compared with distances from the mean of all networks, not of those drawn: nearer to
    their own mean, which no predictor was fitted to, all resamples would lie below what they are
    to surround. () for fewer than `FEWEST` networks.
    """
    n = len(y)
    if n < FEWEST:
        return np.empty(0)
    rows = seeding.generator(seed, "resampled").integers(n, size=(N_RESAMPLES, n))
    missed = ((y - predicted) ** 2).mean(axis=0)[rows].sum(axis=1)
    spread = ((y - y.mean()) ** 2)[rows].sum(axis=1)
    found: Floats = 1 - missed / np.where(spread > 0, spread, np.nan)
    return found


def _ends(drawn: Floats) -> tuple[float | None, float | None]:
    if not len(drawn):
        return None, None
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return float(low), float(high)


# ---- in words ------------------------------------------------------------------------------------


def paragraph(found: Mapping[str, Told]) -> str:
    """Return what survives the controls, written from the numbers; `found` is cell -> `Told`.

    Of fewer than `FEWEST` networks it says no more than that they are too few.
    """
    said = {cell: told.judged[ALL, USUAL]["r2"] for cell, told in found.items()}
    values = ", ".join(f"{cell} {text(score)}" for cell, score in said.items())
    start = (
        f"A {PREDICTORS[USUAL]} on the {ALL} explains of the variance of accuracies among networks "
        f"it has not seen (R2): {values}"
    )
    few = {cell: told.n for cell, told in found.items() if told.is_few}
    open_ = (
        f"Too few graphs for intervals of R2 "
        f"({', '.join(f'{cell} {n}' for cell, n in few.items())}; {FEWEST} are needed), so whether "
        "structure tells accuracy stays open."
    )
    enough = {cell: told for cell, told in found.items() if not told.is_few}
    if not enough:
        return f"{start}. {open_}"
    rest = _told_of(enough)
    return " ".join([f"{start}{rest[0]}", *rest[1:], *([open_] if few else [])])


def _told_of(found: Mapping[str, Told]) -> list[str]:
    """Return what follows the R2 of all properties, for kinds of units with enough networks."""
    tells = [cell for cell, t in found.items() if t.judged[ALL, USUAL]["r2"].is_above_0]
    sentences = [f"; the interval is above 0 for {_listed(tells)}."]
    for control in (SIZE, SOURCES):
        more = [c for c, t in found.items() if t.gains[control].is_above_0]
        less = [
            c for c, t in found.items() if (high := t.gains[control].high) is not None and high < 0
        ]
        gains = ", ".join(f"{c} {text(t.gains[control])}" for c, t in found.items())
        sentence = f"Beside {control} that is {gains}: all properties tell more for {_listed(more)}"
        sentences.append(sentence + (f", and less for {_listed(less)}." if less else "."))
    names = next(iter(found.values())).beside
    kept = {name: [c for c, t in found.items() if t.beside[name].is_not_0] for name in names}
    n_tests = sum(t.beside[name].low is not None for t in found.values() for name in names)
    n_kept = sum(map(len, kept.values()))
    everywhere = [name for name, cells in kept.items() if len(cells) == len(found)]
    largest = max(
        (
            (abs(score.mean), name, c, score.mean)
            for c, t in found.items()
            for name, score in t.beside.items()
            if score.mean is not None
        ),
        default=None,
    )
    by_chance = 0.05 * n_tests
    sentence = (
        f"With size taken out (nodes, their logarithm, edges, sources, sinks), {n_kept} of "
        f"{n_tests} correlations have intervals without 0, where chance alone would give about "
        f"{by_chance:.0f}"
    )
    sentence += f"; for every kind of units: {_listed(everywhere)}"
    if largest is not None:
        sentence += f". The largest is {largest[3]:+.2f} ({largest[1]}, {largest[2]})"
    sentences.append(sentence + ".")
    spreads = ", ".join(
        f"{c} {t.draws[USUAL].min():.2f} to {t.draws[USUAL].max():.2f}"
        for c, t in found.items()
        if len(t.draws[USUAL])
    )
    n_held = next(iter(found.values())).n_held
    n_draws = next(iter(found.values())).n_draws
    if spreads:
        sentence = (
            f"A single split, as the paper's, that holds {n_held} networks back gives any R2 "
            f"within {spreads} in {n_draws} draws"
        )
        without = ", ".join(f"{c} {t.n_undefined}" for c, t in found.items() if t.n_undefined)
        if without:
            sentence += f", of which some hold equal accuracies back and give none: {without}"
        sentences.append(sentence + ".")
    survivors = [c for c in tells if found[c].gains[SIZE].is_above_0]
    if survivors:
        last = f"So structure beyond size survives for {_listed(survivors)}."
    elif n_kept > MANY * by_chance:
        last = (
            "So no kind of units is predicted better from all properties than from size alone, "
            f"though {n_kept / by_chance:.1f} times as many of them go with accuracy beside "
            "size as by chance."
        )
    else:
        last = "So nothing beyond size survives for any kind of units."
    sentences.append(last)
    return sentences


def text(score: Score, sign: str = "") -> str:
    """Return a score with its interval, as tables have it; `sign` "+" shows that of all numbers.

    It has a third digit where its mean would else be an end of its interval.
    """
    if score.mean is None:
        return "–"
    if score.low is None or score.high is None:
        return f"{score.mean:{sign}.2f}"
    values = (score.mean, score.low, score.high)
    digits = 3 if round(values[0], 2) in (round(values[1], 2), round(values[2], 2)) else 2
    mean, low, high = (f"{value:{sign}.{digits}f}" for value in values)
    return f"{mean} [{low}, {high}]"


def _listed(names: Sequence[str]) -> str:
    if not names:
        return "none"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def rows(cell: str, told_: Told) -> list[dict[str, Any]]:
    """Return what `--json` prints of one kind of units, a row a figure."""
    found: list[dict[str, Any]] = [
        {
            "kind": "property",
            "cell": cell,
            "property": name,
            "r": score.to_json(),
            "r_given_size": told_.beside[name].to_json() if name in told_.beside else None,
        }
        for name, score in told_.alone.items()
    ]
    found += [
        {
            "kind": "predictor",
            "cell": cell,
            "features": features,
            "predictor": predictor,
            **{name: score.to_json() for name, score in judged.items()},
        }
        for (features, predictor), judged in told_.judged.items()
    ]
    found += [
        {
            "kind": "single split",
            "cell": cell,
            "predictor": predictor,
            "held_back": told_.n_held,
            "draws": told_.n_draws,
            "undefined": told_.n_undefined,
            "r2": [round(float(value), 4) for value in values],
        }
        for predictor, values in told_.draws.items()
    ]
    found += [
        {"kind": "gain", "cell": cell, "over": control, "r2": score.to_json()}
        for control, score in told_.gains.items()
    ]
    found += [
        {"kind": "importance", "cell": cell, "property": name, "r2_lost": round(lost, 4)}
        for name, lost in told_.missed
    ]
    return found
