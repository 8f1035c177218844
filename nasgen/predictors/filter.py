"""A surrogate chooses which of several children is worth training (Stier 2021, section 4.4).

The filter passes everything on until it has `warmup` labels, and always lets a share through
unjudged: without them the surrogate would only ever learn from what it likes itself. On that share
it is evaluated (see `audit`), and loses its work while it is no better than chance or size.

One that knows something before its first label (`Informed`) judges from the first candidate on.

In the mode "substitute" it chooses nothing and stands in for training instead: a share of the
candidates gets its prediction as fitness, as the paper does with half of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, final

import numpy as np

from nasgen.errors import FOREIGN, ConfigError, IncompatibleError, UnknownNameError, suggest
from nasgen.genotypes import Genotype
from nasgen.predictors.acquisition import ACQUISITIONS
from nasgen.predictors.audit import Audit, Forecast, Judgement
from nasgen.predictors.base import (
    Factory,
    Features,
    Floats,
    Informed,
    Predictor,
    Verdict,
    encode_all,
)
from nasgen.predictors.features.structural import log_params
from nasgen.predictors.logits import levelled
from nasgen.predictors.promotion import N_DECIMALS, Promotion, line
from nasgen.settings.objectives import Direction

SIZE: Final = "log_params"  # the feature that stands for size alone, if a feature set has it


@final
class Filter:
    """Learns from finished trials and picks between candidates; the engine asks it for each child.

    - `make`: the predictor's factory; `seed` in [0, 2**31) is handed to it at each fit.
    - `features`: what describes a genotype.
    - `direction`: of the first objective, "maximize" or "minimize".
    - `warmup`: labels (>= 2) needed before it judges; unusable ones do not count.
    - `oversample`: candidates (>= 1, rounded up) offered for each one trained.
    - `unscreened`: probability in [0, 1] that the first candidate passes unjudged, until the audit
      says otherwise; 0 leaves nothing to audit, 1 starts switched off.
    - `acquisition`: what makes a candidate promising, see `acquisition`.
    - `mode`: "filter", or "substitute" where `estimated` in [0, 1) is the share of candidates that
      get a prediction instead of a training; it is evaluated on the rest.
    - `size`: the logarithm of a genotype's parameters, on which the audit's opponent draws a line.
      Only for feature sets without `log_params`; the predictor does not see it.
    - `is_asked`: whether somebody named it, see `audit`.
    - `promotes`: whether it also says who climbs to the next rung, see `promotion`; one that is
      informed, or substitutes, does not.
    - `is_informed`: whether what `make` returns is `Informed`; then `warmup` does not count, except
      in the mode "substitute", and the objective has values in [0, 1] of which more is better.

    What it decides depends on these settings, the labels and the generators that it is given, not
    on the order in which the labels came. Estimates are asked for one by one, while other trials of
    a generation run, so labels of a generation count for estimates of later ones only. Raises
    ConfigError for a setting out of range.
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
        acquisition: str = "mean",
        mode: Literal["filter", "substitute"] = "filter",
        estimated: float = 0.5,
        size: Callable[[Any], float] = log_params,
        is_asked: bool = True,
        is_informed: bool = False,
        promotes: bool = False,
    ) -> None:
        wrong = [
            f"predictor.{name}: expected {expected}, got {value!r}."
            for name, value, expected, is_right in (
                ("warmup", warmup, "at least 2 trials", warmup >= 2),
                ("oversample", oversample, "a finite number >= 1", 1 <= oversample < math.inf),
                ("unscreened", unscreened, "a share in [0, 1]", 0 <= unscreened <= 1),
                ("estimated", estimated, "a share in [0, 1)", 0 <= estimated < 1),
            )
            if not is_right
        ]
        if wrong:
            raise ConfigError(wrong)
        if acquisition not in ACQUISITIONS:
            raise UnknownNameError(
                f"predictor.acquisition: '{acquisition}' is unknown"
                f"{suggest(acquisition, ACQUISITIONS)} Expected {', '.join(ACQUISITIONS)}."
            )
        self.make = make
        self.features = features
        self.seed = seed
        self.sign = 1.0 if direction == "maximize" else -1.0
        self.warmup = warmup
        self.oversample = oversample
        self.unscreened = unscreened
        self.acquisition = acquisition
        self.size = size
        self.is_substitute = mode == "substitute"
        self.is_informed = is_informed
        self.audit = Audit(1 - estimated if self.is_substitute else unscreened, seed, is_asked)
        able = promotes and not (self.is_informed or self.is_substitute)
        self.promotion = Promotion(make, features, seed, warmup) if able else None
        self._labels: dict[int, tuple[Floats, float, float]] = {}  # seq -> features, size, label
        self._groups: dict[int, float | None] = {}  # seq -> trials that it compares with
        # Labels of running generations.
        self._held: dict[int, tuple[int, Genotype, float, float]] = {}
        self._fitted: Predictor | None = None
        self._scale = (0.0, 1.0)  # mean and standard deviation of the labels
        self._level: float | None = None  # mean of the labels, higher is better
        self._range = (0.0, 0.0)  # least and greatest standardised label
        self._line = (0.0, 0.0)  # slope and offset of standardised labels over size
        self._is_stale = False  # labels came since the audit looked
        self._is_fitted = False  # to all labels
        self._n_news = 0  # judgements handed out by `news`
        self._featureless: set[int] = set()  # seqs of networks whose features are not finite
        self.audit.unfitted = self._missing()

    def observe(
        self,
        seq: int,
        genotype: Genotype,
        value: float,
        train_s: float = 0.0,
        generation: int | None = None,
        group: float | None = None,
    ) -> None:
        """Take the first objective of a completed search trial; one that is not finite is left out.

        `train_s` is how long it was trained, in seconds. Told twice, as after a resume, a trial
        counts once. `generation` is that of the trial where the search works in generations.
        Values of a `group` compare among themselves alone: those of trials that cover the same
        stretch of a schedule.
        """
        if self.is_substitute and generation is not None:
            self._held[seq] = (generation, genotype, value, train_s)
        else:
            self._learn(seq, genotype, value, train_s, group)

    def release(self, before: int | None = None) -> None:
        """Learn from the labels of generations `before` one, or from all that were held back."""
        for seq in sorted(self._held):
            if before is None or self._held[seq][0] < before:
                _, genotype, value, train_s = self._held.pop(seq)
                self._learn(seq, genotype, value, train_s)

    def _learn(
        self,
        seq: int,
        genotype: Genotype,
        value: float,
        train_s: float,
        group: float | None = None,
    ) -> None:
        row = self.features.encode(genotype)
        if math.isfinite(value) and np.isfinite(row).all():
            self._labels[seq] = (row, self._size(genotype, row), self.sign * value)
            self._groups[seq] = group
            self._is_stale = True
            self.audit.settle(seq, genotype.key, self.sign * value, train_s, group)
        elif math.isfinite(value):
            self._featureless.add(seq)
        self.audit.unfitted = self._missing()

    def climbed(self, seq: int, genotype: Genotype, rung: int, before: float, after: float) -> None:
        """Take the first objective of a trial of a rung, and what its network had on the one below.

        `rung` is the one below. As with `observe`, what is not finite is left out.
        """
        if self.promotion is not None:
            self.promotion.observe(rung, seq, genotype, self.sign * before, self.sign * after)

    def promising(
        self, rung: int, genotypes: Sequence[Genotype], values: Sequence[float]
    ) -> Floats | None:
        """Return what networks are worth on the next rung (n,), more is better; see `Promotion`.

        `values` are their first objectives on this one. None: their order is that of the values.
        Raises IncompatibleError when the predictor fails.
        """
        if self.promotion is None:
            return None
        try:
            return self.promotion.expected(rung, genotypes, [self.sign * v for v in values])
        except FOREIGN as error:
            raise _failure(
                f"learn what {len(genotypes)} networks of a rung become", error
            ) from error

    @property
    def n_wanted(self) -> int:
        """How many candidates `choose` would like to see; 1 while it cannot or may not judge."""
        if self.is_substitute or self._surrogate() is None or self.audit.is_off:
            return 1
        return math.ceil(self.oversample)

    def choose(self, candidates: Sequence[Genotype], rng: np.random.Generator) -> Verdict:
        """Return the most promising candidate, the earlier one of equals.

        `candidates` are one or more. Raises IncompatibleError when the predictor fails.
        """
        surrogate = None if self.is_substitute else self._surrogate()
        if surrogate is None:
            return Verdict(0)
        several = len(candidates) > 1
        passes = not several or rng.random() < self.audit.share
        rows = encode_all(self.features, candidates)
        usable = np.isfinite(rows).all(axis=1)
        mean, worth = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
        if usable.any():
            mean[usable], std = self._predicted(surrogate, rows[usable])
            score = ACQUISITIONS[self.acquisition] if several else ACQUISITIONS["mean"]
            worth[usable] = score(mean[usable], std, self._range[1], rng)
        mean[~np.isfinite(mean)] = worth[~np.isfinite(worth)] = np.nan
        if np.isnan(worth).all():
            return Verdict(0)
        best = int(np.nanargmax(np.round(worth, N_DECIMALS)))
        chosen = 0 if passes else best
        said: dict[str, Any] | None = None
        if not np.isnan(mean[chosen]):
            forecast = self._forecast(
                candidates[chosen],
                mean[chosen],
                rows[chosen],
                len(rows),
                best != chosen,
                not passes,
            )
            self.audit.expect(candidates[chosen].key, forecast)
            said = forecast.to_json()
        if passes:
            return Verdict(0, forecast=said)
        self.audit.n_rejected += len(candidates) - 1
        return Verdict(best, True, [self._in_unit(m) for m in mean], said)

    def take(self, key: str, screening: Mapping[str, Any]) -> None:
        """Take note of a recorded choice, as `choose` did: nothing is predicted again.

        `screening` holds "n_rejected", how many others were judged and not trained, and the
        "forecast" for the network with this key, either only if there was one.
        """
        self.audit.n_rejected += screening.get("n_rejected", 0)
        if "forecast" in screening:
            self.audit.expect(key, Forecast(**screening["forecast"]))

    def take_estimate(
        self, key: str, estimate: Mapping[str, Any], generation: int | None = None
    ) -> None:
        """Take note of a recorded answer of `estimate` for the network with this key."""
        self.release(generation)
        self.review()
        self.take(key, estimate)
        self.audit.n_estimated += "value" in estimate

    def estimate(
        self, genotype: Genotype, rng: np.random.Generator, generation: int | None = None
    ) -> dict[str, Any]:
        """Return {"value": the first objective that stands in for training}, or what is trained.

        For a candidate that is to be trained it is {"forecast": what the audit expects of it}, or
        {} while nothing can be predicted, and always but in the mode "substitute". Estimates stay
        within the labels seen so far, so that none outranks every measured network. `generation` is
        the candidate's, see `observe`.
        """
        self.release(generation)
        surrogate = self._surrogate() if self.is_substitute else None
        row = self.features.encode(genotype)
        if surrogate is None or not np.isfinite(row).all():
            return {}
        passes = rng.random() < self.audit.share
        mean = float(self._predicted(surrogate, row[None])[0][0])
        if not math.isfinite(mean):
            return {}
        if passes:
            forecast = self._forecast(genotype, mean, row)
            self.audit.expect(genotype.key, forecast)
            return {"forecast": forecast.to_json()}
        self.audit.n_estimated += 1
        return {"value": self._in_unit(float(np.clip(mean, *self._range)))}

    def news(self) -> list[Judgement]:
        """Return the judgements made since the last call."""
        fresh = self.audit.judgements[self._n_news :]
        self._n_news += len(fresh)
        return fresh

    def _forecast(
        self,
        genotype: Genotype,
        predicted: float,
        row: Floats,
        n_offered: int = 1,
        would_reject: bool = False,
        screened: bool = False,
    ) -> Forecast:
        """Return what is expected of a candidate that is going to be trained."""
        slope, offset = self._line
        size = self.sign * self._in_unit(offset + slope * self._size(genotype, row))
        # In the labels' unit: the scale changes with every fit.
        value = self.sign * self._in_unit(predicted)
        return Forecast(value, size, n_offered, bool(would_reject), bool(screened), self._level)

    def _size(self, genotype: Genotype, row: Floats) -> float:
        """Return the logarithm of a genotype's parameters; `row` are its features."""
        names = self.features.names
        return float(row[names.index(SIZE)]) if SIZE in names else self.size(genotype)

    def _in_unit(self, standardised: float) -> float:
        """Return a standardised prediction in the objective's own unit."""
        mean, std = self._scale
        return float(self.sign * (mean + std * standardised))

    def _surrogate(self) -> Predictor | None:
        """Return the predictor fitted to all labels, or None while they teach nothing."""
        self.review()
        if not self._is_fitted:
            self._is_fitted = True
            self._fitted = self._fit()
        return self._fitted

    def review(self) -> None:
        """Let the audit judge when labels are new; the predictor is fitted when it is needed."""
        if self._is_stale:
            self._is_stale = self._is_fitted = False
            self.audit.review()

    def _missing(self) -> str | None:
        """Return why the labels so far teach nothing, None when they do."""
        n, n_without = len(self._labels), len(self._featureless)
        if self.is_informed and not self.is_substitute:
            return None
        if n < self.warmup:
            if n_without and not n:
                return f"no finite features of any of {n_without} networks"
            without = f" ({n_without} more without finite features)" if n_without else ""
            return f"{n} of {self.warmup} labels{without}"
        _, std = self._moments()
        if not math.isfinite(std):
            return "the labels have no finite spread"
        return "all labels are equal" if std == 0 else None

    def _values(self) -> Floats:
        """Return the labels by seq, (n,), `levelled`."""
        seqs = sorted(self._labels)
        values = np.array([self._labels[seq][2] for seq in seqs])
        groups = np.array([self._groups[seq] for seq in seqs], dtype=np.float64)  # None: NaN
        return levelled(values, groups, self.is_informed)

    def _moments(self) -> tuple[float, float]:
        """Return mean and standard deviation of the labels, 0 where it is but rounding."""
        values = self._values()
        with np.errstate(over="ignore", invalid="ignore"):
            mean, std = float(values.mean()), float(values.std())
        return mean, 0.0 if math.isfinite(mean) and std <= 1e-12 * abs(mean) else std

    def _fit(self) -> Predictor | None:
        if self._missing() is not None:
            return None
        ordered = [self._labels[seq] for seq in sorted(self._labels)]
        rows = np.array([row for row, _, _ in ordered])
        labels = self._values()
        if len(labels):
            self._level = float(labels.mean())
        if not self.is_informed:  # which knows what its values mean
            mean, std = self._scale = self._moments()
            labels = (labels - mean) / std
        try:
            fresh = self.make(self.seed)
            if len(labels):
                fresh.fit(rows, labels)
            slope = fresh.slope if isinstance(fresh, Informed) else 0.0
        except FOREIGN as error:
            raise _failure(f"fit on X {rows.shape}", error) from error
        self._line = (slope, 0.0)
        if len(labels):
            self._range = (float(labels.min()), float(labels.max()))
        if len(labels) > 1:
            self._line = line(np.array([size for _, size, _ in ordered]), labels)
        return fresh

    def _predicted(self, surrogate: Predictor, rows: Floats) -> tuple[Floats, Floats]:
        """Return standardised means and deviations; these are 0 where nobody asks for them."""
        wants_std = self.acquisition != "mean"
        try:
            answer = surrogate.predict(rows, return_std=True) if wants_std else None
            means = surrogate.predict(rows) if answer is None else answer[0]
            stds = np.zeros(len(rows)) if answer is None else answer[1]
            parts = [np.asarray(part) for part in (means, stds)]
        except FOREIGN as error:
            raise _failure(f"predict on X {rows.shape}", error) from error
        for name, part in zip(("means", "standard deviations"), parts, strict=True):
            if part.shape != (len(rows),):
                raise IncompatibleError(
                    f"the predictor must return {len(rows)} {name} for X {rows.shape}, got an "
                    f"array of shape {part.shape}. Mend it, or set predictor.name = 'none'."
                )
            if part.dtype.kind not in "fiu":
                raise IncompatibleError(
                    f"the predictor must return {name} that are numbers, got {part.dtype}. Mend "
                    "it, or set predictor.name = 'none'."
                )
        numbers: list[Floats] = [np.asarray(part, dtype=np.float64) for part in parts]
        return np.round(numbers[0], N_DECIMALS), np.round(numbers[1], N_DECIMALS)


def _failure(where: str, error: BaseException) -> IncompatibleError:
    return IncompatibleError(
        f"the predictor failed to {where}: {type(error).__name__}: {error}. All values were "
        "finite; mend it, or set predictor.name = 'none', then resume the run."
    )
