"""`nasgen prune`: a trained network loses weights step by step, and is used as any other."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

import nasgen
from nasgen.cli import app
from nasgen.errors import ConfigError
from nasgen.runs import generations, pruning, reading
from nasgen.settings.config import merge

SERIAL = ("--threads", "1", "--set", "execution.executor=serial", "--quiet")
FIRST = 64 * 300 + 300 * 100  # weights of the two dense layers on digits; its classifier has 1,000
TINY: dict[str, Any] = {
    "algorithm": {"name": "fixed"}, "origin": {"network": "lenet-300-100"},
    "data": {"source": "digits"}, "training": {"epochs": 1.0, "optimizer": "adamw"},
    "budget": {"trials": 1}, "finish": {"networks": 0},
    "execution": {"executor": "serial", "threads_per_trial": 1},
}  # fmt: skip


def prune(source: Any, out: Path, *options: Any) -> Result:
    words = ("prune", str(source), "--out", str(out), *map(str, options), *SERIAL)
    return CliRunner().invoke(app, words)


def answered(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with one trained network."""
    return nasgen.run(TINY, out=tmp_path_factory.mktemp("prune") / "trained").path


@pytest.fixture(scope="module")
def pruned(trained: Path) -> Path:
    """The network of that run, pruned in two steps."""
    out = trained.parent / "pruned"
    options = ("--strategy", "iterative", "--steps", 2, "--target", 0.9, "--retrain", 0.3)
    found = answered(prune(trained, out, *options, "--json"))
    assert [row["step"] for row in found["steps"]] == [0, 1, 2]
    assert found["steps"][0]["n_synapses"] == FIRST
    assert found["wanted"] == round(0.1 * FIRST)
    assert found["left"] == found["steps"][-1]["n_synapses"] <= found["wanted"]
    assert found["steps"][-1]["compression"] >= 10
    return out


def test_what_is_never_trained_is_not_pruned(trained: Path, tmp_path: Path) -> None:
    """At initialisation a network may be, where training follows; lost weights are no such ones."""
    own = {"name": "prune", "method": "random", "target": 0.5, "first_epochs": 0.0}
    early = merge(TINY, {"algorithm": {**own, "epochs": 0.3}, "budget": {"trials": 2}})
    with pytest.raises(ConfigError, match="number above 0, because the first network, 'lenet-300"):
        reading.resolved(merge(early, {"algorithm": {"epochs": 0.0}}))
    steps = pruning.pruned(nasgen.run(early, out=tmp_path / "early")).steps
    assert [row["epochs"] for row in steps] == [0, pytest.approx(0.3, abs=0.05)]

    copy = tmp_path / "copy"
    shutil.copytree(trained, copy)
    shutil.rmtree(copy / "artifacts")
    tables = {"algorithm": {"name": "prune"}, "origin": {"network": str(copy)}}
    lost = merge(TINY, {**tables, "budget": {}})
    assert reading.resolved(lost).origin is not None
    with pytest.raises(ConfigError, match=r"the first network, .* \(origin.*are missing"):
        reading.resolved(merge(lost, {"algorithm": {"first_epochs": 0.0}}))


def test_a_network_with_weights_is_taken_as_it_is(trained: Path, pruned: Path) -> None:
    before, after = nasgen.load(trained).trial(0), nasgen.load(pruned).trial(0)
    assert after.metrics["epochs_done"] == 0
    assert after.metrics["val_accuracy"] == before.metrics["val_accuracy"]


def test_what_left_is_zero_and_counts_are_exact(pruned: Path) -> None:
    run = nasgen.load(pruned)
    # However good the one before it is, the gain is that of the network that was asked for.
    last = {"trial": 2, "value": run.trial(2).objectives["val_accuracy"]}
    assert run.summary["evolution"]["evolved"].items() >= last.items()
    assert run.trial(1).objectives["val_accuracy"] > last["value"]
    assert "last descendant" in run.report_path.read_text()
    for trial, kept in ((1, round(0.55 * FIRST)), (2, round(0.1 * FIRST))):
        found = run.trial(trial)
        assert found.derivation is not None
        assert found.derivation["settings"]["keep"] == kept
        weights, masks = (run.folder.artifacts.load(found.refs[n]) for n in ("weights", "support"))
        assert all(not weights[name][~mask].any() for name, mask in masks.items())
        # What died with others, because nothing feeds or reads it, is gone as well.
        assert found.metrics["n_kept"] == kept
        assert 0.5 * kept < found.metrics["n_synapses"] <= kept
    assert "efficiency" in run.report_path.read_text()


