"""How wide finalists are made: as the setting says, or as the time allows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasgen.genotypes import Dag
from nasgen.loop.constants import Constants
from nasgen.loop.finish import ENOUGH_EPOCHS, ENOUGH_IMAGES, MAX_WIDEN, Finish
from nasgen.runs import reading
from nasgen.search_spaces.dag_cnn import DagCnn
from nasgen.settings.budget import Budget
from nasgen.settings.fidelity import Fidelity
from nasgen.store.trial import Trial

SPACE = DagCnn(max_channels=512)
N_TRAIN = 45_000


def channels(trial: Trial) -> list[int]:
    return [v.get("channels", 0) for v in Dag.from_json(trial.genotype).vertices]


def finalist(
    seconds: float | None,
    epochs_in_100_s: float = 2.5,
    widen: float | None = None,
    n_train: int = N_TRAIN,
    given_: Mapping[str, Any] | None = None,
    epochs: float = 1000.0,
    **plan: Any,
) -> tuple[Trial, Trial]:
    """Return a trial of a search that trained so many epochs in 100 s, and it as a finalist."""
    resolved = reading.resolved(dict(given_ or {}))
    source = Trial(
        seq=0,
        state="COMPLETE",
        genotype=SPACE.sample(np.random.default_rng(3)).mint(0, 0).to_json(),
        key="dag1:0",
        identity="0",
        operator="sample",
        fidelity=Fidelity(10.0, 1.0, 100.0),
        metrics={"epochs_done": epochs_in_100_s},
        train_s=100.0,
    )
    rest = Constants(
        seed=0,
        objectives=resolved.objectives,
        search_fidelity=source.fidelity,
        finish_fidelity=Fidelity(epochs=epochs),
        recipe_digest="r",
        data_digest="d",
        n_train=n_train,
        widen=widen,
        constraints=resolved.constraints,
        **plan,
    )
    trials = {0: source}
    ending = Finish(rest, Budget(None, 1, 1000.0), SPACE, trials, 0, 1, trials.__getitem__)
    last = replace(
        source,
        seq=1,
        phase="finish",
        parents=(0,),
        fidelity=replace(rest.finish_fidelity, seconds=seconds),
    )
    return source, ending.widened(last)


def factor(source: Trial, last: Trial) -> float:
    """Return how much wider the whole network is; widths go in steps of 4."""
    return sum(channels(last)) / sum(channels(source))


@given(st.floats(100.0, 10_000.0), st.floats(0.5, 40.0))
def test_a_wider_finalist_still_sees_enough_images(seconds: float, epochs_in_100_s: float) -> None:
    source, last = finalist(seconds, epochs_in_100_s)
    epochs = seconds / 100.0 * epochs_in_100_s
    enough = max(ENOUGH_EPOCHS, ENOUGH_IMAGES / N_TRAIN)
    expected = min(MAX_WIDEN, max(1.0, epochs / enough))
    assert factor(source, last) == pytest.approx(expected, rel=0.08)
    if epochs <= enough:
        assert last.genotype == source.genotype
        assert last.identity == source.identity
    elif expected > 1.2:
        assert last.key != source.key
        kept = {v.tag for v in Dag.from_json(last.genotype).vertices}
        assert kept == {v.tag for v in Dag.from_json(source.genotype).vertices}


def test_the_setting_comes_before_the_time() -> None:
    for widen in (1.0, 1.5, 3.0):
        assert factor(*finalist(4000.0, widen=widen)) == pytest.approx(widen, rel=0.08)


@pytest.mark.parametrize(
    "case",
    [
        {"seconds": None},
        {"epochs": 15.0},
        {"n_train": 1000},
        {"inherit_weights": True},
        {"given_": {"objectives": {"names": ["val_accuracy", "n_params"]}}},
        {"given_": {"objectives": {"constraint": "n_params < 10M"}}},
        {"epochs_in_100_s": 0.0},
    ],
    ids=str,
)
def test_what_keeps_finalists_as_they_are(case: dict[str, Any]) -> None:
    source, last = finalist(**{"seconds": 4000.0} | case)
    assert last.genotype == source.genotype
