"""Evolutionary synthesis as a search: generations, counts, equation 6, ends, other runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import nasgen
from nasgen.cli.app import app
from nasgen.errors import ConfigError
from nasgen.genotypes import Draft
from nasgen.runs import reading, suspicious
from nasgen.runs.garbage import collect_garbage
from nasgen.settings.config import merge

M, RETENTION = 3, 0.6
TINY: dict[str, Any] = {
    "data": {"source": "digits"},
    "space": {"max_channels": 32, "max_stages": 2},
    "algorithm": {
        "name": "synthesis", "population": 3, "parents": M, "generations": 3, "first_epochs": 1.0,
        "epochs": 0.2,
    },
    "environment": {
        "retention_clusters": RETENTION**0.5, "retention_synapses": RETENTION**0.5,
    },
    "training": {"fraction": 0.5},
    "finish": {"networks": 0},
    "ensemble": {"candidates": 3},
    "execution": {"executor": "serial"},
}  # fmt: skip


def synthesised(out: Path, **tables: Any) -> nasgen.Run:
    return nasgen.run(merge(TINY, tables), out=out)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> nasgen.Run:
    """An ancestor and three generations of three children, each of three parents."""
    return synthesised(tmp_path_factory.mktemp("synthesis") / "run")


def of(run: nasgen.Run, generation: int) -> list[Any]:
    return [t for t in run.trials if t.generation == generation]


def n_synapses(trial: Any) -> int:
    return int(trial.metrics["n_synapses"])


def test_every_generation_is_bred_from_the_one_before_without_replacement(run: nasgen.Run) -> None:
    assert [t.state for t in run.trials] == ["COMPLETE"] * 10
    (ancestor,) = of(run, 0)
    assert (ancestor.operator, ancestor.parents) == ("seed", ())
    for generation in (1, 2, 3):
        before = {t.seq for t in of(run, generation - 1)}
        for trial in of(run, generation):
            assert trial.operator == "intersect-mean"
            assert set(trial.parents) <= before
            assert len(set(trial.parents)) == len(trial.parents) == min(M, len(before))
            settings = trial.derivation["settings"]
            assert settings["environment"]["name"] == "factor", "the usual one is not written out"
            assert (settings["generation"], settings["m"]) == (generation, M)
            masks = run.folder.artifacts.load(trial.refs["support"])
            weights = run.folder.artifacts.load(trial.refs["weights"])
            assert all(not weights[name][~mask].any() for name, mask in masks.items())
    assert len({t.derivation["seed"] for t in run.trials if t.derivation}) == 9
    assert run.record["population"] == [t.seq for t in of(run, 3)]
    assert set(run.record["alive"]) == {t.seq for t in (*of(run, 0), *of(run, 3))}


def test_generations_keep_what_equation_6_says(run: nasgen.Run) -> None:
    """A child of one ancestor keeps R**(1/m); children of several then keep R of their parents."""
    means = [np.mean([n_synapses(t) for t in of(run, g)]) for g in (1, 2, 3)]
    kept = [np.mean([t.metrics["kept_synapses"] for t in of(run, g)]) for g in (1, 2, 3)]
    assert kept[0] == pytest.approx(RETENTION ** (1 / M), abs=0.06)
    for share, before, after in zip(kept[1:], means, means[1:], strict=False):
        assert share == pytest.approx(after / before, rel=0.02)
        # Sampling with R itself what three parents share would keep 0.6**3 = 0.22.
        assert RETENTION - 0.1 < share < RETENTION ** (1 / M)
    assert not any(t.metrics["over_shrunk"] for t in of(run, 1))


def test_all_that_reads_runs_reads_this_one(run: nasgen.Run, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run.path, copy)
    last = run.trials[-1]
    for command in (
        ["show", str(copy)],
        ["show", str(copy), "--trial", str(last.seq)],
        ["status", str(copy)],
        ["report", str(copy)],
        ["train", str(copy), "--trial", str(last.seq), "--epochs", "0.1"],
        ["tune", str(copy), "--trials", "1", "--epochs", "0.05"],
        ["resume", str(copy), "--verify"],
        ["resume", str(copy), "--trials", "+2"],
    ):
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, (command, done.output)
        if command[0] == "show" and len(command) == 2:
            assert "of all layers but the classifier; biases are not counted" in done.output
    assert "no trial was added: 'synthesis' asks for no more than the 10" in done.output
    plans = [leg["plan"] for leg in nasgen.load(copy).record["legs"]]
    assert [(plan["trials"], plan["generations"]) for plan in plans] == [(10, 4), (0, None)]
    assert run.ensemble.val_accuracy >= run.trial().metrics["val_accuracy"]
    assert run.network(last.seq).validation.shape[0] > 0
    again = nasgen.load(copy)
    collect_garbage(again)
    stored = again.folder.artifacts.stored()
    for trial in (*of(run, 0), *of(run, 3)):  # with what it compares, and from what it goes on
        assert {ref for n, ref in trial.refs.items() if n in ("weights", "support")} <= stored


def test_a_child_is_an_ancestor_that_stays_as_sparse_as_it_is(
    run: nasgen.Run, tmp_path: Path
) -> None:
    last = run.trials[-1]
    origin = {"network": f"{run.path}:{last.seq}"}
    section = {"population": 2, "parents": 1, "generations": 1, "ancestors": 2, "range": 2}
    tables = merge(TINY, {"origin": origin, "algorithm": section})
    del tables["space"]  # which is that of the run it comes from
    second = nasgen.run(tables, out=tmp_path / "run")
    assert second.config.space.options["max_stages"] == 2
    ancestors = of(second, 0)
    assert len(ancestors) == 2
    masks = run.folder.artifacts.load(last.refs["support"])
    for trial in ancestors:
        assert trial.goes_on
        own = second.folder.artifacts.load(trial.refs["support"])
        assert [int(m.sum()) for m in own.values()] == [int(m.sum()) for m in masks.values()]
    assert len({t.refs["weights"] for t in ancestors}) == 2, "they differ in their draws"
    assert len({t.tags for t in ancestors}) == 1, "and meet by tag"
    assert all(n_synapses(t) < n_synapses(last) for t in of(second, 1))


def without(run: nasgen.Run, lost: str, copy: Path, is_damaged: bool = False) -> Path:
    """Return a copy of a run whose last trial has lost a file."""
    shutil.copytree(run.path, copy)
    file = copy / "artifacts" / f"{run.trials[-1].refs[lost]}.safetensors"
    if is_damaged:
        file.write_bytes(file.read_bytes()[:-9])
    else:
        file.unlink()
    return file


@pytest.mark.parametrize("lost", ["weights", "support"])
def test_an_ancestor_that_has_lost_a_file_says_which_and_what_is_trained_instead(
    lost: str, run: nasgen.Run, tmp_path: Path
) -> None:
    last = run.trials[-1]
    file = without(run, lost, tmp_path / "copy")
    network = f"{tmp_path / 'copy'}:{last.seq}"
    tables = merge(TINY, {"origin": {"network": network}})
    (text,) = suspicious.cautions(reading.resolved(tables))
    be = "are" if lost == "weights" else "is"
    assert text == (
        f"origin.network: {network}: the {lost} of trial {last.seq} {be} missing ({file} is "
        "gone), so the network is trained from scratch with all synapses of its layers instead of "
        f"{n_synapses(last):,}; put back from a copy what is gone, or name a trial whose weights "
        "are kept (store.keep_weights = 'all' keeps those of all)."
    )
    with pytest.raises(ConfigError, match=r"algorithm\.first_epochs.* got 0 \(origin") as caught:
        reading.resolved(merge(tables, {"algorithm": {"first_epochs": 0.0}}))
    assert len(caught.value.problems) == 1
    assert f"the {lost} of trial {last.seq}" in str(caught.value)


@pytest.mark.parametrize("network", ["lenet", None])
def test_what_was_never_trained_is_no_ancestor_as_it_is(network: str | None) -> None:
    tables = merge(TINY, {"algorithm": {"first_epochs": 0.0}})
    if network is not None:
        tables = merge({**tables, "space": {}}, {"origin": {"network": network}})
    what = "that the search space draws" if network is None else "'lenet'"
    said = f"first_epochs: expected a number above 0, .* the network {what}, has no trained weights"
    with pytest.raises(ConfigError, match=said) as caught:
        reading.resolved(tables)
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize("lost", ["weights", "support"])
def test_an_ancestor_whose_file_is_damaged_is_refused_with_its_trial(
    lost: str, run: nasgen.Run, tmp_path: Path
) -> None:
    last = run.trials[-1]
    without(run, lost, tmp_path / "copy", is_damaged=True)
    network = f"{tmp_path / 'copy'}:{last.seq}"
    with pytest.raises(ConfigError) as caught:
        reading.resolved(merge(TINY, {"origin": {"network": network}}))
    (said,) = caught.value.problems
    assert said.startswith(f"origin.network: {network}: the {lost} of trial {last.seq} cannot be")
    assert "is damaged" in said
    assert said.endswith("Put the file back from a copy, or name another trial.")


def test_it_ends_where_the_drop_is_too_large_and_says_so(tmp_path: Path) -> None:
    short = {"parents": 1, "population": 1, "drop": 0.01, "epochs": 0.02, "generations": 9}
    environment = {"retention_clusters": 0.3, "retention_synapses": 0.3}
    run = synthesised(tmp_path / "run", algorithm=short, environment=environment)
    assert len(run.trials) < 10
    first, *others = [t.objectives["val_accuracy"] for t in run.trials]
    assert others[-1] < first - 0.01
    assert all(value >= first - 0.01 for value in others[:-1])
    (text,) = [text for text in run.record["cautions"] if "algorithm.drop" in text]
    assert text.startswith(f"the search ended with generation {len(others)}: the best value in it")
    page = run.report_path.read_text()
    assert "algorithm.drop" in page
    assert 'id="generations"' in page
    shown = CliRunner().invoke(app, ["show", str(run.path)]).output
    assert "cluster_efficiency" in shown.replace("\n", "")
    for text in (page[page.index('id="generations"') : page.index('id="tradeoffs"')], shown):
        assert "verlap" not in text, "one network a generation is compared with none"


def test_children_whose_parents_share_too_little_are_counted_where_they_are_shown(
    run: nasgen.Run, tmp_path: Path
) -> None:
    """In a kernel `product` has what all owners have, each of whom was thinned apart."""
    algorithm = {"mating": "product", "generations": 2, "first_epochs": 0.1, "epochs": 0.05}
    kept = {"name": "random", "retention_clusters": 0.9, "retention_synapses": 0.5}
    own = synthesised(tmp_path / "run", algorithm=algorithm, environment=kept)
    over = {g: [t.metrics["over_shrunk"] for t in of(own, g)] for g in (1, 2)}
    assert over == {1: [False] * 3, 2: [True] * 3}
    for found, is_said in ((own, True), (run, False)):
        table = CliRunner().invoke(app, ["show", str(found.path), "--generations"]).output
        page = found.report_path.read_text()
        assert ("over_shrunk" in table, "over-shrunk" in page) == (is_said, is_said)
    assert "3 networks are over-shrunk: what their parents share" in own.report_path.read_text()


@pytest.mark.usefixtures("registry_restored")
def test_a_lineage_that_collapsed_ends_the_search_and_says_so(tmp_path: Path) -> None:
    @nasgen.mating("barren", n_parents=(1, 9))
    def barren(name: str, weights: Any, supports: Any, rng: Any) -> Any:
        return np.zeros(weights[0].shape), np.zeros(weights[0].shape, bool)

    run = synthesised(tmp_path / "run", algorithm={"mating": "barren", "first_epochs": 0.1})
    assert [(t.state, t.failure_kind) for t in run.trials[1:]] == [("FAILED", "collapsed")] * 3
    (text,) = [text for text in run.record["cautions"] if "none of its networks is left" in text]
    assert "generation 1" in text
    assert run.trial().seq == 0


def test_controls_are_made_by_prunings_in_the_same_search(tmp_path: Path) -> None:
    control = {
        "crossover_prob": 0.0, "prunings": {"random": 1.0}, "retention": 0.5, "population": 1,
        "parents": 1, "generations": 2, "first_epochs": 0.1, "epochs": 0.1,
    }  # fmt: skip
    run = synthesised(tmp_path / "run", algorithm=control)
    assert [t.operator for t in run.trials] == ["seed", "random", "random"]
    living = [int(t.metrics.get("n_living", t.metrics["n_params"])) for t in run.trials]
    assert living[0] > living[1] > living[2]


def test_layers_that_cannot_be_made_smaller_are_named_and_the_others_are(tmp_path: Path) -> None:
    """Dropout draws for all channels at once, so what it reads keeps its channels."""
    draft = Draft()
    here = draft.add("conv", [draft.input], channels=12, kernel=3)
    here = draft.add("dropout", [here], rate=0.2)
    here = draft.add("conv", [here], channels=12, kernel=3)
    draft.connect(draft.add("conv", [here], channels=12, kernel=3), draft.output)
    file = tmp_path / "network.json"
    file.write_text(json.dumps({"genotype": draft.freeze().to_json()}))
    short = {"parents": 1, "population": 1, "generations": 1, "first_epochs": 0.1, "epochs": 0.1}
    cut = {"cluster": "filter", "retention_clusters": 0.4, "retention_synapses": 0.9}
    tables = {"algorithm": short, "environment": cut, "origin": {"network": str(file)}}
    run = synthesised(tmp_path / "run", **tables)
    (text,) = suspicious.cautions(reading.resolved(merge(TINY, tables)))
    assert text.startswith("origin.network: all channels of 'dropout', and of what such a layer")
    widths = [
        v.channels for v in nasgen.Dag.from_json(run.trials[1].genotype).inner if v.op == "conv"
    ]
    assert widths[0] == 12
    assert max(widths[1:]) < 12


def test_a_network_without_weights_is_no_ancestor(tmp_path: Path) -> None:
    draft = Draft()
    here = draft.add("relu", [draft.add("max_pool", [draft.input])])
    draft.connect(here, draft.output)
    file = tmp_path / "network.json"
    file.write_text(json.dumps({"genotype": draft.freeze().to_json()}))
    with pytest.raises(ConfigError, match=r"whose layers have none \(max_pool, relu\)") as caught:
        synthesised(tmp_path / "run", origin={"network": str(file)})
    assert len(caught.value.problems) == 1
    assert not (tmp_path / "run").exists()
