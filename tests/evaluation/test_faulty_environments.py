"""Environments that break their contract: the trial fails by name, and `nasgen check` says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nasgen import registry
from nasgen.operators.environment.base import Choice, Draws, Environment, Level
from nasgen.operators.environment.sampled import Sampled
from nasgen.phenotype.stock import Stock, Survivors
from nasgen.testing.check import check_member
from tests.evaluation.test_derivation import Json, Worker
from tests.evaluation.test_synthesis import chain

pytestmark = pytest.mark.usefixtures("registry_restored")
Faulty = Callable[[Stock], Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("faulty")


@pytest.fixture(scope="module")
def parent(folder: Path) -> Json:
    return Worker(folder).parent(1, chain(8, 8).mint(0, 1))


def masks(stock: Stock, change: Callable[[Any], Any] = lambda mask: mask) -> dict[str, Any]:
    return {n: change(mask) for n, mask in stock.support.items()}


def worth(stock: Stock, value: float = 1.0) -> dict[str, Any]:
    return {n: np.full(mask.shape, value) for n, mask in stock.support.items()}


def assert_named(environment: type[Environment], said: str, folder: Path, parent: Json) -> None:
    registry.register("environments", "mine", environment)
    options = {"name": "mine", "cap": 0.5}
    result = Worker(folder).derived("matings", "mean", parent, environment=options)
    assert (result["state"], result["failure_kind"]) == ("FAILED", "operator")
    for part in said.split("..."):
        assert part in result["failure"]
    assert "environment 'mine'" in result["failure"]
    assert "nasgen check" in result["failure"]
    assert "base.py" not in result["failure"], "nasgen's own file is not to blame"
    checked = check_member("environments", "mine", n=3)
    assert not checked.ok
    assert said.partition("...")[0].replace("environment 'mine' ", "") in checked.message


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (lambda s: {}, "expected {tensor name: array}"),
        (
            lambda s: {n: np.ones_like(m) for n, m in s.support.items()},
            "expected a support that does not grow",
        ),
        (lambda s: {n: m[:1] for n, m in s.support.items()}, "expected a support as an array of"),
        (lambda s: {n: m * 1.0 for n, m in s.support.items()}, "expected a support as an array of"),
        (
            lambda s: Survivors(masks(s), {"synapses": np.nan}),
            "expected `wanted` as {'kernels' or 'filters' or 'synapses': a finite number",
        ),
        (lambda s: 1 / 0, "environment 'mine' raised ZeroDivisionError"),
    ],
)
def test_one_that_brings_its_own_survivors(
    returned: Faulty, said: str, folder: Path, parent: Json
) -> None:
    class Mine(Environment):
        """Returns what the case says."""

        def choose(self, stock: Stock, rngs: Draws) -> Choice:
            raise NotImplementedError

        def survivors(self, stock: Stock, rngs: Draws) -> Survivors:
            found = returned(stock)
            return found if isinstance(found, Survivors) else Survivors(found)

    if "grow" in said:  # of a dense parent nothing is absent
        child = Worker(folder).derived("matings", "mean", parent, environment={"name": "factor"})
        parent = Worker(folder).told(child, None, "sparse")
    assert_named(Mine, said, folder, parent)


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (lambda s: masks(s), "choose: expected a Choice, got dict"),
        (
            lambda s: Choice(masks(s, lambda m: m[:1]), worth(s)),
            "choose, tensor ...expected a support as an array of bool of shape (8, 1, 3, 3), got "
            "an array of bool of shape (1, 1, 3, 3)",
        ),
        (
            lambda s: Choice(masks(s, lambda m: m * 1.0), worth(s)),
            "choose, tensor ...got an array of float64",
        ),
        (
            lambda s: Choice(dict(list(masks(s).items())[1:]), worth(s)),
            "choose, masks: expected {tensor name: array}",
        ),
        (lambda s: Choice(masks(s), {}), "choose, worth: expected {tensor name: array}"),
        (
            lambda s: Choice(masks(s), worth(s, np.nan)),
            "choose, tensor ...expected finite worth, got NaN or infinity",
        ),
        (
            lambda s: Choice(masks(s), worth(s), {"synapses": np.nan}),
            "choose: expected `wanted` as {'clusters' or 'synapses': a finite number of 0 or more}"
            ", got dict {'synapses': nan}",
        ),
        (
            lambda s: Choice(masks(s), worth(s), {"kernels": 3}),
            "choose: expected `wanted` as ...got dict {'kernels': 3}",
        ),
        (
            lambda s: Choice(masks(s), worth(s), {}, ("conv",)),
            "choose: expected `repaired` as names of the ...got tuple ('conv',)",
        ),
    ],
)
def test_one_that_chooses_wrongly(returned: Faulty, said: str, folder: Path, parent: Json) -> None:
    class Mine(Environment):
        """Returns what the case says."""

        def choose(self, stock: Stock, rngs: Draws) -> Choice:
            return returned(stock)  # type: ignore[no-any-return]

    assert_named(Mine, said, folder, parent)


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (lambda x: np.log(0.5 - x, out=np.full(len(x), np.nan), where=x < 0.5), "NaN or above 0"),
        (lambda x: np.log(0.5 + x), "NaN or above 0"),
        (lambda x: x[:-1] - 1, "got ndarray of shape (71,)"),
        (lambda x: [-1.0] * len(x), "got list of shape (72,)"),
        (lambda x: -1.0, "got float of shape ()"),
    ],
)
def test_probabilities_that_are_none(
    returned: Faulty, said: str, folder: Path, parent: Json
) -> None:
    """Of a member that keeps to the papers' model and has its own probabilities."""

    class Mine(Sampled):
        """Returns what the case says."""

        def log_probabilities(self, x: Any, n: float | None, level: Level) -> Any:
            return returned(x)

    registry.register("environments", "mine", Mine)
    result = Worker(folder).derived("matings", "mean", parent, environment={"name": "mine"})
    assert (result["state"], result["failure_kind"]) == ("FAILED", "operator")
    assert "environment 'mine': log_probabilities: expected an array of 72" in result["failure"]
    assert said in result["failure"]
    assert not check_member("environments", "mine", n=3).ok


def test_worth_of_what_was_not_chosen_may_be_anything(folder: Path, parent: Json) -> None:
    class Mine(Environment):
        """Keeps the strong half; what is weak has no worth at all."""

        def choose(self, stock: Stock, rngs: Draws) -> Choice:
            chosen = {n: s & (a > np.median(a)) for (n, s), a in self._both(stock)}
            none = {n: np.where(m, stock.strengths[n], -np.inf) for n, m in chosen.items()}
            return Choice(chosen, none)

        def _both(self, stock: Stock) -> Any:
            return zip(stock.support.items(), stock.strengths.values(), strict=True)

    registry.register("environments", "mine", Mine)
    options = {"name": "mine", "cap": 0.3}
    result = Worker(folder).derived("matings", "mean", parent, environment=options)
    assert result["state"] == "COMPLETE", result["failure"]
    assert 0.25 < result["metrics"]["kept_synapses"] <= 0.3
