"""mlp_digits, table_scores, zero_cost, growing, searches of figures: what is measured, and said."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import kendalltau

import nasgen
from nasgen import papers
from nasgen.bench import table
from nasgen.errors import DataError
from nasgen.predictors import trainings
from nasgen.runs import reading
from nasgen.settings.config import merge


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Return what imports a script of benchmarks/ by its name."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    return importlib.import_module


# ---- the table of dense networks -----------------------------------------------------------------


@pytest.fixture
def dense(script: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    module = script("mlp_digits")
    for name, value in {"EPOCHS": 3, "TRAININGS": 2, "AT_ONCE": 1}.items():
        monkeypatch.setattr(module, name, value)
    return module


def test_a_table_that_was_stopped_goes_on_to_the_same_bytes(
    dense: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, ended = tmp_path / "whole.csv.gz", tmp_path / "ended.csv.gz"
    dense.main(whole, 1)
    assert "minutes for 1,000" in capsys.readouterr().out
    real, n = dense.several, 0

    def stops(*given: Any) -> Any:
        nonlocal n
        n += 1
        if n == 3:
            raise KeyboardInterrupt
        return real(*given)

    with monkeypatch.context() as patch:
        patch.setattr(dense, "several", stops)
        with pytest.raises(KeyboardInterrupt):
            dense.main(ended, 1)
    assert len(dense.read(ended)) == 2
    dense.main(ended, 1)
    assert ended.read_bytes() == whole.read_bytes()
    assert not list(tmp_path.glob(".*"))
    before = whole.read_bytes()
    dense.main(whole, 1)
    assert whole.read_bytes() == before
    own = nasgen.RowTable(dense.SPACE, whole, {"val_accuracy": "test_accuracy"}, fractions=True)
    assert (own.n_networks, own.epochs_of("val_accuracy")) == (4, 3)


def test_a_row_is_the_mean_of_trainings_that_differ_by_their_seed(dense: Any) -> None:
    space, data = reading.resolved({"space": dense.SPACE}).space, dense.parts()
    dag = dense.networks(1)[3]
    singles = [dense.trained(dag, space, data, seed) for seed in (10, 11)]
    assert singles[0] != singles[1]
    curve, test = dense.several(dag, space, data, 5)
    for epoch, value in enumerate(curve):
        assert value == pytest.approx((singles[0][0][epoch] + singles[1][0][epoch]) / 2, abs=1e-5)
    assert test == pytest.approx((singles[0][1] + singles[1][1]) / 2, abs=1e-5)
    lengths = {name: len(x) for name, (x, _) in data.items()}
    assert lengths == {"train": 200, "valid": 1237, "test": 360}


def test_a_part_of_the_networks_is_drawn_and_other_trainings_are_refused(
    dense: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "part.csv.gz"
    dense.main(file, 3, 3)
    keys = [row["key"] for row in dense.read(file)]
    assert len(set(keys)) == 3
    first = [dag.key for dag in dense.networks(3)[:3]]
    assert set(keys) != set(first)
    monkeypatch.setattr(dense, "EPOCHS", 4)
    with pytest.raises(DataError, match="row 1: expected a network that was trained for 4 epochs"):
        dense.main(file, 3, 3)


# ---- scores beside the table of trainings --------------------------------------------------------


def test_scores_become_features_of_the_table_and_images_stay_the_last(
    script: Callable[[str], Any],
) -> None:
    module, known = script("table_scores"), trainings.read()
    _, rows = trainings.lines(trainings.SHIPPED)
    scores, sets = module.scores_of(rows), [row["set"] for row in rows]
    assert set(scores) == {"synflow", "naswot", "jacob_cov"}
    own = module.centred(scores["naswot"], sets)
    for name in set(sets):
        here = [value for value, found in zip(own, sets, strict=True) if found == name]
        assert abs(np.mean(here)) < 1e-9
    more = module.beside(known, [own])
    assert (more.X[:, :-2] == known.X[:, :-1]).all()
    assert (more.X[:, -2] == own[known.networks]).all()
    assert (more.X[:, -1] == known.X[:, -1]).all()
    assert module.beside(known, []).X.tolist() == known.X.tolist()


def test_a_score_that_is_missing_counts_as_the_usual_one(script: Callable[[str], Any]) -> None:
    rows = [{"scores": {"a": value, "a_s": 0.1}} for value in (-1.0, None, 0.0, 3.0)]
    found = script("table_scores").scores_of(rows)
    assert found["a"] == pytest.approx(np.array([-np.log(2), 0.0, 0.0, np.log(4)]))


# ---- scores on NAS-Bench-201 ---------------------------------------------------------------------


def test_scores_are_correlated_with_the_column_and_kept(
    script: Callable[[str], Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    module, file = script("zero_cost"), tmp_path / "rows.jsonl"
    names = ["n_layers", "flops"]
    given = ["zero_cost.py", "digits", "--channels", "2", "--stacked", "1", "--scores", *names]
    monkeypatch.setattr(sys, "argv", [*given, "--cells", "8", "--out", str(file)])
    module.main()
    printed = capsys.readouterr().out
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(rows) == 16
    values = {name: [r["value"] for r in rows if r["score"] == name] for name in names}
    column = table.load("nasbench201").columns[module.COLUMN]
    labels = [float(column[r["row"]]) for r in rows if r["score"] == "flops"]
    assert min(labels) >= module.LEAST
    for name, own in values.items():
        assert f"| `{name}` | {kendalltau(own, labels).statistic:+.3f} |" in printed
    monkeypatch.setattr(module, "scored", lambda *a: pytest.fail("scored again"))
    monkeypatch.setattr(sys, "argv", [*given, "--cells", "5", "--out", str(file)])
    module.main()
    printed = capsys.readouterr().out
    assert "| 5 |" in printed
    assert "commits" not in printed
    file.write_text(
        "".join(json.dumps({**r, "commit": f"c{i % 2}"}) + "\n" for i, r in enumerate(rows))
    )
    module.main()
    assert "The values are of 2 commits: c0, c1." in capsys.readouterr().out


def test_networks_of_other_depths_are_scored_apart_and_a_pool_has_an_order(
    script: Callable[[str], Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    module, file = script("zero_cost"), tmp_path / "rows.jsonl"
    names = module.POOLED["az_nas"]
    given = ["zero_cost.py", "digits", "--channels", "2", "--cells", "5", "--out", str(file)]
    for stacked in ("1", "2"):
        monkeypatch.setattr(sys, "argv", [*given, "--stacked", stacked, "--scores", *names])
        module.main()
        printed = capsys.readouterr().out
        assert f"Cells in each of 3 stages: {stacked}; channels of the first: 2;" in printed
        assert "| `az_nas` of these cells |" in printed
        assert "vkdnw_agg" not in printed, "a part of it is missing"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    flops = [r["value"] for r in rows if r["score"] == "flops"]
    assert len(flops) == 10
    assert all(one <= two for one, two in zip(flops[:5], flops[5:], strict=True))


def test_cells_are_different_connected_and_the_same_for_a_seed(
    script: Callable[[str], Any],
) -> None:
    module = script("zero_cost")
    found = [cell for _, cell in zip(range(40), module.cells(0, module.COLUMN), strict=False)]
    template = table.load("nasbench201").template
    assert len({template.facts(template.pruned(cell)) for _, cell in found}) == 40
    assert all(len(cell.live) > 2 for _, cell in found)
    again = [row for (row, _), _ in zip(module.cells(0, module.COLUMN), range(5), strict=False)]
    assert again == [row for row, _ in found[:5]]


# ---- arms of growth ------------------------------------------------------------------------------


def test_arms_of_growth_are_legal_and_differ_in_what_they_name(
    script: Callable[[str], Any],
) -> None:
    module = script("growing")
    tables = module.base("digits", 1.0, 0, 1)
    configs = {arm: reading.resolved(merge(tables, own)).config for arm, own in module.ARMS.items()}
    assert len({config.model_dump_json() for config in configs.values()}) == len(module.ARMS)
    for arm, config in configs.items():
        options = config.algorithm.options
        assert options.get("last") == (None if arm == "cycles" else 0.6)
        assert options.get("shared", False) is (arm == "shared")
        assert ("r2r-inception" in config.algorithm.morphisms) is (arm == "inception")
    assert configs["random-pad"].algorithm.morphisms == {"random-pad": 1.0}
    assert configs["variance"].training.new_parts == "variance"
    assert configs["gradmax"].training.new_parts == "gradmax"
    assert configs["rate"].training.new_rate > 1


def test_an_arm_of_growth_whose_settings_changed_is_measured_anew(
    script: Callable[[str], Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    module, file = script("growing"), tmp_path / "rows.jsonl"
    found = {"grown": 0.9, "scratch": 0.8, "grown_loss": 0.1, "scratch_loss": 0.2, "n_params": 5}
    old = {"arm": "steady", "data": "digits", "fraction": 1.0, "seed": 0, "train_flops": 1, **found}
    old |= {"recipe": module.recipe("digits"), "growth": module.REVISION}
    file.write_text(json.dumps(old) + "\n")
    seeds: list[int] = []

    def measured(arm: str, tables: Any, out: Path) -> dict[str, Any]:
        seeds.append(tables["seed"])
        return {**found, "grown": 0.7, "train_flops": 1}

    monkeypatch.setattr(module, "measured", measured)
    monkeypatch.setattr(
        sys, "argv", ["growing.py", "--arms", "steady", "--seeds", "0", "1", "--out", str(file)]
    )
    module.main()
    assert seeds == [1], "a row without settings counts as the present"
    module.main()
    assert seeds == [1]
    monkeypatch.setitem(module.ARMS, "steady", {**module.STEADY, "space": {"width": 4}})
    capsys.readouterr()
    module.main()
    assert seeds == [1, 1]
    assert "| 2 | 80.00 % |" in capsys.readouterr().out
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert len({row["settings"] for row in rows[1:]}) == 2
    assert len(module.present(rows)) == 2
    monkeypatch.setattr(module, "recipe", lambda source: "another")
    module.main()
    assert seeds == [1, 1, 0, 1]
    assert "| 2 | 70.00 % |" in capsys.readouterr().out
    mixed = [json.loads(line) for line in file.read_text().splitlines()]
    before, now = (line for line in module.table(mixed).splitlines() if "`steady`" in line)
    assert "| 2 | 80.00 % |" in before  # of the recipe before, which hides none and joins none
    assert f"| {module.REVISION}, {old['recipe']}, " in before
    assert "| 2 | 70.00 % |" in now
    assert f"| {module.REVISION}, another, " in now
    older = [{k: v for k, v in row.items() if k not in ("recipe", "growth")} for row in mixed]
    assert "| 1, not recorded, " in module.table(older)


# ---- searches ------------------------------------------------------------------------------------


def test_seeds_of_other_settings_are_no_part_of_a_median(
    script: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    figures, arm = script("figures"), "cifar10-45m-growth"
    now = figures.settings_of(arm)
    assert len({figures.settings_of(name) for name in figures.ARMS}) == len(figures.ARMS)
    preset, text = tmp_path / "growth.toml", papers.preset("growth").read_text()
    preset.write_text(text)
    monkeypatch.setattr(papers, "preset", lambda name: preset)
    assert figures.settings_of(arm) == now
    preset.write_text(text.replace("widen_rounds = 2", "widen_rounds = 3"))
    assert figures.settings_of(arm) != now
    rows = [{"arm": arm, "seed": 0}, *({"arm": arm, "seed": n, "settings": now} for n in (0, 1))]
    assert figures.of_last_settings(rows) == rows[1:]
    assert figures.of_last_settings(rows[:1]) == rows[:1]
    part = {"test_accuracy": 0.8, "n_params": 1000}
    own = {"best": part, "ensemble": part, "wall_s": 2700.0, "trials": {"complete": 2}}
    line = next(figures.search_lines(arm, [{**row, **own} for row in rows[1:]]))
    assert "seeds: 2" in line.what
