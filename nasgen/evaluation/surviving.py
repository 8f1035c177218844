"""Asks an environment what survives, keeps a path from the image to the classifier, counts."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

import numpy as np

from nasgen import registry
from nasgen.errors import FOREIGN, NasgenError, OperatorError
from nasgen.evaluation import living
from nasgen.evaluation.evaluation import Json
from nasgen.evaluation.framing import Framed
from nasgen.phenotype import clusters, support, survival
from nasgen.phenotype.channels import flow, limited, wired
from nasgen.phenotype.folding import Folding
from nasgen.phenotype.stock import Stock, Survivors
from nasgen.phenotype.survival import Array, Mask, Masks
from nasgen.search_spaces.blueprint import Blueprint
from nasgen.settings import options

GROUP: Final = "environments"
UNITS: Final = ("kernels", "filters", "synapses")
MOST_ROUNDS: Final = 10  # of making room: what leaves may take others with it


@contextmanager
def named(settings: Mapping[str, Any]) -> Iterator[Any]:
    """Lend the environment of a derivation's settings, {"name", **options}.

    What it raises is an OperatorError with its name, other errors of nasgen's own excepted.
    """
    given = dict(settings)
    name = str(given.pop("name"))
    target = registry.resolve(GROUP, name)
    try:
        yield target(**options.read(target, given, "environment", name))
    except OperatorError as error:
        who = f"environment '{name}'"
        raise error if who in str(error) else OperatorError(f"{who}: {error}") from error
    except (NasgenError, MemoryError):
        raise
    except FOREIGN as error:
        raise raised(f"environment '{name}'", error) from error


def checked(settings: Mapping[str, Any], found: Any, stock: Stock) -> Survivors:
    """Return what an environment returned, its masks as copies; OperatorError for other things."""
    who = f"environment '{settings['name']}'"
    if not isinstance(found, Survivors):
        raise OperatorError(f"{who}: expected Survivors, got {type(found).__name__}.")
    masks = survival.by_tensor(who, found.masks, stock.names)
    for name in stock.names:
        masks[name] = survival.within_stock(who, name, masks[name], stock.support[name])
    wanted = survival.wanted(who, found.wanted, UNITS)
    repaired = survival.repaired(who, found.repaired, stock.names)
    return replace(found, masks=masks, wanted=wanted, repaired=repaired)


def raised(who: str, error: BaseException) -> OperatorError:
    """Return the error that code of an operator or an environment has raised one."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return OperatorError(
        f"{who} raised {type(error).__name__}: {error} ({frame.filename}, line {frame.lineno}). "
        "Mend it and test it with `nasgen check`."
    )


def with_remedy(error: OperatorError) -> str:
    """Return what an operator did wrong, and what to do about it."""
    said = str(error)
    if "nasgen check" in said:
        return said
    return f"{said} Mend it, test it with `nasgen check`, then resume the run."


class Living:
    """Tells what of supports is alive in a network: fed by the image, needed by the classifier.

    `whole` is the support of all its parameters where a support names no others.
    """

    def __init__(self, blueprint: Blueprint, whole: Masks) -> None:
        self.blueprint, self.whole = blueprint, whole
        self.wires = wired(blueprint, {name: mask.shape for name, mask in whole.items()})
        self._axes = {
            name: (wire, axes) for wire in self.wires for name, axes in wire.tensors.items()
        }

    def __call__(self, masks: Masks) -> dict[str, Mask]:
        """Return what of the masks is alive."""
        found = flow(self.blueprint, {**self.whole, **masks}, self.wires)
        alive = {}
        for name, mask in masks.items():
            wire, axes = self._axes[name]
            live = found.live[wire.own]
            own = {} if wire.step.role == "head" else {"out": live, "self": live}
            keep = {"in": found.fed[wire.reads], **own}
            alive[name] = mask if wire.opaque else limited(mask, axes, keep)
        return alive


def wanted(kept: Survivors) -> Json:
    """Return the shares that were wanted, as metrics, and whether mating had gone below them."""
    shares = {f"kept_{level}_wanted": float(share) for level, share in kept.wanted.items()}
    return {**shares, "over_shrunk": kept.over_shrunk}


def joined(stock: Stock, folding: Folding) -> Stock:
    """Return a stock whose arrays are joined, but `whole`, which is joined already."""

    def of(arrays: Mapping[str, Array]) -> dict[str, Array]:
        found = {name: array.view() for name, array in folding.joined(arrays).items()}
        for array in found.values():
            array.flags.writeable = False
        return found

    return replace(
        stock,
        strengths=of(stock.strengths),
        support=of(stock.support),
        parents=[of(parent) for parent in stock.parents],
        living=lambda masks: folding.joined(stock.living(folding.apart(masks))),
        importance=of(stock.importance) if stock.importance else {},
    )


