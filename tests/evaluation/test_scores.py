"""Zero-cost scores keep what their papers say: theory on networks small enough to work out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from nasgen.evaluation.scores.base import Probe
from nasgen.evaluation.scores.grad_norm import grad_norm
from nasgen.evaluation.scores.jacob_cov import K, jacob_cov
from nasgen.evaluation.scores.naswot import FLOOR, naswot
from nasgen.evaluation.scores.synflow import synflow

FEW = settings(max_examples=15, deadline=None)


def chain(depth: int = 3, norm: bool = False, seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers: list[nn.Module] = []
        for i in range(depth):
            layers.append(nn.Conv2d(2 if i else 1, 2, 3, padding=1))
            layers += [nn.BatchNorm2d(2)] if norm else []
            layers.append(nn.ReLU(inplace=True))
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(2 * 5 * 5, 3))


def probe(network: nn.Module, n: int = 6, seed: int = 0) -> Probe:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(n, 1, 5, 5, generator=generator)
    return Probe(network, images, torch.arange(n) % 3)


def scaled(network: nn.Module, factor: float) -> nn.Module:
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("weight") and parameter.ndim > 1:
                parameter.mul_(factor)
    return network


# ---- synflow -------------------------------------------------------------------------------------


@FEW
@given(st.integers(1, 4), st.floats(0.1, 10), st.integers(0, 100), st.booleans())
def test_synaptic_flow_is_not_negative_and_multiplies_with_the_scale_of_each_layer(
    depth: int, factor: float, seed: int, norm: bool
) -> None:
    flow = synflow(probe(chain(depth, norm, seed)))
    assert flow > 0
    # One factor a layer that has weights: the convolutions and the linear one.
    expected = flow * factor ** (depth + 1)
    assert synflow(probe(scaled(chain(depth, norm, seed), factor))) == pytest.approx(expected)


def test_the_same_flow_passes_every_layer_of_a_chain() -> None:
    """Conservation of synaptic saliency (Tanaka 2020, theorem 2): the sum is depth x output."""
    network = chain(2)
    absolute = chain(2).double()
    with torch.no_grad():
        for name, parameter in absolute.named_parameters():
            _ = parameter.zero_() if name.endswith("bias") else parameter.abs_()
        output = absolute(torch.ones(1, 1, 5, 5, dtype=torch.float64)).sum().item()
    assert synflow(probe(network)) == pytest.approx(3 * output)


def test_synaptic_flow_looks_at_neither_images_nor_signs_nor_biases_nor_norms() -> None:
    network, other = chain(norm=True), chain(norm=True)
    with torch.no_grad():
        for name, parameter in other.named_parameters():
            if parameter.ndim > 1:
                parameter.neg_()
            else:
                parameter.fill_(0.3 if name.endswith("bias") else 7.0)
    assert synflow(probe(network)) == synflow(probe(other, seed=9))


def test_a_flow_beyond_all_numbers_is_the_greatest_number() -> None:
    flow = synflow(probe(scaled(chain(4), 1e30).double()))
    assert math.isfinite(flow)


def test_a_layer_that_lets_nothing_through_has_no_flow() -> None:
    network = chain()
    torch.nn.init.zeros_(network[0].weight)
    assert synflow(probe(network)) == 0.0


class Several(nn.Module):
    """Reads a row of numbers up to its length, and two numbers more."""

    def __init__(self) -> None:
        super().__init__()
        self.row, self.more = nn.Linear(5, 3), nn.Linear(2, 3)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor, more: torch.Tensor) -> torch.Tensor:
        inside = torch.arange(5) < lengths[:, None]
        found: torch.Tensor = self.row(x * inside) + self.more(more)
        return found


def several() -> Probe:
    torch.manual_seed(0)
    others = {"lengths": torch.tensor([1, 2, 5, 3]), "more": torch.randn(4, 2)}
    return Probe(Several(), torch.randn(4, 5), torch.arange(4) % 3, others=others)


def test_synaptic_flow_passes_whole_rows_and_all_further_inputs() -> None:
    of = several()
    expected = sum(p.abs().sum().item() for p in of.network.parameters() if p.ndim > 1)
    assert synflow(of) == pytest.approx(expected)


# ---- activations and Jacobians -------------------------------------------------------------------


@pytest.mark.parametrize("norm", [False, True])
def test_equal_images_have_the_degenerate_activation_score_and_differing_ones_more(
    norm: bool,
) -> None:
    of, n_units = probe(chain(norm=norm)), 3 * 2 * 5 * 5
    equal = Probe(of.network, of.images[:1].expand(6, -1, -1, -1).clone(), of.labels)
    least = math.log(6 * n_units) + 5 * math.log(FLOOR)
    assert naswot(equal) == pytest.approx(least)
    assert naswot(of) > least


def test_the_activation_score_is_the_log_determinant_of_agreeing_units() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(25, 8), nn.ReLU(), nn.Linear(8, 3))
    of = probe(network, n=4)
    with torch.no_grad():
        on = (network[1](of.images.flatten(1)) > 0).numpy()
    kernel = np.array([[float((a == b).sum()) for b in on] for a in on])
    expected = np.log(np.clip(np.linalg.eigvalsh(kernel), FLOOR, None)).sum()
    assert naswot(of) == pytest.approx(expected)


def test_a_network_without_relus_has_the_least_activation_score() -> None:
    assert naswot(probe(nn.Sequential(nn.Flatten(), nn.Linear(25, 3)))) == 6 * math.log(FLOOR)


def test_activations_do_not_change_with_the_scale_of_weights_without_biases() -> None:
    network, other = chain(), scaled(chain(), 5.0)
    for each in (network, other):
        for module in each.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.zeros_(module.bias)
    assert naswot(probe(network)) == naswot(probe(other))


def test_a_linear_network_responds_alike_to_all_images_which_is_the_worst_jacobian_score() -> None:
    of = probe(nn.Sequential(nn.Flatten(), nn.Linear(25, 3)))
    one, none = 6.0 + K, K
    worst = -(math.log(one) + 1 / one + 5 * (math.log(none) + 1 / none))
    assert jacob_cov(of) == pytest.approx(worst, rel=1e-4)
    silent = nn.Sequential(nn.Flatten(), nn.Linear(25, 3))
    nn.init.zeros_(silent[1].weight)
    assert jacob_cov(probe(silent)) == pytest.approx(worst, rel=1e-4)
    assert worst < jacob_cov(probe(chain())) <= -6.0


class Own(nn.Module):
    """Responds to each image by weights of its own: independent Jacobians."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linalg.qr(torch.randn(25, 25))[0][:6])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x.flatten(1) * (self.weight - self.weight.mean(1, keepdim=True))).sum(1)


