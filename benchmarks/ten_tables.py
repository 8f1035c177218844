"""Ten tables: `nasgen search` in a minute beside what scikit-learn has, on the same split.

    python benchmarks/ten_tables.py                    # all that is missing, seed 0
    python benchmarks/ten_tables.py --seeds 1 2        # further splits and draws
    python benchmarks/ten_tables.py --tables iris wine --methods nasgen linear

One row a table, method and seed goes to docs/results/ten-tables.jsonl; what stands there is not
measured again. Nothing else should use the cores meanwhile. 70 % of the rows are for training, the
same for all methods; the others are tested once, in the end.

- `nasgen`: NASClassifier or NASRegressor with a budget of 60 s on all cores and nothing else set.
  Its ensemble counts, its best network stands beside it. A tenth of the training rows choose.
- `boosting`: HistGradientBoosting as it comes.
- `tuned-boosting`, `mlp`: the best of up to 24 settings of HistGradientBoosting and of
  scikit-learn's MLP, drawn at random, the first one being the default, in the same 60 s.
- `linear`: logistic regression or ridge, the best of seven strengths of regularisation.

The last three choose on 20 % of the training rows and are then fitted to all of them, which nasgen
is not. Classes are compared by accuracy, values by R²; `python benchmarks/figures.py --table`
writes the table.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from provenance import RESULTS, stamp

from nasgen.errors import NasgenError, StoreError
from nasgen.settings.fidelity import n_cores
from nasgen.store.rows import Row, Rows

Array = NDArray[Any]
Make = Callable[[], Any]  # an estimator that is not fitted
Draw = tuple[int, int] | None  # the seed of drawn settings
SECONDS = 60.0
TEST, VALIDATION = 0.3, 0.2  # of the rows; of the training rows
MOST_SETTINGS = 24


@dataclass(frozen=True, eq=False)
class Table:
    """A split table; `classes` tells classes (0, 1, ...) from values."""

    x: Array
    y: Array
    x_test: Array
    y_test: Array
    classes: bool

    @property
    def validating(self) -> Table:
        """The training rows, split again: those in the place of test rows choose settings."""
        return split(self.x, self.y, self.classes, VALIDATION, 0)

    def scores(self, answers: Array) -> dict[str, float]:
        """Return {"accuracy", "nll"} of the test rows' probabilities, or {"r2", "rmse"}."""
        y = self.y_test
        if self.classes:
            own = np.clip(answers[np.arange(len(y)), y], np.finfo(np.float32).tiny, 1.0)
            right = answers.argmax(axis=1) == y
            return {"accuracy": float(right.mean()), "nll": float(-np.log(own).mean())}
        error = float(np.square(answers - y).mean())
        return {"r2": 1 - error / float(y.var()), "rmse": math.sqrt(error)}


# ---- tables --------------------------------------------------------------------------------------


def housing(n: int = 4_000, seed: int = 0) -> tuple[Array, Array]:
    """Return a table like California housing, which scikit-learn would have to download.

    Eight columns: income, age, rooms, bedrooms, population, people a household, latitude,
    longitude. The value follows income and the distance from two cities, is noisier where it is
    high, and is cut off at 5.
    """
    rng = np.random.default_rng(seed)
    income, age = rng.lognormal(1.25, 0.45, n), rng.integers(1, 53, n).astype(float)
    rooms = np.clip(rng.lognormal(1.6, 0.3, n), 1, 40)
    bedrooms = rooms * rng.normal(0.21, 0.02, n)
    population, people = rng.lognormal(7.0, 0.7, n), np.clip(rng.lognormal(1.05, 0.25, n), 1, 20)
    coast = rng.uniform(0, 1, n)  # from south to north
    latitude = 32.6 + 9.2 * coast + rng.normal(0, 0.5, n)
    longitude = -117.2 - 6.8 * coast + np.abs(rng.normal(0, 1.1, n))
    cities = [(34.05, -118.25, 0.9), (37.77, -122.42, 1.3)]
    near = sum(
        worth * np.exp(-np.hypot(latitude - lat, longitude - lon) / 0.6)
        for lat, lon, worth in cities
    )
    value = 0.45 * income * (1 + 0.4 * near) + near + 0.004 * age - 0.25 * (people - 2.9)
    value = value * rng.lognormal(0.0, 0.18, n) + rng.normal(0, 0.15, n)
    columns = [income, age, rooms, bedrooms, population, people, latitude, longitude]
    return np.column_stack(columns), np.clip(value, 0.15, 5.0)


