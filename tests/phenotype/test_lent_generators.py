"""Global generators are lent to one thread at a time: searches side by side do not mix."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from threading import Event, Thread

import numpy as np
import pytest
import torch

from nasgen import seeding
from nasgen.phenotype.lent import lent


def _torch(seed: int) -> AbstractContextManager[None]:
    return lent(seed)


def _others(seed: int) -> AbstractContextManager[None]:
    return seeding.lent(np.random.default_rng(seed))


@pytest.mark.parametrize(
    ("lending", "draw"),
    [
        (_torch, lambda: float(torch.rand(()))),
        (_others, lambda: float(np.random.random())),
        (_others, random.random),
    ],
    ids=["torch", "numpy", "random"],
)
def test_what_a_thread_draws_does_not_depend_on_another(
    lending: Callable[[int], AbstractContextManager[None]], draw: Callable[[], float]
) -> None:
    with lending(0):
        alone = [draw() for _ in range(4)]
    inside, done, other = Event(), Event(), []

    def second() -> None:
        with lending(1):
            inside.set()
            other.append(draw())
            done.wait(1.0)
            other.append(draw())

    thread = Thread(target=second)
    with lending(0):
        found = [draw(), draw()]
        thread.start()
        inside.wait(0.2)  # it must not get there yet
        found += [draw(), draw()]
    done.set()
    thread.join()
    assert found == alone
    with lending(1):
        assert other == [draw(), draw()]
