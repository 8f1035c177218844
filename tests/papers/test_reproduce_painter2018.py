"""The comparison of Painter 2018 at its smallest: equal FLOPs, each row measured once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import nasgen
from nasgen.errors import ConfigError
from nasgen.papers.base import Request
from nasgen.papers.painter2018 import ARMS, GAINS, reproduce
from nasgen.settings.fidelity import Fidelity
from nasgen.store.rows import Rows
from nasgen.store.trial import training_flops
from tests.papers.schema import assert_summary

# One thread, since tests run side by side.
SERIAL = ({"execution": {"executor": "serial", "threads_per_trial": 1}, "space": {"width": 8}},)


def test_arms_spend_what_growth_or_its_line_did_and_nothing_is_measured_twice(
    tmp_path: Path,
) -> None:
    request = Request("tiny", "digits", tmp_path, overrides=SERIAL)
    first = reproduce(request)
    assert [row["arm"] for row in first.rows] == list(ARMS)
    spent = {row["arm"]: row["train_flops"] for row in first.rows}
    for arm in ("one", "independent", "independent-final", "scratch"):
        assert spent[arm] == pytest.approx(spent["growth"], rel=0.05)
    assert spent["shared-flops"] == pytest.approx(spent["growth"], rel=0.3), "about as many"
    by_arm = {row["arm"]: row for row in first.rows}
    line = by_arm["growth"]["lineage_flops"]
    assert spent["lineage"] == pytest.approx(line / 0.6, rel=0.05)
    assert 0 < line < spent["growth"]
    trained_again = ("scratch", "lineage", "independent-final")
    assert {by_arm[arm]["key"] for arm in trained_again} == {by_arm["growth"]["key"]}
    for arm, n in {"one": 1, "independent": 2, "independent-final": 2}.items():
        assert by_arm[arm]["trials"]["complete"] == n
        assert by_arm[arm]["memory_bytes"] == n * 12 * by_arm[arm]["best"]["n_params"]
    (shared,) = tmp_path.glob("tiny-*/seed0/shared")
    sizes = [t.metrics["n_params"] for t in nasgen.load(shared).trials if t.generation == 2]
    assert 12 * max(sizes) < by_arm["shared"]["memory_bytes"] < 12 * sum(sizes)
    n_finals = {"growth": 1, "several": 2, "shared": 1, "shared-flops": 1, "random-pad": 1}
    for arm, n in n_finals.items():
        assert by_arm[arm]["trials"]["complete"] == 1 + 2 * 4 + n
        assert len(by_arm[arm]["curve"]) == 1 + 2 * 4 + n
    lines = (tmp_path / "painter2018.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == first.rows
    assert_summary(first.summary("painter2018"), "painter2018", "tiny")
    assert all(row.paper is None for row in first.compared), "digits are not what it reports on"
    page = first.page.read_text()
    assert "<svg" in page
    assert all(name in page for name in ARMS.values())

    # The last row is lost half-way, as by a kill: its run is complete and is read again.
    (tmp_path / "painter2018.jsonl").write_text("\n".join(lines[:-1]) + "\n" + lines[-1][:40])
    assert reproduce(request).rows == first.rows
    with pytest.raises(ConfigError, match="--scale"):
        reproduce(Request("huge", None, tmp_path))


def test_gains_are_paired_by_seed_and_one_seed_shows_no_interval() -> None:
    def row(arm: str, seed: int, accuracy: float | None) -> dict[str, Any]:
        return {"arm": arm, "seed": seed, "best": {"test_accuracy": accuracy}, "ensemble": None}

    gain = replace(GAINS[0], above=True)  # of growth over its architecture from scratch
    rows = [row("growth", 0, 0.9), row("lineage", 0, 0.8), row("growth", 1, 0.5)]
    assert gain.pairs(rows) == [(90.0, 80.0)]
    found = gain.measured(rows)
    assert found is not None
    assert (found["ci95"], gain.met(found), GAINS[0].met(found)) == (None, None, True)
    rows += [row("lineage", 1, None), row("lineage", 2, 0.3), row("growth", 2, 0.3)]
    assert gain.pairs(rows) == [(90.0, 80.0), (30.0, 30.0)]
    found = gain.measured(rows)
    assert found is not None
    assert (found["mean"], gain.met(found), GAINS[0].met(found)) == (5.0, False, True)
    assert GAINS[1].measured(rows) is None


def test_training_flops_are_three_passes_over_the_images_seen() -> None:
    metrics, fidelity = {"flops": 100, "epochs_done": 2.5}, Fidelity(9, 0.5)
    assert training_flops(metrics, fidelity, 40) == 3 * 100 * 2.5 * 20
    assert training_flops({}, fidelity, 40) == 0


def test_rows_are_found_by_their_key_alone(tmp_path: Path) -> None:
    rows = Rows.open(tmp_path / "new" / "rows.jsonl", ("arm", "seed"))
    assert rows.measured(lambda: {"value": 1}, arm="a", seed=0)["value"] == 1
    again = Rows.open(rows.path, ("arm", "seed"))
    assert again.measured(lambda: {"value": 2}, arm="a", seed=0)["value"] == 1
    assert again.measured(lambda: {"value": 2}, arm="a", seed=1)["value"] == 2