def test_the_result_is_trained_combined_and_shown(pruned: Path, tmp_path: Path) -> None:
    run = CliRunner()
    record = json.loads(
        run.invoke(app, ["train", f"{pruned}:2", "--epochs", "0.2", "--json"]).stdout
    )
    assert record["begins"] == "weights"
    words = ["train", f"{pruned}:2", "--epochs", "0.2"]
    loud, quiet = (run.invoke(app, [*words, *more]) for more in ([], ["--quiet"]))
    assert "loss" in loud.stderr
    assert quiet.exit_code == 0
    assert quiet.stderr == ""
    shown = run.invoke(app, ["show", f"{pruned}:2", "--json"])
    assert json.loads(shown.stdout)["operator"] == "magnitude"
    both = ["ensemble", f"{pruned}:1", f"{pruned}:2", "--out", str(tmp_path / "e"), "--json"]
    combined = run.invoke(app, both)
    assert combined.exit_code == 0, combined.output


def test_a_network_is_shown_with_what_made_it(pruned: Path, trained: Path, tmp_path: Path) -> None:
    def shown(source: Any) -> list[str]:
        done = CliRunner().invoke(app, ["show", str(source)])
        assert done.exit_code == 0, done.output
        return done.stdout.splitlines()

    run = nasgen.load(pruned)
    n = run.trial(2).metrics["n_synapses"]
    lines = shown(f"{pruned}:2")
    assert (
        "made by: the pruning 'magnitude' of trial 1 (strategy iterative, step 2; of weights)"
        in lines
    )
    share = 100 * n / FIRST
    assert f"left: {n:,} of the {FIRST:,} weights of trial 0, {share:.3g} %" in lines
    living = next(line for line in lines if line.startswith("n_living_parents: "))
    assert living.endswith(" k (weights of its parents, the classifier's among them)")
    assert any(line.startswith("train_loss: ") for line in lines)
    whole = shown(f"{pruned}:0")
    assert not any(line.startswith(("made by", "left")) for line in whole)
    assert not any("None" in line or "0/s" in line for line in whole), "it was not trained"
    options = ["--granularity", "filter", "--target", 0.5, "--retrain", 0.2, "--rounds", 2]
    assert prune(trained, tmp_path / "filters", *options).exit_code == 0
    assert "left: 200 of the 400 filters of trial 0, 50 %" in shown(f"{tmp_path / 'filters'}:1")
    assert "made by: a further training of trial 1" in shown(f"{tmp_path / 'filters'}:2")


def test_the_run_stands_for_the_network_that_it_ends_with(pruned: Path, tmp_path: Path) -> None:
    run = nasgen.load(pruned)
    accuracies = [trial.metrics["val_accuracy"] for trial in run.trials]
    assert accuracies[2] < max(accuracies), "by rank another one would be handed over"
    assert run.trial().seq == run.summary["best"]["trial"] == 2
    assert [member["trial"] for member in run.summary["ensemble"]["members"]] == [2]
    assert [network.trial.seq for network in run.networks()] == [2]

    def told(*words: str) -> dict[str, Any]:
        return answered(CliRunner().invoke(app, [*words, "--json"]))

    combined = told("ensemble", str(pruned), "--out", str(tmp_path / "ensemble"))
    assert [member["trial"] for member in combined["members"]] == [2]
    assert told("train", str(pruned), "--epochs", "0.1")["trial"] == 2
    told("export", str(pruned), "--out", str(tmp_path / "export"), "--format", "python")
    written = json.loads((tmp_path / "export" / "model.json").read_text())
    measured = {row["part"]: row["value"] for row in written["metrics"]}
    assert measured["validation"] == pytest.approx(accuracies[2])
    further = prune(pruned, tmp_path / "further", "--target", 0.5, "--retrain", 0, "--json")
    again = answered(further)
    assert again["steps"][0]["n_synapses"] == run.trial(2).metrics["n_synapses"]


