"""A layer that a user registers is sampled, decoded, built and inherited like a built-in one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn

import nasgen.registry as registry
from nasgen.errors import ConfigError, IncompatibleError
from nasgen.genotypes import Dag, Draft
from nasgen.layers.base import Layer, Shape
from nasgen.phenotype.heredity import inherit
from nasgen.phenotype.network import build
from nasgen.search_spaces.dag_cnn import DagCnn


class Depthwise(Layer):
    """Depthwise convolution and GELU: keeps width and tags."""

    domain: ClassVar[Mapping[str, tuple[Any, ...]]] = {"kernel": (3, 5)}
    axes: ClassVar[Mapping[str, tuple[str | None, ...]]] = {
        "0.weight": ("out", None, None, None),
        "0.bias": ("out",),
    }

    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        c, k = out_shape[0], params["kernel"]
        return nn.Sequential(nn.Conv2d(c, c, k, padding=k // 2, groups=c), nn.GELU())


class GatedSum(Layer):
    """Sum with a learned gate on the first input: owns tensors although it merges."""

    merges: ClassVar[bool] = True
    align: ClassVar[str] = "channels"
    axes: ClassVar[Mapping[str, tuple[str | None, ...]]] = {"gate": ("out",)}

    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        class Gated(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.gate = nn.Parameter(torch.randn(out_shape[0]))

            def forward(self, first: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
                total = first * self.gate.view(1, -1, 1, 1)
                for other in others:
                    total = total + other
                return total

        return Gated()


class Unshuffle(Layer):
    """2x2 pixels to channels: changes the width without a setting."""

    halves: ClassVar[bool] = True

    def out_shape(self, params: Mapping[str, Any], in_shapes: Sequence[Shape]) -> Shape:
        c, h, w = in_shapes[0]
        return (c, h, w) if h % 2 or w % 2 else (4 * c, h // 2, w // 2)

    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        return nn.Identity() if out_shape == in_shapes[0] else nn.PixelUnshuffle(2)


PLUGINS = {"depth-wise": Depthwise, "gated_sum": GatedSum, "unshuffle": Unshuffle}


@pytest.fixture
def space() -> Iterator[DagCnn]:
    for name, kind in PLUGINS.items():
        registry.layer(name)(kind)
    try:
        yield DagCnn(max_channels=128)
    finally:
        for name in PLUGINS:
            registry.unregister("layers", name)


def test_registered_layers_are_offered_and_sampled(space: DagCnn) -> None:
    assert set(PLUGINS) <= set(space.layers)
    rng = np.random.default_rng(0)
    drawn = [space.sample(rng) for _ in range(80)]
    assert all(space.problems(d) == [] for d in drawn)
    ops = [v.op for d in drawn for v in d.inner]
    for name in PLUGINS:
        assert 3 < ops.count(name) < 0.3 * len(ops)


def test_samples_with_plugins_decode_build_and_inherit(space: DagCnn) -> None:
    rng = np.random.default_rng(1)
    for trial in range(12):
        blueprint = space.blueprint(space.sample(rng).mint(1, trial), (3, 16, 16), 4)
        parent, child = build(blueprint, 1), build(blueprint, 2)
        report = inherit(child, blueprint, [(blueprint, parent.state_dict())], {})
        assert report.n_fresh == 0
        x = torch.randn(2, 3, 16, 16)
        assert torch.equal(parent.eval()(x), child.eval()(x))


def test_a_plugin_vertex_keeps_the_channels_that_are_left(space: DagCnn) -> None:
    draft = Draft()
    a = draft.add("conv", [draft.input], channels=8, kernel=3)
    b = draft.add("depth-wise", [a], kernel=3)
    draft.connect(b, draft.output)
    dag = draft.freeze().mint(1, 0)
    first, second = (v.tag for v in dag.inner)
    changed = dag.change(first, channels=5).change(second, kernel=5)
    old, new = (space.blueprint(d, (3, 16, 16), 4) for d in (dag, changed))
    parent, child = build(old, 1), build(new, 2)
    inherit(child, new, [(old, parent.state_dict())], {})
    name = f"steps.{new.steps[1].name}.0.weight"
    assert name == "steps.depth_wise_1.0.weight"
    weights = parent.state_dict()[name], child.state_dict()[name]
    assert torch.equal(weights[1][..., 1:-1, 1:-1], weights[0][:5])


def test_a_width_that_changes_without_a_setting_gets_derived_tags(space: DagCnn) -> None:
    draft = Draft()
    a = draft.add("conv", [draft.input], channels=48, kernel=3)
    b = draft.add("unshuffle", [a])
    draft.connect(draft.add("conv", [b], channels=8, kernel=3), draft.output)
    dag: Dag = draft.freeze().mint(1, 0)
    blueprint = space.blueprint(dag, (3, 16, 16), 4)
    shapes = [(s.role, s.out_shape) for s in blueprint.steps]
    assert shapes[1] == ("vertex", (192, 8, 8))
    assert shapes[2] == ("cap", (128, 8, 8))
    assert build(blueprint)(torch.randn(2, 3, 16, 16)).shape == (2, 4)


def test_a_layer_that_is_none_is_refused_by_name(space: DagCnn) -> None:
    registry.layer("not-one")(dict)
    try:
        with pytest.raises(ConfigError, match="'not-one' is no layer"):
            DagCnn()
    finally:
        registry.unregister("layers", "not-one")


def test_a_layer_that_answers_nonsense_is_named(space: DagCnn) -> None:
    class Vanish(Depthwise):
        domain: ClassVar[Mapping[str, tuple[Any, ...]]] = {}

        def out_shape(self, params: Mapping[str, Any], in_shapes: Sequence[Shape]) -> Shape:
            return in_shapes[0][0], 0, 0

    registry.layer("vanish")(Vanish)
    try:
        draft = Draft()
        here = draft.input
        for _ in range(2):
            here = draft.add("vanish", [here])
        draft.connect(here, draft.output)
        with pytest.raises(IncompatibleError, match="layer 'vanish': out_shape"):
            DagCnn().blueprint(draft.freeze(), (3, 8, 8), 2)
    finally:
        registry.unregister("layers", "vanish")
