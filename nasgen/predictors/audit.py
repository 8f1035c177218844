"""Evaluates a predictor on the unscreened candidates: predictions first, labels later.

The unscreened candidates are a random slice of what the operators make, so on them a prediction can
be compared with the truth without the bias of its own choices (prequential evaluation, Dawid 1984).
Forecasts and labels count as distances from the mean of the labels that were known at the time: in
a search that gets better both rise, which is no skill.
One exception: a predictor that is informed judges the designs of a space too, and while these last
the candidate that passes unjudged is the best one that is left, not a random one. What is said then
is said of designs.
Two opponents are always there: chance, by a one-sided Kendall test, and network size alone, by a
paired bootstrap. A surrogate that beats both keeps its work; one that does not loses half of it
each time it is judged (the unscreened share doubles) until it has none. Then everything is trained,
it goes on predicting all the same, and gets its work back once its predictions are worth it. What
its work saved is counted beside that.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal

import numpy as np

from nasgen import seeding
from nasgen.predictors import saving, scores
from nasgen.predictors.base import Floats

N_FIRST: Final = 10  # labels of the slice before the first judgement
N_STEP: Final = 5  # further ones before the next
N_WINDOW: Final = 40  # the latest ones that count: surrogates grow up
ALPHA: Final = 0.1  # chance that a worthless surrogate passes the test against chance
GOOD: Final = 0.25  # best share of the slice that should not have been rejected
MIN_GOOD: Final = 3

Change = Literal["kept", "widened", "off", "narrowed", "on"]


@dataclass(frozen=True)
class Forecast:
    """What was known when a candidate was sent to training; higher values are better.

    `size` is what a straight line in log parameters predicted.
    `would_reject` is what the filter would have done with this one of `n_offered` candidates;
    `screened` whether it did decide. `level` is the mean of the labels known then, None without
    any.
    """

    predicted: float
    size: float
    n_offered: int = 1
    would_reject: bool = False
    screened: bool = False
    level: float | None = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the numbers under their names."""
        return asdict(self)


@dataclass(frozen=True)
class Judgement:
    """One evaluation on the slice; None stands for "too few to tell".

    - `n`: labels looked at, the latest of the slice; `tau`: Kendall's tau over them; `size_tau`: of
      size alone.
    - `top_tau`: Kendall's tau over the `n_top` that are the best tenth of the whole slice, of which
      the latest would leave too few.
    - `p_chance`: that chance does as well; `p_better`: bootstrap share in which it beats size.
    - `false_reject`: share of the slice's best quarter that would have been rejected;
      `chance_reject`: the same for a filter that draws lots.
    - `gain`: by how much screened trials lie further above the labels before them than unscreened
      ones, in the objective's unit, on average.
    - `n_rejected`: candidates predicted and not trained so far; `n_saved`, `saved_s`: trainings
      that the predictor saved so far and the seconds they would have taken, see `Audit.saved`.
    - `unscreened`: the share from now on; `change`: what happened to it.
    """

    n: int
    tau: float | None
    top_tau: float | None
    n_top: int
    size_tau: float | None
    p_chance: float
    p_better: float | None
    false_reject: float | None
    chance_reject: float | None
    gain: float | None
    n_rejected: int
    n_saved: float | None
    saved_s: float | None
    unscreened: float
    change: Change

    def to_json(self) -> dict[str, Any]:
        """Return the numbers under their names."""
        return asdict(self)

    @property
    def sentence(self) -> str:
        """What a log says."""
        verb = {
            "kept": "stays switched off" if self.unscreened >= 1 else "screens as before",
            "widened": "is no better than chance or network size: it screens fewer candidates",
            "off": "is no better than chance or network size again: it is switched off",
            "narrowed": "is better than chance and network size: it screens more candidates",
            "on": "is better than chance and network size now: it is switched on again",
        }[self.change]
        facts = [
            f"tau {_shown(self.tau)}, of size alone {_shown(self.size_tau)}, p of chance "
            f"{self.p_chance:.2f}, on {self.n} unscreened trials"
        ]
        if self.false_reject is not None and self.chance_reject is not None:
            facts.append(
                f"would reject {100 * self.false_reject:.0f} % of the good ones, random choice "
                f"{100 * self.chance_reject:.0f} %"
            )
        if self.n_saved is not None:
            facts.append(_saved(self.n_saved, self.saved_s))
        facts.append(f"unscreened share {self.unscreened:g}")
        return f"predictor {verb} ({'; '.join(facts)})"


