"""Which synapses survive: the strongest n of a network, and checks of what operators returned.

A *strength* says how much a synapse is worth (>= 0), a *support* which synapses exist (bool). Both
are numpy arrays of a tensor's shape, or {tensor name: array} for a network; no torch here, so that
operators can use it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from nasgen.errors import OperatorError

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
Arrays = Mapping[str, Array]
Masks = Mapping[str, Mask]
LARGEST = float(np.finfo(np.float32).max)  # of weights; squares and sums of these are finite
Which = TypeVar("Which", Array, Arrays)


def n_synapses(supports: Mask | Masks) -> int:
    """Return how many synapses a support holds, of one tensor or of several."""
    if isinstance(supports, Mapping):
        return sum(int(np.count_nonzero(s)) for s in supports.values())
    return int(np.count_nonzero(supports))


def strongest(strengths: Which, supports: Which, n: int) -> Which:
    """Return a support of the `n` strongest living synapses, or of all where fewer live.

    Of equals the first in the order of names and places stay, so the number is exact. Given
    mappings, all their tensors compete with each other.
    """
    if isinstance(strengths, Mapping):
        names = list(strengths)
        living = cast(Masks, supports)
        sizes = np.cumsum([strengths[name].size for name in names])[:-1]
        flat = strongest(
            np.concatenate([np.ravel(strengths[name]) for name in names] or [np.empty(0)]),
            np.concatenate([np.ravel(living[name]) for name in names] or [np.empty(0, bool)]),
            n,
        )
        parts = np.split(flat, sizes) if names else []
        shaped = {m: p.reshape(strengths[m].shape) for m, p in zip(names, parts, strict=True)}
        return cast(Which, shaped)
    places = np.flatnonzero(supports)
    kept: Mask = np.zeros(strengths.size, dtype=np.bool_)
    if n >= len(places):
        kept[places] = True
    elif n > 0:
        values = np.ravel(strengths)[places]
        limit = np.partition(values, len(values) - n)[len(values) - n]
        above = values > limit
        equals = np.flatnonzero(values == limit)[: n - int(above.sum())]
        kept[places[above]] = True
        kept[places[equals]] = True
    return cast(Which, kept.reshape(strengths.shape))


# ---- what operators returned -----------------------------------------------------------------


def mated(who: str, name: str, returned: Any, supports: Sequence[Mask]) -> tuple[Array, Mask]:
    """Return (strengths, support) of a mating's tensor; OperatorError for what is neither.

    A synapse that no parent has is none of the child's: the support lies in the union of theirs.
    """
    strengths, support = _pair(who, name, returned, "strengths")
    union = np.logical_or.reduce(list(supports))
    strengths = _numbers(who, name, strengths, union.shape, "strengths")
    for value in (strengths.min(initial=0), strengths.max(initial=0)):
        if not 0 <= value <= LARGEST:
            raise OperatorError(
                f"{who}, tensor '{name}': expected strengths from 0 to {LARGEST:g}, got {value:g}."
            )
    return strengths, _support(who, name, support, union, "no parent has")


def pruned(who: str, name: str, returned: Any, support: Mask) -> Mask:
    """Return the support that a pruning left of a tensor; OperatorError for what is none."""
    return _support(who, name, returned, support, "the parent has not")


def within_stock(who: str, name: str, returned: Any, support: Mask) -> Mask:
    """Return what an environment let survive of a tensor, as a copy; OperatorError for others."""
    return _support(who, name, returned, support, "the mated stock has not").copy()


def worths(who: str, name: str, returned: Any, chosen: Mask) -> Array:
    """Return how much the synapses of a tensor are worth; only those of the `chosen` matter."""
    return _numbers(who, name, returned, chosen.shape, "worth", chosen)


def wanted(who: str, returned: Any, levels: Sequence[str]) -> dict[str, float]:
    """Return the numbers that should survive of each level; OperatorError for what is none."""
    is_right = isinstance(returned, Mapping) and all(
        key in levels and isinstance(n, int | float | np.number) and math.isfinite(n) and n >= 0
        for key, n in returned.items()
    )
    if not is_right:
        got = dict(returned) if isinstance(returned, Mapping) else returned
        raise OperatorError(
            f"{who}: expected `wanted` as {{{' or '.join(map(repr, levels))}: a finite number of 0 "
            f"or more}}, got {_shown(got)}."
        )
    return {key: float(n) for key, n in returned.items()}


def repaired(who: str, returned: Any, names: Sequence[str]) -> tuple[str, ...]:
    """Return the tensors that were given clusters back; OperatorError for what names none."""
    if not isinstance(returned, tuple | list | set | frozenset) or not set(returned) <= set(names):
        raise OperatorError(
            f"{who}: expected `repaired` as names of the {len(names)} tensors, got "
            f"{_shown(returned)}."
        )
    return tuple(name for name in names if name in set(returned))


def within(who: str, n: int, budget: int, where: str = "", units: str = "weights") -> None:
    """Raise OperatorError when a pruning kept more weights, or other units, than its budget."""
    if n > budget:
        raise OperatorError(
            f"{who}: expected at most {budget} {units}{where} to stay (its budget), got {n}."
        )


def changed(who: str, name: str, returned: Any, weight: Array) -> tuple[Array, Mask]:
    """Return (weight, support) of a mutation that runs in the worker; it may regrow synapses."""
    values, support = _pair(who, name, returned, "weights")
    values = _numbers(who, name, values, weight.shape, "weights")
    return values, _support(
        who, name, support, np.ones(weight.shape, np.bool_), "the tensor has not"
    )


def by_tensor(who: str, returned: Any, names: Sequence[str]) -> dict[str, Any]:
    """Return what an operator on whole networks gave for each tensor, in the order of `names`."""
    if not isinstance(returned, Mapping) or set(returned) != set(names):
        raise OperatorError(
            f"{who}: expected {{tensor name: array}} of the {len(names)} tensors it was given, "
            f"got {_shown(returned)}."
        )
    return {name: returned[name] for name in names}


def both_by_tensor(who: str, returned: Any, names: Sequence[str]) -> dict[str, tuple[Any, Any]]:
    """Return the same for operators that give a pair of mappings."""
    first, second = _pair(who, "", returned, "arrays")
    firsts, seconds = by_tensor(who, first, names), by_tensor(who, second, names)
    return {name: (firsts[name], seconds[name]) for name in names}


def _pair(who: str, name: str, returned: Any, what: str) -> tuple[Any, Any]:
    if not isinstance(returned, tuple | list) or len(returned) != 2:
        where = f", tensor '{name}'" if name else ""
        raise OperatorError(
            f"{who}{where}: expected a pair ({what}, support), got {_shown(returned)}."
        )
    return returned[0], returned[1]


def _numbers(
    who: str,
    name: str,
    value: Any,
    shape: tuple[int, ...],
    what: str,
    where: Mask | None = None,
) -> Array:
    found = np.asarray(value) if isinstance(value, np.ndarray | np.generic) else None
    if found is None or found.dtype.kind not in "fiu" or found.shape != shape:
        raise OperatorError(
            f"{who}, tensor '{name}': expected {what} as an array of numbers of shape {shape}, "
            f"got {_shown(value)}."
        )
    if not np.isfinite(found if where is None else found[where]).all():
        raise OperatorError(f"{who}, tensor '{name}': expected finite {what}, got NaN or infinity.")
    return found


def _support(who: str, name: str, value: Any, most: Mask, lacks: str) -> Mask:
    if not isinstance(value, np.ndarray) or value.dtype != np.bool_ or value.shape != most.shape:
        raise OperatorError(
            f"{who}, tensor '{name}': expected a support as an array of bool of shape "
            f"{most.shape}, got {_shown(value)}."
        )
    if n := int(np.count_nonzero(value & ~most)):
        synapses = "1 synapse" if n == 1 else f"{n} synapses"
        raise OperatorError(
            f"{who}, tensor '{name}': expected a support that does not grow, got {synapses} that "
            f"{lacks}; use `support & ...`."
        )
    return value


def _shown(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} of shape {value.shape}"
    if isinstance(value, Mapping) and not all(map(np.isscalar, value.values())):
        return f"a mapping of {len(value)} names"
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"
