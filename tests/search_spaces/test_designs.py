"""Designs: legal for every input, different, repeatable, and ordered by what the budget affords."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest

from nasgen import registry
from nasgen.genotypes import Dag, read, tags
from nasgen.search_spaces import networks
from nasgen.search_spaces.base import Design, SearchSpace
from nasgen.search_spaces.blueprint import cost
from nasgen.search_spaces.dag_cnn import DagCnn
from nasgen.search_spaces.designs import convolutional
from nasgen.search_spaces.inception import Inception
from nasgen.search_spaces.mlp import Mlp
from nasgen.search_spaces.nasbench201 import NasBench201
from nasgen.search_spaces.nasbench_macro import NasBenchMacro
from nasgen.testing.search_spaces import designed

IMAGES = ((1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 64), (3, 5, 90))
ROWS = ((4,), (200,), (5, 12))
POOLING = ("max_pool", "avg_pool", "conv-pool")
CASES: list[tuple[SearchSpace, tuple[int, ...], int]] = [
    *((DagCnn(), shape, n) for shape, n in zip(IMAGES, (10, 2, 100, 10, 3), strict=True)),
    *((Inception(), shape, n) for shape, n in zip(IMAGES[::2], (10, 100, 2), strict=True)),
    *((Mlp(), shape, n) for shape, n in zip(ROWS, (3, 1, 10), strict=True)),
]


def parted(name: str) -> tuple[str, int]:
    family, _, width = name.rpartition("-w")
    return family, int(width)


@pytest.mark.parametrize(("space", "shape", "n_outputs"), CASES)
def test_designs_are_legal_different_repeatable_and_wider_ones_cost_more(
    space: SearchSpace, shape: tuple[int, ...], n_outputs: int
) -> None:
    found = space.designs(shape, n_outputs)
    assert found == space.designs(shape, n_outputs)
    assert 15 <= len(found) <= 50
    assert len({d.name for d in found}) == len({d.genotype.key for d in found}) == len(found)
    costs: dict[str, dict[int, tuple[float, float]]] = {}
    for design in found:
        dag = design.genotype
        assert isinstance(dag, Dag)
        assert not space.problems(dag)
        assert all(tags.is_provisional(tag) for tag in dag.tags)
        assert read(json.loads(json.dumps(dag.to_json()))) == dag
        family, width = parted(design.name)
        costs.setdefault(family, {})[width] = cost(space.blueprint(dag, shape, n_outputs))
    assert len(costs) >= 5, "families"
    for of_family in costs.values():
        for part in (0, 1):  # multiply-adds, weights
            ordered = [of_family[width][part] for width in sorted(of_family)]
            assert all(a < b for a, b in itertools.pairwise(ordered)), of_family


def test_a_resnet9_of_width_16_is_the_one_that_is_kept_as_a_file() -> None:
    space = DagCnn(layers=tuple(op for op in DagCnn().layers if op != "conv-pool"))
    named = {d.name: d.genotype.key for d in space.designs((3, 32, 32), 10, 24e6)}
    assert named["resnet9-w16"] == read(networks.read("resnet9")["genotype"]).key


@pytest.mark.parametrize("macs", [1e6, 2.4e7, 2e8])
def test_the_first_designs_are_of_different_families_and_cost_what_the_budget_affords(
    macs: float,
) -> None:
    space, shape = DagCnn(max_channels=512), (3, 32, 32)
    found = space.designs(shape, 10, macs)
    n = len(convolutional.FAMILIES)
    assert [parted(d.name)[0] for d in found[:n]] == list(convolutional.FAMILIES)
    near, far = (
        [cost(space.blueprint(d.genotype, shape, 10))[0] / macs for d in part]
        for part in (found[:n], found[3 * n :])
    )
    assert all(0.5 < share < 2 for share in near)
    assert all(not 0.7 < share < 1.4 for share in far), "the closest width comes first"


def test_what_a_usual_budget_affords_costs_what_a_draw_does_and_grows_with_the_images() -> None:
    costs = [
        cost(DagCnn().blueprint(DagCnn().designs(shape, 10)[0].genotype, shape, 10))[0]
        for shape in ((1, 8, 8), (3, 32, 32), (3, 64, 64))
    ]
    assert 4e6 < costs[1] < 2e7
    assert costs == sorted(costs)
    assert costs[2] < 4 * costs[1], "wider images have narrower networks"


def test_small_images_have_fewer_pools_and_none_is_idle() -> None:
    for shape, most in (((1, 8, 8), 1), ((3, 32, 32), 3), ((3, 64, 64), 4), ((3, 500, 500), 4)):
        for design in DagCnn().designs(shape, 10):
            blueprint = DagCnn().blueprint(design.genotype, shape, 10)
            pools = [s for s in blueprint.steps if s.layer in POOLING]
            assert 1 <= len(pools) <= most, (design.name, shape)
            assert all(s.in_shapes[0][1:] != s.out_shape[1:] for s in pools), (design.name, shape)


LIMITS: list[dict[str, Any]] = [
    DagCnn.narrow,
    {"max_channels": 6},
    {"max_stages": 1},
    {"max_depth": 6, "max_vertices": 6},
    {"min_depth": 10},
    {"kernels": [5, 7]},
    {"layers": ["conv", "avg_pool", "concat"]},
]


@pytest.mark.parametrize("options", LIMITS, ids=str)
def test_limits_of_the_space_are_kept(options: dict[str, Any]) -> None:
    space = DagCnn(**options)
    found = space.designs((3, 32, 32), 10)
    assert found
    for design in found:
        dag = design.genotype
        assert not space.problems(dag)
        assert max(v.get("channels", 0) for v in dag.inner) <= space.max_channels
        pools = [v for v in dag.inner if v.op in POOLING]
        assert len(pools) <= space.max_stages


def test_spaces_without_the_layers_of_a_design_offer_none() -> None:
    assert not DagCnn(layers=("conv", "sum")).designs((3, 32, 32), 10), "without pools: too dear"
    assert {parted(d.name)[0] for d in Mlp(layers=("dense",)).designs((9,), 2)} == {
        "mlp1", "mlp2", "mlp3", "mlp-narrowing",
    }  # fmt: skip


@pytest.mark.parametrize("space", [NasBench201(), NasBenchMacro()])
def test_cells_have_no_designs(space: SearchSpace) -> None:
    assert tuple(space.designs((3, 32, 32), 10)) == ()


def test_dense_designs_are_narrower_where_little_can_be_spent_and_never_wider_than_usual() -> None:
    def width(macs: float | None) -> int:
        first: Design = Mlp().designs((24,), 10, macs)[0]
        return parted(first.name)[1]

    assert width(1e3) < width(None) == width(1e9) == 64


# ---- the contract suite finds what is wrong with a plug-in's designs -----------------------------

FEW = DagCnn(max_channels=32).designs((3, 32, 32), 10)[:3]
_counter = itertools.count()


@dataclass(frozen=True)
class Offering(SearchSpace):
    """Legal is what `DagCnn` allows with 32 channels; `offer` are its designs."""

    ranks: ClassVar[tuple[int, ...]] = (3,)
    offer: ClassVar[Callable[[], Any]] = lambda: FEW
    inner: DagCnn = DagCnn(max_channels=32)  # noqa: RUF009

    def sample(self, rng: np.random.Generator) -> Dag:
        return self.inner.sample(rng)

    def problems(self, genotype: Dag) -> list[str]:
        return self.inner.problems(genotype)

    def blueprint(self, genotype: Dag, input_shape: Any, n_classes: int) -> Any:
        return self.inner.blueprint(genotype, input_shape, n_classes)

    def designs(self, input_shape: Any, n_outputs: int, macs: float | None = None) -> Any:
        return type(self).offer()


WIDE = DagCnn(max_channels=64).designs((3, 32, 32), 10, 1e9)[:1]
FAULTS: dict[str, Callable[[], Any]] = {
    "'resnet9-w64' is illegal: ": lambda: [replace(WIDE[0], name="resnet9-w64")],
    "each name once, 1 of them came again": lambda: [FEW[0], replace(FEW[1], name=FEW[0].name)],
    "each network once, 1 of them came again": lambda: [FEW[0], replace(FEW[0], name="other")],
    "two answers to one question": lambda: FEW[: 1 + next(_counter) % 2],
    "needs provisional gene tags": lambda: [replace(FEW[0], genotype=FEW[0].genotype.mint(0, 0))],
    "expected nasgen.search_spaces.base.Design objects": lambda: [FEW[0].genotype],
}


@pytest.mark.parametrize("said", ["", *FAULTS])
def test_the_contract_suite_says_what_is_wrong_with_designs(
    said: str, registry_restored: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Offering, "offer", staticmethod(FAULTS.get(said, lambda: FEW)))
    registry.register("search_spaces", "offering", Offering)
    found = [text for text in designed("offering", {}) if text]
    assert found if said else not found
    assert all(said in text for text in found), found
