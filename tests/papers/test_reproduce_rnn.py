"""Pruning of recurrent networks beside the paper, at its smallest."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nasgen.layers.recurrent import GATES
from nasgen.papers import preset, stier2021_rnn
from nasgen.papers.base import Reproduction, Request
from nasgen.papers.prunings import BASE
from nasgen.papers.stier2021_rnn import H2H, I2H, MODES, REPORTED, SCALES
from nasgen.runs import reading
from nasgen.runs.results import Run
from nasgen.settings.config import read_toml
from tests.papers.schema import assert_summary

EMBEDDING = 128 * 50
ONE = replace(
    SCALES["tiny"], data="reber:n=120", epochs=0.5, rates=(50, 100), modes=(H2H, I2H),
    cells=("gru",),
    embedded="reber-embedded:n=60", embedded_epochs=0.5,
)  # fmt: skip


def made_up(cell: str, arm: str, test: float) -> dict[str, object]:
    return {"network": cell, "arm": arm, "seed": 0, "steps": [{"test": test}]}


def test_a_sparsity_is_safe_with_all_lower_ones() -> None:
    scale = replace(SCALES["quick"], rates=(10, 20, 30, 100), modes=MODES)
    after = {10: 0.999, 20: 0.99, 30: 1.0}
    for second, expected in ((0.99, 10), (0.998, 30)):
        rows = [made_up("gru", BASE, 1.0)] + [
            made_up("gru", f"magnitude-both-{rate}-after", second if rate == 20 else test)
            for rate, test in after.items()
        ]
        assert stier2021_rnn.safe(rows, scale, "gru", "magnitude", "both", 0) == expected


def test_the_papers_figures_are_shares_of_known_cells_and_matrices() -> None:
    for (cell, mode, rate), values in REPORTED.items():
        assert cell in GATES
        assert mode in MODES
        assert rate in SCALES["paper"].rates
        assert all(value is None or 0.4 < value <= 1 for value in values)
    assert set(stier2021_rnn.SAFE) == set(MODES)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Request, Reproduction]:
    request = Request("tiny", None, tmp_path_factory.mktemp("rnn"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SCALES, "tiny", ONE)
        return request, stier2021_rnn.reproduce(request)


def test_exactly_the_share_of_a_matrix_leaves_and_no_other(
    made: tuple[Request, Reproduction],
) -> None:
    request, found = made
    rows = [row for row in found.rows if "arm" in row]
    arms = [row["arm"] for row in rows]
    lines = ["h2h-50", "h2h-100", "i2h-50"]  # i2h at 100 % would cut the network in two
    wanted = [f"magnitude-{line}-{when}" for line in lines for when in ("before", "after")]
    assert arms == [BASE, *wanted, "embedded"]
    n_part = 3 * 3 * 50 * 50  # layers, gates
    n_all = found.rows[0]["steps"][0]["n"]
    assert n_all == EMBEDDING + 2 * n_part
    (folder,) = request.out.glob("tiny-*/seed0/gru/base")
    for arm, row in zip(arms, rows, strict=True):
        if arm in (BASE, "embedded"):
            continue
        _, mode, rate, when = arm.split("-")
        run = Run.open(folder.parent / arm)
        masks = run.folder.artifacts.load(run.trial(1).refs["support"])
        weights = run.folder.artifacts.load(run.trial(1).refs["weights"])
        kind = "weight_hh" if mode == H2H else "weight_ih"
        gone = {
            name: int((~mask).sum())
            for name, mask in masks.items()
            if mask.ndim > 1 and not mask.all()
        }
        assert all(kind in name for name in gone), "the other matrix keeps everything"
        assert sum(gone.values()) == n_part * int(rate) // 100, arm
        assert all(not weights[name][~mask].any() for name, mask in masks.items())
        epochs = row["steps"][1]["epochs"]
        assert epochs == 0 if when == "before" else epochs == pytest.approx(1, abs=0.1)
        assert not row["failure"]


def test_rules_stand_beside_and_the_impossible_is_a_sentence(
    made: tuple[Request, Reproduction],
) -> None:
    _, found = made
    assert_summary(found.summary(stier2021_rnn.PAPER), stier2021_rnn.PAPER, "tiny")
    figures = {(c.arm, c.setting, c.metric): c for c in found.compared}
    rule = figures["bigram rule", "Reber grammar", "test accuracy"]
    assert rule.paper == 0.9368
    assert isinstance(rule.ours, float)
    assert figures["trigram rule", "embedded grammar", "test accuracy"].ours is not None
    refused = figures["gru, i2h", "100 %", "after retraining"]
    assert isinstance(refused.ours, str)
    whole = figures["gru, h2h", "100 %", "after retraining"]
    assert whole.paper == 0.974
    assert isinstance(whole.ours, float)
    assert figures["gru", "safe sparsity (per cent)", H2H].paper == 80
    names = [target.name for target in found.targets]
    assert "gru: test accuracy on the embedded grammar" in names
    assert all(target.met is None for target in found.targets)
    assert any("h(t-1)" in cell for table in found.tables for row in table.rows for cell in row)
    page = found.page.read_text()
    assert "<svg" in page
    wrong = [row for row in found.rows if row.get("kind") == "error of the paper"]
    assert "93.68 %" in wrong[0]["what is right"]
    assert "bigram rule" in wrong[0]["here"]
    assert "Errors of the paper" in page


def test_the_preset_prunes_recurrent_networks() -> None:
    config = reading.resolved(read_toml(preset(stier2021_rnn.PAPER))).config
    assert config.algorithm.recurrent == "both"
    assert config.space.name == "recurrent"
