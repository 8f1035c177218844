"""Populations of random graphs at their smallest: data set, controls, kills and failures."""

from __future__ import annotations

import csv
import gzip
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from nasgen import genotypes, registry
from nasgen.bench import labels
from nasgen.bench.labels import Labelled
from nasgen.cli import app
from nasgen.errors import ConfigError, DataError, EvaluationError
from nasgen.evaluation.abreast import SideBySide
from nasgen.evaluation.evaluator import Evaluator
from nasgen.genotypes import graphs
from nasgen.genotypes.recurrent import Recurrent
from nasgen.genotypes.wiring import unwired
from nasgen.papers import populations, prior_tables, priors, structure
from nasgen.papers.base import Request
from nasgen.papers.populations import Plan
from nasgen.papers.structure import ALL, SETS, SIZE, SOURCES
from nasgen.predictors import adaboost, evaluate, forest, scores
from nasgen.predictors.features.random_graph import RandomGraph
from nasgen.seeding import generator
from tests import forked

TINY = ("--graphs", "6", "--cells", "rnn_tanh,lstm", "--data", "reber:n=240", "--repeats", "1")
SMALL = (
    "--set", "space.most=12", "--set", "training.batch_size=16", "--set", "training.lr=0.02",
    "--set", "execution.executor=serial", "--epochs", "6", "--quiet",
)  # fmt: skip
IN_FULL = structure.N_DRAWS
SETTINGS: dict[str, Any] = {
    "space": {"most": 12},
    "training": {"batch_size": 16, "lr": 0.02, "epochs": 1.0},
}


@contextmanager
def few_trees() -> Iterator[None]:
    """Small ensembles: for tests of what is said, not of how well it is predicted."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (adaboost, forest):
            patch.setattr(module, "N_TREES", 5)
        yield


@few_trees()
def studied(out: Path, *more: str) -> Any:
    return CliRunner().invoke(app, ["study", "priors", *TINY, *SMALL, "--out", str(out), *more])


def plan(graphs: int = 3, alone: bool = True, **more: Any) -> Plan:
    about = {"cells": ("rnn_tanh",), "priors": ("barabasi-albert",), "data": "reber:n=160"}
    workers = {} if alone else {"execution": {"workers": 2}}
    return Plan(**{**about, **more}, graphs=graphs, settings=SETTINGS | workers, alone=alone)


@pytest.fixture(scope="module", autouse=True)
def few_folds() -> Iterator[None]:
    """Folds and draws that take a second instead of ten."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(structure, "N_FOLDS", 4)
        patch.setattr(structure, "N_DRAWS", 3)
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    out = tmp_path_factory.mktemp("study")
    done = studied(out, "--json")
    assert done.exit_code == 0, done.output
    return out, [json.loads(line) for line in done.stdout.splitlines()]


def test_the_data_set_has_each_graph_once_for_each_kind_of_units(
    made: tuple[Path, list[dict[str, Any]]],
) -> None:
    _, lines = made
    files = lines[-1]["files"]
    assert set(files) == {"rnn_tanh", "lstm"}
    assert (lines[-1]["networks"], lines[-1]["failed"]) == (24, 0)
    shapes = []
    for file in files.values():
        with gzip.open(file, "rt", newline="") as text:
            rows = list(csv.DictReader(text))
        assert [row["prior"] for row in rows] == ["barabasi-albert"] * 6 + ["watts-strogatz"] * 6
        read = [genotypes.read(json.loads(row["genotype"])) for row in rows]
        shapes.append([sorted(unwired(one)[1]) for one in read if isinstance(one, Recurrent)])
        for row, (n, edges) in zip(rows, map(unwired, read), strict=True):  # type: ignore[arg-type]
            both = graphs.properties(n, edges) | graphs.directed_properties(n, edges)
            assert {name: float(row[name]) for name in both} == pytest.approx(both)
            assert float(row["clustering"]) == pytest.approx(graphs.clustering(n, edges))
            ring = list(range(n)) if row["prior"] == "watts-strogatz" else None  # as p is 1
            assert (json.loads(row["ring"]) if row["ring"] else None) == ring
    assert shapes[0] == shapes[1], "both kinds of units have the same graphs"
    assert len({str(shape) for shape in shapes[0]}) == 12