def _shipped(name: str) -> Callable[[], tuple[Array, Array]]:
    def load() -> tuple[Array, Array]:
        from sklearn import datasets

        found: tuple[Array, Array] = getattr(datasets, f"load_{name}")(return_X_y=True)
        return found

    return load


def _generated(name: str, **options: Any) -> Callable[[], tuple[Array, Array]]:
    def make() -> tuple[Array, Array]:
        from sklearn import datasets

        found: tuple[Array, Array] = getattr(datasets, f"make_{name}")(**options, random_state=0)
        return found

    return make


SOURCES: dict[str, Callable[[], tuple[Array, Array]]] = {
    "iris": _shipped("iris"),
    "wine": _shipped("wine"),
    "breast-cancer": _shipped("breast_cancer"),
    "digits": _shipped("digits"),
    "classification": _generated(
        "classification", n_samples=3_000, n_features=20, n_informative=8, n_redundant=4,
        n_classes=4, n_clusters_per_class=2, flip_y=0.03,
    ),
    "diabetes": _shipped("diabetes"),
    "friedman1": _generated("friedman1", n_samples=1_500, noise=1.0),
    "friedman2": _generated("friedman2", n_samples=1_500, noise=60.0),
    "friedman3": _generated("friedman3", n_samples=1_500, noise=0.1),
    "housing": housing,
}  # fmt: skip
OF_CLASSES = ("iris", "wine", "breast-cancer", "digits", "classification")


def split(x: Array, y: Array, classes: bool, share: float, seed: int) -> Table:
    """Return rows split by lot, a share of them for tests; of each class the same share."""
    from sklearn.model_selection import train_test_split

    x, x_test, y, y_test = train_test_split(
        x, y, test_size=share, random_state=seed, stratify=y if classes else None
    )
    return Table(x, y, x_test, y_test, classes)


def table(name: str, seed: int) -> Table:
    """Return a table by its name."""
    return split(*SOURCES[name](), name in OF_CLASSES, TEST, seed)


# ---- methods -------------------------------------------------------------------------------------


def searched(data: Table, seed: int, seconds: float) -> Row:
    """Search with nasgen's estimator on all cores and test what comes of it."""
    import nasgen

    made = (nasgen.NASClassifier if data.classes else nasgen.NASRegressor)(
        budget=seconds, workers=None, random_state=seed
    )
    began = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # cautions about few rows
        made.fit(data.x, data.y)
    return {"took_s": round(time.monotonic() - began, 1), **tested(data, made)}


def tested(data: Table, found: Any) -> Row:
    """Return the scores of an estimator's ensemble, and those of its best network beside them."""
    run = found.run_
    return {
        "scores": data.scores(answers(found, data)),
        "network": data.scores(run.network().predict_proba(data.x_test)),
        "settings": {"trials": run.summary["trials"], "members": len(run.ensemble.members)},
    }


def boosting(classes: bool, seed: int, draw: Draw = None) -> Any:
    """Return HistGradientBoosting with settings of a draw, without one as it comes."""
    from sklearn import ensemble

    kind = "Classifier" if classes else "Regressor"
    made = getattr(ensemble, f"HistGradientBoosting{kind}")
    if draw is None:
        return made(random_state=seed)
    rng = np.random.default_rng(draw)
    return made(
        random_state=seed,
        learning_rate=float(10 ** rng.uniform(-2, -0.3)),
        max_iter=int(rng.choice([50, 100, 200, 400])),
        max_leaf_nodes=int(rng.choice([7, 15, 31, 63])),
        min_samples_leaf=int(rng.choice([2, 5, 10, 20, 40])),
        l2_regularization=float(10 ** rng.uniform(-4, 1)),
    )


def mlp(classes: bool, seed: int, draw: Draw = None) -> Any:
    """Return scikit-learn's MLP on standardised columns and values, `draw` as in `boosting`."""
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    drawn: dict[str, Any] = {}
    if draw is not None:
        rng = np.random.default_rng(draw)
        drawn = {
            "hidden_layer_sizes": (int(rng.choice([32, 64, 128, 256])),) * int(rng.integers(1, 4)),
            "alpha": float(10 ** rng.uniform(-5, 1)),
            "learning_rate_init": float(10 ** rng.uniform(-3.5, -1.5)),
            "activation": str(rng.choice(["relu", "tanh"])),
            "batch_size": int(rng.choice([32, 64, 128])),
        }
    net = (MLPClassifier if classes else MLPRegressor)(random_state=seed, **drawn)
    if not classes:
        net = TransformedTargetRegressor(net, transformer=StandardScaler())
    return make_pipeline(StandardScaler(), net)


