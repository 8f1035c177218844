"""What plug-ins return: objectives, mutations, layers and data sets that break their contracts."""

from __future__ import annotations

import decimal
import fractions
import json
import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, Final

import numpy as np

import nasgen
from nasgen import genotypes, registry
from nasgen.engine.breeding import Breeder
from nasgen.engine.individual import Individual, fitness_class
from nasgen.engine.operators import Operator, Operators
from nasgen.execution.worker import answer
from nasgen.genotypes import Child
from nasgen.genotypes.child import minted_plan
from nasgen.registry.plugins import Scope
from nasgen.runs import reading, workers
from nasgen.search_spaces.mlp import Mlp
from nasgen.settings.recordable import recordable
from nasgen.store.trial import recorded
from tests.campaigns.damage import Rng, changed_json, nasty
from tests.campaigns.files import whole
from tests.campaigns.folders import tables
from tests.campaigns.guard import RefusedError, raises_wrong
from tests.campaigns.parts import Act, Part

# Each member asks HOOK what to do, which the campaign sets from outside.
PLUGIN: Final = """
import nasgen

HOOK = {}


@nasgen.objective("strange", options={"direction": "minimize"})
def strange(measured):
    return HOOK["objective"](measured)


@nasgen.mutation("strange-step")
def strange_step(parent, space, rng):
    return HOOK["mutation"](parent, space, rng)


@nasgen.dataset("strange-data")
def strange_data(rest):
    return HOOK["data"](rest)


@nasgen.layer("strange-layer")
class StrangeLayer(nasgen.Layer):
    ranks = (1,)

    def out_shape(self, params, in_shapes):
        return HOOK["out_shape"](params, in_shapes)

    def build(self, params, in_shapes, out_shape):
        return HOOK["build"](params, in_shapes, out_shape)
"""


class _Float:
    def __float__(self) -> float:
        raise ZeroDivisionError("in __float__")