def test_a_run_that_stopped_goes_on_to_the_same_network(
    trained: Path, pruned: Path, tmp_path: Path
) -> None:
    options = ("--strategy", "iterative", "--steps", 2, "--target", 0.9, "--retrain", 0.3)
    half = prune(trained, tmp_path / "half", *options, "--set", "budget.trials=2")
    assert half.exit_code == 3, half.output
    assert "weights are left, more than the 4920" in half.output
    done = CliRunner().invoke(app, ["resume", str(tmp_path / "half"), "--trials", "+1", "--quiet"])
    assert done.exit_code == 0, done.output
    over = CliRunner().invoke(app, ["resume", str(tmp_path / "half"), "--quiet"])
    assert over.exit_code == 2
    assert (
        "is complete (3 trials); go on from the network that it ended with, such as by"
        in over.output
    )
    more = CliRunner().invoke(app, ["resume", str(tmp_path / "half"), "--trials", "+3"])
    assert more.exit_code == 0
    assert "no trial was added" in more.output
    assert "failed; its trial" not in more.output
    runs = [nasgen.load(path) for path in (tmp_path / "half", pruned)]
    assert runs[0].trial(2).refs["weights"] == runs[1].trial(2).refs["weights"]
    assert pruning.pruned(runs[0]).steps == pruning.pruned(runs[1]).steps


@pytest.mark.parametrize("method", ["random", "class-uniform", "obd", "layerwise-obs"])
def test_every_method_in_one_shot_without_training(
    method: str, trained: Path, tmp_path: Path
) -> None:
    options = ["--method", method, "--target", 0.6, "--retrain", 0, "--json"]
    found = answered(prune(trained, tmp_path / "run", *options))
    first, last = (row["val_accuracy"] for row in found["steps"])
    assert found["steps"][1]["epochs"] == 0
    assert found["left"] <= found["wanted"] == round(0.4 * FIRST)
    if method in ("obd", "layerwise-obs"):  # they know what the weights do
        assert last > first - 0.05
    elif method == "random":
        assert last < first - 0.05


def test_neurons_leave_the_network_or_stay_as_zeros(trained: Path, tmp_path: Path) -> None:
    options = ["--granularity", "filter", "--target", 0.7, "--retrain", 0, "--json"]
    found = [
        answered(prune(trained, tmp_path / name, *options, f"--{name}"))
        for name in ("compact", "no-compact")
    ]
    assert {f["wanted"] for f in found} == {120}  # of 400 neurons
    assert {f["left"] for f in found} == {120}
    runs = [nasgen.load(tmp_path / name) for name in ("compact", "no-compact")]
    shapes = [
        [w.shape for w in run.folder.artifacts.load(run.trial(1).refs["weights"]).values()]
        for run in runs
    ]
    assert sum(map(np.prod, shapes[0])) < sum(map(np.prod, shapes[1])) / 2
    answers = [run.network(1).validation for run in runs]
    assert np.abs(answers[0] - answers[1]).max() < 1e-5


def test_a_network_with_a_name_is_trained_first(tmp_path: Path) -> None:
    options = ["--epochs", 0.5, "--retrain", 0.2, "--rounds", 2, "--protect", "first", "--seed", 3]
    result = prune("lenet-300-100", tmp_path / "run", "--data", "digits", *options)
    assert result.exit_code == 2  # the second layer has not as many weights
    assert "--target: 0.8 is beyond what may leave" in result.output
    assert "and all 19200 of which none may leave" in result.output
    assert "Take 0.6097 at most." in result.output
    assert not (tmp_path / "run").exists(), "nothing was trained"
    result = prune(
        "lenet-300-100", tmp_path / "more", "--data", "digits", *options, "--target", 0.5
    )
    assert result.exit_code == 0, result.output
    assert "network: " in result.output
    run = nasgen.load(tmp_path / "more")
    assert run.trial(0).metrics["epochs_done"] == pytest.approx(0.5, abs=0.1)
    assert [t.operator for t in run.trials] == ["seed", "magnitude", "continue"]
    counted = generations.rows(run)
    assert [row["trials"] for row in counted] == [[0], [2]]  # the last training of the step
    masks = run.folder.artifacts.load(run.trial(1).refs["support"])
    assert next(mask for mask in masks.values() if mask.ndim == 4).all()


