"""Operators of any number of parents, and those that run where the weights are, keep a contract."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nasgen import registry
from nasgen.errors import IncompatibleError, NotApplicable
from nasgen.genotypes import Child, Dag
from nasgen.operators.pruning.base import Salient
from nasgen.phenotype.survival import strongest
from nasgen.testing import arrays, check_file
from nasgen.testing.check import check_member

pytestmark = pytest.mark.usefixtures("registry_restored")


def check(group: str, target: Any, **fields: Any) -> Any:
    registry.register(group, "mine", target, **fields)
    return check_member(group, "mine", n=10)


# ---- matings and prunings --------------------------------------------------------------------


def _mating(change: Callable[..., Any]) -> Callable[..., Any]:
    def mate(name: str, weights: Any, supports: Any, rng: np.random.Generator) -> Any:
        return change(np.abs(weights[0]), np.logical_or.reduce(supports), weights, supports)

    return mate


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda s, u, w, p: "nonsense", "expected a pair (strengths, support), got str 'nonsense'"),
        (lambda s, u, w, p: (s.ravel()[:1], u), "expected strengths as an array of numbers of"),
        (lambda s, u, w, p: (s * np.nan, u), "expected finite strengths, got NaN"),
        (lambda s, u, w, p: (s - 1, u), "expected strengths from 0 to 3.40282e+38, got -1"),
        (lambda s, u, w, p: (s, np.ones_like(u)), "expected a support that does not grow, got"),
        (lambda s, u, w, p: (s, s > 0.1 * np.random.rand()), "two results for one seed"),
        (lambda s, u, w, p: (s, u.astype(float)), "expected a support as an array of bool"),
        (lambda s, u, w, p: (s, w[0].fill(0)), "changed its input"),
        (lambda s, u, w, p: (s, p[0]), "parents of equal weights changed places"),
        (lambda s, u, w, p: 1 / 0, "raised ZeroDivisionError"),
    ],
)
def test_a_faulty_mating_is_told_what_is_wrong(change: Any, expected: str) -> None:
    finding = check("matings", _mating(change))
    assert not finding.ok
    assert expected in finding.message


def test_a_mating_that_tells_its_parents_apart_says_so() -> None:
    first = _mating(lambda s, u, w, p: (s, p[0]))
    assert check("matings", first, options={"ordered": True}).ok


def _first(places: Any, n: int) -> Any:
    return places & (np.cumsum(places).reshape(places.shape) <= n)


@pytest.mark.parametrize(
    ("prune", "expected"),
    [
        (lambda name, w, s, budget, rng: "nonsense", "expected a support as an array of bool"),
        (lambda name, w, s, budget, rng: s, "weights of a tensor to stay (its budget), got"),
        (lambda name, w, s, budget, rng: _first(~s, budget), "a support that does not grow"),
        (
            lambda name, w, s, budget, rng: s[:0],
            "of shape (7,), got an array of bool of shape (0,)",
        ),
    ],
)
def test_a_faulty_pruning_is_told_what_is_wrong(prune: Any, expected: str) -> None:
    finding = check("prunings", prune)
    assert not finding.ok
    assert expected in finding.message


class Own(Salient):
    """A plug-in that says what it would miss, given what is measured on the parent."""

    def saliency(self, weight: Any, support: Any, rng: Any, **given: Any) -> Any:
        assert given["curvature"].shape == weight.shape
        *gates, n, others = given["inputs"].shape
        assert n == others == weight[0].size // math.prod(gates)
        return np.abs(weight) * given["curvature"]


class Unfinished(Own):
    def adjusted(self, weight: Any, support: Any, kept: Any, **given: Any) -> Any:
        return np.where(kept, np.nan, weight)


class Writing(Own):
    def adjusted(self, weight: Any, support: Any, kept: Any, **given: Any) -> Any:
        weight[:] = 0
        return weight


@pytest.mark.parametrize("scope", ["tensor", "network"])
def test_a_pruning_of_ones_own_is_given_curvature(scope: str) -> None:
    finding = check("prunings", Own, scope=scope, requires=("curvature", "inputs"))
    assert finding.ok, finding.message
    assert finding.n_checked > 10


@pytest.mark.parametrize(
    ("member", "expected"),
    [(Unfinished, "expected finite weights, got NaN"), (Writing, "changed its input")],
)
def test_weights_that_a_pruning_adjusts_are_checked(member: Any, expected: str) -> None:
    finding = check("prunings", member, requires=("curvature", "inputs"))
    assert not finding.ok
    assert expected in finding.message


def test_an_operator_on_the_network_gets_all_tensors_and_its_own_budget() -> None:
    def nothing(name: Any, weight: Any, support: Any, budget: int, rng: Any) -> Any:
        assert name == tuple(weight) == tuple(support)
        return {k: np.zeros_like(s) for k, s in support.items()}

    assert check("prunings", nothing, scope="network").ok
    finding = check_member("prunings", "magnitude", n=10)
    assert finding.ok
    assert finding.n_checked > 10


def test_what_a_mating_requires_besides_is_given_by_name() -> None:
    def sure(name: str, weights: Any, supports: Any, rng: Any, predictions: Any) -> Any:
        assert len(predictions) == len(weights) == 3
        return np.abs(sum(weights)), np.logical_or.reduce(supports)

    finding = check("matings", sure, n_parents=3, requires=("weights", "predictions"))
    assert finding.message == ""
    assert finding.ok


def test_a_mutation_may_run_where_the_weights_are() -> None:
    def regrow(name: str, weight: Any, support: Any, rng: np.random.Generator) -> Any:
        grown = rng.random(weight.shape) < 0.1
        return np.where(grown & ~support, 0, weight), support | grown

    finding = check("mutations", regrow, runs_in="worker")
    assert finding.ok
    assert finding.n_checked > 10


# ---- any number of parents, materials in the driver ------------------------------------------


def test_a_crossover_of_three_parents_is_checked() -> None:
    def widths(first: Dag, second: Dag, third: Dag, space: Any, rng: np.random.Generator) -> Dag:
        tags = [v.tag for v in first.inner if v.op == "conv"]
        known = [v.channels for p in (second, third) for v in p.inner if v.op == "conv"]
        if not tags or not known:
            raise NotApplicable("no convolution.")
        return first.change(tags[0], channels=known[int(rng.integers(len(known)))])

    finding = check("crossovers", widths, n_parents=3)
    assert finding.ok, finding.message
    assert finding.n_checked > 10


def test_a_mutation_gets_the_weights_it_requires_and_cannot_change_them() -> None:
    def remember(parent: Dag, space: Any, rng: Any, given: Any) -> Dag:
        (weights,) = given["weights"]
        next(iter(weights.values()))[...] = 0
        return parent

    finding = check("mutations", remember, requires="weights")
    assert "read-only" in finding.message
    registry.unregister("mutations", "mine")

    def largest(parent: Dag, space: Any, rng: np.random.Generator, given: Any) -> Child:
        assert max(float(np.abs(a).max()) for a in given["weights"][0].values()) > 0
        return registry.resolve("mutations", "relabel")(parent, space, rng)

    assert check("mutations", largest, requires="weights").ok


def test_a_plan_that_cannot_be_executed_is_found() -> None:
    def lost(parent: Dag, space: Any, rng: Any) -> Child:
        return Child(parent, {"tags": {"12345": {"copy": 12345}}})

    assert "heredity plan cannot be executed" in check("mutations", lost).message


@pytest.mark.parametrize(
    ("group", "fields", "expected"),
    [
        ("mutations", {"requires": ("weigths",)}, "nothing can give; did you mean 'weights'"),
        ("objectives", {"requires": ("weights",)}, "objectives require nothing"),
        ("mutations", {"n_parents": 2}, "expected n_parents = 1, got 2"),
        ("crossovers", {"n_parents": (3, 2)}, "expected n_parents = a number of 2 to 64"),
        ("matings", {"runs_in": "driver"}, "expected runs_in = 'worker', got 'driver'"),
        ("mutations", {"scope": "network"}, "for operators that run in the worker"),
        ("prunings", {"scope": "layer"}, "expected scope = 'tensor' or 'network', got 'layer'"),
        ("layers", {"n_parents": 2}, "'n_parents' is for operators alone"),
        ("crossovers", {"n_parents": 3}, "expected a function of (first, second, third, space, rn"),
        ("matings", {}, "expected a function of (name, weights, supports, rng)"),
    ],
)
def test_an_entry_that_cannot_be_is_refused(
    group: str, fields: dict[str, Any], expected: str
) -> None:
    with pytest.raises(IncompatibleError) as error:
        registry.register(group, "mine", lambda parent, space, rng: parent, **fields)
    assert expected in str(error.value)


def test_nothing_is_fine_after_no_case(tmp_path: Path) -> None:
    file = tmp_path / "idle.py"
    file.write_text(
        "import nasgen\n\n@nasgen.pruning('idle')\ndef idle(name, weight, support, budget, rng):\n"
        "    raise nasgen.NotApplicable('never.')\n"
    )
    (finding,) = check_file(file)
    assert not finding.ok
    assert "no case to check" in finding.message


# ---- survival --------------------------------------------------------------------------------


@pytest.mark.parametrize("case", list(arrays.drawn(1, 40)), ids=lambda case: case.what)
def test_the_strongest_are_exactly_as_many_as_wanted(case: arrays.Tensor) -> None:
    weight, support = case.weights[0], case.supports[0]
    coarse = np.round(np.abs(weight))  # many equals
    for n in range(0, weight.size + 2):
        kept = strongest(coarse, support, n)
        assert kept.sum() == min(n, support.sum())
        assert not (kept & ~support).any()
        if kept.any() and (left := support & ~kept).any():
            assert coarse[kept].min() >= coarse[left].max()
        halves = {"a": coarse[:1], "b": coarse[1:]}
        living = {"a": support[:1], "b": support[1:]}
        both = strongest(halves, living, n)
        assert np.array_equal(np.concatenate([both["a"], both["b"]]), kept)
