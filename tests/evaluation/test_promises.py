"""A layer or an objective that breaks its promise fails its trial, and is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nasgen import registry
from nasgen.errors import EvaluationError
from nasgen.evaluation.evaluator import Evaluator
from nasgen.evaluation.promises import check_layers, number
from nasgen.genotypes import Draft
from nasgen.layers.base import Layer, Shape
from nasgen.phenotype.network import Network, build
from nasgen.search_spaces.dag_cnn import DagCnn
from nasgen.store.artifacts import Artifacts

EXAMPLE = {"x": torch.rand(1, 1, 8, 8)}


class _Module(nn.Module):
    def __init__(self, function: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        self.function = function
        self.norm = nn.BatchNorm2d(8)  # with weights and statistics of its own

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)


def _layer(function: Callable[[Any, Tensor], Any]) -> type[Layer]:
    class Plugin(Layer):
        domain: ClassVar[Mapping[str, tuple[Any, ...]]] = {"kernel": (3,)}

        def build(
            self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
        ) -> nn.Module:
            return _Module(function)

    return Plugin


def _switches(module: Any, x: Tensor) -> Tensor:
    torch.set_grad_enabled(False)
    return x


def _raises(module: Any, x: Tensor) -> Tensor:
    raise ZeroDivisionError("by hand")


def _exits(module: Any, x: Tensor) -> Tensor:
    raise SystemExit(3)


def _in_training(module: Any, x: Tensor) -> Tensor:
    return module.norm(x.detach()) if module.training else module.norm(x)


BROKEN: dict[str, tuple[Callable[[Any, Tensor], Any], str]] = {
    "shape": (lambda m, x: x[:, :, :1, :1], r"must return a tensor \(2, 8, 8, 8\), as its out_sh"),
    "none": (lambda m, x: None, r"must return a tensor \(2, 8, 8, 8\), got NoneType"),
    "batch": (lambda m, x: x[:1], r"got \(1, 8, 8, 8\)"),
    "detached": (lambda m, x: x.detach(), "detaches its output from its inputs"),
    "half-detached": (lambda m, x: m.norm(x.detach()), "detaches its output from its inputs"),
    "mode": (_switches, "switches gradients off for all that comes after it"),
    "raising": (_raises, "raised ZeroDivisionError: by hand"),
    "exiting": (_exits, "raised SystemExit: 3"),
}
FINE = {"fine": lambda m, x: m.norm(x), "inside": lambda m, x: m.norm(x) + _aside(x)}


def _aside(x: Tensor) -> Tensor:
    with torch.no_grad():
        return x.mean()


@pytest.fixture
def network_with() -> Iterator[Callable[[Any], Network]]:
    def made(function: Callable[[Any, Tensor], Any]) -> Network:
        registry.layer("mine")(_layer(function))
        draft = Draft()
        a = draft.add("conv", [draft.input], channels=8, kernel=3)
        draft.connect(draft.add("mine", [a], kernel=3), draft.output)
        return build(DagCnn().blueprint(draft.freeze().mint(1, 0), (1, 8, 8), 3))

    yield made
    registry.unregister("layers", "mine")


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_a_layer_that_breaks_its_promise_is_named(name: str, network_with: Any) -> None:
    function, message = BROKEN[name]
    network = network_with(function)
    with pytest.raises(EvaluationError, match=f"layer 'mine' .*{message}"):
        check_layers(network, EXAMPLE)
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("name", sorted(FINE))
def test_a_network_is_left_as_it_was_by_the_check(name: str, network_with: Any) -> None:
    network = network_with(FINE[name])
    before = {key: value.clone() for key, value in network.state_dict().items()}
    state = torch.random.get_rng_state()
    check_layers(network, EXAMPLE)
    assert network.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert all(p.grad is None for p in network.parameters())
    assert torch.equal(torch.random.get_rng_state(), state)
    assert network(torch.rand(4, 1, 8, 8)).requires_grad  # no hook of the check is left


# ---- whole trials --------------------------------------------------------------------------------


def _evaluator(folder: Path) -> Evaluator:
    context = {
        "seed": 0,
        "space": {"name": "dag-cnn", "max_channels": 8},
        "data": {"source": "digits"},
        "training": {"epochs": 0.05},
        "objectives": ["val_accuracy"],
        "device": "cpu",
        "threads": 1,
    }
    return Evaluator(context, Artifacts(folder))


def _job(network: Network | None = None) -> dict[str, Any]:
    draft = Draft()
    more = {"kernel": 3} | ({"channels": 8} if network is None else {})
    last = draft.add("conv", [draft.input], channels=8, kernel=3)
    last = draft.add("conv" if network is None else "mine", [last], **more)
    draft.connect(last, draft.output)
    genotype = draft.freeze().mint(1, 0).to_json()
    fidelity = {"epochs": 0.05, "fraction": 0.2, "seconds": None}
    return {"seq": 0, "genotype": genotype, "fidelity": fidelity, "seed": 1, "inherit": None}


@pytest.mark.parametrize(
    ("function", "reason"),
    [(BROKEN["shape"][0], "as its out_shape says"), (_in_training, "detaches its output")],
)
def test_its_trial_fails_and_the_next_one_does_not(
    tmp_path: Path, network_with: Any, function: Any, reason: str
) -> None:
    job = _job(network_with(function))
    evaluator = _evaluator(tmp_path)
    result = evaluator.evaluate(job)
    assert result["state"] == "FAILED"
    assert reason in result["failure"]
    assert evaluator.evaluate(_job())["state"] == "COMPLETE"


@pytest.mark.parametrize(
    ("member", "function", "reason"),
    [
        ("measured", lambda self, *rows: {"accuracy": "0.5", "loss": 1.0}, "must return a number"),
        ("loss", lambda self, outputs, targets, smoothing: outputs.sum().detach(), "no weight"),
        ("predictions", lambda self, outputs: outputs.softmax(1)[:1], "one entry for each of"),
    ],
)
def test_a_task_that_breaks_its_promise_fails_the_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, member: str, function: Any, reason: str
) -> None:
    evaluator = _evaluator(tmp_path)
    monkeypatch.setattr(type(evaluator.inference.task), member, function)
    result = evaluator.evaluate(_job())
    assert result["state"] == "FAILED"
    assert reason in result["failure"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("0.5", "'0.5' (str)"), (True, "True (bool)"), (np.True_, "(bool)"), (None, "None"),
        (torch.tensor([0.1, 0.2]), "(Tensor)"), (1j, "1j (complex)"), (np.str_("0.5"), "str"),
        (np.array(["0.5"]), "(ndarray)"), (torch.tensor(True), "(Tensor)"), ([0.5], "[0.5] (list)"),
    ],
)  # fmt: skip
def test_an_objective_that_returns_no_number_fails_its_trial(
    tmp_path: Path, value: Any, shown: str
) -> None:
    with pytest.raises(EvaluationError, match="it must return a number, got "):
        number(value, "it")
    if type(value) in (str, bool):  # the whole way, for the kinds that were met
        evaluator = _evaluator(tmp_path)
        evaluator.objectives["mine"] = lambda measured: value
        result = evaluator.evaluate(_job())
        assert result["state"] == "FAILED"
        assert result["failure"] == f"objective 'mine' must return a number, got {shown}."


@pytest.mark.parametrize(
    "value", [0.5, np.float32(0.5), torch.tensor(0.5), torch.tensor([0.5]), np.array(0.5)]
)
def test_numbers_of_any_library_are_numbers(value: Any) -> None:
    assert number(value, "it") == 0.5
    assert number(np.int64(3), "it") == 3.0
    assert number(-(10**400), "it") == -float("inf")


def test_a_number_beyond_all_floats_is_not_finite(tmp_path: Path) -> None:
    evaluator = _evaluator(tmp_path)
    evaluator.objectives["mine"] = lambda measured: 10**400
    result = evaluator.evaluate(_job())
    assert result["failure_kind"] == "non-finite"
    assert "objective 'mine' must return a finite number, got inf" in result["failure"]