def test_a_dense_network_with_a_name_reads_tables_too(tmp_path: Path) -> None:
    rows = "\n".join(f"{i},{i % 7},{i % 5},{i % 2}" for i in range(60))
    (tmp_path / "t.csv").write_text(f"a,b,c,d\n{rows}\n")
    data = ("--data", f"csv:{tmp_path / 't.csv'}?target=d", "--epochs", 0.2, "--retrain", 0)
    result = prune("lenet-300-100", tmp_path / "run", *data, "--target", 0.5, "--json")
    first, last = answered(result)["steps"]
    assert first["n_synapses"] == 3 * 300 + 300 * 100
    assert last["n_kept"] == first["n_synapses"] // 2
    config = (tmp_path / "run" / "config.toml").read_text()
    assert 'name = "mlp"' in config
    further = prune(tmp_path / "run", tmp_path / "more", "--target", 0.3, "--retrain", 0)
    assert further.exit_code == 0, further.output


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--target", "1"), "--target: expected a share above 0 and below 1"),
        (("--method", "magnitud"), "did you mean 'magnitude'"),
        (("--strategy", "gradua"), "--strategy"),
        (
            ("--strategy", "bucket"),
            "--bucket: expected a number above 0 with --strategy bucket, got none.",
        ),
        (("--method", "random", "--strategy", "bucket", "--bucket", "9"), "got 'random'; take"),
        (("--size", "10"), "none with --strategy one-shot"),
        (("--granularity", "layer"), "granularity"),
        (("--granularity", "filter", "--classifier"), "--classifier: expected prunings"),
        (("--recurrent", "i2h"), "--method magnitude does not apply: expected a network with"),
        (("--recurrent", "i2h"), "2 layers have none under --recurrent i2h; leave that out."),
        (("--protect", "both"), "2 layers have none under --protect both; leave that out."),
        (("--epochs", "3"), "--epochs: expected none for "),
        (("--target", "0.99999"), "at least 2 weights to stay, one in each of 2 layers"),
        (("--protect", "middle"), "error: --protect: input should be"),
        (("--set", "training.opimizer=sgd"), "error: --set: 'training.opimizer' is not"),
        (("--set", "algorithm.step=3"), "did you mean 'steps'"),
    ],
)
def test_mistakes_are_one_line_before_anything_is_trained(
    options: tuple[str, ...], expected: str, trained: Path, tmp_path: Path
) -> None:
    result = prune(trained, tmp_path / "run", *options)
    assert result.exit_code == 2, result.output
    assert expected in result.output
    assert not (tmp_path / "run").exists()
    assert "bug" not in result.output


def test_a_step_that_leaves_no_path_says_what_to_do(trained: Path, tmp_path: Path) -> None:
    result = prune(trained, tmp_path / "once", "--target", 0.9999)
    assert result.exit_code == 2
    said = " ".join(result.output.split())
    assert "--target: of 5 weights that 0.9999 leaves, 'magnitude' keeps none" in said
    assert "take a smaller target, or a method that takes the same share of each layer" in said
    assert not (tmp_path / "once").exists(), "nothing was trained"
    steps = ("--strategy", "iterative", "--steps", 2, "--target", 0.9999, "--retrain", 0)
    result = prune(trained, tmp_path / "run", *steps)
    assert result.exit_code == 2
    assert "no path of living synapses" in result.output
    assert "Take a smaller --target" in result.output


@pytest.mark.parametrize("method", ["magnitude", "obd"])
def test_a_bucket_is_shown_beside_all_saliencies(
    method: str, trained: Path, tmp_path: Path
) -> None:
    run = nasgen.load(trained)
    refs = run.trial(0).refs
    weights = run.folder.artifacts.load(refs["weights"])
    total = sum(np.abs(w).sum(dtype=float) for n, w in weights.items() if w.ndim == 4)
    words = ("--method", method, "--strategy", "bucket", "--target", 0.5, "--retrain", 0)
    if method == "magnitude":
        least = prune(trained, tmp_path / "run", *words, "--bucket", 1e-9)
        assert least.exit_code == 2, least.output
        assert f"All saliencies add up to {total:.4g}." in " ".join(least.output.split())
        assert "--bucket: expected a bucket that holds the least saliency" in least.output
        assert not (tmp_path / "run").exists()
    bucket = 0.1 * total if method == "magnitude" else 1e-3
    found = answered(prune(trained, tmp_path / "run", *words, "--bucket", bucket, "--json"))
    (plan,) = nasgen.load(tmp_path / "run").record["foreseen"]
    first, *steps = found["steps"]
    assert "saliency" not in first
    before = [step["saliency"] for step in steps]
    gone = [step["saliency_gone"] for step in steps]
    assert all(0 < one <= bucket * (1 + 1e-9) for one in gone)
    for i in range(len(steps) - 1):
        assert gone[i] > 0.9 * bucket, "only the last step may be smaller"
        assert before[i + 1] <= (before[i] - gone[i]) * (1 + 1e-6) or method == "obd"
    if method == "magnitude":
        assert before[0] == pytest.approx(total)
        assert f"add up to {total:.4g} over 49,200 weights" in plan
        assert "is 10 % of them" in plan
        assert f": {len(steps)} steps, if no training" in plan
    else:
        assert "is measured in each step" in plan
    assert plan in (tmp_path / "run" / "report.html").read_text().replace("&#39;", "'")