def test_jacobians_without_correlation_reach_nearly_the_best_score() -> None:
    assert -6.5 < jacob_cov(probe(Own())) <= -6.0


def test_gradients_that_overflow_have_no_jacobian_score() -> None:
    assert math.isnan(jacob_cov(probe(scaled(chain(4), 1e30))))


# ---- gradients -----------------------------------------------------------------------------------


def test_the_gradient_norm_of_a_linear_network_is_that_of_the_softmax_error() -> None:
    of = probe(nn.Sequential(nn.Flatten(), nn.Linear(25, 3)))
    with torch.no_grad():
        x = of.images.flatten(1)
        error = of.network(of.images).softmax(1) - torch.eye(3)[of.labels]
        expected = (error.T @ x / len(x)).norm().item()
    assert grad_norm(of) == pytest.approx(expected, rel=1e-5)


def test_the_gradient_norm_alone_reads_labels() -> None:
    of = probe(chain(norm=True))
    other = Probe(of.network, of.images, (of.labels + 1) % 3)
    assert grad_norm(of) != grad_norm(other)
    for score in (synflow, naswot, jacob_cov):
        assert score(of) == score(other)


def test_a_copy_is_in_training_mode_so_that_norms_take_the_statistics_of_the_batch() -> None:
    of = probe(chain(norm=True).eval())
    norm = of.copy()[1]
    assert norm.training
    assert not of.network.training
    shifted = Probe(of.network, 3 * of.images + 2, of.labels)
    first = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.ReLU())
    assert naswot(Probe(first, of.images, of.labels)) == naswot(
        Probe(first, shifted.images, of.labels)
    )
