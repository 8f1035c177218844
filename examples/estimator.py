"""A table of numbers and texts, an estimator of scikit-learn, and a file for other programs.

python examples/estimator.py model.joblib
"""

from __future__ import annotations

import sys

import joblib
import numpy as np
from sklearn.model_selection import cross_val_score

import nasgen

N = 300


def houses() -> tuple[np.ndarray, np.ndarray]:
    """Return rows of area, age and town, with gaps, and prices."""
    rng = np.random.default_rng(0)
    area, age = rng.uniform(30, 200, N), rng.uniform(0, 90, N)
    town = rng.choice(["Kiel", "Bonn", "Ulm"], N)
    price = 3.0 * area - 0.8 * age + 90.0 * (town == "Bonn") + rng.normal(0, 10, N)
    rows = np.array([area, age, town], dtype=object).T
    rows[rng.random(N) < 0.1, 1] = None  # not known
    return rows, price


def main(path: str = "model.joblib") -> None:
    rows, price = houses()
    model = nasgen.NASRegressor(trials=2, random_state=0, settings={"training.epochs": 8})
    print("R2, cross-validated:", cross_val_score(model, rows, price, cv=3).round(3))
    joblib.dump(model.fit(rows, price), path)
    found = joblib.load(path)  # here or in another process; only files that you trust
    print("a price:", found.predict(np.array([[100.0, None, "Bonn"]], dtype=object)).round(1))


if __name__ == "__main__":
    main(*sys.argv[1:])
