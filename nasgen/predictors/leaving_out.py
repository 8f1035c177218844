"""How well a table of trainings tells networks apart on an image set that it does not have.

Each known set is left out in turn, with all that is derived from it, and the networks that were
trained on these are put in order. Networks are compared at equal training time, as in a search with
a time budget; how many images each is shown in that time is predicted too. Opponents are weights
and operations alone: as straight lines through the other sets' trainings, and the more the better.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from nasgen import seeding
from nasgen.errors import DataError
from nasgen.predictors import scores
from nasgen.predictors.base import Floats
from nasgen.predictors.features.network import NETWORK
from nasgen.predictors.logits import logit
from nasgen.predictors.pace import Pace
from nasgen.predictors.ridge import ridge
from nasgen.predictors.trainings import Trainings
from nasgen.predictors.transfer import Transfer

MIN_NETWORKS: Final = 10  # of an image set that is judged
N_OFFERED: Final = 30  # candidates of which one is chosen
ALIKE: Final = 2.0  # factor of multiply-adds
N_DRAWS: Final = 400  # of so many candidates
BEYOND: Final = 1.5  # factor of time by which a network's measurements may be continued
SCORES: Final = ("kendall", "alike", "top_kendall", "chosen")
RIVALS: Final = {"weights": "log_params", "operations": "log_macs"}

Order = Callable[[Floats], Floats]  # features (n, f) -> predictions (n,)


def at_equal_time(table: Trainings, number: int) -> tuple[Floats, Floats]:
    """Return features and accuracies of the networks of an image set after the same seconds.

    That is the median of how long they were trained. Between measurements, and up to a factor of
    `BEYOND` outside of them, the logit of the accuracy is taken to rise with the logarithm of the
    seconds. The images of the features are those that `Pace` predicts.
    """
    own = table.where(table.sets == number)
    networks = np.unique(own.networks)
    parts = [own.where(own.networks == network) for network in networks]
    time_s = float(np.median([part.seconds.max() for part in parts]))
    rows, labels = [], []
    pace = Pace.usual()
    for part in parts:
        seconds = part.seconds
        if len(seconds) < 2 or not seconds[0] / BEYOND <= time_s <= seconds[-1] * BEYOND:
            continue
        at, logits = np.log(seconds), logit(part.accuracy)
        k = int(np.clip(np.searchsorted(seconds, time_s), 1, len(seconds) - 1))
        slope = (logits[k] - logits[k - 1]) / (at[k] - at[k - 1])
        value = logits[k] + slope * (np.log(time_s) - at[k])
        row = part.X[0].copy()
        row[-1] = np.log(pace.images_in(time_s, row[: len(NETWORK)]))
        rows.append(row)
        labels.append(1 / (1 + np.exp(-value)))
    return np.array(rows).reshape(-1, table.X.shape[1]), np.array(labels)


def judged(
    predicted: Floats, labels: Floats, log_macs: Floats, rng: np.random.Generator
) -> dict[str, float | None]:
    """Return Kendall's tau, that of the best tenth, and the place of the best of `N_OFFERED`.

    "alike" is the share of right pairs less that of wrong ones where multiply-adds differ by less
    than a factor of `ALIKE`: what is known besides the cost, which designs of a search share.
    "chosen" is the mean share of all networks that are worse than the one with the highest
    prediction among candidates drawn by lot: 0.5 by chance, about 0.97 for perfect foresight.
    """
    below = np.array([np.mean(labels < label) + 0.5 * np.mean(labels == label) for label in labels])
    n = min(N_OFFERED, len(labels))
    draws = [rng.choice(len(labels), n, replace=False) for _ in range(N_DRAWS)]
    noise = rng.random(len(labels))  # of equal predictions any may be the highest
    order = np.lexsort((noise, predicted))
    place = np.empty(len(labels), dtype=np.int64)
    place[order] = np.arange(len(labels))
    pairs = np.abs(np.subtract.outer(log_macs, log_macs)) < np.log(ALIKE)
    right = np.sign(np.subtract.outer(labels, labels))
    said = np.sign(np.subtract.outer(predicted, predicted))
    n_alike = float((np.abs(right) * pairs).sum())
    return {
        "kendall": scores.kendall(predicted, labels),
        "alike": float((right * said * pairs).sum()) / n_alike if n_alike else None,
        "top_kendall": scores.top_kendall(predicted, labels),
        "chosen": float(np.mean([below[d[np.argmax(place[d])]] for d in draws])),
    }


def left_out(
    table: Trainings, seed: int = 0, n_labels: int = 0, n_repeats: int = 3
) -> list[dict[str, Any]]:
    """Return one row an image set, in the order of the known set that is left out.

    {"left_out", "set", "n", "predictors": {name: scores}}; with `n_labels` the predictors learn
    from so many networks of the image set besides, drawn `n_repeats` times, and are judged on the
    rest, "n" networks. Raises DataError for a table in which no image set has enough networks.
    """
    found = []
    for known in table.known:
        rest = table.without([known])
        if not len(rest.X):
            continue
        orders = _orders(rest)
        for number, name in enumerate(table.names):
            if known not in table.parents[number] or not (table.sets == number).any():
                continue
            rows, labels = at_equal_time(table, number)
            if len(labels) < MIN_NETWORKS + n_labels or np.ptp(labels) == 0:
                continue
            found.append(
                {
                    "left_out": known,
                    "set": name,
                    "n": len(labels) - n_labels,
                    "predictors": _compared(rest, orders, rows, labels, seed, n_labels, n_repeats),
                }
            )
    if not found:
        raise DataError(
            f"no image set of the table has {MIN_NETWORKS + n_labels} networks to be judged; "
            "collect more trainings."
        )
    return found


def summary(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one row a known set: means over its image sets, weighted by their networks.

    The last row is the plain mean over all known sets.
    """
    rows = []
    for known in dict.fromkeys(row["left_out"] for row in found):
        own = [row for row in found if row["left_out"] == known]
        counts = [row["n"] for row in own]
        predictors = _means([row["predictors"] for row in own], counts)
        rows.append(
            {"left_out": known, "sets": len(own), "n": sum(counts), "predictors": predictors}
        )
    whole = _means([row["predictors"] for row in rows], [1] * len(rows))
    counted = {name: sum(row[name] for row in rows) for name in ("sets", "n")}
    return [*rows, {"left_out": "all, one by one", **counted, "predictors": whole}]


