"""Matings give the strengths and supports of the papers' equations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nasgen import registry
from nasgen.errors import OperatorError
from nasgen.phenotype import survival

# Three parents of a layer (out 1, in 3, 1, 2): three kernels of two weights.
W = np.array(
    [
        [[[[0.4, 0.1]], [[0.5, 0.0]], [[0.0, 0.0]]]],
        [[[[-0.2, 0.1]], [[0.0, 0.8]], [[0.0, 0.0]]]],
        [[[[0.8, 0.1]], [[0.0, 0.0]], [[0.3, 0.2]]]],
    ],
    dtype=np.float32,
)
RNG = np.random.default_rng(0)


def mated(name: str, **given: Any) -> tuple[list[float], list[bool]]:
    """Return (strengths, support) of the six synapses."""
    mate = registry.resolve("matings", name)
    strengths, support = mate("w", list(W), [w != 0 for w in W], RNG, **given)
    return strengths.ravel().tolist(), support.ravel().tolist()


def test_mean_sums_over_all_parents_and_unites() -> None:
    """Chung 2017, equations 4 and 5: absent weights count 0."""
    strengths, support = mated("mean")
    assert strengths == pytest.approx([1.0 / 3, 0.1, 0.5 / 3, 0.8 / 3, 0.1, 0.2 / 3])
    assert all(support)


def test_intersect_mean_keeps_what_all_have() -> None:
    strengths, support = mated("intersect-mean")
    assert support == [True, True, False, False, False, False]
    assert strengths[:2] == pytest.approx([1.0 / 3, 0.1])
    assert not any(strengths[2:])


def test_product_unites_kernels_and_intersects_inside_among_their_owners() -> None:
    """Chung 2018, equations 2 and 3, over K_c, as a geometric mean."""
    strengths, support = mated("product")
    # All own the first kernel; the first two parents own the second and share nothing in it; the
    # last parent alone owns the third.
    assert support == [True, True, False, False, True, True]
    assert strengths[:2] == pytest.approx([(0.4 * 0.2 * 0.8) ** (1 / 3), 0.1])
    assert strengths[4:] == pytest.approx([0.3, 0.2])
    strengths, support = mated("product-all")
    assert support == [True, True, False, False, False, False]
    assert strengths[0] == pytest.approx((0.4 * 0.2 * 0.8) ** (1 / 3))


def test_a_product_of_many_small_weights_neither_underflows_nor_loses_to_one_owner() -> None:
    product = registry.resolve("matings", "product")
    weights = [np.full((1, 2, 1, 1), 1e-30, np.float32) for _ in range(64)]
    for w in weights[1:]:
        w[0, 1] = 0  # the second kernel has one owner
    strengths, support = product("w", weights, [w != 0 for w in weights], RNG)
    assert support.all()
    assert strengths.ravel() == pytest.approx([1e-30, 1e-30])


def test_fitness_mean_weighs_by_rank() -> None:
    strengths, support = mated("fitness-mean", ranks=(1, 3, 2))
    alpha = np.array([3, 1, 2]) / 6
    assert strengths[0] == pytest.approx(abs(alpha @ [0.4, -0.2, 0.8]))
    assert strengths[2] == pytest.approx(alpha[0] * 0.5)
    assert all(support)
    assert mated("fitness-mean", ranks=(2, 2, 2))[0] == pytest.approx(mated("mean")[0])


@pytest.mark.parametrize("value", [-0.5, np.nan, np.inf, 1e39])
def test_strengths_whose_sums_may_be_no_numbers_are_refused(value: float) -> None:
    """A layer's sum of finite strengths may be infinite, and all of its probabilities NaN."""
    there = np.ones((2, 3), np.bool_)
    strengths = np.ones((2, 3))
    survival.mated("mating 'mine'", "w", (strengths * survival.LARGEST, there), [there])
    strengths[1, 2] = value
    with pytest.raises(OperatorError, match=r"mating 'mine', tensor 'w': expected .*strengths"):
        survival.mated("mating 'mine'", "w", (strengths, there), [there])


@pytest.mark.parametrize("name", registry.names("matings"))
@pytest.mark.parametrize("m", [1, 2, 3, 5])
def test_support_algebra(name: str, m: int) -> None:
    """One parent keeps its support; unions hold each parent's, intersections lie in each."""
    rng = np.random.default_rng(m)
    weights = [rng.normal(size=(5, 4, 3, 3)).astype(np.float32) for _ in range(m)]
    masks = [rng.random((5, 4, 3, 3)) < 0.7 for _ in range(m)]
    weights = [w * s for w, s in zip(weights, masks, strict=True)]
    entry = registry.get("matings", name)
    given = {"ranks": tuple(range(1, m + 1))} if "ranks" in entry.requires else {}
    strengths, support = registry.resolve("matings", name)("w", weights, masks, rng, **given)
    union, both = np.logical_or.reduce(masks), np.logical_and.reduce(masks)
    if m == 1:
        assert np.array_equal(support, masks[0])
        assert np.allclose(strengths, np.abs(weights[0]))
    assert not (support & ~union).any()
    assert not (both & ~support).any()
    if entry.options.get("intersects"):
        assert np.array_equal(support, both)