class _Odd:
    """Neither compares nor prints."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("in __eq__")

    def __repr__(self) -> str:
        raise RuntimeError("in __repr__")

    __hash__ = None  # type: ignore[assignment]


def objects() -> list[Any]:
    """Return what Python code may return, besides JSON."""
    return [
        *nasty(), np.float32(0.5), np.float64("nan"), np.int64(3), np.bool_(True), np.array(0.5),
        np.array([0.5]), np.array([1, 2]), np.zeros((0,)), np.array("x"), np.array([None]), b"0.5",
        1j, decimal.Decimal("0.5"), decimal.Decimal("sNaN"), fractions.Fraction(1, 3), _Float(),
        _Odd(), object(), int, print, (x for x in (1, 2)), {1, 2}, frozenset(), range(3), (),
        (1,), (1, 2), (1, 2, 3, 4), (None, None), ([], []), float, Ellipsis, NotImplemented,
        bytearray(b"1"), memoryview(b"1"), 2**70, -(2**70), 1e-320,
    ]  # fmt: skip


def _raising(error: BaseException) -> Callable[..., Any]:
    def function(*_: Any) -> Any:
        raise error

    return function


def errors() -> list[BaseException]:
    """Return what Python code may raise."""
    return [
        ValueError("no"), KeyError("k"), ZeroDivisionError(), RecursionError("deep"), MemoryError(),
        StopIteration(1), SystemExit(0), SystemExit("bye"), OSError(28, "full"),
        AssertionError(), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), Exception("\ud800"),
        Exception("x" * 10000), nasgen.NotApplicable("no"), NotImplementedError(), Warning("w"),
        TypeError(_Odd), ExceptionGroup("two", [ValueError(1), KeyError(2)]),
    ]  # fmt: skip


def anything(rng: Rng) -> Callable[..., Any]:
    """Return a function that returns or raises something."""
    if rng.random() < 0.3:
        found = errors()
        return _raising(found[int(rng.integers(0, len(found)))])
    value = objects()[int(rng.integers(0, len(objects())))]
    return lambda *_: value


class _WithPlugin(Part):
    """Loads the plug-in; `hook` is what its members ask."""

    def prepare(self) -> None:
        self.file = self.folder / "strange.py"
        self.file.write_text(PLUGIN)
        self.stack = ExitStack()
        self.scope = Scope([self.file]).load()
        self.stack.enter_context(self.scope.active())
        self.hook: dict[str, Any] = registry.resolve("objectives", "strange").__globals__["HOOK"]
        self.setup()

    def setup(self) -> None:
        """Make what the inputs are given to."""

    def close(self) -> None:
        self.stack.close()

    def evaluator(self, **more: Any) -> Any:
        """Return an evaluator on forty rows, as a worker makes it."""
        config = {**tables(self.folder), "plugins": {"files": [str(self.file)]}, **more}
        context = reading.resolved(config).worker_context(self.folder / "artifacts")
        return workers.evaluator(context)


def trained(evaluator: Any, genotype: Mapping[str, Any]) -> dict[str, Any]:
    """Train a genotype as a worker does, and see that what is recorded can be used."""
    job = {
        "seq": 0, "attempt": 1, "genotype": dict(genotype), "seed": 1, "with_validation": False,
        "fidelity": {"epochs": 0.2}, "inherit": None, "wants": ["weights", "predictions"],
    }  # fmt: skip
    message = answer(evaluator, job, lambda row: True)
    result = recordable(json.loads(json.dumps(message))["result"])
    json.dumps(result, allow_nan=False)
    if result["state"] == "COMPLETE":
        for name, value in result["objectives"].items():
            is_number = isinstance(value, float) and math.isfinite(value)
            raises_wrong(is_number, f"COMPLETE with {name} = {value!r}")
        return result
    raises_wrong(result["state"] == "FAILED", f"state {result['state']!r}")
    raises_wrong(bool(str(result["failure"]).strip()), "FAILED without a reason")
    raise RefusedError(str(result["failure"]))


class Objectives(_WithPlugin):
    """What an objective returns or raises."""

    name = "objective"

    def setup(self) -> None:
        self.hook["objective"] = lambda measured: 0.5
        self.made = self.evaluator(objectives={"names": ["val_accuracy", "strange"]})
        self.genotype = Mlp(max_channels=16).sample(np.random.default_rng(0)).mint(0, 0).to_json()
        trained(self.made, self.genotype)

    def draw(self, rng: Rng) -> Act:
        hook = anything(rng)
        if rng.random() < 0.2:  # it may also change what it is given
            inner, value = hook, objects()[int(rng.integers(0, len(objects())))]

            def hook(measured: Any) -> Any:
                measured.metrics["mine"] = value
                return inner(measured)

        self.hook["objective"] = hook
        return lambda: trained(self.made, self.genotype)


class Mutations(_WithPlugin):
    """What a mutation returns or raises, plans included; then the trial that it would become."""

    name = "mutation"

    def setup(self) -> None:
        self.space = Mlp()
        rng = np.random.default_rng(0)
        fitness = fitness_class(("maximize",))
        self.parents = [
            Individual(i, self.space.sample(rng).mint(0, i), fitness()) for i in range(4)
        ]
        function = registry.resolve("mutations", "strange-step")
        self.operators = Operators((Operator("strange-step", function),))
        self.other = self.space.sample(rng)
        self.hook["mutation"] = lambda parent, space, rng: self.other
        self._bred(self.parents[0], 0)

    def _bred(self, parent: Individual, number: int) -> None:
        breeder = Breeder(self.space, self.operators, lambda proposal: True)
        proposal = breeder.child([parent], generation=1)
        if proposal is None:
            raise RefusedError("no child")
        genotype = proposal.genotype.mint(0, 9)
        json.dumps(recorded(genotype, self.space), allow_nan=False)
        json.dumps(minted_plan(proposal.plan, 0, 9), allow_nan=False)
        raises_wrong(not self.space.problems(genotype), "an illegal child was accepted")

    def draw(self, rng: Rng) -> Act:
        parent = self.parents[int(rng.integers(0, len(self.parents)))]
        kind = rng.random()
        hook = anything(rng)
        if kind < 0.25:
            changed = changed_json(json.loads(json.dumps(parent.genotype.to_json())), rng)

            def hook(*_: Any) -> Any:
                return genotypes.read(changed)
        elif kind < 0.5:
            plan = objects()[int(rng.integers(0, len(objects())))]
            if rng.random() < 0.5:
                plan = {str(("tags", "out", "in", "rest")[int(rng.integers(0, 4))]): plan}

            def hook(*_: Any) -> Any:
                return Child(self.other, plan)
        elif kind < 0.6:
            inner = hook

            def hook(*given: Any) -> Any:
                return (self.other, inner(*given))

        self.hook["mutation"] = hook
        return lambda: self._bred(parent, 0)


class Layers(_WithPlugin):
    """What a layer's `out_shape` and `build` return, and what its module does."""

    name = "layer"

    def setup(self) -> None:
        self.hook["objective"] = lambda measured: 0.5
        self.hook["out_shape"] = lambda params, shapes: shapes[0]
        self.hook["build"] = _identity
        self.made = self.evaluator()
        draft = nasgen.Draft()
        first = draft.add("strange-layer", [draft.input])
        dense = draft.add("dense", [first], channels=8)
        draft.connect(dense, draft.output)
        self.genotype = draft.freeze().mint(0, 0).to_json()
        trained(self.made, self.genotype)

    def draw(self, rng: Rng) -> Act:
        self.hook["out_shape"] = lambda params, shapes: shapes[0]
        self.hook["build"] = _identity
        match int(rng.integers(0, 4)):
            case 0:
                shapes = [(8,), (1,), (0,), (-1,), (3, 4), [8], (8.0,), (True,), ("8",), (10**6,)]
                value: Any = shapes[int(rng.integers(0, len(shapes)))]
                self.hook["out_shape"] = anything(rng) if rng.random() < 0.5 else lambda *_: value
            case 1:
                self.hook["build"] = anything(rng)
            case _:
                self.hook["build"] = _module(rng)
        return lambda: trained(self.made, self.genotype)


