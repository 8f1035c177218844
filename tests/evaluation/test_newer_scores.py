"""Scores of 2023 to 2025: what their papers say of small networks whose answer is known."""

from __future__ import annotations

import importlib
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from nasgen import registry
from nasgen.evaluation.scores import az_nas
from nasgen.evaluation.scores.base import Probe
from nasgen.evaluation.scores.layers import n_layers
from nasgen.evaluation.scores.vkdnw import UNIFORM, entropy, information, vkdnw
from nasgen.evaluation.scores.zico import zico
from nasgen.phenotype.network import build
from nasgen.runs import reading
from nasgen.search_spaces.standard import standard
from tests.evaluation.test_scores import chain, probe, scaled, several

NAMES = (
    "n_layers", "zico", "vkdnw", "az_expressivity", "az_progressivity", "az_trainability"
)  # fmt: skip
AZ_NAMES = ("az_expressivity", "az_progressivity", "log_az_trainability")


def score(name: str, of: Probe) -> float:
    torch.manual_seed(0)
    return float(registry.resolve("scores", name)(of))


# ---- layers --------------------------------------------------------------------------------------


def test_layers_with_weights_are_counted_not_norms_nor_frozen_ones() -> None:
    network = chain(3, norm=True)
    assert n_layers(probe(network)) == 4  # three convolutions and the linear layer
    network[0].requires_grad_(False)
    assert n_layers(probe(network)) == 3
    assert n_layers(Probe(nn.GRU(4, 3), torch.zeros(1, 1, 4), torch.zeros(1))) == 1


# ---- ZiCo ----------------------------------------------------------------------------------------


def linear(n: int = 8) -> Probe:
    torch.manual_seed(1)
    return Probe(nn.Linear(5, 3), torch.randn(n, 5), torch.arange(n) % 3)


def test_zico_of_a_linear_layer_is_the_sum_of_mean_over_deviation() -> None:
    of = linear()
    with torch.no_grad():
        gradients = []
        for half in (slice(0, 4), slice(4, 8)):
            x = of.images[half]
            error = of.network(x).softmax(1) - torch.eye(3)[of.labels[half]]
            gradients.append((error.T @ x / 4).numpy().astype(np.float64))
    mean, deviation = np.abs(gradients).mean(axis=0), np.std(gradients, axis=0)
    assert zico(of) == pytest.approx(math.log((mean / deviation).sum()), rel=1e-3)


def test_zico_does_not_know_the_scale_of_the_loss_and_nothing_of_equal_batches() -> None:
    of = linear()
    tenfold = Probe(of.network, of.images, of.labels, lambda y, t: 10 * of.loss(y, t))
    assert zico(tenfold) == pytest.approx(zico(of), rel=1e-4)
    twice = Probe(of.network, of.images[:4].repeat(2, 1), of.labels[:4].repeat(2))
    assert zico(twice) == 0.0
    assert zico(Probe(of.network, of.images[:1], of.labels[:1])) == 0.0


# ---- VKDNW ---------------------------------------------------------------------------------------


def test_the_information_of_a_linear_layer_is_that_of_the_softmax() -> None:
    of = linear()
    found = information(of)
    with torch.no_grad():
        q, x = of.network(of.images).softmax(1), of.images
        q = (1 - UNIFORM) * q + UNIFORM / 3
        weight = (q[:, 0] * (1 - q[:, 0]) * x[:, 0] ** 2).mean().item()
        bias = (q[:, 0] * (1 - q[:, 0])).mean().item()
        both = (q[:, 0] * (1 - q[:, 0]) * x[:, 0]).mean().item()
    assert found == pytest.approx(np.array([[weight, both], [both, bias]]), rel=1e-4)
    values = Probe(of.network, of.images, torch.zeros(8, 3))  # of a regression
    expected = [[(x[:, 0] ** 2).mean(), x[:, 0].mean()], [x[:, 0].mean(), 1.0]]
    assert information(values) == pytest.approx(np.array(expected), rel=1e-4)


