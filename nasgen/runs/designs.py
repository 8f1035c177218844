"""The designs that a run begins with, scaled to its data and to its budget."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from numpy.typing import NDArray

from nasgen import registry
from nasgen.data.base import Dataset
from nasgen.engine.draws import designed
from nasgen.errors import FOREIGN, ConfigError
from nasgen.evaluation.transform import Transform
from nasgen.genotypes import Genotype
from nasgen.layers.base import Shape
from nasgen.search_spaces.base import Design, SearchSpace
from nasgen.search_spaces.blueprint import cost

if TYPE_CHECKING:
    from nasgen.runs.resolved import Resolved
    from nasgen.settings.config import SearchConfig

# What trains well in ten minutes at a speed. Where two cores train at 3.3 times of it, a ResNet-9
# of width 24 on 32 x 32 images (54e6) was as good as one of width 16, and with views better.
MACS_IN_10_MIN: Final = 28e6
# Of forward passes in training on two slow cores, all images counted as if they were of full size.
MACS_A_SECOND: Final = 2.7e10
MACS_AT_FULL_SIZE: Final = 2e10  # of plans without a pace, which were made by full images alone
MACS_A_ROW: Final = 2000.0  # of the training part: few rows cannot fill many weights


@dataclass(frozen=True)
class Offer:
    """The designs of the search space of a run, none where its settings want none.

    `rows` are those of the training part; the run folder knows how they are read. `legs` are the
    segments of the run as recorded: the plan of the first one knows how fast the machine is.
    """

    run: Resolved
    folder: Path
    dataset: Dataset
    rows: NDArray[Any]
    legs: Sequence[Mapping[str, Any]] = ()

    @cached_property
    def _sizes(self) -> tuple[Shape, int]:
        transform = Transform.load(self.folder) or Transform.fit(self.dataset, self.rows)
        return transform.feed.input_shape, transform.task.n_outputs

    def __call__(self, pace: float | None = None) -> Sequence[Design]:
        """Return them; `pace` as in `affordable_macs`, None: as the run's plan recorded it."""
        space = self.run.space
        if not self.run.config.algorithm.designs or not has_designs(type(space)):
            return ()
        if pace is None:
            pace = pace_of(self.legs[0].get("plan") if self.legs else None)
        macs = affordable_macs(self.run.config, len(self.rows), pace)
        with self.run.scope.active():
            return space.designs(*self._sizes, macs)

    def macs(self, genotype: Genotype) -> float:
        """Return the multiply-adds of a network for one row of the run's data."""
        with self.run.scope.active():
            return cost(self.run.space.blueprint(genotype, *self._sizes))[0]


def pace(flops: float, image_s: float, unit: float = MACS_A_SECOND) -> float:
    """Return how fast a machine trains, in `unit`; 1 where a network has no operations.

    `flops` are those of the timed network, which takes `image_s` seconds for an image.
    """
    return flops / 2 / image_s / unit if flops else 1.0  # two operations for each multiply-add


def pace_of(plan: Mapping[str, Any] | None) -> float:
    """Return the pace that a plan recorded; 1 where none was measured."""
    if not plan or not plan.get("speed"):
        return 1.0
    if "pace" in plan:
        return float(plan["pace"])
    return pace(float(plan.get("flops") or 0.0), plan["speed"]["image_s_all"], MACS_AT_FULL_SIZE)


def affordable_macs(config: SearchConfig, n_train: int, pace: float = 1.0) -> float | None:
    """Return what one forward pass may cost in multiply-adds; None: usual, without a time budget.

    The best size of a network and the number of rows that it sees both grow with the square root of
    what its training costs (Hoffmann 2022). It depends on settings and on the `pace` that the plan
    of the run recorded, so a resumed run begins with the same designs.
    """
    if config.budget.time is None:
        return None
    macs = MACS_IN_10_MIN * math.sqrt(pace * config.budget.time / 600)
    return min(macs, MACS_A_ROW * n_train)


# Inputs for which designs are listed, by their axes: a table, a sequence, a colour image.
USUAL_INPUTS: Final[dict[int, Shape]] = {1: (24,), 2: (5, 24), 3: (3, 32, 32)}
USUAL_OUTPUTS: Final = 10
LIMIT_S: Final = 60.0  # for the designs of a plug-in's space


@dataclass(frozen=True)
class Listed:
    """A design as `nasgen list designs` shows it, for a usual input and 10 classes."""

    name: str
    space: str
    input_shape: Shape
    n_macs: float
    n_weights: float
    genotype: Genotype

    def row(self) -> dict[str, Any]:
        """Return what a table shows of it."""
        return {
            "name": self.name,
            "space": self.space,
            "input": " x ".join(map(str, self.input_shape)),
            "weights": round(self.n_weights),
            "multiply-adds": round(self.n_macs),
        }


def spaces() -> dict[str, type[SearchSpace]]:
    """Return name -> class of the registered search spaces that have designs."""
    named = {n: registry.resolve("search_spaces", n) for n in registry.names("search_spaces")}
    return {name: found for name, found in named.items() if has_designs(found)}


def has_designs(space_type: type[SearchSpace]) -> bool:
    """Tell whether a search space has designs of its own."""
    return getattr(space_type, "designs", SearchSpace.designs) is not SearchSpace.designs


def listed() -> Iterator[Listed]:
    """Yield the designs of all registered search spaces with their default options.

    Raises ConfigError for a plug-in's space that cannot be made without options, and OperatorError
    for one whose designs are none.
    """
    for name, space_type in spaces().items():
        try:
            space = space_type()
        except FOREIGN as error:
            raise ConfigError(
                f"search space '{name}' cannot be made with its default options: "
                f"{type(error).__name__}: {error}."
            ) from error
        shape = USUAL_INPUTS[(space.ranks or (3,))[0]]
        offered = partial(space.designs, shape, USUAL_OUTPUTS)
        for design in designed(offered, space, LIMIT_S):
            n_macs, n_weights = cost(space.blueprint(design.genotype, shape, USUAL_OUTPUTS))
            yield Listed(design.name, name, shape, n_macs, n_weights, design.genotype)
