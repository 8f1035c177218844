"""The paper on random-graph priors at its smallest: its figures, errors and our targets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nasgen.errors import ConfigError
from nasgen.genotypes.wiring import layers
from nasgen.papers import stier2021_priors, structure
from nasgen.papers.base import Request, find
from nasgen.papers.prior_tables import CELLS, TABLE_1
from nasgen.papers.stier2021_priors import BY_FOLDS, _dead, _missing
from tests.papers.schema import assert_summary

SMALL = ({"space": {"most": 11}, "training": {"epochs": 1.0, "fraction": 0.5}},)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Request, Any]:
    out = tmp_path_factory.mktemp("priors")
    request = Request("tiny", "reber:n=320", out, overrides=SMALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(structure, "N_FOLDS", 3)
        patch.setattr(structure, "N_DRAWS", 2)
        return request, find("stier2021-priors")(request)


def test_the_papers_figures_stand_beside_ours(made: tuple[Request, Any]) -> None:
    request, found = made
    assert_summary(found.summary("stier2021-priors"), "stier2021-priors", "tiny")
    by = {(row.arm, row.setting, row.metric): row for row in found.compared}
    for place, cell in enumerate(CELLS):
        means = by[cell, "watts-strogatz", "mean accuracy"]
        assert means.paper == (0.893, 0.829, 0.976, 0.984)[place]
        assert 0 <= means.ours <= 1
    told = {row.arm for row in found.compared if row.metric == "Pearson's r"}
    text = found.rows[-1]["text"]
    assert len(told) >= 2
    for cell in set(CELLS) - told:
        assert cell in text.partition("Nothing is told of ")[2], text
    for cell in told:
        for name, papers in TABLE_1.items():
            assert by[cell, name, "Pearson's r"].paper == papers[CELLS.index(cell)]
    assert len(found.targets) == 3 * len(told)
    assert all(target.met is None for target in found.targets), "too few graphs tell nothing"
    names = {target.name for target in found.targets}
    assert all(any(features in name for name in names) for features in list(BY_FOLDS)[:2])
    page = found.page.read_text()
    assert "Errors of the paper" in page
    assert found.rows[-1]["kind"] == "survives"
    assert text.startswith("A random forest on the 23 properties explains")
    assert "Too few graphs" in text
    assert {f"{cell}.csv.gz" for cell in CELLS} <= {p.name for p in request.out.iterdir()}


def test_the_papers_errors_are_named_with_what_is_right(made: tuple[Request, Any]) -> None:
    _, found = made
    errors = [row for row in found.rows if row.get("kind") == "error of the paper"]
    text = " ".join(f"{row['the paper']} {row['what is right']} {row['here']}" for row in errors)
    for said in ("0.81", "0.876", ".976", "37 % (BA)", "67 to 82 %", "93.68 %", "p = 1"):
        assert said in text, said
    rules = errors[-1]["here"]
    assert "trigram rule 100.00 %" in rules


def test_what_the_reference_lost_is_counted() -> None:
    # Two layers of two units that are joined crosswise and straight: interleaved rows of a mask
    # (1, 0), (0, 1) for two gates are (1, 0), (1, 0), (0, 1), (0, 1), so half of it is missing.
    straight = (4, [(0, 2), (1, 3)])
    assert layers(*straight) == [0, 0, 1, 1]
    assert _missing([straight], 2) == pytest.approx(0.5)
    whole = (4, [(0, 2), (0, 3), (1, 2), (1, 3)])
    assert _missing([whole], 3) == 0
    assert _missing([straight], 1) == 0
    assert _dead([straight]) == 0
    assert _dead([(4, [(0, 1), (1, 2), (0, 3)])]) == pytest.approx(0.5)


def test_other_scales_and_data_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--scale"):
        stier2021_priors.reproduce(Request("huge", None, tmp_path))
    with pytest.raises(ConfigError, match="sequences"):
        stier2021_priors.reproduce(Request("tiny", "digits", tmp_path))
