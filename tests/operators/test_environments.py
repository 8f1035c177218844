"""Environments keep what they want, of what is there, and choose as the papers' equations say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nasgen import registry, seeding
from nasgen.errors import ConfigError
from nasgen.operators.environment.sampled import relative, truncated
from nasgen.operators.environment.solving import with_factor, with_normaliser
from nasgen.phenotype import clusters, survival
from nasgen.phenotype.stock import Stock, Survivors
from nasgen.phenotype.survival import n_synapses

SHAPES = {"a": (16, 1, 5, 5), "b": (24, 16, 5, 5), "c": (32, 24, 3, 3), "d": (20, 32)}
SELECTIVE = ("factor", "normaliser", "rank")
SOLVED = (*SELECTIVE, "random")


def environment(name: str, **options: Any) -> Any:
    return registry.resolve("environments", name)(**options)


def stock(seed: int = 0, density: float = 1.0, n_parents: int = 1, **more: Any) -> Stock:
    """Return normally distributed weights, of another scale in each layer."""
    rng = np.random.default_rng(seed)
    strengths = {n: np.abs(rng.normal(size=s)) * 0.1**i for i, (n, s) in enumerate(SHAPES.items())}
    parents = [{n: rng.random(s) < density for n, s in SHAPES.items()} for _ in range(n_parents)]
    join = np.logical_and if more.get("intersects") else np.logical_or
    support = {n: join.reduce([p[n] for p in parents]) for n in SHAPES}
    return Stock(
        {n: np.where(support[n], a, 0) for n, a in strengths.items()}, support, parents, **more
    )


def alike(given: Stock) -> dict[str, Any]:
    """Return the strengths with the scale of all layers equal."""
    return {n: a * 10**i for i, (n, a) in enumerate(given.strengths.items())}


def drawn(env: Any, given: Stock, seed: int = 0) -> Survivors:
    found = env.survivors(given, {n: seeding.generator(seed, n) for n in given.names})
    assert isinstance(found, Survivors)
    return found


def kernels(masks: Any) -> int:
    return clusters.n_clusters(masks, "kernel")


# ---- the equations -------------------------------------------------------------------------------


def test_equations_4_and_5_on_a_small_layer() -> None:
    weights = np.array([[[[0.4, -0.1]], [[0.0, 0.2]]]])  # two kernels of two weights
    support = weights != 0
    given = Stock({"w": np.abs(weights)}, {"w": support}, [{"w": support}])
    sums = truncated(given, "w", 0.25, "kernel")  # the quarter below 0.15 counts 0
    assert sums == pytest.approx(np.array([[0.4, 0.2]]))
    assert truncated(given, "w", 0.0, "kernel") == pytest.approx(np.array([[0.5, 0.2]]))
    assert truncated(given, "w", 0.0, "filter") == pytest.approx(np.array([0.7]))
    literal = environment("literal", factor_clusters=1.0, factor_synapses=1.0)
    p = np.exp(literal.log_probabilities(relative(sums, sums > 0).ravel(), None, "clusters"))
    assert p == pytest.approx([1.0, np.exp(0.5 - 1)])  # exp(q / Z - 1), not exp(q) / Z - 1
    x = relative(np.abs(weights), support)
    p = np.exp(literal.log_probabilities(x, None, "synapses"))
    assert p == pytest.approx(np.exp(np.array([0.4, 0.1, 0.2]) / 0.4 - 1))


def test_the_stronger_survive_more_often_not_less() -> None:
    for name in ("literal", *SELECTIVE):
        env = environment(name)
        given = stock(3)
        kept = np.mean([drawn(env, given, s).masks["b"] for s in range(30)], axis=0)
        strong = given.strengths["b"] > np.median(given.strengths["b"])
        assert kept[strong].mean() > 1.05 * kept[~strong].mean(), name


def test_the_control_does_not_ask_for_strength() -> None:
    given = stock(3)
    kept = np.mean([drawn(environment("random"), given, s).masks["b"] for s in range(30)], axis=0)
    strong = given.strengths["b"] > np.median(given.strengths["b"])
    assert kept[strong].mean() == pytest.approx(kept[~strong].mean(), abs=0.015)


def test_what_is_absent_stays_absent_whatever_exp_of_minus_1_is() -> None:
    given = stock(1, density=0.3)
    for name in ("literal", *SOLVED):
        for seed in range(5):
            found = drawn(environment(name), given, seed)
            assert not any((found.masks[n] & ~given.support[n]).any() for n in SHAPES), name


def test_the_literal_equations_keep_far_less_than_the_paper_reports() -> None:
    """F4: of normal weights P averages 0.44 over synapses, so 0.8 x 0.8 is out of reach."""
    shares = [n_synapses(drawn(environment("literal"), stock(s), s).masks) for s in range(3)]
    total = sum(np.prod(s) for s in SHAPES.values())
    assert 0.05 < np.mean(shares) / total < 0.25
    for seed in range(3):
        x = relative(stock(seed).strengths["b"], np.ones(SHAPES["b"], np.bool_))
        assert np.exp(x - 1).mean() == pytest.approx(0.44, abs=0.06)


def test_the_normaliser_is_more_selective_than_the_factor() -> None:
    """Of normal weights at a retention of 0.8: the weakest tenth, the strongest, the squares."""
    a = np.abs(np.random.default_rng(0).normal(size=100_000))
    n = 0.8 * len(a)
    order = np.argsort(a)
    x = a / np.quantile(a, 1 - 1e-3)  # a layer of a thousand: its largest
    found = {}
    for name, solve in (("factor", lambda: with_factor(np.minimum(x, 1) - 1, n)),
                        ("normaliser", lambda: with_normaliser(np.minimum(x, 1), n))):  # fmt: skip
        p = np.exp(solve())
        assert p.sum() == pytest.approx(n, abs=0.3)
        assert p.max() <= 1
        found[name] = (
            p[order[:10_000]].mean(),
            p[order[-100:]].mean(),
            (p * a * a).sum() / (a * a).sum(),
        )
    assert found["factor"][0] == pytest.approx(0.68, abs=0.04)
    assert found["normaliser"][0] == pytest.approx(0.40, abs=0.02)
    assert found["normaliser"][1] == pytest.approx(1.0, abs=1e-6)
    assert found["normaliser"][2] == pytest.approx(0.98, abs=0.01)
    assert found["factor"][2] == pytest.approx(0.92, abs=0.03)


def test_the_normaliser_is_never_less_selective_than_the_factor_and_has_no_jump() -> None:
    a = np.sort(np.abs(np.random.default_rng(0).normal(size=20_000)))
    x = np.minimum(a / np.quantile(a, 1 - 1e-3), 1)
    kept = []
    for share in np.arange(0.02, 1.0, 0.02):
        n = share * len(a)
        p, f = np.exp(with_normaliser(x, n)), np.exp(with_factor(x - 1, n))
        assert p.sum() == pytest.approx(n, abs=0.3)
        assert p[:2000].mean() <= f[:2000].mean() + 1e-4
        assert p[-200:].mean() >= f[-200:].mean() - 1e-4
        assert (p * a * a).sum() >= (f * a * a).sum() * (1 - 1e-4)
        kept.append((p * a * a).sum() / (a * a).sum())
    assert (np.diff(kept) > 0).all(), "more that survive hold more"
    assert np.max(np.diff(kept)) < 0.05
    at_one = float(np.exp(x - 1).sum())
    assert at_one / len(a) == pytest.approx(0.47, abs=0.02)
    both = [np.exp(with_normaliser(x, at_one + d)) for d in (-1, 1)]
    assert np.max(np.abs(both[0] - both[1])) < 1e-3


@pytest.mark.parametrize("n", [0, 0.3, 1, 4.5, 9, 10, 12])
def test_solving_works_at_every_number(n: float) -> None:
    x = np.array([1.0, 0.9, 0.5, 0.5, 0.4, 0.1, 0.0, 0.0, 1e-300, 0.2])
    for log_p in (with_factor(x - 1, n), with_normaliser(x, n)):
        p = np.exp(log_p)
        assert np.isfinite(p).all()
        assert p.sum() == pytest.approx(min(n, len(x)), abs=0.3)
        assert (np.diff(p[np.argsort(x)]) >= -1e-12).all()


# ---- retention -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SOLVED)
@pytest.mark.parametrize("cluster", ["kernel", "filter"])
def test_retention_is_met_within_one_over_root_n(name: str, cluster: str) -> None:
    """Of convolutions, whose kernels that survive keep a synapse: clusters of dense layers do not.

    So many survive as the paper's 0.8 says, and 0.8 of the synapses that are in these.
    """
    first = {"cluster_first": True} if name == "rank" else {}
    env = environment(name, cluster=cluster, **first)
    for seed in range(3):
        whole = stock(seed, density=0.6)
        found = drawn(env, whole, seed)
        wanted = found.wanted["synapses"] * n_synapses(whole.support)
        assert n_synapses(found.masks) == pytest.approx(wanted, abs=wanted**0.5)
        convs = {n: m for n, m in whole.support.items() if m.ndim == 4}
        given = replace(whole, support=convs, parents=[convs])
        given = replace(given, strengths={n: whole.strengths[n] for n in convs})
        found = drawn(env, given, seed)
        assert found.wanted[f"{cluster}s"] == pytest.approx(0.8)
        n = clusters.n_clusters(convs, cluster)
        assert clusters.n_clusters(found.masks, cluster) / n == pytest.approx(0.8, abs=n**-0.5)
        wanted = found.wanted["synapses"] * n_synapses(convs)
        assert n_synapses(found.masks) == pytest.approx(wanted, abs=wanted**0.5)
        # The kernels that survive hold more than their share: 0.8 x 0.8 keeps more than 0.64.
        least = 0.60 if name == "random" else 0.63
        assert least < n_synapses(found.masks) / n_synapses(convs) < 0.75


def test_one_factor_for_the_network_spares_a_narrow_first_layer() -> None:
    """Solved in each layer, twelve generations leave the first layer with a kernel or two."""
    left: dict[str, int] = {}
    for solve in ("network", "layer"):
        given = stock(5)
        given = replace(
            given, strengths={n: a * 10**i for i, (n, a) in enumerate(given.strengths.items())}
        )
        for generation in range(12):
            masks = drawn(environment("normaliser", solve=solve), given, generation).masks
            given = replace(given.within(masks), parents=[masks])
        left[solve] = clusters.n_clusters(given.support["a"], "kernel")
    assert left["layer"] <= 2
    assert left["network"] > left["layer"]


def test_solved_in_each_layer_each_keeps_its_share_and_in_the_network_its_scale_decides() -> None:
    given, shares = stock(0), {}
    for solve in ("layer", "network"):
        found = drawn(environment("rank", score="magnitude", solve=solve), given).masks
        shares[solve] = {n: mask.mean() for n, mask in found.items()}
    assert shares["layer"] == pytest.approx(dict.fromkeys(SHAPES, 0.64), abs=0.01)
    first, *_, last = shares["network"].values()
    assert first > 0.95
    assert last < 0.05


@pytest.mark.parametrize("m", [1, 2, 5])
def test_intersecting_matings_thin_by_the_mth_root_and_uniting_ones_by_r(m: int) -> None:
    """Chung 2017, equation 6: R = (1 - r)^m, so f = 1 - r = R^(1/m)."""
    uniting = stock(0, 0.8, m)
    mean = np.mean([n_synapses(p) for p in uniting.parents])
    found = drawn(environment("factor"), uniting)
    # Of unions too, the child is a share of what its parents have, not of what they have together.
    assert found.wanted["kernels"] == pytest.approx(0.8)
    assert 0.6 < n_synapses(found.masks) / mean < 0.75
    shared = stock(0, 0.98, m, intersects=True)
    found = drawn(environment("factor"), shared)
    f = 0.8 ** (1 / m)
    n_kernels = clusters.n_clusters(shared.support, "kernel")
    n_parents = np.mean([kernels(p) for p in shared.parents])
    assert found.wanted["kernels"] * n_parents == pytest.approx(f * n_kernels)
    assert not found.over_shrunk


def test_the_children_of_one_ancestor_are_thinned_for_those_who_will_intersect_them() -> None:
    given = stock(0, intersects=True)
    alone, five = (drawn(environment("factor"), replace(given, m=m)) for m in (0, 5))
    assert alone.wanted["kernels"] == pytest.approx(0.8)
    assert five.wanted["kernels"] == pytest.approx(0.8**0.2)


def test_five_parents_of_five_keep_r_a_generation_in_the_steady_state() -> None:
    """With f = R in place of R^(1/m) the second generation would have 0.1 of the synapses."""
    rng = np.random.default_rng(0)
    shape, m = (60, 60, 3, 3), 5
    strength = np.abs(rng.normal(size=shape))
    full = np.ones(shape, np.bool_)
    parents = [full]
    counts, overlaps = [], []
    env = environment("factor", retention_clusters=0.8, retention_synapses=0.8)
    for generation in range(7):
        shared = np.logical_and.reduce(parents)
        own = [{"w": p} for p in parents]
        given = Stock({"w": strength * shared}, {"w": shared}, own, True, m=m)
        children = [
            env.survivors(given, {"w": seeding.generator(generation, f"child {i}")})
            for i in range(m)
        ]
        assert not any(child.over_shrunk for child in children)
        parents = [child.masks["w"] for child in children]
        counts.append(np.mean([p.sum() for p in parents]))
        a, b = parents[:2]
        overlaps.append((a & b).sum() / a.sum())
    rates = np.divide(counts[1:], counts[:-1])[1:]
    assert counts[0] / full.sum() == pytest.approx(0.64 ** (1 / m), abs=0.02)
    assert (rates > 0.55).all()
    assert (rates < 0.75).all()
    assert np.ptp(overlaps) < 0.03


def test_an_intersection_below_its_target_is_kept_whole_and_said_to_be_over_shrunk() -> None:
    given = stock(0, 0.4, 5, intersects=True)
    found = drawn(environment("factor"), given)
    assert found.over_shrunk
    assert all(np.array_equal(found.masks[n], given.support[n]) for n in SHAPES)


@pytest.mark.parametrize(("options", "is_said"), [({}, True), ({"cluster_first": False}, False)])
def test_too_few_clusters_are_over_shrunk_where_clusters_compete(
    options: dict[str, Any], is_said: bool
) -> None:
    """Parents that share few kernels, but those with all their synapses: enough of these."""
    whole = {n: np.ones(s, np.bool_) for n, s in SHAPES.items()}
    shared = {n: m.copy() for n, m in whole.items()}
    shared["d"][:] = False
    shared["d"][0, 0] = True  # kernels of one weight are many, and few of the synapses
    shared["c"][:, 12:] = False
    env = environment("rank" if options else "factor", **options, retention_synapses=0.5)
    given = Stock(stock(0).strengths, shared, [whole, whole], intersects=True)
    assert n_synapses(shared) > 0.8 * 0.5 * n_synapses(whole)
    assert kernels(shared) < 0.8 * kernels(whole)
    assert drawn(env, given).over_shrunk == is_said


def test_a_union_of_five_parents_does_not_stand_still() -> None:
    given = stock(0, 0.5, 5)
    mean = np.mean([n_synapses(p) for p in given.parents])
    assert n_synapses(given.support) > 1.5 * mean
    assert n_synapses(drawn(environment("normaliser"), given).masks) < 0.75 * mean


SCHEDULED = [
    *((name, {}) for name in SOLVED),
    ("normaliser", {"cluster": "filter"}),
    ("factor", {"solve": "layer"}),
    ("rank", {"cluster_first": True, "score": "magnitude"}),
    ("normaliser", {"floor": 6, "truncation": 0.0}),
]


@pytest.mark.parametrize(("name", "options"), SCHEDULED)
def test_a_gradual_schedule_is_met_in_each_generation(name: str, options: dict[str, Any]) -> None:
    """To one over root n, whatever the clusters that survive hold and layers are given back."""
    env = environment(name, final=0.02, generations=6, **options)
    given, total = stock(0), n_synapses(stock(0).support)
    given = replace(given, n_ancestor=total)
    sizes = []
    for generation in range(1, 7):
        found = drawn(env, replace(given, generation=generation), generation)
        sizes.append(n_synapses(found.masks))
        wanted = total * (0.02 + 0.98 * (1 - generation / 6) ** 3)
        assert sizes[-1] == pytest.approx(wanted, abs=wanted**0.5)
        said = found.wanted["synapses"] * n_synapses(given.support)
        assert said == pytest.approx(wanted, rel=0.01)
        given = replace(given.within(found.masks), parents=[found.masks], n_mated=0)
    steps = -np.diff([total, *sizes])
    assert (np.diff(steps) < 0).all(), "large steps come first"


@pytest.mark.parametrize("name", ["normaliser", "random"])
def test_what_five_parents_share_follows_the_schedule_and_their_last_children_do(name: str) -> None:
    """Equation 6 with a target: thinned to the target itself, an intersection of five would end."""
    env = environment(name, final=0.1, generations=5)
    given = stock(0, intersects=True)
    total, shared = n_synapses(given.support), []
    for generation in range(1, 6):
        now = replace(given, generation=generation, m=5, n_ancestor=total)
        children = [drawn(env, now, 10 * generation + i) for i in range(5)]
        assert not any(child.over_shrunk for child in children)
        parents = [child.masks for child in children]
        support = {n: np.logical_and.reduce([p[n] for p in parents]) for n in SHAPES}
        shared.append(n_synapses(support) / total)
        strengths = {n: np.where(support[n], a, 0) for n, a in given.strengths.items()}
        given = Stock(strengths, support, parents, intersects=True)
    sizes = [n_synapses(p) for p in given.parents]
    assert sizes == pytest.approx([0.1 * total] * 5, abs=(0.1 * total) ** 0.5)
    targets = [0.1 + 0.9 * (1 - g / 5) ** 3 for g in range(1, 5)]
    if name == "random":
        assert shared[:4] == pytest.approx(targets, rel=0.1)
    else:  # what is strong is in all of them, so they share more than independent draws would
        assert all(t < s < 1.6 * t for s, t in zip(shared, targets, strict=False))


def test_a_layer_that_loses_all_its_clusters_does_not_take_the_others_with_it() -> None:
    """In a chain nothing lives once a layer is dead: it is given back one, which counts."""
    given = stock(0)
    weak = {n: a * (1e-9 if n == "a" else 1.0) for n, a in alike(given).items()}

    def living(masks: Any) -> Any:
        alive = all(m.any() for m in masks.values())
        return {n: m if alive else np.zeros_like(m) for n, m in masks.items()}

    given = replace(given, strengths=weak, living=living)
    total = n_synapses(given.support)
    for options in ({"cluster_first": True}, {"cluster_first": False}):
        env = environment("rank", score="magnitude", **options)
        found = drawn(env, given)
        assert found.repaired == ("a",)
        assert n_synapses(found.masks) == pytest.approx(found.wanted["synapses"] * total, rel=0.01)


# ---- cap, floor, rank ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["literal", *SOLVED])
def test_a_cap_is_hard_and_drops_the_weakest(name: str) -> None:
    given = stock(0)
    total = n_synapses(given.support)
    free, bound = (drawn(environment(name, cap=cap), given) for cap in (None, 0.1))
    assert n_synapses(bound.masks) == int(0.1 * total)
    assert n_synapses(free.masks) > n_synapses(bound.masks)
    if name == "random":  # chance takes from every layer
        assert not bound.repaired
    elif name != "rank":
        mean = [given.strengths["b"][f.masks["b"]].mean() for f in (free, bound)]
        assert mean[1] > mean[0]


@pytest.mark.parametrize("name", ["literal", *SOLVED])
@pytest.mark.parametrize("cluster", ["kernel", "filter"])
def test_what_a_layer_is_given_back_fits_below_the_cap(name: str, cluster: str) -> None:
    """Synapses of as many clusters as the floor says, or one a layer, however small the cap."""
    given = stock(0)
    given = replace(given, strengths={**given.strengths, "a": given.strengths["a"] * 1e-9})
    for cap, floor in ((0.01, 4), (0.002, 4), (3e-4, 6), (1e-5, 1), (1e-5, 5)):
        found = drawn(environment(name, cap=cap, floor=floor, cluster=cluster), given)
        most = int(cap * n_synapses(given.support))
        assert n_synapses(found.masks) == max(most, len(SHAPES))
        n_clusters = [clusters.n_clusters(mask, cluster) for mask in found.masks.values()]
        assert min(n_clusters) >= (floor if most >= floor * len(SHAPES) else 1)
        for n, mask in found.masks.items():
            assert not (mask & ~given.support[n]).any()


def test_a_layer_that_died_is_given_back_its_strongest_kernels() -> None:
    given = stock(0)
    weak = {n: a * (1e-9 if n == "a" else 1.0) for n, a in alike(given).items()}
    given = replace(given, strengths=weak)
    env = environment("rank", score="magnitude", floor=2)
    found = drawn(env, given)
    assert found.repaired == ("a",)
    alive = clusters.living(found.masks["a"], "kernel")
    sums = clusters.summed(weak["a"], "kernel")
    assert set(np.flatnonzero(alive)) == set(np.argsort(sums.ravel())[-2:])


def test_rank_takes_the_best_by_lamp_and_by_loss() -> None:
    given = stock(2)
    found = drawn(environment("rank"), given)
    n = round(0.64 * n_synapses(given.support))
    scores = []
    for name in SHAPES:  # Lee 2021, equation 1, as it stands
        w2 = np.sort(given.strengths[name].ravel() ** 2)
        scores.append(w2 / np.array([w2[i:].sum() for i in range(len(w2))]))
    limit = np.sort(np.concatenate(scores))[-n]
    wanted = [int((s >= limit).sum()) for s in scores]
    assert [int(m.sum()) for m in found.masks.values()] == wanted
    importance = {n: np.random.default_rng(1).random(s) for n, s in SHAPES.items()}
    given = replace(given, strengths=alike(given))
    by_loss = drawn(environment("rank", score="loss"), replace(given, importance=importance)).masks
    worth = np.concatenate([(importance[n] * given.strengths[n] ** 2).ravel() for n in SHAPES])
    kept = np.concatenate([by_loss[n].ravel() for n in SHAPES])
    assert worth[kept].min() >= worth[~kept].max()


def test_gumbel_noise_draws_in_proportion_to_the_scores() -> None:
    strength = np.array([[1.0, 2.0, 5.0]])
    ones = np.ones((1, 3), np.bool_)
    env = environment(
        "rank", score="magnitude", temperature=1.0, retention_clusters=0.6, retention_synapses=0.56
    )  # one of three
    given = Stock({"w": strength}, {"w": ones}, [{"w": ones}])
    counts = np.sum([drawn(env, given, seed).masks["w"][0] for seed in range(2000)], axis=0)
    assert counts.sum() == 2000
    assert counts / 2000 == pytest.approx([1 / 8, 2 / 8, 5 / 8], abs=0.04)
    assert env.draws
    assert not environment("rank").draws


def test_noise_changes_who_is_chosen_and_not_how_many() -> None:
    given = stock(0)
    plain, noisy = (drawn(environment("rank", noise=noise), given, 1).masks for noise in (0.0, 0.5))
    assert n_synapses(plain) == n_synapses(noisy)
    both = n_synapses({n: plain[n] & noisy[n] for n in SHAPES}) / n_synapses(plain)
    assert 0.7 < both < 1
    assert environment("rank", noise=0.5).draws


@pytest.mark.parametrize("n", [0, 1, 5, 7, 11])
def test_of_equal_strengths_exactly_as_many_survive_as_are_wanted(n: int) -> None:
    """Zero-initialised weights, say: a threshold would keep all of them, or none."""
    equal = {"a": np.zeros((2, 3)), "b": np.zeros(6)}
    there = {"a": np.ones((2, 3), np.bool_), "b": np.arange(6) > 0}
    found = survival.strongest(equal, there, n)
    assert n_synapses(found) == n
    assert not any((found[name] & ~there[name]).any() for name in found)
    one = survival.strongest({**equal, "b": np.arange(6.0)}, there, 1)
    assert np.flatnonzero(one["b"]).tolist() == [5]


# ---- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"retention_clusters": 0.0}, "retention_clusters: expected a number above 0 and below 1"),
        ({"retention_synapses": 1.0}, "retention_synapses: expected a number above 0 and below 1"),
        ({"retention_synapses": float("nan")}, "below 1, got nan"),
        ({"floor": 0}, "floor: expected a whole number of 1 or more, got 0"),
        ({"cap": 1.5}, "cap: expected a number above 0 and up to 1, got 1.5"),
        ({"noise": -1.0}, "noise: expected a number from 0 to 10, got -1.0"),
        ({"noise": 1e3}, "noise: expected a number from 0 to 10, got 1000.0"),
        ({"cluster": "pixel"}, "cluster: expected 'kernel' or 'filter'"),
        ({"solve": "all"}, "solve: expected 'network' or 'layer'"),
        ({"truncation": 1.0}, "truncation: expected a number from 0 and below 1"),
        (
            {"final": 0.1},
            "final: expected a number of generations in which it is reached, got none",
        ),
        ({"final": 2.0, "generations": 0}, "final: expected a number above 0 and below 1, got 2.0"),
    ],
)
def test_options_out_of_range_are_one_sentence_each(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=r"^environment\.") as caught:
        environment("factor", **options)
    assert said in str(caught.value)
