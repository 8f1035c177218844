"""Curvature is the diagonal of the Hessian: exact for rectifiers and pools, never negative."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from nasgen.errors import IncompatibleError
from nasgen.evaluation import curvature
from nasgen.evaluation.living import prunable
from nasgen.evaluation.tasks.base import Task
from nasgen.evaluation.tasks.classification import Classification
from nasgen.evaluation.tasks.regression import Regression
from nasgen.genotypes import Draft
from nasgen.phenotype.network import Network, build
from nasgen.search_spaces.dag_cnn import DagCnn
from nasgen.search_spaces.mlp import Mlp

N_ROWS, N_OUT = 9, 3
NETWORKS = ("dense", "convolution and pool", "residual")


def network(name: str, n_out: int = N_OUT) -> Network:
    draft = Draft()
    here = draft.input
    shape: tuple[int, ...] = (2, 8, 8)
    space: Any = DagCnn(max_channels=300)
    if name == "dense":
        space, shape = Mlp(), (7,)
        here = draft.add("dense-relu", [here], channels=6)
        here = draft.add("dense", [here], channels=5)
    elif name == "convolution and pool":
        here = draft.add("conv-bias", [here], channels=3, size=3, padding="same", relu=True)
        here = draft.add("max_pool", [here])
        here = draft.add("conv-bias", [here], channels=4, size=3, padding="valid", relu=False)
        here = draft.add("relu", [here])
        here = draft.add("flatten-dense", [here], channels=5, relu=True)
    else:
        here = draft.add("conv", [here], channels=4, kernel=3)
        other = draft.add("conv", [here], channels=4, kernel=3)
        here = draft.add("sum", [here, draft.add("avg_pool", [other])])
    draft.connect(here, draft.output)
    made = build(space.blueprint(draft.freeze().mint(0, 1), shape, n_out), 3).double()
    rng = torch.Generator().manual_seed(1)
    for tensor in made.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=rng, dtype=tensor.dtype) - 0.3)
        if tensor.ndim == 1 and tensor.is_floating_point():
            tensor.abs_()
    return made.eval()


def rows_of(made: Network, targets: torch.Tensor) -> Any:
    rng = torch.Generator().manual_seed(2)
    x = torch.randn((N_ROWS, *made.blueprint.input_shape), generator=rng, dtype=torch.float64)

    def rows(size: int) -> Iterator[Any]:
        for start in range(0, N_ROWS, size):
            yield {"x": x[start : start + size]}, targets[start : start + size]

    return x, rows


def hessian_diagonal(made: Network, name: str, loss: Any) -> torch.Tensor:
    weight = made.get_parameter(name).detach().clone()

    def of(value: torch.Tensor) -> torch.Tensor:
        return loss(lambda x: torch.func.functional_call(made, {name: value.view_as(weight)}, (x,)))

    found = torch.autograd.functional.hessian(of, weight.flatten())
    assert isinstance(found, torch.Tensor)
    return found.diagonal().view_as(weight)


@pytest.mark.parametrize("task", ["classes", "values"])
@pytest.mark.parametrize("name", NETWORKS)
def test_it_is_the_diagonal_of_the_hessian(name: str, task: str) -> None:
    made = network(name)
    rng = torch.Generator().manual_seed(4)
    chosen: Task = Classification(N_OUT)
    targets = torch.randint(N_OUT, (N_ROWS,), generator=rng)
    if task == "values":
        chosen = Regression((0.0,) * N_OUT, (1.0,) * N_OUT, False)
        x, _ = rows_of(made, targets)
        noise = torch.randn((N_ROWS, N_OUT), generator=rng, dtype=torch.float64)
        targets = made(x).detach() + noise  # some are off by more than 1
    x, rows = rows_of(made, targets)
    names = prunable(made.blueprint, dict(made.named_parameters()))
    assert len(names) >= 2
    found = curvature.exact(made, chosen.curvature, rows, names, N_OUT)

    def loss(forward: Any) -> torch.Tensor:
        if task == "classes":
            return chosen.loss(forward(x), targets, 0.1)  # smoothing bends nothing
        return nn.functional.smooth_l1_loss(forward(x), targets)

    for each in names:
        wanted = hessian_diagonal(made, each, loss)
        assert wanted.abs().max() > 1e-4, each
        assert (found[each] >= 0).all()
        assert (found[each] - wanted).abs().max() < 1e-12 * max(1.0, float(wanted.max())), each
    assert all(p.requires_grad for p in made.parameters())


def test_layers_of_which_nothing_is_known_go_row_by_row(monkeypatch: pytest.MonkeyPatch) -> None:
    made = network("residual")
    targets = torch.zeros(N_ROWS, dtype=torch.long)
    _, rows = rows_of(made, targets)
    names = prunable(made.blueprint, dict(made.named_parameters()))
    root = Classification(N_OUT).curvature
    known = curvature.exact(made, root, rows, names, N_OUT)
    watched = curvature._watched(made, names[1:])
    monkeypatch.setattr(curvature, "_watched", lambda *_: watched)
    alone = curvature.exact(made, root, rows, names, N_OUT)
    assert all((known[n] - alone[n]).abs().max() < 1e-12 for n in names)


def test_batches_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    made = network("convolution and pool")
    _, rows = rows_of(made, torch.zeros(N_ROWS, dtype=torch.long))
    names = prunable(made.blueprint, dict(made.named_parameters()))
    root = Classification(N_OUT).curvature
    whole = curvature.exact(made, root, rows, names, N_OUT)
    monkeypatch.setattr(curvature, "MOST_AT_ONCE", 1000)
    monkeypatch.setattr(curvature, "MOST_SIGNALS", 2000)
    parts = curvature.exact(made, root, rows, names, N_OUT)
    assert all((whole[n] - parts[n]).abs().max() < 1e-12 for n in names)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2),
        nn.Conv2d(4, 6, (3, 2), padding="same", dilation=(2, 1)),
        nn.Conv2d(4, 6, 1, bias=False),
    ],
    ids=["strides and groups", "dilated", "1x1"],
)
def test_every_convolution(conv: nn.Conv2d) -> None:
    made = nn.Sequential(conv, nn.ReLU(inplace=True), nn.Flatten(), nn.LazyLinear(N_OUT)).double()
    x = torch.randn(5, 4, 7, 6, dtype=torch.float64)
    made(x)
    targets = torch.zeros(5, dtype=torch.long)
    task = Classification(N_OUT)
    found = curvature.exact(
        made.eval(), task.curvature, lambda n: iter([({"x": x[:n]}, targets[:n])]), ["0.weight"],
        N_OUT,
    )["0.weight"]  # fmt: skip
    weight = conv.weight.detach().clone()

    def loss(value: torch.Tensor) -> torch.Tensor:
        given = {"0.weight": value.view_as(weight)}
        return task.loss(torch.func.functional_call(made, given, (x,)), targets)

    wanted: Any = torch.autograd.functional.hessian(loss, weight.flatten())
    assert (found - wanted.diagonal().view_as(weight)).abs().max() < 1e-12


def test_convolutions_are_measured_on_as_many_rows_as_are_affordable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = network("convolution and pool")
    _, rows = rows_of(made, torch.zeros(N_ROWS, dtype=torch.long))
    names = prunable(made.blueprint, dict(made.named_parameters()))
    # Two convolutions with 64 and 4 places, each place once a class; a dense layer once.
    work = N_OUT * (64 * 3 * 2 * 9 + 4 * 4 * 3 * 9) + 5 * 4 * 4
    monkeypatch.setattr(curvature, "MOST_WORK", 7 * work)
    assert curvature.affordable(made, rows, names, N_OUT) == 7
    monkeypatch.setattr(curvature, "MOST_WORK", 1)
    assert curvature.affordable(made, rows, names, N_OUT) == 1


def test_a_task_without_curvature_says_so() -> None:
    class Plain(Classification.__mro__[1]):  # type: ignore[misc]
        pass

    with pytest.raises(IncompatibleError, match="gives no curvature of its loss; prune by"):
        Plain.curvature(None, torch.zeros(2, 3), torch.zeros(2))


def test_weights_that_reach_no_output_do_not_matter() -> None:
    made = network("dense")
    weight = made.get_parameter(prunable(made.blueprint, dict(made.named_parameters()))[-1])
    with torch.no_grad():
        made.get_parameter(f"steps.{made.blueprint.steps[-1].name}.linear.weight")[:, 0] = 0.0
    _, rows = rows_of(made, torch.zeros(N_ROWS, dtype=torch.long))
    name = next(n for n, p in made.named_parameters() if p is weight)
    found = curvature.exact(made, Classification(N_OUT).curvature, rows, [name], N_OUT)[name]
    assert not found[0].any()
    assert found[1:].any()
    assert np.isfinite(found.numpy()).all()