def linear(classes: bool, strength: float) -> Any:
    """Return logistic regression or ridge on standardised columns, regularised by `strength`."""
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    net = LogisticRegression(C=1 / strength, max_iter=2_000) if classes else Ridge(strength)
    return make_pipeline(StandardScaler(), net)


def settings_of(method: str, classes: bool, seed: int) -> list[Make]:
    """Return what a method chooses from, as functions that make an estimator."""
    if method == "linear":
        return [partial(linear, classes, 10.0**e) for e in range(-3, 4)]
    if method == "boosting":
        return [partial(boosting, classes, seed)]
    make = mlp if method == "mlp" else boosting
    draws = (None, *((seed, place) for place in range(1, MOST_SETTINGS)))
    return [partial(make, classes, seed, draw) for draw in draws]


def chosen(method: str, data: Table, seed: int, seconds: float) -> Row:
    """Choose settings on held-out rows within a time, fit them to all training rows, test."""
    from joblib import Parallel, delayed

    began, settings = time.monotonic(), settings_of(method, data.classes, seed)
    at_once = n_cores() if method == "mlp" else 1  # the others use all cores by themselves
    tried: list[tuple[float, int]] = []  # loss on held-out rows, place
    slowest_s = 0.0
    while len(tried) < len(settings) > 1:
        left = seconds - (time.monotonic() - began)
        if tried and left < slowest_s * (1 + 1 / (1 - VALIDATION)):  # one more, and the last fit
            break
        places = range(len(tried), min(len(tried) + at_once, len(settings)))
        jobs = (delayed(judged)(settings[place], data.validating) for place in places)
        found = Parallel(n_jobs=at_once)(jobs)
        tried += ((loss, place) for place, (loss, _) in zip(places, found, strict=True))
        slowest_s = max(slowest_s, *(took_s for _, took_s in found))
    best = min(tried)[1] if tried else 0
    estimator = fitted(settings[best](), data)
    return {
        "took_s": round(time.monotonic() - began, 1),
        "scores": data.scores(answers(estimator, data)),
        "settings": {"tried": max(1, len(tried)), "chosen": best},
    }


def judged(make: Make, data: Table) -> tuple[float, float]:
    """Return the loss of one setting (1 - accuracy or 1 - R²), and its seconds."""
    began = time.monotonic()
    scores = data.scores(answers(fitted(make(), data), data))
    loss = 1 - scores["accuracy" if data.classes else "r2"]
    return (loss if math.isfinite(loss) else math.inf), time.monotonic() - began


def fitted(estimator: Any, data: Table) -> Any:
    """Fit an estimator; one that has not converged is as good as it is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimator.fit(data.x, data.y)


def answers(estimator: Any, data: Table) -> Array:
    """Return probabilities (B, classes) or values (B,) of the test rows."""
    answer = estimator.predict_proba if data.classes else estimator.predict
    found: Array = answer(data.x_test)
    return found


METHODS = ("nasgen", "boosting", "tuned-boosting", "mlp", "linear")


def measure(name: str, method: str, seed: int, seconds: float = SECONDS) -> Row:
    """Return the row of a method on a table: scores of test rows, seconds, what was chosen."""
    stamped, data = stamp(), table(name, seed)
    rows = {"rows": len(data.y), "test_rows": len(data.y_test), "columns": data.x.shape[1]}
    measured = searched(data, seed, seconds) if method == "nasgen" else None
    return {**stamped, **rows, **(measured or chosen(method, data, seed, seconds))}


def main(given: Sequence[str] | None = None) -> None:
    """Measure what is missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tables", nargs="+", choices=SOURCES, default=[*SOURCES])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of splits and draws")
    asked = parser.parse_args(given)
    rows = Rows.open(RESULTS / "ten-tables.jsonl", ("table", "method", "seed"))
    failed = []
    for seed in asked.seeds:
        for name in asked.tables:
            for method in asked.methods:
                make = partial(measure, name, method, seed)
                try:
                    row = rows.measured(make, table=name, method=method, seed=seed)
                    print(json.dumps(row), flush=True)
                except StoreError:  # of the rows
                    raise
                except NasgenError as error:
                    failed.append(f"{name}, {method}, seed {seed}: {error}")
                    print(failed[-1], file=sys.stderr, flush=True)
    if failed:
        sys.exit(
            f"{len(failed)} fits failed and have no row; repeat the command to try them again."
        )


if __name__ == "__main__":
    main()
