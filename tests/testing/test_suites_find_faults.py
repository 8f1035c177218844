"""Each rule of the suites can fail: members that break it are found, with what came instead."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn

import nasgen
from nasgen import registry
from nasgen.genotypes import Child, Dag
from nasgen.layers.base import Layer, Shape
from nasgen.search_spaces.base import Draw, SearchSpace
from nasgen.search_spaces.dag_cnn import DagCnn
from nasgen.testing import layers, operators, search_spaces
from nasgen.testing.base import Contract, examine
from nasgen.testing.check import check_member

pytestmark = pytest.mark.usefixtures("registry_restored")


def message(group: str, target: Any, **fields: Any) -> str:
    """Register a member, check it and return what is wrong with it."""
    registry.register(group, "faulty", target, **fields)
    finding = check_member(group, "faulty", n=10)
    assert not finding.ok
    return finding.message


# ---- layers ------------------------------------------------------------------------------------


class Scale(Layer):
    """A sound layer, which the faulty ones derive from: one learned factor a channel."""

    axes: ClassVar[Mapping[str, tuple[str | None, ...]]] = {"weight": ("out",), "bias": ("out",)}

    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        return nn.BatchNorm2d(out_shape[0])


class WrongShape(Scale):
    def out_shape(self, params: Mapping[str, Any], in_shapes: Sequence[Shape]) -> Shape:
        c, h, w = in_shapes[0]
        return c, max(1, h // 2), max(1, w // 2)


class NoSuchAxis(Scale):
    axes: ClassVar[Mapping[str, tuple[str | None, ...]]] = {"kernel": ("out",)}


class TooManyAxes(Scale):
    axes: ClassVar[Mapping[str, tuple[str | None, ...]]] = {"weight": ("out", "in")}


class Descending(Scale):
    domain: ClassVar[Mapping[str, tuple[Any, ...]]] = {"size": (5, 3)}


class Stopped(Scale):
    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        class Detached(nn.Module):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return x.detach() * torch.ones(1, requires_grad=True)

        return Detached()


class InPlace(Layer):
    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        return nn.ReLU(inplace=True)


class OwnRandomness(Layer):
    axes: ClassVar[Mapping[str, tuple[str | None, ...]]] = {"weight": ("out",), "bias": ("out",)}

    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        module = nn.BatchNorm2d(out_shape[0])
        nn.init.constant_(module.weight, float(np.random.default_rng().random()))
        return module


class LooksAround(Layer):
    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        return nn.BatchNorm2d(out_shape[0], affine=False, track_running_stats=False)


class SaysItHalves(Scale):
    halves: ClassVar[bool] = True


def test_a_sound_layer_has_no_fault() -> None:
    registry.register("layers", "scale", Scale)
    assert check_member("layers", "scale").ok


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (WrongShape, "out_shape says"),
        (NoSuchAxis, "axes names 'kernel', no tensor of the module"),
        (TooManyAxes, "names 2 axes, the tensor has 1"),
        (Descending, "expected ascending values"),
        (Stopped, "no gradient reaches input 0"),
        (InPlace, "changed its input"),
        (OwnRandomness, "torch's own generator alone"),
        (LooksAround, "depends on the others"),
        (SaysItHalves, "halves is True"),
        (dict, "derived from nasgen.Layer"),
    ],
)
def test_a_faulty_layer_is_told_what_is_wrong(target: type, expected: str) -> None:
    assert expected in message("layers", target)


def test_every_layer_rule_has_its_test_in_the_suite() -> None:
    n_tests = sum(name.startswith("test_") for name in vars(layers.LayerContract))
    assert n_tests == len(layers.RULES)
    n_tests = sum(name.startswith("test_") for name in vars(search_spaces.SearchSpaceContract))
    assert n_tests == len(search_spaces.RULES)


# ---- operators ---------------------------------------------------------------------------------


def widest(parent: Dag, space: DagCnn, rng: np.random.Generator) -> Dag:
    """Legal in the default space only."""
    wide = [v for v in parent.vertices if v.op == "conv"]
    return parent.change(wide[0].tag, channels=128) if wide else parent


def test_an_operator_that_ignores_the_limits_of_its_space_is_found() -> None:
    registry.register("mutations", "widest", widest)
    assert operators.fuzz("mutations", "widest", 20).problems == ()
    (problem,) = operators.cramped("mutations", "widest", 20).problems
    assert "other layers and limits" in problem
    assert "expected 1..24, got 128" in problem


def test_a_child_that_equals_its_parent_is_legal_and_remarked_on() -> None:
    registry.register("mutations", "idle", lambda parent, space, rng: parent)
    finding = check_member("mutations", "idle", n=10)
    assert finding.ok
    assert "no child differs from its parents" in finding.message
    (problem,) = examine(operators.applies("mutations", 5, "idle")).problems
    assert "a search could not use it" in problem


def test_a_crossover_that_cannot_stand_relatives_is_found() -> None:
    def mix(first: Dag, second: Dag, space: DagCnn, rng: np.random.Generator) -> tuple[Dag]:
        if first == second:
            raise ZeroDivisionError("the parents are one")
        return (first.change(next(v.tag for v in first.inner if v.op == "conv"), channels=10),)

    assert "raised ZeroDivisionError: the parents are one" in message("crossovers", mix)


# ---- objectives, data sets, predictors -----------------------------------------------------------


def test_an_objective_without_a_direction_is_told() -> None:
    assert 'options={"direction"' in message("objectives", lambda measured: 1.0)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda m: float("nan"), "expected a finite number for a network whose answers are right"),
        (lambda m: "good", "got 'good'"),
        (lambda m: 1.0 / m.metrics["n_params"] * np.random.rand(), "two values for one trial"),
        (lambda m: (m.probabilities.sort(), 1.0)[1], "it changed the trial: probabilities"),
        (lambda m: (m.network.train(), 1.0)[1], "it changed the trial: network.training"),
        (lambda m: m.nothing, "AttributeError"),
    ],
)
def test_a_faulty_objective_is_told_what_is_wrong(function: Any, expected: str) -> None:
    fields = {"options": {"direction": "minimize"}}
    assert expected in message("objectives", function, **fields)


def blobs(rest: str) -> tuple[Any, Any]:
    labels = np.arange(60) % 3
    return np.random.default_rng(0).normal(size=(60, 1, 8, 8)) + labels[:, None, None, None], labels


def shaky(rest: str) -> tuple[Any, Any]:
    x, y = blobs(rest)
    return x + np.random.default_rng().normal(size=x.shape), y


def leaking(rest: str) -> tuple[Any, Any, Any, Any]:
    return (*blobs(rest), *blobs(rest))


def failing(rest: str) -> tuple[Any, Any]:
    raise OSError(f"no file '{rest}'")


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (shaky, "two reads differ"),
        (leaking, "60 of 60 test images are training ones"),
        (failing, "OSError: no file 'here'"),
        (lambda rest: None, "expected a Dataset"),
    ],
)
def test_a_faulty_data_set_is_told_what_is_wrong(function: Any, expected: str) -> None:
    assert expected in message("datasets", function, options={"example": "here"})


def test_a_data_set_without_an_example_is_not_read_and_not_called_fine() -> None:
    registry.register("datasets", "far", failing)
    finding = check_member("datasets", "far")
    assert not finding.ok
    assert (finding.n_checked, finding.verdict) == (0, "not checked")
    assert 'options={"example": "what follows the colon"}' in finding.message


class Mean:
    """A predictor that learns the mean."""

    def __init__(self, seed: int) -> None:
        self.mean = 0.0

    def fit(self, X: Any, y: Any) -> Any:  # noqa: N803
        self.mean = float(np.mean(y))
        return self

    def predict(self, X: Any, return_std: bool = False) -> Any:  # noqa: N803
        mean = np.full(len(X), self.mean) + 1e-9 * np.arange(len(X))
        return (mean, np.zeros(len(X))) if return_std else mean


class Forgetful(Mean):
    def fit(self, X: Any, y: Any) -> None:  # noqa: N803
        super().fit(X, y)


class Doubtless(Mean):
    def predict(self, X: Any, return_std: bool = False) -> Any:  # noqa: N803
        return super().predict(X)


class Pessimist(Mean):
    def predict(self, X: Any, return_std: bool = False) -> Any:  # noqa: N803
        mean = super().predict(X)
        return (mean, mean * 0 - 1) if return_std else mean


class Scaler(Mean):
    def fit(self, X: Any, y: Any) -> Any:  # noqa: N803
        X -= X.mean(axis=0)  # noqa: N806
        return super().fit(X, y)


class Dicer(Mean):
    def fit(self, X: Any, y: Any) -> Any:  # noqa: N803
        self.mean = float(np.random.default_rng().random())
        return self


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (Mean, "expected a correlation of at least 0.5"),
        (Forgetful, "fit must return the predictor itself"),
        (Doubtless, "expected (mean, std)"),
        (Pessimist, "std below 0"),
        (Scaler, "it changed X or y"),
        (Dicer, "every draw must come from `seed`"),
    ],
)
def test_a_faulty_predictor_is_told_what_is_wrong(target: type, expected: str) -> None:
    assert expected in message("predictors", target)


# ---- search spaces -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wrapped(SearchSpace):
    """Behaves as the built-in space; the faulty ones derive from it."""

    ranks: ClassVar[tuple[int, ...]] = (3,)
    inner: DagCnn = DagCnn(layers=("conv", "max_pool"), max_channels=48)  # noqa: RUF009

    def sample(self, rng: np.random.Generator) -> Dag:
        return self.inner.sample(rng)

    def problems(self, genotype: Dag) -> list[str]:
        return self.inner.problems(genotype)

    def blueprint(self, genotype: Dag, input_shape: Shape, n_classes: int) -> Any:
        return self.inner.blueprint(genotype, input_shape, n_classes)


@dataclass(frozen=True)
class Constant(Wrapped):
    def sample(self, rng: np.random.Generator) -> Dag:
        return self.inner.sample(np.random.default_rng(0))


_counter = itertools.count()


@dataclass(frozen=True)
class Drifting(Wrapped):
    def sample(self, rng: np.random.Generator) -> Dag:
        return self.inner.sample(np.random.default_rng(next(_counter)))


@dataclass(frozen=True)
class Divided(Wrapped):
    def draw(self, rng: np.random.Generator) -> Draw:
        return Draw(self.inner.sample(np.random.default_rng(0)))


@dataclass(frozen=True)
class Final(Wrapped):
    def sample(self, rng: np.random.Generator) -> Dag:
        return self.inner.sample(rng).mint(0, 0)


@dataclass(frozen=True)
class Careless(Wrapped):
    def sample(self, rng: np.random.Generator) -> Dag:
        return DagCnn(max_channels=128).sample(rng)


@dataclass(frozen=True)
class Blind(Wrapped):
    def problems(self, genotype: Dag) -> list[str]:
        return []


@dataclass(frozen=True)
class Miscounting(Wrapped):
    def blueprint(self, genotype: Dag, input_shape: Shape, n_classes: int) -> Any:
        return self.inner.blueprint(genotype, input_shape, n_classes + 1)


def test_a_sound_search_space_has_no_fault() -> None:
    registry.register("search_spaces", "wrapped", Wrapped)
    finding = check_member("search_spaces", "wrapped")
    assert finding.ok
    assert finding.message == search_spaces.NO_OPERATOR  # it asks its author for one, no more


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (Constant, "gave one and the same network"),
        (Drifting, "two results for one seed"),
        (Divided, "sample() and draw() differ for one seed"),
        (Final, "expected provisional gene tags"),
        (Careless, "is illegal"),
        (Blind, "expected sentences about an unknown operation"),
        (Miscounting, "expected finite logits (2, 5)"),
    ],
)
def test_a_faulty_search_space_is_told_what_is_wrong(target: type, expected: str) -> None:
    assert expected in message("search_spaces", target)


# ---- the machinery -------------------------------------------------------------------------------


def test_a_rule_without_cases_is_no_proof() -> None:
    class Empty(Contract):
        group = "mutations"
        name = "relabel"

    with pytest.raises(AssertionError, match="no case to check"):
        Empty().holds(lambda name: iter(()))


def test_only_the_first_counter_example_of_a_rule_is_told() -> None:
    outcome = examine(iter(["", "first.", "second."]))
    assert (outcome.n_checked, outcome.problems) == (2, ("first.",))


# ---- morphisms -----------------------------------------------------------------------------------


class Chatty(Scale):
    """Says that it works channel by channel, and normalises over them."""

    channelwise: ClassVar[bool] = True
    axes: ClassVar[Mapping[str, tuple[str | None, ...]]] = {"weight": ("out",), "bias": ("out",)}

    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        return nn.GroupNorm(1, out_shape[0])


class Forgetful(Scale):
    """Says that twins stay twins, and drops them at random."""

    channelwise: ClassVar[bool] = True
    axes: ClassVar[Mapping[str, tuple[str | None, ...]]] = {}

    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        return nn.Dropout(0.3)


class Shifted(Scale):
    sign: ClassVar[str] = "positive"


class Lit(Scale):
    """Says that a silent channel is 0, and makes it a half."""

    keeps_zero: ClassVar[bool] = True
    axes: ClassVar[Mapping[str, tuple[str | None, ...]]] = {}

    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        return nn.Sigmoid()


class Norm(Chatty):
    """Says that a channel may be left out, and normalises over all of them."""

    channelwise: ClassVar[bool] = False
    keeps_zero: ClassVar[bool] = True


class Gates(Scale):
    axes: ClassVar[Mapping[str, tuple[str | None, ...]]] = {"scale": ("out*x",)}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [(Chatty, "new channels that cancel"), (Forgetful, "channelwise is"), (Shifted, "sign is"),
     (Lit, "channel without weights is not 0"), (Norm, "leaving one out"), (Gates, "got 'out*x'")],
)  # fmt: skip
def test_a_layer_that_breaks_what_it_promises_is_found(kind: type[Layer], expected: str) -> None:
    assert expected in message("layers", kind)


def test_a_morphism_that_changes_the_function_is_found_unless_it_says_so() -> None:
    def grown(parent: Dag, space: DagCnn, rng: np.random.Generator) -> Dag:
        wide = [v for v in parent.inner if v.op == "conv"]
        if not wide or wide[0].channels + 4 > space.max_channels:
            raise nasgen.NotApplicable("nothing to widen.")
        return parent.change(wide[0].tag, channels=wide[0].channels + 4)

    assert "the child's outputs differ from its parent's" in message("morphisms", grown)
    registry.register("morphisms", "honest", grown, options={"preserves": False})
    assert check_member("morphisms", "honest", n=10).ok


def test_a_morphism_whose_plan_cannot_be_executed_is_found() -> None:
    def wishful(parent: Dag, space: DagCnn, rng: np.random.Generator) -> Child:
        child = registry.resolve("mutations", "channels")(parent, space, rng)
        return Child(child, {"out": {"17": {"zero": True}}})

    problem = message("morphisms", wishful, options={"preserves": False})
    assert "the child has no vertex or channel with this tag" in problem
