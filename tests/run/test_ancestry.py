"""From which networks a trial comes, whatever trainings lie between, and what jobs say of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from nasgen.loop import ancestry, jobs
from nasgen.loop.constants import Constants
from nasgen.settings.fidelity import Fidelity
from nasgen.settings.objectives import Objective
from nasgen.store.trial import Trial


def trial(seq: int, *parents: int, **more: Any) -> Trial:
    refs = {"weights": f"w{seq}", "logits": f"l{seq}"}
    metrics = {"n_synapses": 100 + seq, "n_kernels": 10, "val_loss": 0.5}
    return Trial(
        seq, "COMPLETE", {"kind": "dag"}, f"k{seq}", f"i{seq}", "x", parents=parents, refs=refs,
        metrics=metrics, **more,
    )  # fmt: skip


# Two first networks; 0 is trained on as 2 and 3, of which 4 is bred; 5 is bred of 4 and 1, and
# trained on as 6; 7 is bred of 5 and 4; 8 and 9 are finalists of 7 and of the ancestor 3.
TRIALS = {
    t.seq: t
    for t in (
        trial(0), trial(1), trial(2, 0, goes_on=True), trial(3, 2, goes_on=True), trial(4, 3),
        trial(5, 4, 1), trial(6, 5, goes_on=True), trial(7, 5, 4), trial(8, 7, phase="finish"),
        trial(9, 3, phase="finish"), trial(10, 0, 0),
    )
}  # fmt: skip


@pytest.mark.parametrize(
    ("seq", "expected"),
    [
        (0, []),
        (2, []),  # an earlier state of itself is no ancestor
        (3, []),
        (9, []),
        (4, [3]),  # with all the training that it had when it became a parent
        (5, [3, 1]),
        (6, [3, 1]),
        (7, [3]),
        (8, [3]),
        (10, [0]),
    ],
)
def test_the_ancestors_are_where_the_lines_of_the_parents_end(
    seq: int, expected: list[int]
) -> None:
    assert [t.seq for t in ancestry.ancestors(TRIALS[seq], TRIALS)] == expected


def test_jobs_name_ancestors_and_want_their_answers_where_others_learn() -> None:
    plain = Constants(
        0, (Objective("val_accuracy", "maximize"),), Fidelity(1.0), Fidelity(1.0), "r", "d"
    )

    def job(seq: int, constants: Constants) -> dict[str, Any]:
        return jobs.job(TRIALS[seq], TRIALS, constants, TRIALS.__getitem__)

    told = replace(plain, has_ancestors=True)
    taught = replace(told, distils=True)
    assert "ancestors" not in job(5, plain)
    first, second = job(5, told)["ancestors"]
    assert first == {
        "seq": 3, "identity": "i3", "refs": {"logits": "l3"},
        "metrics": {"n_synapses": 103, "n_kernels": 10},
    }  # fmt: skip
    assert second["seq"] == 1
    wants = {seq: "logits" in job(seq, taught)["wants"] for seq in TRIALS}
    assert [seq for seq, wanted in wants.items() if wanted] == [0, 1, 2, 3]
    assert not any("logits" in job(seq, told)["wants"] for seq in TRIALS)