def test_the_information_is_the_mean_over_all_images_of_the_batch() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 2))
    images, labels = torch.randn(48, 5), torch.arange(48) % 2
    found = information(Probe(network, images, labels))
    half = slice(0, 24), slice(24, 48)
    first, last = (information(Probe(network, images[rows], labels[rows])) for rows in half)
    assert found == pytest.approx((first + last) / 2)
    assert np.abs(first - last).max() > 1e-3


def test_a_network_of_several_inputs_has_an_information() -> None:
    assert np.isfinite(information(several())).all()


def test_of_many_classes_fewer_images_are_read_and_at_least_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr(importlib.import_module(vkdnw.__module__), "MOST_SLOPES", 6)
    for n_classes, n in ((3, 2), (12, 1)):
        network, images = nn.Linear(3, n_classes), torch.randn(5, 3)
        read, every = (Probe(network, images[:k], torch.arange(k)) for k in (n, 5))
        assert information(every) == pytest.approx(information(read))
    one, two = (information(Probe(network, images[k : k + 1], torch.arange(1))) for k in (0, 1))
    assert np.abs(one - two).max() > 1e-3


def test_a_network_that_is_sure_of_every_answer_still_has_an_information() -> None:
    of = linear()
    with torch.no_grad():
        of.network.weight.mul_(1e4)
    assert information(of).trace() > 0


def test_equal_eigenvalues_have_the_greatest_entropy_and_one_alone_has_none() -> None:
    assert entropy(np.eye(30)) == pytest.approx(math.log(9))
    assert entropy(np.diag([1.0] + [0.0] * 29)) == 0.0
    spread = entropy(np.diag(np.logspace(0, -6, 30)))
    assert 0.0 < spread < math.log(9)
    assert math.isnan(entropy(np.full((2, 2), np.inf)))


def test_vkdnw_adds_the_entropy_to_the_number_of_layers() -> None:
    for depth in (1, 3):
        of = probe(chain(depth, norm=True))
        assert depth + 1 <= vkdnw(of) <= depth + 1 + math.log(9)


# ---- AZ-NAS --------------------------------------------------------------------------------------


def test_expressivity_counts_directions_and_progressivity_their_growth() -> None:
    """Where a convolution passes two independent channels on, their entropy is ln 2."""
    torch.manual_seed(0)
    narrow, wide = nn.Conv2d(1, 1, 1), nn.Conv2d(1, 2, 1)
    images = torch.randn(16, 1, 6, 6)
    only = nn.Sequential(narrow, wide, nn.Flatten(), nn.Linear(72, 3))
    of = Probe(only, images, torch.arange(16) % 3)
    # One direction each, whatever the number of channels: the second repeats the first.
    assert az_nas.expressivity(of) == pytest.approx(0.0, abs=1e-4)
    both = nn.Sequential(
        nn.Unflatten(1, (2, 1)), nn.Flatten(1, 2), nn.Conv2d(2, 2, 1), nn.Flatten()
    )
    two = nn.Sequential(*both, nn.Linear(72, 3))
    with torch.no_grad():
        two[2].weight.copy_(torch.eye(2)[..., None, None])
    spread = az_nas.expressivity(Probe(two, torch.randn(64, 2, 6, 6), torch.arange(64) % 3))
    assert spread >= math.log(2) - 0.01


def test_trainability_is_at_most_zero_and_that_only_where_gradients_keep_their_size() -> None:
    torch.manual_seed(0)
    first, second = nn.Linear(6, 6), nn.Linear(6, 6)
    images = torch.randn(4096, 6)

    def of(scale: float) -> float:
        with torch.no_grad():  # turned: a block that changes nothing is an identity
            second.weight.copy_(scale * torch.roll(torch.eye(6), 1, 0))
        torch.manual_seed(0)
        return az_nas.trainability(
            Probe(nn.Sequential(first, second, nn.Linear(6, 2)), images, torch.zeros(4096).long())
        )

    assert of(1.0) == pytest.approx(0.0, abs=0.01)
    assert of(3.0) == pytest.approx(2 - 3 - 1 / 3, abs=0.2)
    assert of(0.2) < of(0.7) < of(1.0)