def achieved(child: Masks, stock: Stock) -> Json:
    """Return the counts of a child's closed support as shares of its parents' mean.

    Arrays are `joined`. The classifier is not among the tensors, so it does not count.
    """
    counts = living.counted(child)
    parents = [living.counted(parent) for parent in stock.whole or stock.parents]
    means = {name: sum(p[name] for p in parents) / len(parents) for name in counts}
    return {
        name.replace("n_", "kept_"): n / means[name] for name, n in counts.items() if means[name]
    }


def with_room(
    before: Masks,
    grown: Masks,
    sizes: Mapping[str, Array],
    living: Living,
    rng: np.random.Generator,
) -> dict[str, Mask]:
    """Return what a mutation has grown, less as many of the weakest that were there before (SET).

    So each layer has as many living synapses as it had where that can be, and never more. `sizes`
    are those of the weights. What is new begins at 0, so it takes half of a layer at most: of more,
    such as whole kernels in a layer whose kernels have one synapse each, some are drawn.
    """
    wanted = {n: survival.n_synapses(mask) for n, mask in living(before).items()}
    chances = {n: rng.random(mask.shape) for n, mask in grown.items()}
    new = {
        n: survival.strongest(chances[n], mask & ~before[n], wanted[n] // 2)
        for n, mask in grown.items()
    }
    keep, found = dict(wanted), dict(grown)
    for _ in range(MOST_ROUNDS):
        for n, mask in grown.items():
            found[n] = new[n] | survival.strongest(sizes[n], mask & before[n], keep[n])
        missing = {n: wanted[n] - survival.n_synapses(mask) for n, mask in living(found).items()}
        if not any(missing.values()):
            return found
        keep = {n: max(0, keep[n] + missing[n]) for n in keep}
    # What leaves one layer may bring nothing back in another, so this is no more than there was.
    order = {n: np.where(new[n], np.inf, sizes[n]) for n in found}
    return {n: survival.strongest(order[n], m, wanted[n]) for n, m in living(found).items()}


def reconnected(
    blueprint: Blueprint,
    whole: Masks,
    masks: dict[str, Mask],
    stock: Stock,
    most: int | None = None,
    anew: bool = False,
) -> list[str] | None:
    """Give back the strongest kernels that join the image to the classifier, in place.

    Layer by layer from the image on: one whose channels nothing feeds gets the strongest kernel of
    the stock that reads a fed channel and from which the stock leads on. `whole` is the support of
    all parameters. Returns the names of the tensors, None if the stock has no such path.

    Where there may be `most` synapses, a kernel comes back with its share of them, one at least.
    If that is too many beside those that come alive again, or if they feed what the stock cannot
    lead on from, the path takes their place (`anew`).
    """
    if anew:
        masks.update({name: np.zeros_like(mask) for name, mask in masks.items()})
    candidates = support.closed(blueprint, {**whole, **stock.support})
    changed = []
    for wire in flow(blueprint, {**whole, **masks}).wires:
        for name in (n for n in wire.tensors if n in masks):
            found = flow(blueprint, {**whole, **masks})
            if found.fed[wire.own].any():
                continue
            axes = wire.tensors[name]
            there = limited(candidates[name], axes, {"in": found.fed[wire.reads]})
            alive = clusters.living(there, "kernel")
            strength = clusters.summed(np.where(there, stock.strengths[name], 0.0), "kernel")
            best = survival.strongest(strength, alive, 1)
            back = there & clusters.spread(best, there.shape)
            if most is not None:
                back = survival.strongest(stock.strengths[name], back, max(1, most // len(masks)))
            masks[name] |= back
            changed.append(name)
    left = support.closed(blueprint, {**whole, **masks})
    n = sum(survival.n_synapses(left[name]) for name in masks)
    is_too_many = most is not None and n > max(most, len(masks))
    if (not n or is_too_many) and not anew:
        return reconnected(blueprint, whole, masks, stock, most, anew=True)
    return changed if n else None


def in_common_of_none(blueprint: Blueprint, members: Sequence[Framed], names: Iterable[str]) -> str:
    """Return a clause that names the layers in which no synapse is in all parents, "" for none."""
    steps = {step.name: step for step in blueprint.steps}
    apart = [
        living.step_of(steps, name).name
        for name in names
        if not np.logical_and.reduce([member.support[name] for member in members]).any()
    ]
    return f" (by gene tag nothing in {', '.join(map(repr, apart))})" if apart else ""
