"""Prunings keep exact numbers, whatever is equal, and the weights that their definition names."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nasgen import registry
from nasgen.errors import ConfigError, NotApplicable, OperatorError
from nasgen.evaluation.pruning import Pruning
from nasgen.operators.pruning.class_distributed import ClassDistributed
from nasgen.phenotype import clusters, saliency
from nasgen.runs import reading

METHODS = ("magnitude", "class-uniform", "class-distributed", "random", "obd", "layerwise-obs")
SHAPES = {"a": (6, 4, 3, 3), "b": (5, 6, 1, 1), "c": (9, 5)}
Arrays = dict[str, Any]


def network(what: str = "drawn", density: float = 1.0) -> tuple[Arrays, Arrays]:
    rng = np.random.default_rng(3)
    support = {n: rng.random(shape) < density for n, shape in SHAPES.items()}
    drawn = {n: rng.normal(size=shape).astype(np.float32) for n, shape in SHAPES.items()}
    if what == "equal":
        drawn = {n: np.full(shape, 0.25, np.float32) for n, shape in SHAPES.items()}
    return {n: np.where(support[n], w, np.float32(0)) for n, w in drawn.items()}, support


def pruning_of(
    method: str, weights: Arrays, settings: Any, function: Any = None, **opts: Any
) -> Pruning:
    entry = registry.get("prunings", method)
    given: Any = {}
    if "curvature" in entry.requires:
        rng = np.random.default_rng(5)
        given = {"curvature": ({n: rng.exponential(size=w.shape) for n, w in weights.items()},)}
    if "inputs" in entry.requires:
        rng = np.random.default_rng(6)
        read = {n: rng.normal(size=(50, w[0].size)) for n, w in weights.items()}
        given = {"inputs": ({n: x.T @ x / len(x) for n, x in read.items()},)}
    return Pruning(
        f"pruning '{method}'",
        entry,
        function or registry.function("prunings", method, opts),
        settings,
        {n: n for n in weights},
        lambda name: np.random.default_rng([8, *map(ord, "".join(name))]),
        given,
    )


def left(
    method: str, weights: Arrays, support: Arrays, settings: Any, function: Any = None, **opts: Any
) -> Arrays:
    return pruning_of(method, weights, settings, function, **opts).left(weights, support)[1]


@pytest.mark.parametrize("granularity", saliency.GRANULARITIES)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("what", ["drawn", "equal"])
def test_the_number_that_stays_is_exact(method: str, granularity: str, what: str) -> None:
    weights, support = network(what, 0.8)
    n = saliency.n_units(support, granularity)
    for keep in (n, n - 1, n // 2, len(SHAPES)):
        kept = left(method, weights, support, {"keep": keep}, granularity=granularity)
        assert saliency.n_units(kept, granularity) == keep
        assert all((kept[name] <= support[name]).all() for name in SHAPES)
        assert all(mask.any() for mask in kept.values()), "a layer is gone"
        if granularity != "weight":  # as a whole
            units = {m: clusters.living(mask, granularity) for m, mask in kept.items()}
            whole = {m: support[m] & clusters.spread(u, support[m].shape) for m, u in units.items()}
            assert all(np.array_equal(kept[m], whole[m]) for m in SHAPES)


@pytest.mark.parametrize("protect", ["first", "last", "both"])
def test_protected_layers_lose_nothing_and_count(protect: str) -> None:
    weights, support = network(density=0.7)
    keep = sum(int(mask.sum()) for mask in support.values()) - 20
    kept = left("magnitude", weights, support, {"keep": keep, "protect": protect})
    safe = {"first": "a", "last": "c", "both": "ac"}[protect]
    assert all(np.array_equal(kept[n], support[n]) for n in safe)
    own = [(np.abs(weights[n])[support[n]], kept[n][support[n]]) for n in SHAPES if n not in safe]
    sizes, stays = (np.concatenate(parts) for parts in zip(*own, strict=True))
    assert sizes[stays].min() > sizes[~stays].max(), "the others are ranked among themselves"
    assert sum(int(mask.sum()) for mask in kept.values()) == keep
    held = sum(int(support[n].sum()) for n in safe)
    with pytest.raises(
        NotApplicable, match=rf"at least \d+ weights .* all {held} of which none may leave"
    ):
        left("magnitude", weights, support, {"keep": held, "protect": protect})


def test_one_threshold_for_the_network_and_one_share_of_each_layer() -> None:
    weights, support = network()
    weights["b"] = weights["b"] / 100
    n = sum(w.size for w in weights.values())
    blinded = left("magnitude", weights, support, {"keep": n // 2})
    sizes = np.concatenate([np.abs(weights[m][blinded[m]]) for m in "ac"])
    gone = np.concatenate([np.abs(weights[m][~blinded[m]]) for m in SHAPES])
    assert sizes.min() > gone.max()
    assert blinded["b"].sum() == 1  # which a layer keeps
    for method in ("class-uniform", "random"):
        kept = left(method, weights, support, {"keep": n // 2})
        assert all(abs(mask.sum() - mask.size / 2) <= 1 for mask in kept.values())
    for m, mask in left("class-uniform", weights, support, {"keep": n // 2}).items():
        assert np.abs(weights[m][mask]).min() > np.abs(weights[m][~mask]).max()


def test_distributed_magnitude_does_not_see_the_scale_of_a_layer() -> None:
    weights, support = network(density=0.6)
    keep = {"keep": 90}
    before = left("class-distributed", weights, support, keep)
    scaled = weights | {"b": weights["b"] * np.float32(1e-3)}
    after = left("class-distributed", scaled, support, keep)
    assert all(np.array_equal(before[n], after[n]) for n in SHAPES)
    assert left("magnitude", scaled, support, keep)["b"].sum() < after["b"].sum()


def test_sigma_is_that_of_living_weights_unless_the_references_is_asked_for() -> None:
    weights, support = network(density=0.3)
    rng = np.random.default_rng(0)
    for sigma, of in (("living", weights["a"][support["a"]]), ("all", weights["a"])):
        found = ClassDistributed(sigma=sigma).saliency(weights["a"], support["a"], rng)  # type: ignore[arg-type]
        wanted = np.abs(weights["a"]) / of.std()
        assert found[support["a"]] == pytest.approx(wanted[support["a"]], rel=1e-5)


def test_brain_damage_weighs_squares_by_curvature() -> None:
    weights, support = network()
    curvature = {n: np.zeros(shape) for n, shape in SHAPES.items()}
    curvature["c"][:] = 1e-6  # the only weights that the loss depends on
    obd = registry.function("prunings", "obd")
    names, n = tuple(SHAPES), weights["c"].size
    given: Any = {"curvature": (curvature,)}
    kept = obd(names, weights, support, n + 2, np.random.default_rng(0), **given)
    assert kept["c"].all()


def test_a_bucket_takes_the_least_salient_as_long_as_they_fit() -> None:
    weights, support = network(density=0.9)
    sizes = np.sort(np.concatenate([np.abs(w[support[n]]) for n, w in weights.items()]))
    sums = np.cumsum(sizes.astype(np.float64))
    for n_gone in (1, 7, 60):
        bucket = float(sums[n_gone - 1] + 1e-6)
        kept = left("magnitude", weights, support, {"keep": 3, "bucket": bucket})
        assert sum(int(mask.sum()) for mask in kept.values()) == len(sizes) - n_gone
    least = left("magnitude", weights, support, {"keep": 50, "bucket": 1e9})
    assert sum(int(mask.sum()) for mask in least.values()) == 50  # which it never goes below
    with pytest.raises(NotApplicable, match="a bucket that holds the least saliency"):
        left("magnitude", weights, support, {"keep": 3, "bucket": float(sizes[0]) / 2})


@pytest.mark.parametrize("granularity", saliency.GRANULARITIES)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("what", ["drawn", "equal"])
def test_what_leaves_fits_into_the_bucket_and_one_more_would_not(
    method: str, granularity: str, what: str
) -> None:
    weights, support = network(what, 0.8)
    weights["b"] = weights["b"] / 100
    pruning = pruning_of(method, weights, {}, granularity=granularity)
    compete = pruning.entry.scope == "network"
    rngs = {n: pruning.rng(tuple(SHAPES) if compete else n) for n in SHAPES}
    if compete:
        rngs = dict.fromkeys(SHAPES, rngs["a"])
    values = pruning.function.saliencies(weights, support, rngs, **pruning.given)
    total = sum(float(values[n][support[n]].sum(dtype=np.float64)) for n in SHAPES)

    def lost(settings: Any) -> tuple[int, float]:
        kept = left(method, weights, support, settings, granularity=granularity)
        gone = {n: support[n] & ~kept[n] for n in SHAPES}
        sums = [float(values[n][gone[n]].sum(dtype=np.float64)) for n in SHAPES]
        return saliency.n_units(kept, granularity), sum(sums)

    for share in (0.25, 0.4):
        n_left, of_those = lost({"keep": len(SHAPES), "bucket": share * total})
        assert len(SHAPES) < n_left < saliency.n_units(support, granularity)
        assert of_those <= share * total * (1 + 1e-9)
        assert lost({"keep": n_left - 1})[1] > share * total * (1 - 1e-9)


def test_shares_of_whole_numbers_add_up() -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        counts = rng.integers(0, 40, rng.integers(1, 7)).tolist()
        budget = int(rng.integers(0, sum(counts) + 1))
        found = saliency.apportioned(counts, budget)
        assert sum(found) == budget
        assert all(0 <= k <= n for k, n in zip(found, counts, strict=True))
        if budget >= sum(n > 0 for n in counts):
            assert all(k for k, n in zip(found, counts, strict=True) if n)
            share = budget / max(1, sum(counts))
            small = sum(n * share < 1 for n in counts)
            off = [abs(k - n * share) for k, n in zip(found, counts, strict=True)]
            assert max(off) < 1 + small
    assert saliency.apportioned([10, 10, 10], 1) == [1, 0, 0]  # the first of equals


def test_a_plain_function_takes_weights_and_says_so_where_it_breaks_its_contract() -> None:
    weights, support = network()

    def all_of_it(name: str, weight: Any, support: Any, budget: int, rng: Any) -> Any:
        return support

    with pytest.raises(OperatorError, match=r"expected at most 108 weights of a tensor to stay"):
        left("random", weights, support, {"retention": 0.5}, all_of_it)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("magnitude", {"granularity": "layer"}, "granularity: .*'weight', 'kernel' or 'filter'"),
        ("class-distributed", {"sigma": "some"}, "sigma: .*'living' or 'all'"),
        ("obd", {"rows": 0}, "rows: expected a whole number of 1 or more, got 0"),
    ],
)
def test_wrong_options_are_named(name: str, options: Any, expected: str) -> None:
    section = {"prunings": {name: 1.0}, "operators": {name: options}}
    with pytest.raises(ConfigError, match=expected):
        reading.resolved({"algorithm": section})


# ---- layer-wise optimal brain surgeon ------------------------------------------------------------


def _least_error(h: Any, w: Any, kept: Any) -> tuple[Any, float]:
    """Return the weights with the least squared error among those on `kept`, and that error."""
    root = np.linalg.cholesky(h).T
    found = np.zeros_like(w)
    found[kept] = np.linalg.lstsq(root[:, kept], root @ w, rcond=None)[0]
    return found, 0.5 * float(np.square(root @ (found - w)).sum())


@pytest.mark.parametrize("density", [1.0, 0.6])
def test_a_layers_output_changes_least(density: float) -> None:
    rng = np.random.default_rng(2)
    shape = (3, 2, 2, 2)
    support = rng.random(shape) < density
    support[:, 0, 0, 0] = True
    weight = np.where(support, rng.normal(size=shape), 0.0)
    x = rng.normal(size=(50, 8)) @ rng.normal(size=(8, 8))
    inputs = x.T @ x / len(x)
    obs = registry.function("prunings", "layerwise-obs", {"damping": 1e-12})
    found = obs.saliency(weight, support, rng, inputs=inputs)
    w, alive = weight.reshape(3, 8), support.reshape(3, 8)
    for unit, place in zip(*np.nonzero(alive), strict=True):
        kept = alive[unit].copy()
        kept[place] = False
        _, error = _least_error(inputs, w[unit], kept)
        assert found.reshape(3, 8)[unit, place] == pytest.approx(error, rel=1e-6)
    left_over = support & (rng.random(shape) < 0.5)
    adjusted = obs.adjusted(weight, support, left_over, inputs=inputs).reshape(3, 8)
    for unit in range(3):
        wanted, _ = _least_error(inputs, w[unit], left_over.reshape(3, 8)[unit])
        assert adjusted[unit] == pytest.approx(wanted, abs=1e-7)
    same = obs.adjusted(weight, support, support, inputs=inputs)
    assert np.array_equal(same, weight)


def test_values_that_are_always_zero_leave_first() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(50, 8))
    x[:, 3] = 0.0
    weight = np.ones((4, 8))
    weight[:, 3] = 10.0
    obs = registry.function("prunings", "layerwise-obs")
    found = obs.saliency(weight, np.ones((4, 8), bool), rng, inputs=x.T @ x / len(x))
    assert (found.argmin(axis=1) == 3).all()