def cell(*ops: str, cells: int = 2) -> nn.Module:
    """Return an untrained network of one cell, as it is scored."""
    tables = {"space": {"name": "nasbench201", "channels": 4, "cells": cells}}
    space = reading.resolved(tables).space
    made = space.template.cell(list(ops)).mint(0, 0)  # type: ignore[attr-defined]
    return build(standard(space.blueprint(made, (3, 8, 8), 10)))


CONVS = ("nor_conv_3x3",) * 6
POOL = ("none", "none", "none", "avg_pool_3x3", "none", "none")
IDENTITY = ("none", "none", "none", "skip", "none", "none")


@pytest.mark.parametrize("ops", [CONVS, POOL, IDENTITY])
def test_every_cell_is_a_block_whatever_is_in_it(ops: tuple[str, ...]) -> None:
    """The stem, two cells in each of three stages, and what leads from stage to stage."""
    assert len(az_nas.ends(cell(*ops))) == 1 + 3 * 2 + 2


def test_an_identity_is_the_worst_block_there_is() -> None:
    torch.manual_seed(0)
    images, labels = torch.randn(6, 3, 8, 8), torch.arange(6)
    found = {
        ops: score("az_trainability", Probe(cell(*ops), images, labels))
        for ops in (CONVS, POOL, IDENTITY)
    }
    assert found[IDENTITY] < min(found[CONVS], found[POOL]) - 1e5
    assert math.isfinite(found[IDENTITY])
    assert score("az_progressivity", Probe(cell(*IDENTITY), images, labels)) <= 0.0


def test_elsewhere_blocks_end_where_all_data_pass_through_one_map() -> None:
    space = reading.resolved({"space": {"name": "nasbench201", "channels": 4}}).space
    made = space.template.cell(list(CONVS)).mint(0, 0)  # type: ignore[attr-defined]
    blueprint = replace(space.blueprint(made, (3, 8, 8), 10), blocks=())
    names = az_nas.waists(blueprint)
    steps = {step.name: i for i, step in enumerate(blueprint.steps)}
    for i, step in enumerate(blueprint.steps[:-1]):
        crossed = any(
            steps.get(source, -1) < i < j and source != step.name
            for j, later in enumerate(blueprint.steps)
            for source in later.inputs
        )
        assert (step.name in names) is not crossed, step.name
    assert 4 <= len(az_nas.ends(build(blueprint))) < len(blueprint.steps) // 2


@pytest.mark.parametrize("name", NAMES)
def test_a_signal_that_overflows_gives_a_number_or_none_and_never_an_error(name: str) -> None:
    found = score(name, probe(scaled(chain(4), 1e30)))
    assert isinstance(found, float)


def test_they_are_features_where_they_are_named_and_no_part_of_the_usual_ones() -> None:
    tables = {"space": {"max_channels": 8, "max_depth": 3, "max_vertices": 6}}
    usual = reading.resolved({**tables, "predictor": {"name": "ridge", "features": "zero-cost"}})
    assert not set(NAMES) & set(usual.features.names)
    named = "zero-cost+n_layers+zico+vkdnw+az_nas"
    more = reading.resolved({**tables, "predictor": {"name": "ridge", "features": named}})
    # AZ-NAS is an order of a pool: of one network its parts are read, of which "zero-cost" has one.
    assert more.features.names[-6:] == ("n_layers", "zico", "vkdnw", *AZ_NAMES)
    row = more.features.encode(more.space.sample(np.random.default_rng(0)).mint(0, 0))
    assert np.isfinite(row).all()