def test_predictors_evaluate_reads_the_data_set(made: tuple[Path, list[dict[str, Any]]]) -> None:
    out, _ = made
    read = labels.of_file(out / "lstm.csv.gz")
    assert read.names == RandomGraph.names
    both = labels.of_file(out / "lstm.csv.gz", "random-graph+random-graph-directed")
    assert both.X.shape == (12, 43)
    done = CliRunner().invoke(
        app,
        ["predictors", "evaluate", str(out / "lstm.csv.gz"), "--predictors", "ridge"],
    )
    assert done.exit_code == 0, done.output
    said = "- for Kendall tau: a split evaluates 3 networks, and 5 are needed."
    assert said in " ".join(done.output.split())


def test_every_figure_has_its_controls(made: tuple[Path, list[dict[str, Any]]]) -> None:
    out, lines = made
    kinds = {line.get("kind") for line in lines[:-1]}
    assert kinds - {"importance"} == {
        "population", "rule", "property", "predictor", "single split", "gain",
    }  # fmt: skip
    found = [line for line in lines if line.get("kind") == "predictor"]
    told = {line["cell"] for line in found}
    assert told == {"rnn_tanh", "lstm"}
    assert {(line["cell"], line["features"], line["predictor"]) for line in found} == {
        (cell, features, name)
        for cell in told
        for features in SETS
        for name in structure.predictors_of(features)
    }
    splits = [line for line in lines if line.get("kind") == "single split"]
    assert {line["predictor"] for line in splits} == set(structure.PREDICTORS)
    for line in splits:  # each draw is there, or counted as one that has no R2
        assert line["draws"] == structure.N_DRAWS
        assert len(line["r2"]) == structure.N_DRAWS - line["undefined"]
        assert line["r2"]
    rules = {line["rule"]: line["test_accuracy"] for line in lines if line.get("kind") == "rule"}
    assert rules["bigram rule"] < rules["trigram rule"] == 1
    page = (out / "priors.html").read_text()
    assert "bigram rule" in page
    assert "nan" not in page.replace("random", "")
    assert "size alone" in page
    assert "source nodes alone" in page
    assert lines[-1]["survives"] in page.replace("&#39;", "'")


def test_of_few_graphs_nothing_is_said_that_they_cannot_show(
    made: tuple[Path, list[dict[str, Any]]],
) -> None:
    _, lines = made  # 12 graphs
    text = lines[-1]["survives"]
    assert "Too few graphs for intervals of R2 (rnn_tanh 12, lstm 12; 20 are needed)" in text
    assert not any(word in text for word in ("survives", "Beside", "above 0", "["))
    assert not any(line.get("kind") == "importance" for line in lines)
    scored = [line["r2"] for line in lines if line.get("kind") in ("predictor", "gain")]
    assert all(score["low"] is score["high"] is None for score in scored)


def test_more_graphs_go_on_where_fewer_ended(made: tuple[Path, list[dict[str, Any]]]) -> None:
    out, _ = made
    before = labels.of_file(out / "lstm.csv.gz")
    done = studied(out, "--graphs", "7", "--cells", "lstm", "--json")
    assert done.exit_code == 0, done.output
    after = labels.of_file(out / "lstm.csv.gz")
    kept = [i for i, row in enumerate(after.rows) if int(row["trial"]) < 6]
    assert len(after.y) == 14
    assert [after.keys[i] for i in kept] == list(before.keys)
    assert np.array_equal(after.y[kept], before.y)


def killed_at_the_second(folder: str, graphs: int, alone: bool) -> None:
    """Train a population in a process that is killed when its second network is told."""

    def kill(event: str, data: Any) -> None:
        if event == "told" and data["trial"].seq == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    populations.trained(plan(graphs, alone), Request("", None, Path(folder), listeners=(kill,)))


