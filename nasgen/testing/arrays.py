"""Arrays on which matings and prunings are tried: crafted ones, then random ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from nasgen import seeding
from nasgen.errors import NotApplicable, OperatorError
from nasgen.phenotype.survival import Array, Mask

SEED = 0
SHAPES = ((7,), (1,), (6, 5), (1, 1), (4, 3, 5), (5, 4, 3, 3), (1, 1, 1, 1))
HUGE, TINY = 1e18, 1e-40  # of which float32 holds the square, and which it holds denormalised
N_PREDICTIONS, N_CLASSES = 9, 4


@dataclass(frozen=True)
class Tensor:
    """One tensor of m parents: `what` describes it, `weights` are 0 outside of `supports`."""

    what: str
    weights: tuple[Array, ...]
    supports: tuple[Mask, ...]

    def frozen(self) -> Tensor:
        """Return it with copies that cannot be written to."""
        return Tensor(
            self.what,
            tuple(locked(w) for w in self.weights),
            tuple(locked(s) for s in self.supports),
        )


def locked(array: Array) -> Array:
    """Return a copy that cannot be written to."""
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def crafted(n_parents: int) -> Iterator[Tensor]:
    """Yield tensors at the edge: all 0, all equal, one element, huge, tiny, without a synapse."""
    for shape in SHAPES:
        rng = seeding.generator(SEED, f"arrays {shape}", n_parents)
        values = {
            "all zero": np.zeros(shape),
            "all equal": np.full(shape, 0.25),
            "huge": HUGE * rng.choice([-1.0, 1.0], shape),
            "tiny": TINY * rng.choice([-1.0, 1.0], shape),
        }
        for what, value in values.items():
            weights = [value.astype(np.float32)] * n_parents
            yield _tensor(f"{what}, shape {shape}", weights, [np.ones(shape, bool)] * n_parents)
        drawn = [rng.normal(size=shape).astype(np.float32) for _ in range(n_parents)]
        empty = np.zeros(shape, bool)
        yield _tensor(f"no synapse, shape {shape}", drawn, [empty] * n_parents)
        one = empty.copy()
        one.flat[-1] = True
        yield _tensor(f"one synapse, shape {shape}", drawn, [one] * n_parents)
        mixed = [one if i % 2 else empty for i in range(n_parents)]
        yield _tensor(f"parents without a synapse, shape {shape}", drawn, mixed)


def drawn(n_parents: int, n: int) -> Iterator[Tensor]:
    """Yield `n` random tensors of 1 to 4 axes, their supports of any density, dense ones too."""
    for i in range(n):
        rng = seeding.generator(SEED, f"random arrays of {n_parents}", i)
        shape = tuple(int(k) for k in rng.integers(1, 8, rng.integers(1, 5)))
        weights = [rng.normal(size=shape).astype(np.float32) for _ in range(n_parents)]
        density = 1.0 if i % 4 == 0 else rng.random()
        supports = [rng.random(shape) < density for _ in range(n_parents)]
        yield _tensor(f"random case {i}, shape {shape}", weights, supports)


def equal(n_parents: int, n: int) -> Iterator[Tensor]:
    """Yield random tensors whose parents have equal weights where they have the synapse."""
    for case in drawn(n_parents, n):
        yield _tensor(case.what, [case.weights[0]] * n_parents, list(case.supports))


def networks(cases: Iterator[Tensor], size: int = 3) -> Iterator[list[Tensor]]:
    """Yield the tensors in groups, as an operator on whole networks gets them."""
    group: list[Tensor] = []
    for case in cases:
        group.append(case)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def materials(
    required: tuple[str, ...],
    n_parents: int,
    seed: int,
    shapes: Mapping[str, tuple[int, ...]] = MappingProxyType({}),
) -> dict[str, Any]:
    """Return what an operator requires besides weights and support, drawn at random.

    `shapes` are those of the tensors, for what belongs to these.
    """
    given: dict[str, Any] = {}
    if "predictions" in required:
        rng = seeding.generator(SEED, "random predictions", seed)
        shape = (N_PREDICTIONS, N_CLASSES)
        given["predictions"] = tuple(
            locked(rng.dirichlet(np.ones(N_CLASSES), shape[0]).astype(np.float32))
            for _ in range(n_parents)
        )
    if "ranks" in required:
        rng = seeding.generator(SEED, "random ranks", seed)
        given["ranks"] = tuple(float(rank) for rank in 1 + rng.permutation(n_parents))
    for name in {"curvature", "inputs"} & set(required):
        made = {"curvature": _curvature, "inputs": _products}[name]
        rng = seeding.generator(SEED, f"random {name}", seed)
        given[name] = tuple(
            {key: locked(made(shape, rng)) for key, shape in shapes.items()}
            for _ in range(n_parents)
        )
    return given


def _curvature(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Return second derivatives >= 0, a fifth of them 0, as of weights that read nothing."""
    return rng.exponential(size=shape) * (rng.random(shape) < 0.8)


def _products(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Return the mean of x x^T over rows of which one value in five is always 0.

    Three axes are those of a layer with gates, the last ones, which read the same.
    """
    gates = shape[2:] if len(shape) == 3 else ()
    n = max(1, math.prod(shape[1:]) // math.prod(gates))
    rows = rng.normal(size=(2 * n, n)) * (rng.random(n) < 0.8)
    return np.broadcast_to(rows.T @ rows / len(rows), (*gates, n, n))


def repeated(apply: Callable[[], Mapping[str, Any]], where: str) -> str | None:
    """Return what is wrong when an operator is applied twice to the same, "" for nothing.

    `apply` returns {tensor name: array or tuple of arrays}. None: the operator is not applicable.
    """
    try:
        first, again = apply(), apply()
    except NotApplicable:
        return None
    except (OperatorError, ValueError) as error:
        raised = error.__cause__ if isinstance(error, OperatorError) else error
        if isinstance(raised, ValueError) and "read-only" in str(raised):
            return f"changed its input; work on a copy ({where})."
        if isinstance(error, OperatorError):
            return f"{error} ({where})"
        raise
    if all(
        np.array_equal(a, b)
        for k in first
        for a, b in zip(_parts(first[k]), _parts(again[k]), strict=True)
    ):
        return ""
    return f"gave two results for one seed; draw from `rng` alone ({where})."


def _parts(found: Any) -> tuple[Array, ...]:
    return found if isinstance(found, tuple) else (found,)


def _tensor(what: str, weights: list[Array], supports: list[Mask]) -> Tensor:
    cut = [np.where(s, w, np.float32(0)) for w, s in zip(weights, supports, strict=True)]
    return Tensor(what, tuple(cut), tuple(s.copy() for s in supports))
