"""How a pruning is shared out to steps: how many weights, kernels or filters stay after each.

    one-shot     everything in one step
    iterative    the same share of the original number in each step
    relative     the same share of what is left in each step
    fixed-size   the same number in each step
    bucket       the least salient ones, until the sum of their saliencies is that of the bucket
    gradual      target (1 - (1 - k / n)^3) after step k of n: large steps first (Zhu 2017)

The last step ends at the target.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

Strategy = Literal["one-shot", "iterative", "relative", "fixed-size", "bucket", "gradual"]
STRATEGIES: Final[tuple[str, ...]] = get_args(Strategy)
USUAL_STEPS: Final = 5  # of those that share a target out
MOST_STEPS: Final = 100  # of the others, that end at the target before
USUAL_SHARE: Final = 0.5  # of what is left, in a step
# Option -> the strategies that read it.
READ_BY: Final = {
    "steps": STRATEGIES[1:],
    "of_original": ("iterative",),
    "of_remaining": ("relative",),
    "size": ("fixed-size",),
    "bucket": ("bucket",),
}
NEEDED: Final = {"fixed-size": "size", "bucket": "bucket"}


@dataclass(frozen=True)
class Steps:
    """The steps of a pruning.

    - `target`: share of the original number that is gone in the end, above 0 and below 1; or 1
      where everything may leave (`may_end`).
    - `steps`: how many there are (iterative, gradual), or at most (others).
    - `of_original`: share of the original number that goes in a step of "iterative"; default: the
      target over `steps`.
    - `of_remaining`: share of what is left that goes in a step of "relative".
    - `size`: how many go in a step of "fixed-size".
    - `bucket`: sum of the saliencies that go in a step of "bucket".
    """

    target: float = 0.8
    strategy: Strategy = "one-shot"
    steps: int | None = None
    of_original: float | None = None
    of_remaining: float | None = None
    size: int | None = None
    bucket: float | None = None
    may_end: bool = False

    def problems(self) -> Iterator[tuple[str, str, Any]]:
        """Yield (option, what is expected, what came) for each option that is wrong."""
        if not 0 < self.target < 1 and not (self.may_end and self.target == 1):
            yield "target", "a share above 0 and below 1 that is gone in the end", self.target
        if self.strategy not in STRATEGIES:
            yield "strategy", f"one of {', '.join(STRATEGIES)}", self.strategy
            return
        for option, readers in READ_BY.items():
            value = getattr(self, option)
            if value is not None and self.strategy not in readers:
                yield option, f"none with strategy = '{self.strategy}'", value
        needed = NEEDED.get(self.strategy)
        if needed is not None and getattr(self, needed) is None:
            yield needed, f"a number above 0 with strategy = '{self.strategy}'", None
        for option in ("steps", "size"):
            value = getattr(self, option)
            if value is not None and value < 1:
                yield option, "a whole number of 1 or more", value
        for option in ("of_original", "of_remaining"):
            value = getattr(self, option)
            if value is not None and not 0 < value < 1:
                yield option, "a share above 0 and below 1", value
        if self.bucket is not None and not 0 < self.bucket < math.inf:
            yield "bucket", "a number above 0", self.bucket

    @property
    def most(self) -> int:
        """How many steps there are at most."""
        if self.strategy == "one-shot":
            return 1
        if self.strategy == "gradual":
            return self.steps or USUAL_STEPS
        if self.strategy == "iterative":
            if self.of_original is None:
                return self.steps or USUAL_STEPS
            # Rounding must not add a step that takes nothing.
            needed = math.ceil(round(self.target / self.of_original, 9))
            return min(needed, self.steps or needed)
        if self.strategy == "relative" and self.steps is None:
            # Numbers are whole, so a step more may be needed.
            if self.target == 1:
                return MOST_STEPS
            return math.ceil(math.log1p(-self.target) / math.log1p(-self._of_remaining)) + 1
        return self.steps or MOST_STEPS

    def goal(self, n_first: int) -> int:
        """Return how many of an original number stay in the end."""
        return max(int(self.target < 1), round((1.0 - self.target) * n_first))

    def next(self, before: int, n_first: int, n_now: int) -> tuple[int, dict[str, Any]] | None:
        """Return the number of the next step, from 1, and the settings of its derivation.

        `before` steps have left `n_now` of `n_first`. Steps that would take nothing, because what
        died with others is gone already, are passed over. None: the target is reached, or there is
        no further step.
        """
        if n_now <= self.goal(n_first):
            return None
        for step in range(before + 1, self.most + 1):
            kept = max(self.goal(n_first), self._kept(step, n_first, n_now))
            if kept < n_now:
                bucket = {} if self.bucket is None else {"bucket": self.bucket}
                return step, {"keep": kept, **bucket}
        return None

    @property
    def _of_remaining(self) -> float:
        return USUAL_SHARE if self.of_remaining is None else self.of_remaining

    def _kept(self, step: int, n_first: int, n_now: int) -> int:
        """Return how many stay after a step, before the target bounds it."""
        if self.strategy == "iterative":
            share = self.of_original or self.target / self.most
            return round(n_first * (1.0 - share * step))
        if self.strategy == "gradual":
            left = 1.0 - step / self.most
            return round(n_first * (1.0 - self.target * (1.0 - left**3)))
        if self.strategy == "relative":
            return min(round(n_now * (1.0 - self._of_remaining)), n_now - 1)
        if self.strategy == "fixed-size":
            return n_now - (self.size or 0)
        return 0  # one-shot, and what a bucket holds at most
