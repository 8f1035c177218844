"""Synapses come back: as many as the share says, at places that were dead, with the weight 0."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest

from nasgen import registry
from nasgen.errors import ConfigError
from nasgen.operators.mutation.regrow import Regrow
from nasgen.phenotype import clusters
from nasgen.runs import deriving, reading
from nasgen.settings.config import SearchConfig

SHAPE = (12, 10, 3, 3)


def sparse(density: float, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    support = rng.random(SHAPE) < density
    support &= clusters.spread(rng.random(SHAPE[:2]) < 0.5, SHAPE)
    return np.where(support, rng.normal(size=SHAPE), 0).astype(np.float32), support


@pytest.mark.parametrize("level", ["synapses", "kernels"])
@pytest.mark.parametrize("share", [0.013, 0.25])
def test_a_share_of_the_living_number_comes_back(
    level: Literal["synapses", "kernels"], share: float
) -> None:
    weight, support = sparse(0.3)
    alive = support if level == "synapses" else clusters.living(support, "kernel")
    counts = []
    for seed in range(40):
        values, grown = Regrow(share, level)("w", weight, support, np.random.default_rng(seed))
        back = grown & ~support
        assert (grown >= support).all()
        assert np.array_equal(values[support], weight[support])
        assert not values[~support].any()
        assert values.dtype == weight.dtype
        if level == "kernels":  # whole ones, of which nothing was alive
            kernels = clusters.living(back, "kernel")
            assert not (kernels & alive).any()
            assert np.array_equal(clusters.spread(kernels, SHAPE), back)
            counts.append(int(kernels.sum()))
        else:
            counts.append(int(back.sum()))
    wanted = share * alive.sum()
    assert {*counts} <= {int(wanted), int(wanted) + 1}
    assert np.mean(counts) == pytest.approx(wanted, abs=4 * 0.5 / np.sqrt(len(counts)))


def test_no_more_comes_back_than_is_dead_and_every_place_may() -> None:
    weight, support = sparse(1.0)
    _, grown = Regrow(1.0)("w", weight, support, np.random.default_rng(0))
    n_dead = support.size - support.sum()
    assert grown.sum() == support.sum() + min(support.sum(), n_dead)
    seen = np.zeros_like(support)
    for seed in range(60):
        seen |= Regrow(0.2)("w", weight, support, np.random.default_rng(seed))[1]
    assert seen.all()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"share": 0.0}, r"expected a share above 0 and up to 1, got 0.0"),
        ({"share": float("nan")}, r"expected a share above 0 and up to 1, got nan"),
        ({"level": "filters"}, r"algorithm.operators.regrow.level: .*'synapses' or 'kernels'"),
        ({"shar": 0.1}, r"'algorithm.operators.regrow.shar' is no setting; did you mean 'share'"),
    ],
)
def test_wrong_options_are_named_with_their_table(options: Any, expected: str) -> None:
    section = {"mutations": {"regrow": 1.0}, "operators": {"regrow": options}}
    with pytest.raises(ConfigError, match=expected):
        reading.resolved({"algorithm": section})


def test_options_belong_to_operators_that_are_named_and_have_some() -> None:
    with pytest.raises(ConfigError, match=r"an operator that a table of \[algorithm\] names"):
        reading.resolved({"algorithm": {"operators": {"regrow": {"share": 0.1}}}})
    section = {"mutations": {"relabel": 1.0}, "operators": {"relabel": {"share": 0.1}}}
    with pytest.raises(ConfigError, match="mutation 'relabel' has no options"):
        reading.resolved({"algorithm": section})


def test_options_are_part_of_a_derivation_and_it_takes_part_only_where_it_is_named() -> None:
    assert "regrow" in registry.names("mutations")
    assert "regrow" not in reading.resolved({}).config.algorithm.mutations
    plain = SearchConfig.model_validate({"algorithm": {"mutations": {"regrow": 1.0}}})
    assert deriving.settings(plain, "mutations", "regrow") == {}
    given = {"share": 0.2, "level": "kernels"}
    section = {"mutations": {"regrow": 1.0}, "operators": {"regrow": given}}
    found = reading.resolved({"algorithm": section})
    (operator,) = found.operators.table[:1]
    assert operator.settings == {"options": given}
    assert operator.function == Regrow(0.2, "kernels")