def _identity(params: Any, in_shapes: Any, out_shape: Any) -> Any:
    from torch import nn

    return nn.Identity()


def _module(rng: Rng) -> Callable[..., Any]:
    """Return a `build` whose module answers strangely, now and then only when it is evaluated."""
    import torch
    from torch import nn

    given = anything(rng)
    ways: list[Callable[[Any], Any]] = [
        given, lambda x: x.detach(), lambda x: x.double(), lambda x: x.long(),
        lambda x: x * math.nan,
        lambda x: x / 0, lambda x: x[:1], lambda x: x[:, :1], lambda x: x.repeat(2, 1),
        lambda x: x.T,
        lambda x: x.unsqueeze(-1), lambda x: x.sum(), lambda x: (x, x), lambda x: [x],
        lambda x: {"x": x},
        lambda x: x.numpy(force=True), lambda x: x.to("meta"), lambda x: x.to(torch.complex64),
        lambda x: x.to_sparse(), lambda x: x.half(), lambda x: x > 0, lambda x: x.add_(1),
        lambda x: x.flip(0), lambda x: torch.rand_like(x), lambda x: None,
    ]  # fmt: skip
    way = ways[int(rng.integers(0, len(ways)))]
    only = int(rng.integers(0, 3))  # 1: in training, 2: in evaluation

    class Strange(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            if rng.random() < 0.2:
                self.lazy = nn.LazyLinear(3)
            if rng.random() < 0.2:
                self.register_buffer("strange", torch.full((2,), math.nan))
            if rng.random() < 0.1:
                self.frozen = nn.Parameter(torch.zeros(2, dtype=torch.float64))

        def forward(self, x: Any) -> Any:
            return way(x) if only in (0, 1 + (not self.training)) else x

    return lambda *_: Strange()


class Data(_WithPlugin):
    """What a data plug-in returns or raises."""

    name = "data plug-in"

    def setup(self) -> None:
        rng = np.random.default_rng(0)
        y = np.arange(24) % 2
        self.good: list[tuple[Any, ...]] = [
            (rng.integers(0, 255, (24, 1, 4, 4)).astype("u1"), y),
            (rng.normal(size=(24, 3)), y.astype("f8") * 3 + rng.normal(size=24)),
            (rng.normal(size=(24, 3)), y, rng.normal(size=(4, 3)), y[:4]),
            ({"x": rng.integers(0, 9, (24, 5)), "lengths": 1 + np.arange(24) % 5}, y),
            ([["a", 1.5, None]] * 24, ["u", "v"] * 12),
        ]
        for good in self.good:
            self.hook["data"] = lambda rest, good=good: good
            whole("strange-data:x")

    def draw(self, rng: Rng) -> Act:
        if rng.random() < 0.35:
            self.hook["data"] = anything(rng)
        else:
            parts = list(self.good[int(rng.integers(0, len(self.good)))])
            at = int(rng.integers(0, len(parts)))
            parts[at] = self._other(parts[at], rng)
            self.hook["data"] = lambda rest: tuple(parts)
        return lambda: whole("strange-data:x")

    def _other(self, part: Any, rng: Rng) -> Any:
        value = objects()[int(rng.integers(0, len(objects())))]
        if isinstance(part, dict):
            name = list(part)[int(rng.integers(0, len(part)))]
            return {**part, name: self._other(part[name], rng)}
        if rng.random() < 0.3:
            return value
        if isinstance(part, list) or rng.random() < 0.3:
            rows = list(part)
            rows[int(rng.integers(0, len(rows)))] = value
            return rows
        with np.errstate(all="ignore"):
            match int(rng.integers(0, 5)):
                case 0:
                    return part[: int(rng.integers(0, 24))]
                case 1:
                    return part.astype(
                        ("O", "U5", "f2", "c16", "?", "i1", "f4")[int(rng.integers(0, 7))]
                    )
                case 2:
                    return part[..., None]
                case 3:
                    found = part.astype("f8")
                    found.flat[0] = (np.nan, np.inf, -1, 0.5, 1e300)[int(rng.integers(0, 5))]
                    return found
                case _:
                    return np.ma.masked_array(part) if rng.random() < 0.5 else part.tolist()
