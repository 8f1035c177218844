"""What a pruning will do, as far as that is known before it begins: sentences for its plan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from nasgen.engine.algorithms.prune import METHOD, Prune
from nasgen.engine.steps import Steps
from nasgen.errors import NotApplicable
from nasgen.layers.base import Shape
from nasgen.phenotype.saliency import n_units
from nasgen.runs import reachable
from nasgen.runs.reachable import Applied
from nasgen.runs.resolved import Resolved

SHOWN: Final = 6  # steps, layers
BARE: Final = 8  # units of a layer of which a single one is too few


def of_pruning(resolved: Resolved, shape: Shape, n_outputs: int) -> list[str]:
    """Return how many steps there will be and what each leaves; nothing for another algorithm."""
    section = resolved.config.algorithm
    if resolved.origin is None or not issubclass(resolved.algorithm_type, Prune):
        return []
    given = {name: section.options.get(name) for name in Steps.__dataclass_fields__}
    given["may_end"] = section.options.get("target_of") == "matrices"
    steps = Steps(**{name: value for name, value in given.items() if value is not None})
    method = next(iter(section.prunings), METHOD)
    here = reachable.applied(resolved, method, shape, n_outputs)
    if steps.bucket is not None:
        return [_of_bucket(steps, method, here)]
    n = here.bounds.n_all
    left, number = n, 0
    kept: list[int] = []
    while (following := steps.next(number, n, left)) is not None:
        number, left = following[0], int(following[1]["keep"])
        kept.append(left)
    shown = [f"{one:,}" for one in kept]
    if len(shown) > SHOWN:
        shown[SHOWN // 2 : -SHOWN // 2] = ["..."]
    what = f"{here.bounds.unit}s"
    return [
        f"{_counted(len(kept), 'step')} {'leaves' if len(kept) == 1 else 'leave'} "
        f"{', '.join(shown)} of {n:,} {what}{_others(here)}",
        *_bare(here, kept),
    ]


def _bare(here: Applied, kept: Sequence[int]) -> Iterator[str]:
    """Yield a sentence where layers that compete would lose all but one unit.

    Sums over kernels or filters are small where few weights lead to one, so a common threshold can
    take nearly all of such a layer.
    """
    if here.weights is None or not kept or here.pruning.entry.scope != "network":
        return
    left = here.folding.joined(here.left({"keep": kept[-1]}))
    before = here.folding.joined(here.masks)
    unit = here.pruning.granularity
    sizes = [n_units({n: before[n]}, unit) for n, m in left.items() if n_units({n: m}, unit) == 1]
    sizes = [size for size in sizes if size >= BARE]
    if sizes:
        layers = "1 layer" if len(sizes) == 1 else f"{len(sizes)} layers"
        yield (
            f"all at once, '{here.pruning.who}' would leave a single {unit} of "
            f"{' and of '.join(f'{size:,}' for size in sizes[:SHOWN])} in {layers}, whose {unit}s "
            "compete with those of all others; 'class-uniform' takes the same share of each layer"
        )


def _others(here: Applied) -> str:
    """Return what is said of the weights that a target does not count."""
    n = here.pruning.n_others(here.folding.joined(here.masks))
    return (
        f"; the network's other {n:,} stay, but those that then read or feed nothing" if n else ""
    )


def _of_bucket(steps: Steps, method: str, here: Applied) -> str:
    """Return how large a bucket is beside all saliencies, and how many steps it will take."""
    assert steps.bucket is not None
    what = f"{here.bounds.unit}s"
    if here.weights is None:
        return (
            f"at most {_counted(steps.most, 'step')}; how large a bucket of {steps.bucket:g} is "
            f"beside all saliencies of '{method}' is measured in each step"
        )
    total = here.saliency()
    scale = (
        f"the saliencies of '{method}' add up to {total:.4g} over {here.bounds.n:,} {what}, so a "
        f"bucket of {steps.bucket:g} is {100 * steps.bucket / max(total, 1e-300):.2g} % of them"
    )
    n = _n_steps(steps, here)
    if n is None:
        return f"{scale}; it holds too little to reach the target in {_counted(steps.most, 'step')}"
    return f"{scale}: {_counted(n, 'step')}, if no training moved the weights in between"


def _n_steps(steps: Steps, here: Applied) -> int | None:
    """Return how many steps a bucket takes to the target without training, None: too many."""
    goal, masks = steps.goal(here.bounds.n_all), dict(here.masks)
    for n in range(1, steps.most + 1):
        try:
            masks |= here.left({"keep": goal, "bucket": steps.bucket}, masks)
        except NotApplicable:  # it does not hold a single one
            return None
        alive = here.folding.joined(masks)
        if here.pruning.counted(alive) <= goal:
            return n
    return None


def _counted(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