def _shown(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"


def _saved(n: float, seconds: float | None) -> str:
    verb, count = "saved" if n > -0.5 else "lost", round(abs(n))
    time = "" if seconds is None else f" or {abs(seconds):.0f} s"
    return f"{verb} about {count} training{'' if count == 1 else 's'}{time}"


class Audit:
    """Forecasts and what became of them, and the unscreened share that follows from it.

    `is_asked`: somebody named the predictor. Of one that came with the algorithm nothing is said
    where a short run has too few labels for it.

    `share` is the configured unscreened share, where it starts and which it never goes below. What
    `review` decides depends on the set of labels, not on the order in which they came.
    """

    def __init__(self, share: float, seed: int, is_asked: bool = True) -> None:
        self.is_asked = is_asked
        self.configured = self.share = share
        self.seed = seed
        self.n_rejected = 0
        self.n_estimated = 0  # predictions that stood in for a training
        self.judgements: list[Judgement] = []
        self.unfitted: str | None = None  # why the predictor could not be fitted so far
        self._waiting: defaultdict[str, deque[Forecast]] = defaultdict(deque)
        self._known: dict[int, tuple[Forecast, float]] = {}  # seq -> (forecast, label)
        self._groups: dict[int, float] = {}  # seq -> trials that it compares with, if not all
        self._train_s: dict[int, float] = {}  # seq -> seconds that its training took
        self._next = N_FIRST

    @property
    def is_off(self) -> bool:
        """Whether everything passes unjudged now."""
        return self.share >= 1.0

    def to_json(self) -> dict[str, Any]:
        """Return what a report needs: the share now, counts, savings, and every judgement.

        "unfitted" says why the predictor was never fitted, None where it could be.
        """
        n_saved, saved_s = self.saved()
        return {
            "unscreened": self.share,
            "n_unscreened": sum(not forecast.screened for forecast, _ in self._known.values()),
            "n_rejected": self.n_rejected,
            "n_estimated": self.n_estimated,
            "n_saved": n_saved,
            "saved_s": saved_s,
            "unfitted": self.unfitted,
            "judgements": [judgement.to_json() for judgement in self.judgements],
        }

    def expect(self, key: str, forecast: Forecast) -> None:
        """Take note of a forecast for a network that is going to be trained."""
        self._waiting[key].append(forecast)

    def saved(self) -> tuple[float | None, float | None]:
        """Return trainings saved so far, and the seconds they would have taken; None: unknown.

        Estimates each save one. What a filter saved is estimated from its results, see
        `saving.trainings`; its slice is what passed unjudged while it was at work. A saved training
        is taken to last as long as the mean of the finished ones.
        """
        n: float | None = self.n_estimated
        if not self.n_estimated:
            offered = [(f, label) for f, label in self._compared() if f.n_offered > 1]
            n = saving.trainings(
                np.array([label for f, label in offered if f.screened]),
                np.array([label for f, label in offered if not f.screened]),
                max((f.n_offered for f, _ in offered if f.screened), default=1),
            )
        if n is None or not self._train_s:
            return n, None
        return n, n * math.fsum(self._train_s.values()) / len(self._train_s)

    @property
    def sentence(self) -> str | None:
        """What a log says in the end; None while there is nothing to say."""
        if self.unfitted is not None:
            return f"the predictor is not fitted: {self.unfitted}" if self.is_asked else None
        n, seconds = self.saved()
        return None if n is None else f"the predictor {_saved(n, seconds)}"

    def settle(
        self, seq: int, key: str, label: float, train_s: float = 0.0, group: float | None = None
    ) -> None:
        """Take the label (higher is better) of a trial and the seconds that its training took.

        Labels of a `group` compare among themselves alone. Without a forecast the label does not
        count.
        """
        self._train_s[seq] = train_s
        if group is not None:
            self._groups[seq] = group
        if seq not in self._known and self._waiting.get(key):
            self._known[seq] = (self._waiting[key].popleft(), label)

    def drop(self, key: str) -> None:
        """Forget the forecast of a trial that will have no label."""
        if self._waiting.get(key):
            self._waiting[key].popleft()

    def review(self) -> None:
        """Judge when enough new labels of the slice are there, and set the share by it."""
        rows = self._compared()
        n = sum(not forecast.screened for forecast, _ in rows)
        if n < self._next:
            return
        self._next = n + N_STEP
        self.judgements.append(self._judged(rows))

    def _compared(self) -> list[tuple[Forecast, float]]:
        """Return forecasts with their labels, in the order of the trials.

        Those of a group count as distances from its mean, as do those that were made before there
        was any label: they have no level to count from.
        """
        rows = {seq: self._known[seq] for seq in sorted(self._known)}
        groups: dict[Any, list[int]] = defaultdict(list)
        for seq, (forecast, _) in rows.items():
            if seq in self._groups or forecast.level is None:
                groups[self._groups.get(seq)].append(seq)
        for members in groups.values():
            own = [(seq, *rows[seq]) for seq in members]
            # The level that was known rises in mid-group, with the first label of a new stretch.
            first = [(f.predicted, f.size) for _, f, _ in own if f.level is None]
            base = np.mean(first, axis=0) if first else np.zeros(2)
            values = np.array(
                [
                    (
                        label,
                        *np.subtract((f.predicted, f.size), base if f.level is None else f.level),
                    )
                    for _, f, label in own
                ]
            )
            for seq, row in zip(members, (values - values.mean(axis=0)).tolist(), strict=True):
                label, predicted, size = row
                rows[seq] = replace(rows[seq][0], predicted=predicted, size=size, level=0.0), label
        return list(rows.values())

    def _judged(self, rows: list[tuple[Forecast, float]]) -> Judgement:
        whole = [row for row in rows if not row[0].screened]
        piece = whole[-N_WINDOW:]
        labels, predicted, size = _distances(piece)
        p_chance = scores.p_chance(predicted, labels)
        rng = seeding.generator(self.seed, "audit", len(self.judgements))
        better = scores.p_better(predicted, size, labels, rng)
        change = self._change(p_chance < ALPHA and (better is None or better > 0.5))
        false, chance = _rejects(piece)
        n_saved, saved_s = self.saved()
        all_labels, all_predicted, _ = _distances(whole)
        screened, *_ = _distances([row for row in rows if row[0].screened][-N_WINDOW:])
        return Judgement(
            n=len(piece),
            tau=scores.kendall(predicted, labels),
            top_tau=scores.top_kendall(all_predicted, all_labels),
            n_top=scores.n_top(len(whole)),
            size_tau=scores.kendall(size, labels),
            p_chance=p_chance,
            p_better=better,
            false_reject=false,
            chance_reject=chance,
            gain=float(screened.mean() - labels.mean()) if len(screened) else None,
            n_rejected=self.n_rejected,
            n_saved=n_saved,
            saved_s=saved_s,
            unscreened=self.share,
            change=change,
        )

    def _change(self, is_good: bool) -> Change:
        """Set the share after a judgement and name what happened."""
        before = self.share
        self.share = max(self.configured, before / 2) if is_good else min(1.0, 2 * before)
        if self.share == before:
            return "kept"
        if is_good:
            return "on" if before >= 1.0 else "narrowed"
        return "off" if self.share >= 1.0 else "widened"


def _distances(rows: list[tuple[Forecast, float]]) -> Floats:
    """Return labels, predictions and size's predictions as distances from their level, (3, n)."""
    found = [np.array([label, f.predicted, f.size]) - (f.level or 0.0) for f, label in rows]
    return np.array(found).reshape(-1, 3).T


def _rejects(piece: list[tuple[Forecast, float]]) -> tuple[float | None, float | None]:
    """Return the share of good networks that would have been rejected, and that of drawing lots."""
    offered = [(f, label) for f, label in piece if f.n_offered > 1]
    n_good = int(GOOD * len(offered))
    if n_good < MIN_GOOD:
        return None, None
    best = sorted(offered, key=lambda row: -row[1])[:n_good]
    false = float(np.mean([f.would_reject for f, _ in best]))
    return false, float(np.mean([1 - 1 / f.n_offered for f, _ in best]))