# In this process; as two workers, eight networks side by side in one and three in the other.
@pytest.mark.parametrize(("graphs", "alone", "abreast"), [(3, True, [3]), (11, False, [8, 3])])
def test_a_killed_population_comes_to_the_same_data_set(
    graphs: int, alone: bool, abreast: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = forked.begun(killed_at_the_second, str(tmp_path / "killed"), graphs, alone)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    heard: list[int] = []

    def hear(event: str, data: Any) -> None:
        if event == "told":
            heard.append(data["trial"].seq)

    request = Request("", None, tmp_path / "killed", listeners=(hear,))
    ((again,), _) = populations.trained(plan(graphs, alone), request)
    assert 0 not in heard
    joined: list[int] = []
    conclude = SideBySide.conclude

    def concluded(self: SideBySide) -> None:
        joined.append(len(self.each))
        conclude(self)

    monkeypatch.setattr(SideBySide, "conclude", concluded)
    ((whole,), _) = populations.trained(plan(graphs), Request("", None, tmp_path / "whole"))
    assert joined == abreast
    assert len(whole.found.y) == graphs
    files = [tmp_path / "killed.csv.gz", tmp_path / "whole.csv.gz"]
    for population, file in zip((again, whole), files, strict=True):
        labels.write(population.found, file)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_graph_that_fails_is_counted_and_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Evaluator._candidate

    def failing(self: Evaluator, trial: Any) -> Any:
        if trial.job["seq"] == 1:
            raise EvaluationError("the disk was full")
        return made(self, trial)

    monkeypatch.setattr(Evaluator, "_candidate", failing)
    ((found,), _) = populations.trained(plan(), Request("", None, tmp_path))
    assert found.n_failed == {"barabasi-albert": 1}
    assert [row["trial"] for row in found.found.rows] == [0, 2]


@few_trees()
def test_units_of_which_no_graph_can_be_trained_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Evaluator._candidate

    def failing(self: Evaluator, trial: Any) -> Any:
        if "gru" in str(trial.job["genotype"]):
            raise EvaluationError("the disk was full")
        return made(self, trial)

    monkeypatch.setattr(Evaluator, "_candidate", failing)
    longer = SETTINGS | {"training": SETTINGS["training"] | {"epochs": 5.0}}
    more = {"cells": ("gru", "rnn_tanh"), "priors": ("watts-strogatz",), "data": "reber:n=240"}
    wanted = replace(plan(graphs=10, **more), settings=longer)
    found = priors.study(wanted, Request("", None, tmp_path), 1)
    assert list(found.told) == ["rnn_tanh"]
    assert found.text.endswith("Nothing is told of gru (no graph could be trained).")
    assert (found.summary()["networks"], found.summary()["failed"]) == (10, 10)
    priors.write(found, tmp_path / "page.html", "A study")
    with pytest.raises(DataError, match=r"none of the graphs .* the first: the disk was full"):
        populations.trained(plan(cells=("gru",)), Request("", None, tmp_path))


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--cells", "gru,no", "--cells: 'no'"),
        ("--priors", "small-word", "small-world"),
        ("--cells", "gru,gru", "once"),
        ("--graphs", "4", "10 graphs or more"),
        ("--data", "digits", "--data: expected sequences"),
        ("--set", "training.lr=x", "--set: training.lr"),
        ("--set", 'space.cells=["gru"]', "--set space.cells: --cells says it"),
        ("--set", "space.rewired=0.5", "--set space.rewired: --priors says it"),
        ("--set", "budget.trials=3", "--set budget.trials: --graphs says it"),
        ("--set", "data.source=digits", "--set data.source: --data says it"),
        ("--set", "seed=0", "--set seed: --seed says it"),
    ],
)
def test_what_is_no_study_is_one_sentence(
    option: str, value: str, said: str, tmp_path: Path
) -> None:
    done = studied(tmp_path / "out", option, value)
    assert done.exit_code == 2, done.output
    assert said in " ".join(done.output.split())
    assert "a bug" not in done.output


def test_options_of_operators_are_named_with_their_place(tmp_path: Path) -> None:
    words = ("--set", "algorithm.prunings.obd=1", "--set", "algorithm.operators.obd.rows=0")
    done = studied(tmp_path / "out", *words)
    assert done.exit_code == 2, done.output
    said = "error: algorithm.operators.obd.rows: expected a whole number of 1 or more, got 0."
    assert said in " ".join(done.output.split())
    words = ("prune", "lenet-300-100", "--granularity", "weights", "--out", str(tmp_path / "out"))
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2, done.output
    assert "error: --granularity: input should be 'weight'" in " ".join(done.output.split())