def test_a_plan_says_what_steps_will_leave(pruned: Path) -> None:
    assert nasgen.load(pruned).record["foreseen"] == [
        "2 steps leave 27,060, 4,920 of 49,200 weights"
    ]


def test_a_plan_says_which_layer_one_threshold_would_empty(trained: Path, tmp_path: Path) -> None:
    words = ("--granularity", "filter", "--target", 0.76, "--retrain", 0)
    found = {}
    for method in ("magnitude", "class-uniform"):
        answered(prune(trained, tmp_path / method, *words, "--method", method, "--json"))
        run = nasgen.load(tmp_path / method)
        weights = run.folder.artifacts.load(run.trial(1).refs["weights"])  # of a smaller network
        narrowest = min(len(w) for w in weights.values() if w.ndim > 1)
        found[method] = narrowest, run.record["foreseen"]
    steps = "1 step leaves 96 of 400 filters"
    n, (plan, bare) = found["magnitude"]
    assert (n, plan) == (1, steps)
    assert "leave a single filter of 300 in 1 layer" in bare
    n, (plan,) = found["class-uniform"]
    assert n >= 10
    assert plan == steps


def test_curvature_needs_a_task_that_gives_it(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nasgen.evaluation.tasks.base import Task
    from nasgen.evaluation.tasks.classification import Classification

    monkeypatch.setattr(Classification, "curvature", Task.curvature)
    result = prune(trained, tmp_path / "run", "--method", "obd")
    assert result.exit_code == 2
    assert "gives no curvature of its loss; prune by 'magnitude'" in result.output


def test_a_search_prunes_by_any_method(tmp_path: Path) -> None:
    tables = merge(TINY, {
        "algorithm": {
            "name": "genetic", "population": 3, "prunings": {"obd": 1.0, "class-distributed": 1.0},
            "mutations": {"relabel": 0.1}, "crossover_prob": 0.0, "protect": "first",
            "operators": {"obd": {"rows": 50, "granularity": "kernel"}},
        },
        "space": {"name": "dag-cnn", "max_channels": 8, "max_vertices": 5},
        "origin": {"network": None}, "training": {"epochs": 0.1}, "budget": {"trials": 8},
    })  # fmt: skip
    tables["origin"] = {}
    run = nasgen.run(tables, out=tmp_path / "run")
    assert {t.state for t in run.trials} == {"COMPLETE"}
    assert {"obd", "class-distributed"} <= {t.operator for t in run.trials}


def test_the_classifier_loses_weights_where_it_is_asked_to(trained: Path, tmp_path: Path) -> None:
    options = ["--classifier", "--method", "obd", "--target", 0.9, "--retrain", 0, "--json"]
    found = [
        answered(prune(trained, tmp_path / name, *options, f"--{name}"))
        for name in ("compact", "no-compact")
    ]
    first, last = found[0]["steps"]
    assert first["n_classifier"] == 1_000
    assert found[0]["wanted"] == round(0.1 * (FIRST + 1_000))
    assert 0 < last["n_classifier"] < 1_000
    assert last["n_kept"] == found[0]["wanted"]
    assert found[0]["left"] == last["n_synapses"] + last["n_classifier"] <= found[0]["wanted"]
    runs = [nasgen.load(tmp_path / name) for name in ("compact", "no-compact")]
    answers = [run.network(1).validation for run in runs]
    assert np.abs(answers[0] - answers[1]).max() < 1e-5
    masks = runs[1].folder.artifacts.load(runs[1].trial(1).refs["support"])
    weights = runs[1].folder.artifacts.load(runs[1].trial(1).refs["weights"])
    head = next(name for name in masks if "head" in name and masks[name].ndim > 1)
    assert int(masks[head].sum()) == last["n_classifier"]
    assert all(not weights[name][~mask].any() for name, mask in masks.items())
