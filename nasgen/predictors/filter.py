"""A surrogate chooses which of several children is worth training (Stier 2021, section 4.4).

The filter passes everything on until it has `warmup` labels, and always lets a share through
unjudged: without them the surrogate would only ever learn from what it likes itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, final

import numpy as np

from nasgen.errors import ConfigError, IncompatibleError
from nasgen.genotypes import Dag
from nasgen.objectives import Direction
from nasgen.predictors.base import Factory, Features, Floats, Predictor, Verdict

N_DECIMALS: Final = 9  # of a standardised prediction: differences below it depend on the machine


@final
class Filter:
    """Learns from told trials and chooses between candidates; the engine asks it for each child.

    - `make`: the predictor's factory; `seed` in [0, 2**31) is handed to it at each fit.
    - `features`: what describes a genotype.
    - `direction`: of the first objective, "maximize" or "minimize".
    - `warmup`: labels (>= 2) needed before it judges; unusable ones do not count.
    - `oversample`: candidates (>= 1, rounded up) offered for each one trained.
    - `unscreened`: probability in [0, 1] that the first candidate passes unjudged.

    What it decides depends on these settings, the labels and the generator that `choose` is given,
    not on the order in which the labels came. Raises ConfigError for a setting out of range.
    """

    def __init__(
        self,
        make: Factory,
        features: Features,
        *,
        seed: int,
        direction: Direction = "maximize",
        warmup: int = 16,
        oversample: float = 2.0,
        unscreened: float = 0.2,
    ) -> None:
        wrong = [
            f"predictor.{name}: expected {expected}, got {value!r}."
            for name, value, expected, is_right in (
                ("warmup", warmup, "at least 2 trials", warmup >= 2),
                ("oversample", oversample, "a finite number >= 1", 1 <= oversample < math.inf),
                ("unscreened", unscreened, "a share in [0, 1]", 0 <= unscreened <= 1),
            )
            if not is_right
        ]
        if wrong:
            raise ConfigError(wrong)
        self.make = make
        self.features = features
        self.seed = seed
        self.sign = 1.0 if direction == "maximize" else -1.0
        self.warmup = warmup
        self.oversample = oversample
        self.unscreened = unscreened
        self._labels: dict[int, tuple[Floats, float]] = {}  # seq -> (features, higher is better)
        self._fitted: Predictor | None = None
        self._scale = (0.0, 1.0)  # mean and standard deviation of the labels
        self._is_stale = False

    def observe(self, seq: int, genotype: Dag, value: float) -> None:
        """Take the first objective of a completed search trial; one that is not finite is left out.

        Told twice, as after a resume, a trial counts once.
        """
        row = self.features.encode(genotype)
        if math.isfinite(value) and np.isfinite(row).all():
            self._labels[seq] = (row, self.sign * value)
            self._is_stale = True

    @property
    def n_wanted(self) -> int:
        """How many candidates `choose` would like to see; 1 while it cannot judge."""
        return 1 if self._surrogate() is None else math.ceil(self.oversample)

    def choose(self, candidates: Sequence[Dag], rng: np.random.Generator) -> Verdict:
        """Return the candidate with the best predicted mean, the earlier one of equals.

        `candidates` are one or more. Raises IncompatibleError when the predictor fails.
        """
        surrogate = self._surrogate()
        if len(candidates) < 2 or surrogate is None or rng.random() < self.unscreened:
            return Verdict(0)
        rows = np.stack([self.features.encode(c) for c in candidates])
        usable = np.isfinite(rows).all(axis=1)
        score = np.full(len(rows), np.nan)
        if usable.any():
            score[usable] = self._means(surrogate, rows[usable])
        score[~np.isfinite(score)] = np.nan
        if np.isnan(score).all():
            return Verdict(0)
        mean, std = self._scale
        predicted = self.sign * (mean + std * score)
        return Verdict(int(np.nanargmax(score)), True, [float(p) for p in predicted])

    def _surrogate(self) -> Predictor | None:
        """Return the predictor fitted to all labels, or None while they teach nothing."""
        if self._is_stale:
            self._is_stale = False
            self._fitted = self._fit()
        return self._fitted

    def _fit(self) -> Predictor | None:
        if len(self._labels) < self.warmup:
            return None
        ordered = [self._labels[seq] for seq in sorted(self._labels)]
        rows = np.stack([row for row, _ in ordered])
        values = np.array([value for _, value in ordered])
        with np.errstate(over="ignore", invalid="ignore"):
            mean, std = float(values.mean()), float(values.std())
        # Equal labels may leave a rest of rounding, enormous ones have no finite spread.
        if not math.isfinite(std) or std <= 1e-12 * abs(mean):
            return None
        self._scale = (mean, std)
        try:
            fresh = self.make(self.seed)
            fresh.fit(rows, (values - mean) / std)
        except Exception as error:
            raise _failure(f"fit on X {rows.shape}", error) from error
        return fresh

    def _means(self, surrogate: Predictor, rows: Floats) -> Floats:
        try:
            means = np.asarray(surrogate.predict(rows), dtype=np.float64)
        except Exception as error:
            raise _failure(f"predict on X {rows.shape}", error) from error
        if means.shape != (len(rows),):
            raise IncompatibleError(
                f"the predictor must return {len(rows)} means for X {rows.shape}, got an array of "
                f"shape {means.shape}. Mend it, or set predictor.name = 'none'."
            )
        return np.round(means, N_DECIMALS)


def _failure(where: str, error: Exception) -> IncompatibleError:
    return IncompatibleError(
        f"the predictor failed to {where}: {type(error).__name__}: {error}. All values were "
        "finite; mend it, or set predictor.name = 'none', then resume the run."
    )