def test_a_plan_names_all_mistakes_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        plan(graphs=0, cells=("no",), priors=(), seeds=())
    assert len(caught.value.problems) == 4
    for seeds in ((), (1, 1), (-1,), ("0",)):
        with pytest.raises(ConfigError, match="--seed: expected numbers >= 0, each once"):
            plan(seeds=seeds)


# ---- what structure tells, on labels that are known ----------------------------------------------


def drawn(n: int, label: Any) -> Labelled:
    """Return `n` graphs with labels that are a function of (features, noise)."""
    from nasgen.predictors.features.joined import Joined
    from nasgen.predictors.features.random_graph import RandomGraphDirected
    from nasgen.search_spaces.random_graph_rnn import RandomGraphRnn

    space = RandomGraphRnn(prior="watts-strogatz", most=30)
    made = [space.sample(generator(0, "drawn", i)) for i in range(n)]
    encoder = Joined([RandomGraph(), RandomGraphDirected()])
    X = encoder.encode_all(made)  # noqa: N806
    noise = np.random.default_rng(0).normal(size=n)
    columns = {name: X[:, i] for i, name in enumerate(encoder.names)}
    return Labelled(X, label(columns, noise), encoder.names, tuple(one.key for one in made))


@pytest.fixture(scope="module")
def by_size() -> structure.Told:
    """What is told of networks whose accuracy is their number of sources, and noise."""
    found = drawn(60, lambda columns, noise: columns["source_nodes"] + 0.5 * noise)
    return structure.told(found, 1, 0)


