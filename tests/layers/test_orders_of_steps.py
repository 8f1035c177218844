"""Layers whose order of steps is that of known networks: LeNet, AlexNet, airbench."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from nasgen.evaluation import measure
from nasgen.genotypes import Draft
from nasgen.layers.base import Shape, find_layer
from nasgen.phenotype.network import build
from nasgen.predictors.features.network import of_network
from nasgen.predictors.features.structural import Structural
from nasgen.search_spaces.blueprint import cost
from nasgen.search_spaces.dag_cnn import DagCnn


def built(name: str, shape: Shape, **params: Any) -> torch.nn.Module:
    layer = find_layer(name)
    module = layer.build(params, [shape], layer.out_shape(params, [shape]))
    return module.double().eval()


def image(*shape: int) -> torch.Tensor:
    draw = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=draw, dtype=torch.float64)


@pytest.mark.parametrize("side", [2, 3, 7, 8, 16, 32])
@pytest.mark.parametrize("kind", ["max", "avg"])
def test_pools_are_padded_as_matconvnet_pads_them(kind: str, side: int) -> None:
    """pad = [0 1 0 1], stride 2: what lies outside is no pixel, in means and in maxima."""
    x = image(1, 1, side, side + 1)
    got = built(f"{kind}_pool3s2", (1, side, side + 1))(x)[0, 0].numpy()
    values = x[0, 0].numpy()
    n = [(size + 1 - 3) // 2 + 1 for size in values.shape]
    join = np.max if kind == "max" else np.mean
    expected = [
        [join(values[2 * i : 2 * i + 3, 2 * j : 2 * j + 3]) for j in range(n[1])]
        for i in range(n[0])
    ]
    assert np.allclose(got, expected, atol=1e-12)


def test_a_map_of_one_row_passes_a_pool() -> None:
    x = image(1, 2, 1, 6)
    assert torch.equal(built("max_pool3s2", (2, 1, 6))(x), x)


def test_an_image_is_padded_with_its_own_background() -> None:
    digit = torch.full((2, 1, 28, 28), -0.42, dtype=torch.float64)
    digit[1] = 2.0  # another image, another background
    digit[:, :, 10:20, 10:20] = image(2, 1, 10, 10)
    large = built("pad", (1, 28, 28), side=32)(digit)
    assert large.shape == (2, 1, 32, 32)
    assert torch.equal(large[:, :, 2:-2, 2:-2], digit)
    outside = torch.ones(32, 32, dtype=torch.bool)
    outside[2:-2, 2:-2] = False
    for one, background in zip(large, (-0.42, 2.0), strict=True):
        assert torch.allclose(one[0][outside], torch.tensor(background, dtype=torch.float64))


def test_an_odd_row_is_added_below_and_a_large_image_stays() -> None:
    x = image(1, 1, 29, 40)
    large = built("pad", (1, 29, 40), side=32)(x)
    assert large.shape == (1, 1, 32, 40)
    assert torch.equal(large[:, :, 1:30], x)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_a_convolution_keeps_the_map_or_adds_nothing(size: int) -> None:
    x = image(2, 3, 9, 7)
    same = built("conv-bias", (3, 9, 7), channels=4, size=size, padding="same", relu=False)
    valid = built("conv-bias", (3, 9, 7), channels=4, size=size, padding="valid", relu=True)
    for module in (same, valid):
        module.get_parameter("conv.bias").data.uniform_(-1, 1)
    low, high = (size - 1) // 2, size // 2
    padded = F.pad(x, (low, high, low, high))
    conv = same.get_parameter
    expected = F.conv2d(padded, conv("conv.weight"), conv("conv.bias"))
    assert torch.allclose(same(x), expected, atol=1e-12)
    conv = valid.get_parameter
    expected = F.relu(F.conv2d(x, conv("conv.weight"), conv("conv.bias")))
    assert torch.allclose(valid(x), expected, atol=1e-12)


def test_a_map_that_is_smaller_than_the_kernel_gives_one_pixel() -> None:
    module = built("conv-bias", (3, 2, 5), channels=4, size=4, padding="valid", relu=False)
    assert module(image(1, 3, 2, 5)).shape == (1, 4, 1, 2)


def test_a_dense_layer_on_pixels_is_a_flattening_and_a_product() -> None:
    x = image(2, 3, 4, 5)
    module = built("flatten-dense", (3, 4, 5), channels=6, relu=False)
    weight, bias = module.get_parameter("dense.weight"), module.get_parameter("dense.bias")
    assert weight.shape == (6, 3, 4, 5)
    expected = F.linear(x.flatten(1), weight.flatten(1), bias)
    assert torch.allclose(module(x).flatten(1), expected, atol=1e-12)


def test_dropout_drops_in_training_alone() -> None:
    module = built("dropout", (50, 8, 8), rate=0.3)
    x = torch.ones(4, 50, 8, 8, dtype=torch.float64)
    assert torch.equal(module(x), x)
    dropped = module.train()(x)
    share = float((dropped == 0).double().mean())
    assert abs(share - 0.3) < 5 * (0.3 * 0.7 / x.numel()) ** 0.5
    assert torch.allclose(dropped[dropped != 0], torch.tensor(1 / 0.7, dtype=torch.float64))


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 9, 6), (2, 3, 5)])
def test_a_pool_before_the_norm_gives_what_one_behind_the_relu_gives(shape: Shape) -> None:
    """As long as gains are positive: norm and ReLU then keep the order of the values."""
    pooled, conv = (built(name, shape, channels=5, kernel=3) for name in ("conv-pool", "conv"))
    conv.load_state_dict(pooled.state_dict())
    for module in (pooled, conv):
        norm = module.get_submodule("norm")
        norm.get_parameter("weight").data = 0.1 + image(5).abs()
        norm.get_parameter("bias").data = image(5)
        norm.get_buffer("running_mean").copy_(image(5))
    x = image(4, *shape)
    behind = built("max_pool", (5, *shape[1:]))(conv(x))
    assert torch.allclose(pooled(x), behind, atol=1e-12)
    assert find_layer("conv-pool").out_shape({"channels": 5}, [shape]) == tuple(behind.shape[1:])


def test_operations_of_a_layer_that_pools_are_those_of_the_map_that_it_reads() -> None:
    space = DagCnn(max_channels=64, min_depth=1)
    both, one = Draft(), Draft()
    both.connect(
        both.add("max_pool", [both.add("conv", [both.input], channels=8, kernel=3)]), both.output
    )
    one.connect(one.add("conv-pool", [one.input], channels=8, kernel=3), one.output)
    apart, joint = (space.blueprint(d.freeze(), (3, 16, 16), 10) for d in (both, one))
    assert cost(apart) == cost(joint)
    assert of_network(apart) == of_network(joint)
    assert (Structural().encode(both.freeze()) == Structural().encode(one.freeze()))[:6].all()
    networks = [build(blueprint, 0) for blueprint in (apart, joint)]
    example = {"x": torch.zeros(1, 3, 16, 16)}
    assert measure.flops(networks[0], example) == measure.flops(networks[1], example)
