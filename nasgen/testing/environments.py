"""The contract of environments: nothing absent returns, targets are met, layers draw alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from nasgen import registry, seeding
from nasgen.errors import NasgenError
from nasgen.evaluation import surviving
from nasgen.phenotype import clusters, survival
from nasgen.phenotype.stock import Stock, Survivors
from nasgen.phenotype.survival import Mask
from nasgen.testing import arrays
from nasgen.testing.arrays import SEED, Tensor
from nasgen.testing.base import Contract, Outcome, examine_all

N_CASES = 12  # random networks
SHAPES = ((8, 1, 5, 5), (16, 8, 3, 3), (12, 16))  # of a network that is drawn from often
N_DRAWS = 40
SIGMAS = 5.0  # by which the mean of the draws may miss a target


def check(group: str, name: str) -> Outcome:
    """Apply every rule to an environment with its default options."""
    return examine_all(RULES, group, name)


def made(name: str, **options: Any) -> Any:
    """Return a registered environment."""
    return registry.resolve("environments", name)(**options)


def networks(n_parents: int) -> Iterator[Stock]:
    """Yield stocks of crafted tensors and of random ones, three in each."""
    cases = (*arrays.crafted(n_parents), *arrays.drawn(n_parents, 3 * N_CASES))
    for tensors in arrays.networks(iter(cases)):
        yield stock_of(tensors)


def stock_of(tensors: list[Tensor], intersects: bool = False) -> Stock:
    """Return the stock that a mean of the parents' weights leaves."""
    frozen = {f"tensor{i}": tensor.frozen() for i, tensor in enumerate(tensors)}
    join = np.logical_and if intersects else np.logical_or
    strengths, support = {}, {}
    for key, t in frozen.items():
        mask = arrays.locked(join.reduce(list(t.supports)))
        mean = np.abs(sum(w.astype(np.float64) for w in t.weights)) / len(t.weights)
        strengths[key], support[key] = arrays.locked(np.where(mask, mean, 0.0)), mask
    n_parents = len(tensors[0].weights)
    parents = [{key: t.supports[p] for key, t in frozen.items()} for p in range(n_parents)]
    importance = {key: arrays.locked(strength**2) for key, strength in strengths.items()}
    return Stock(strengths, support, parents, intersects, importance=importance)


def trained(n_parents: int = 1, density: float = 1.0, intersects: bool = False) -> Stock:
    """Return a stock of normally distributed weights, of parents of some density."""
    rng = seeding.generator(SEED, "environments", n_parents)
    tensors = []
    for shape in SHAPES:
        weight = rng.normal(size=shape).astype(np.float32)
        masks = tuple(rng.random(shape) < density for _ in range(n_parents))
        cut = tuple(np.where(mask, weight, np.float32(0)) for mask in masks)
        tensors.append(Tensor("normal", cut, masks))
    return stock_of(tensors, intersects)


def rngs(stock: Stock, seed: int = 0) -> dict[str, np.random.Generator]:
    """Return a generator for each tensor, by its name alone."""
    return {name: seeding.generator(seed, name) for name in stock.names}


# ---- rules -------------------------------------------------------------------------------------


def keeps(name: str) -> Iterator[str]:
    """Supports of the right shapes, nothing that was absent, a living layer, one result a seed."""
    environment = made(name)
    for n_parents in (1, 3):
        for i, stock in enumerate(networks(n_parents)):
            where = f"{n_parents} parents, shapes {[s.shape for s in stock.support.values()]}"
            try:
                first = environment.survivors(stock, rngs(stock, i))
                again = environment.survivors(stock, rngs(stock, i))
                problem = _wrong(name, first, stock)
            except NasgenError as error:
                yield f"{error} ({where})"
                return
            if not problem and any(
                not np.array_equal(first.masks[n], again.masks[n]) for n in stock.names
            ):
                problem = "gave two results for one seed; draw from `rngs` alone"
            yield f"{problem} ({where})." if problem else ""


def _wrong(name: str, found: Survivors, stock: Stock) -> str:
    masks = surviving.checked({"name": name}, found, stock).masks
    for tensor in stock.names:
        if stock.support[tensor].any() and not masks[tensor].any():
            return f"let '{tensor}' die, although it had synapses"
    return ""


def alone(name: str) -> Iterator[str]:
    """What a layer draws does not depend on what other layers there are.

    What survives may, where shares are solved for over the network; the draws may not.
    """
    environment = made(name)
    stock = trained()
    last = stock.names[-1]
    part = Stock(
        {last: stock.strengths[last]},
        {last: stock.support[last]},
        [{last: parent[last]} for parent in stock.parents],
        importance={last: stock.importance[last]},
    )
    drawn = []
    for given in (stock, part):
        sources = rngs(given)
        environment.survivors(given, sources)
        drawn.append(sources[last].bit_generator.state)
    yield (
        ""
        if drawn[0] == drawn[1]
        else "the draws of a layer depend on the layers before it: draw a number for each place of "
        "its tensor, or of its clusters, from its own generator."
    )


def meets(name: str) -> Iterator[str]:
    """Over many draws, as many survive as it says it wants."""
    environment = made(name)
    for stock in (trained(), trained(3, 0.6), trained(3, 0.9, intersects=True)):
        mean = float(np.mean([survival.n_synapses(p) for p in stock.parents]))
        counts, wanted = [], []
        for seed in range(N_DRAWS):
            found = environment.survivors(stock, rngs(stock, seed))
            counts.append(survival.n_synapses(found.masks) / mean)
            wanted.append(found.wanted.get("synapses", float("nan")))
        if np.isnan(wanted).all():
            yield ""  # it has no target
            continue
        gap = float(np.mean(np.subtract(counts, wanted)))
        allowed = SIGMAS / np.sqrt(N_DRAWS * mean)
        if abs(gap) <= allowed:
            yield ""
        else:
            yield (
                f"wants {np.mean(wanted):.3f} of the parents' synapses and keeps "
                f"{np.mean(counts):.3f} over {N_DRAWS} draws ({len(stock.parents)} parents)."
            )


def capped(name: str) -> Iterator[str]:
    """`cap` is never exceeded; `floor` is kept as far as there is room, one synapse a layer."""
    for cap, floor in ((0.3, 3), (0.01, 1), (1e-4, 4)):
        for stock in (trained(), trained(2, 0.7)):
            mean = float(np.mean([survival.n_synapses(p) for p in stock.parents]))
            found = made(name, cap=cap, floor=floor).survivors(stock, rngs(stock))
            most, n = max(int(cap * mean), len(SHAPES)), survival.n_synapses(found.masks)
            yield "" if n <= most else f"cap = {cap} of {mean:.0f} synapses, and {n} survive."
            least = floor if most >= floor * len(SHAPES) else 1
            few = {n: c for n, m in found.masks.items() if (c := _n_kernels(m)) < least}
            yield f"floor = {floor}, cap = {cap}, and {few} kernels are left." if few else ""


def _n_kernels(mask: Mask) -> int:
    return clusters.n_clusters(mask, "kernel")


RULES = (keeps, alone, meets, capped)


class EnvironmentContract(Contract):
    """Inherit and set `name`."""

    group = "environments"

    def test_it_keeps_the_contract(self) -> None:
        """On crafted and random networks, of one parent and of three."""
        self.holds(keeps)

    def test_layers_draw_alone(self) -> None:
        """Whatever precedes them."""
        self.holds(alone)

    def test_it_meets_its_targets(self) -> None:
        """On average over many draws."""
        self.holds(meets)

    def test_cap_and_floor_hold(self) -> None:
        """Whatever it chooses."""
        self.holds(capped)
