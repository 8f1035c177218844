"""Growth widens networks as a whole before they deepen, and its last training gets its share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from nasgen.store.ledger import Ledger
from nasgen.store.trial import Trial
from tests.played import Played, resolved_of, rows

WHOLE = "r2r-widen-all"
OPTIONS = {
    "members": 3, "survivors": 2, "rounds": 3, "widen_rounds": 2, "epochs": 1.0,
    "morphisms": {WHOLE: 1.0, "r2r-widen": 1.0, "r2r-deepen": 1.0},
}  # fmt: skip
TIGHT = {"max_channels": 26}  # room for one widening of the first network, which is 24, 26, 26 wide
N_STEPS = 10


def growth(
    ledger: Ledger | None = None,
    space: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    **more: Any,
) -> Played:
    resolved = resolved_of(
        "growth", {**OPTIONS, **(options or {})}, space={"name": "dag-cnn", **(space or {})}
    )
    return Played(resolved, 40, 0, ledger=ledger, n_steps=N_STEPS, **more)


def of_round(trials: list[Trial], number: int) -> list[Trial]:
    return [trial for trial in trials if trial.generation == number]


def test_in_widening_rounds_all_members_are_wider_than_those_before() -> None:
    trials = growth().run()
    assert len(trials) == 1 + 3 * 3
    for number in (1, 2):
        made = of_round(trials, number)
        assert [trial.operator for trial in made] == [WHOLE] * 3
        assert {p for t in made for p in t.parents} <= {t.seq for t in of_round(trials, number - 1)}
        for trial in made:
            (parent,) = trial.parents
            assert trial.shown["channels"] > trials[parent].shown["channels"]
    assert sum(trial.goes_on for trial in of_round(trials, 3)) == 2


def test_networks_without_room_grow_by_other_morphisms() -> None:
    played = growth(space=TIGHT)
    trials = played.run()
    assert [trial.operator for trial in of_round(trials, 1)] == [WHOLE]
    for number, n_carried in ((2, 1), (3, 2)):
        made = [trial.operator for trial in of_round(trials, number)]
        assert sorted(made) == ["continue"] * n_carried + ["r2r-deepen"] * (3 - n_carried)
    ledger = growth(space=TIGHT).stopped_at(3)
    assert rows(growth(ledger, space=TIGHT).run()) == rows(trials)


@pytest.mark.parametrize(
    ("lost", "parents"), [(("1",), {2, 3}), (("1", "2", "3"), {0})], ids=["one", "all"]
)
def test_what_was_not_widened_goes_on_only_where_nothing_else_is_left(
    lost: tuple[str, ...], parents: set[int]
) -> None:
    trials = growth(behaviour=dict.fromkeys(lost, "fail")).run()
    assert {str(t.seq) for t in trials if t.state == "FAILED"} == set(lost)
    assert {p for t in of_round(trials, 2) for p in t.parents} <= parents


def test_a_growth_of_an_older_version_goes_on_as_it_began() -> None:
    trials = growth(as_of=1).run()
    assert [t.operator for t in of_round(trials, 1)] == ["continue", WHOLE, WHOLE]
    assert rows(trials) != rows(growth().run())
    for seq in (2, 5):
        ledger = growth(as_of=1).stopped_at(seq)
        assert rows(growth(ledger, as_of=1).run()) == rows(trials)


def test_the_last_training_makes_up_for_failed_ones_and_is_rounded_up_to_whole_updates() -> None:
    def epochs(as_of: int | None = None) -> tuple[float, float]:
        """Return those of the last training, and those that would be its share."""
        played = growth(behaviour={"4": "fail"}, options={"last": 0.6}, as_of=as_of)
        cost = {"flops": 100.0, "epochs_done": 0.37}
        played.search.algorithm.counts = lambda seq: cost
        *others, last = played.run()
        assert others[4].state == "FAILED"
        assert last.fidelity.epochs is not None
        return last.fidelity.epochs, 0.6 / 0.4 * 0.37 * len(others)

    found, share = epochs()
    assert found * N_STEPS == pytest.approx(round(found * N_STEPS))
    assert share <= found < share + 1 / N_STEPS
    before, share = epochs(as_of=1)
    assert before < share