def _orders(rest: Trainings) -> dict[str, Order]:
    """Return the opponents, each a straight line through equal-time rows of other image sets."""
    parts = [at_equal_time(rest, number) for number in np.unique(rest.sets)]
    rows = np.concatenate([X for X, _ in parts])
    labels = np.concatenate([logit(y) - logit(y).mean() for _, y in parts])
    found: dict[str, Order] = {}
    for name, feature in RIVALS.items():
        place = NETWORK.index(feature)
        line = ridge(0).fit(rows[:, [place]], labels)
        found[name] = lambda X, line=line, place=place: line.predict(X[:, [place]])  # type: ignore[misc]  # noqa: N803
        found[f"more {name}"] = lambda X, place=place: X[:, place]  # type: ignore[misc]  # noqa: N803
    return found


def _compared(
    rest: Trainings, orders: dict[str, Order], rows: Floats, labels: Floats, seed: int,
    n_labels: int, n_repeats: int,
) -> dict[str, dict[str, float | None]]:  # fmt: skip
    each = []
    for repeat in range(n_repeats if n_labels else 1):
        rng = seeding.generator(seed, "left out", repeat)
        order = rng.permutation(len(labels))
        own, judge = order[:n_labels], order[n_labels:]
        predictor = Transfer(seed, rest)
        if n_labels:
            predictor.fit(rows[own], labels[own])
        predicted = {"transfer": predictor.predict(rows[judge])}
        if n_labels > 1:
            alone = Transfer(seed).fit(rows[own], labels[own])
            predicted["labels alone"] = alone.predict(rows[judge])
        predicted |= {name: order(rows[judge]) for name, order in orders.items()}
        costs = rows[judge, NETWORK.index("log_macs")]
        each.append({name: judged(p, labels[judge], costs, rng) for name, p in predicted.items()})
    return _means(each, [1] * len(each))


def _means(
    parts: Sequence[dict[str, dict[str, float | None]]], weights: Sequence[float]
) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name in parts[0]:
        found[name] = {}
        for score in parts[0][name]:
            pairs = [
                (value, weight)
                for part, weight in zip(parts, weights, strict=True)
                if (value := part[name][score]) is not None
            ]
            values, own = zip(*pairs, strict=True) if pairs else ((), ())
            mean = round(float(np.average(values, weights=own)), 4) if pairs else None
            found[name][score] = mean
    return found