def test_what_is_size_alone_does_not_survive(by_size: structure.Told) -> None:
    assert by_size.judged[SOURCES, "ridge"]["r2"].mean == pytest.approx(0.85, abs=0.15)
    assert by_size.alone["source_nodes"].is_not_0
    assert not by_size.gains[SIZE].is_above_0
    assert not by_size.gains[SOURCES].is_above_0
    kept = [name for name, score in by_size.beside.items() if score.is_not_0]
    assert len(kept) <= 0.2 * len(by_size.beside)
    text = structure.paragraph({"gru": by_size})
    assert text.endswith("So nothing beyond size survives for any kind of units.")
    assert "Beside size alone" in text
    names = list(by_size.beside)
    clear, open_ = structure.Score(-0.4, -0.6, -0.2), structure.Score(0.1, -0.1, 0.3)
    found = {name: clear if i % 2 else open_ for i, name in enumerate(names)}
    text = structure.paragraph({"gru": replace(by_size, beside=found)})
    times = (len(names) // 2) / (0.05 * len(names))
    assert f"from size alone, though {times:.1f} times as many of them go with accuracy" in text
    assert "nothing beyond size" not in text
    assert by_size.missed[0][0] == "source_nodes"


def test_what_is_more_than_size_survives() -> None:
    def label(columns: Any, noise: Any) -> Any:
        sizes = [columns[name] for name in structure.SIZES]
        beside = np.column_stack([*sizes, np.log(sizes[0]), np.ones(len(noise))])
        closeness = columns["var_closeness"] / columns["var_closeness"].std()
        # What size does not tell of it.
        rest = closeness - beside @ np.linalg.lstsq(beside, closeness, rcond=None)[0]
        return rest / rest.std() + 0.1 * noise

    told = structure.told(drawn(60, label), 1, 0)
    assert told.beside["var_closeness"].is_not_0
    assert told.gains[SOURCES].is_above_0
    assert told.gains[SIZE].is_above_0
    assert not told.judged[SIZE, "ridge"]["r2"].is_above_0
    r2, judged = told.judged[ALL, "ridge"]["r2"], told.judged[ALL, "ridge"]
    assert r2.low is not None
    assert r2.high is not None
    assert r2.low < r2.mean < r2.high  # type: ignore[operator]
    assert judged["kendall"].mean < judged["spearman"].mean  # type: ignore[operator]
    text = structure.paragraph({"gru": told})
    assert "all properties tell more for gru" in text
    assert text.endswith("So structure beyond size survives for gru.")


def test_the_single_split_is_drawn_as_often_whatever_the_folds() -> None:
    assert IN_FULL == 30
    # One of ten networks is another, so most pairs that are held back are equally accurate.
    found = drawn(12, lambda columns, noise: (columns["nodes"] == columns["nodes"].max()) * 1.0)
    each = [structure.told(found, repeats, 0) for repeats in (1, 2)]
    for told in each:
        splits = evaluate.draws(found.keys, 10, 2, structure.N_DRAWS, 0)
        equal = sum(np.ptp(found.y[held]) == 0 for _, held in splits)
        assert (told.n_draws, told.n_undefined) == (structure.N_DRAWS, equal)
        assert {len(values) for values in told.draws.values()} == {structure.N_DRAWS - equal}
    assert 0 < each[0].n_undefined < structure.N_DRAWS
    assert all(np.array_equal(each[0].draws[p], each[1].draws[p]) for p in each[0].draws)
    said = f"equal accuracies back and give none: gru {each[0].n_undefined}."
    assert said in structure.paragraph({"gru": replace(each[0], n=structure.FEWEST)})
    rows = structure.rows("gru", each[0])
    table = prior_tables._single([row for row in rows if row["kind"] == "single split"])
    assert table.rows[-1] == ["draws without R2", str(each[0].n_undefined)]


@pytest.mark.parametrize("n", [20, 48, 144])
def test_intervals_of_r2_surround_it_where_nothing_is_told(n: int) -> None:
    """A predictor that says the mean of what it has learnt from: R2 is a little below 0."""
    rng = np.random.default_rng(n)
    for _ in range(20):
        y = rng.normal(size=n)
        predicted = np.empty((1, n))
        for held in np.array_split(rng.permutation(n), 10):
            predicted[0, held] = np.delete(y, held).mean()
        score = structure._scores(predicted, y, 0)["r2"]
        assert score.mean is not None
        assert score.low is not None
        assert score.high is not None
        assert score.low < score.mean < score.high < 0.05
        mean, ends = structure.text(score)[:-1].split(" [")
        assert mean not in ends.split(", ")
    assert structure.text(structure.Score(0.123, 0.1, 0.3), "+") == "+0.12 [+0.10, +0.30]"


def test_every_row_is_predicted_by_what_has_not_seen_it() -> None:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(40, 2))  # noqa: N806
    y = rng.normal(size=40)  # nothing to learn: a forest that had seen a row would know it
    splits = evaluate.folds([str(i) for i in range(40)], 2, 0, 10)
    assert len(splits) == 20
    make = registry.resolve("predictors", "forest")
    said = evaluate.held_out(make, X, y, splits, 0, 2)
    assert said.shape == (2, 40)
    assert np.isfinite(said).all()
    assert abs(np.corrcoef(said[0], y)[0, 1]) < 0.5
    for number, (learn, judge) in enumerate(splits):
        assert not set(learn) & set(judge)
        model = make(0).fit(X[learn], (y[learn] - y[learn].mean()) / y[learn].std())
        alone = y[learn].mean() + y[learn].std() * model.predict(X[judge])
        assert said[number // 10, judge] == pytest.approx(alone)


def test_intervals_of_correlations_cover_as_often_as_they_say() -> None:
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    n, r, hits = 40, 0.6, 0
    for _ in range(400):
        x = rng.normal(size=n)
        y = r * x + (1 - r * r) ** 0.5 * rng.normal(size=n)
        low, high = scores.interval(float(np.corrcoef(x, y)[0, 1]), n, scores.PEARSON)  # type: ignore[misc]
        hits += low < r < high
    assert hits / 400 == pytest.approx(0.95, abs=0.035)
    assert scores.spearman(x, y) == pytest.approx(spearmanr(x, y).statistic)
    assert scores.interval(0.5, 3, scores.PEARSON) is None
    assert scores.interval(1.0, 30, scores.PEARSON) is None
    assert scores.interval(0.5, 8, scores.PEARSON, n_given=5) is None
    assert prior_tables.papers_r("source_nodes", "gru") == 0.74
    assert prior_tables.papers_r("clustering", "gru") is None
