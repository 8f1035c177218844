"""What follows the last training of a time budget, in parts that can be measured again.

`nasgen.runs.reserve` says what it is, `Budget` keeps time for it, and a training that the budget
ends carries it along: where networks turn out to answer slower or faster than foreseen, because the
machine is busier or idle again, the training ends so much earlier or later.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from nasgen.errors import ConfigError


@dataclass(frozen=True)
class Ending:
    """Seconds that follow a training.

    - `fixed_s`: of validating, loading, choosing and drawing, as fast as the machine is now.
    - `n_answers`: rows that networks will answer, with all threads.
    - `answer_s`: seconds for each of them.
    - `gain`: how many times as fast that is as with the threads that train, on an idle machine.

    Raises ConfigError for numbers that are negative or not finite, and for a gain below 1.
    """

    fixed_s: float = 0.0
    n_answers: float = 0.0
    answer_s: float = 0.0
    gain: float = 1.0

    def __post_init__(self) -> None:
        values = (self.fixed_s, self.n_answers, self.answer_s, self.gain - 1)
        if not all(math.isfinite(n) and n >= 0 for n in values):
            raise ConfigError(f"ending: expected finite numbers of 0 or more, got {self}.")

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Self:
        """Return what `to_json` wrote; keys of other programs are left out."""
        if not isinstance(data, Mapping):
            raise ConfigError(f"ending: expected names and numbers, got {data!r:.80}.")
        known = {name: data[name] for name in cls.__dataclass_fields__ if name in data}
        if any(isinstance(n, bool) or not isinstance(n, int | float) for n in known.values()):
            raise ConfigError(f"ending: expected numbers, got {known}.")
        return cls(**known)

    def to_json(self) -> dict[str, float]:
        return asdict(self)

    @property
    def seconds(self) -> float:
        """All of it, as it is foreseen."""
        return self.fixed_s + self.n_answers * self.answer_s

    def after(self, seconds: float) -> Self:
        """Return it with `seconds` of something else before it, which a busy machine slows too."""
        return replace(self, fixed_s=self.fixed_s + seconds)

    def shared(self, n: int) -> Self:
        """Return the part that one of `n` trainings, one after the other, answers for."""
        return replace(self, fixed_s=self.fixed_s / n, n_answers=self.n_answers / n)

    def measured(self, first_s: float, now_s: float) -> float:
        """Return the seconds of it where the threads that train answer a row in `now_s` seconds.

        They took `first_s` when `fixed_s` was foreseen. More threads gain only what is idle: where
        one answers more slowly, because others compute, another one brings so much less.
        """
        slower = now_s / first_s
        gain = max(1.0, self.gain / max(1.0, slower))
        return slower * self.fixed_s + self.n_answers * now_s / gain
