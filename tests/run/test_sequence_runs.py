"""A search on strings: from the command line to answers for texts, and what it refuses."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import nasgen
from nasgen.cli import app
from nasgen.errors import ConfigError, DataError
from nasgen.runs.results import Run

QUICK = {"training": {"epochs": 1}, "execution": {"executor": "serial"}, "finish": {"networks": 0}}
NARROW = {"widths": [4, 8], "max_layers": 2, "embedding": 4}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("strings") / "run"
    tables = {
        **QUICK,
        "data": {"source": "reber:n=120"},
        "space": {"name": "recurrent", **NARROW},
        "algorithm": {"name": "genetic", "population": 2},
        "budget": {"trials": 5},
    }
    return nasgen.run(tables, out=folder)


def test_networks_are_bred_from_their_parents_weights_or_not(run: Run) -> None:
    assert [t.state for t in run.trials] == ["COMPLETE"] * 5
    assert {t.genotype["kind"] for t in run.trials} == {"recurrent"}
    assert any(str(t.operator).startswith("rnn-") for t in run.trials)
    assert all(t.metrics["flops"] > 1_000 for t in run.trials)


def test_new_rows_are_texts_and_unknown_symbols_are_named(run: Run) -> None:
    answers = run.network().predict_proba(["BPTVPXTTVVE", "BTTVPXTVPSE"])
    assert answers.shape == (2, 2)
    assert np.allclose(answers.sum(1), 1)
    alone = run.network().predict_proba(["BPTVPXTTVVE"])
    assert np.allclose(alone[0], answers[0], atol=1e-6)
    with pytest.raises(DataError, match="got 'ü'"):
        run.network().predict_proba(["BPTVü"])
    with pytest.raises(DataError, match="length 0"):
        run.network().predict_proba(["BPTVPXTTVVE", ""])


@pytest.mark.parametrize(
    ("tables", "sentence"),
    [
        ({"training": {"flip": True}}, "training.flip: needs images"),
        ({"training": {"crop": 2}}, "training.crop: needs images"),
        ({"training": {"start_scale": 0.5}}, "training.start_scale: needs images"),
        ({"space": {"name": "dag-cnn"}}, "such as 'recurrent'"),
        ({"space": {"name": "random-graph-mlp"}}, r"of the form 'sequence'"),
    ],
)
def test_options_of_images_are_refused_in_a_sentence(
    tables: dict[str, object], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        nasgen.run({"data": {"source": "reber:n=40"}, **tables}, out=tmp_path / "run")


def test_a_network_of_sequences_is_no_beginning_for_images(run: Run, tmp_path: Path) -> None:
    tables = {"data": {"source": "digits"}, "origin": {"network": str(run.path)}}
    said = (
        r"'recurrent' reads sequences .*digits is .*; it came with origin.network = '.*': name an"
    )
    with pytest.raises(ConfigError, match=said):
        nasgen.run(tables, out=tmp_path / "run")


def test_the_default_space_of_sequences_is_found_from_the_command_line(tmp_path: Path) -> None:
    words = ["search", "--data", "reber-embedded:n=40", "--trials", "1"]
    words += [
        "--set",
        "training.epochs=1",
        "--set",
        "execution.executor=serial",
        "--out",
        str(tmp_path / "run"),
    ]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert 'name = "recurrent"' in (tmp_path / "run" / "config.toml").read_text()
    assert "two symbols" in " ".join(done.output.split())


def pruned(run: Run, folder: Path, *options: str) -> Run:
    words = ["prune", str(run.path), "--out", str(folder), "--threads", "1", "--retrain", "0"]
    done = CliRunner().invoke(app, [*words, "--set", "execution.executor=serial", *options])
    assert done.exit_code == 0, done.output
    return nasgen.load(folder)


def test_of_recurrent_layers_one_matrix_or_both_are_pruned(run: Run, tmp_path: Path) -> None:
    for which, end in (("h2h", "weight_hh"), ("i2h", "weight_ih")):
        options = ("--recurrent", which, "--target", "0.3", "--no-compact")
        small = pruned(run, tmp_path / which, *options)
        last = small.trials[-1]
        masks = small.folder.artifacts.load(last.refs["support"])
        gone = {name for name, mask in masks.items() if mask.ndim > 1 and not mask.all()}
        assert gone
        assert all(name.endswith(end) for name in gone)
        before, after = (trial.metrics for trial in small.trials)
        n = before[f"n_{which}"]
        assert after[f"n_{which}"] == round(0.7 * n), "the target is a share of that matrix"
        assert before["n_synapses"] - after["n_synapses"] == n - round(0.7 * n)
        words = {"i2h": "input-to-hidden", "h2h": "hidden-to-hidden"}[which]
        (plan,) = small.record["foreseen"]
        assert f"leaves {round(0.7 * n):,} of {n:,} {words} weights; the network's other" in plan
        shown = CliRunner().invoke(app, ["show", f"{small.path}:1"]).stdout
        assert f"left: {round(0.7 * n):,} of the {n:,} {words} weights of trial 0" in shown


def test_all_hidden_to_hidden_weights_may_leave_but_not_all_of_the_input(
    run: Run, tmp_path: Path
) -> None:
    small = pruned(run, tmp_path / "all", "--recurrent", "h2h", "--target", "1")
    assert small.trials[-1].metrics["n_h2h"] == 0 < small.trials[0].metrics["n_h2h"]
    assert small.trials[-1].metrics["n_i2h"] == small.trials[0].metrics["n_i2h"]
    words = ["prune", str(run.path), "--out", str(tmp_path / "none"), "--target", "1"]
    for which, said in (("i2h", "input-to-hidden weights"), ("both", "recurrent layers' weights")):
        done = CliRunner().invoke(app, [*words, "--recurrent", which])
        assert done.exit_code == 2, done.output
        assert f"{said} to stay, one in each of" in " ".join(done.output.split())
        assert not (tmp_path / "none").exists()
    done = CliRunner().invoke(app, words)
    assert "--target: expected a share above 0 and below 1" in done.output


def test_a_target_of_matrices_needs_some(run: Run, tmp_path: Path) -> None:
    words = ["prune", str(run.path), "--out", str(tmp_path / "run"), "--target", "0.5"]
    done = CliRunner().invoke(app, [*words, "--set", "algorithm.target_of=matrices"])
    assert done.exit_code == 2, done.output
    assert "got 'weight' with 'all'" in done.output
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("which", ["i2h", "h2h"])
def test_more_than_a_matrix_has_is_refused_with_what_may_be_asked_for(
    which: str, run: Run, tmp_path: Path
) -> None:
    of_network = ("--set", "algorithm.target_of=network")  # as in runs of before
    options = ("--recurrent", which, "--target", "0.05", *of_network)
    whole = pruned(run, tmp_path / "some", *options).trial(0)
    words = ["prune", str(run.path), "--out", str(tmp_path / "all"), "--recurrent", which]
    words += of_network
    done = CliRunner().invoke(app, [*words, "--target", "0.99"])
    assert done.exit_code == 2, done.output
    assert not (tmp_path / "all").exists(), "before anything is trained"
    said = " ".join(done.output.split())
    found = re.search(r"expected at least (\d+) weights to stay", said)
    assert found, said
    # The least that the message names is possible, one weight less is not.
    n, least = whole.metrics["n_synapses"], int(found[1])
    assert 0 < least < n
    for kept, code in ((least, 0), (least - 1, 2)):
        target = ["--target", f"{1 - kept / n:.9f}", "--retrain", "0", "--threads", "1"]
        target += ["--set", "execution.executor=serial"]
        words[3] = str(tmp_path / f"keep{kept}")
        done = CliRunner().invoke(app, [*words, *target])
        assert done.exit_code == code, done.output
