"""What is new in a child: how it begins, and at which rate it learns until it has caught up."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from nasgen import registry
from nasgen.evaluation import gradmax, optimizer_state
from nasgen.evaluation.new_parts import CAUGHT_UP, hasten
from nasgen.evaluation.recipe import Recipe
from nasgen.evaluation.schedule import START, learning_rate, one_cycle, steady
from nasgen.evaluation.training import DONE, make_optimizer
from nasgen.genotypes import Child, Dag, Draft
from nasgen.operators.morphism.zero_widen import zero_widen_to
from nasgen.phenotype.heredity import inherit
from nasgen.phenotype.network import Network, build
from nasgen.search_spaces.dag_cnn import DagCnn
from nasgen.search_spaces.graph import GraphSpace
from nasgen.search_spaces.inception import Inception
from nasgen.settings.config import Training
from nasgen.settings.fidelity import Fidelity
from nasgen.store.trial import training_flops
from nasgen.testing.preservation import TOLERANCE, in_mode, randomised

SHAPE = (3, 8, 8)


def data(n: int = 16) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(5)
    images = torch.randn((n, *SHAPE), generator=draw, dtype=torch.float64)
    return images, torch.randint(5, (n,), generator=draw)


def grown(
    space: GraphSpace, parent: Dag, child: Child, seed: int = 1
) -> tuple[Network, Network, Callable[[], int], Callable[[], Tensor]]:
    """Return the parent's network, the child's, what aims the latter, and its loss."""
    before = space.blueprint(parent, SHAPE, 5)
    after = space.blueprint(child.genotype, SHAPE, 5)
    old, new = randomised(before, 0).double(), build(after, seed).double()
    inherit(new, after, [(before, old.state_dict())], child.plan, matched=True)
    images, targets = data()

    def loss() -> Tensor:
        return functional.cross_entropy(new(images), targets)

    return old, new, lambda: gradmax.begin(new, after, child.plan, [before], loss, 0), loss


@pytest.mark.parametrize("space", [DagCnn(max_stages=2), Inception(width=8)], ids=["dag", "blocks"])
@pytest.mark.parametrize(
    "name", ["r2r-widen", "r2r-widen-all", "r2r-deepen", "r2r-inception", "zero-widen", "branch"]
)
def test_directions_of_the_gradient_keep_the_function(name: str, space: GraphSpace) -> None:
    rng = np.random.default_rng(2)
    parent = space.sample(rng).mint(3, 0)
    child = registry.resolve("morphisms", name)(parent, space, rng).mint(3, 1)
    old, new, aim, _ = grown(space, parent, child)
    before = {k: v.clone() for k, v in new.state_dict().items()}
    passes = aim()
    changed = [k for k, v in new.state_dict().items() if not torch.equal(v, before[k])]
    assert 0 < passes <= gradmax.MOST_PASSES
    assert changed
    for training in (True, False):
        with torch.no_grad():
            expected, got = (in_mode(net, training)(data()[0]) for net in (old, new))
        assert float((expected - got).abs().max()) <= TOLERANCE * float(expected.abs().max())


def test_no_drawn_channels_have_as_large_a_gradient() -> None:
    """Linear layers have no bend, so the singular vectors are the best of all directions."""
    draft = Draft()
    here = draft.add("linear", [draft.input], channels=4)
    here = draft.add("linear", [here], channels=6)
    draft.connect(here, draft.output)
    parent = draft.freeze().mint(3, 0)
    vertex, reader = parent.inner
    child = zero_widen_to(parent, DagCnn(), vertex.tag, 6).mint(3, 1)

    def strength(seed: int, aimed: bool) -> float:
        _, new, aim, loss = grown(DagCnn(), parent, child, seed)
        names = {step.tag: step.name for step in new.blueprint.steps}
        made = new.get_parameter(f"steps.{names[vertex.tag]}.weight")
        if aimed:
            aim()
        with torch.no_grad():  # directions are compared, not lengths
            made[4:] = torch.linalg.qr(made[4:].flatten(1).T)[0].T.reshape(made[4:].shape)
        new.eval()
        loss().backward()
        read = new.get_parameter(f"steps.{names[reader.tag]}.weight").grad
        assert read is not None
        return float(read[:, 4:].norm())

    best = strength(1, aimed=True)
    assert best == pytest.approx(strength(2, aimed=True), rel=1e-6), "whatever was drawn"
    assert all(best > 1.0001 * strength(seed, aimed=False) for seed in range(20))


def test_new_rows_get_the_spread_of_the_old_ones() -> None:
    space = DagCnn(min_depth=1)
    draft = Draft()
    draft.connect(draft.add("conv", [draft.input], channels=8, kernel=3), draft.output)
    parent = draft.freeze().mint(3, 0)
    child = zero_widen_to(parent, space, parent.inner[0].tag, 16).mint(3, 1)
    before, after = (space.blueprint(d, SHAPE, 5) for d in (parent, child.genotype))
    old = build(before, 0)
    with torch.no_grad():
        for parameter in old.parameters():
            parameter.mul_(7)
    spreads = []
    for matched in (False, True):
        new = build(after, 1)
        inherit(new, after, [(before, old.state_dict())], child.plan, matched)
        weight = next(p for p in new.parameters() if p.dim() == 4).detach()
        spreads.append(float(weight[8:].square().mean().sqrt() / weight[:8].square().mean().sqrt()))
    assert spreads[0] < 0.5
    assert spreads[1] == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_new_coordinates_learn_faster_until_they_have_caught_up(kind: str) -> None:
    after: dict[float, list[Tensor]] = {}
    for rate in (1.0, 3.0):
        torch.manual_seed(0)
        layer = torch.nn.Linear(4, 3)
        settings = Training.model_validate(
            {"optimizer": kind, "lr": 0.1, "weight_decay": 0.0, "new_rate": rate}
        )
        recipe = Recipe.of(settings, SHAPE)
        optimizer = make_optimizer(layer, recipe)
        old = torch.arange(12).view(3, 4) < 8
        state = {
            "age": {"weight": old.float() * 9, "bias": torch.zeros(3)},
            **{
                name: {"weight": torch.full((3, 4), 0.01), "bias": torch.zeros(3)}
                for name in (("momentum_buffer",) if kind == "sgd" else ("exp_avg", "exp_avg_sq"))
            },
        }
        new = optimizer_state.write(optimizer, dict(layer.named_parameters()), state)
        hasten(optimizer, new, recipe.new_rate)
        after[rate] = []
        for done in (0.0, CAUGHT_UP / 2, CAUGHT_UP, 1.0):
            before = layer.weight.detach().clone()
            for group in optimizer.param_groups:
                group[DONE] = done
            layer.weight.grad, layer.bias.grad = torch.ones(3, 4), torch.ones(3)
            optimizer.step()
            after[rate].append(layer.weight.detach() - before)
    for usual, own, factor in zip(after[1.0], after[3.0], (3, 2, 1, 1), strict=True):
        assert torch.allclose(own[old], usual[old], atol=1e-7)
        assert torch.allclose(own[~old], factor * usual[~old], atol=1e-6)


def test_a_steady_rate_rises_stays_and_falls_once() -> None:
    rates = [steady(n / 100, warmup=0.1, decay=0.4) for n in range(101)]
    assert rates[0] == START
    assert rates[-1] == 0
    assert rates[10:61] == pytest.approx([1] * 51)
    assert rates[:10] == sorted(rates[:10])
    assert rates[60:] == sorted(rates[60:], reverse=True)
    assert rates[80] == pytest.approx(0.5)
    assert learning_rate(0.3, 0.2, None) == one_cycle(0.3, 0.2)
    assert learning_rate(0.3, 0.2, 0.4) == 1


def test_settings_of_before_have_the_digest_of_before_and_others_their_own() -> None:
    usual = Recipe.of(Training(), SHAPE)
    others = [Training(decay=0.5), Training(new_parts="gradmax"), Training(new_rate=2.0)]
    digests = [Recipe.of(training, SHAPE).digest() for training in others]
    assert len({usual.digest(), *digests}) == 4


def test_rows_on_which_directions_were_measured_are_paid_for() -> None:
    metrics = {"flops": 10.0, "epochs_done": 2.0, "n_probed": 64}
    assert training_flops(metrics, Fidelity(2.0), 100) == 3 * 10 * (2 * 100 + 64)
