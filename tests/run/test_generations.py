"""What a run says of networks that were made of their parents' weights: ledger, page, terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import nasgen
from nasgen.cli.app import app
from nasgen.errors import ConfigError
from nasgen.phenotype.census import Census
from nasgen.report.numbers import percent, quantity
from nasgen.runs import reading
from nasgen.runs.garbage import collect_garbage
from nasgen.runs.generations import rows
from nasgen.settings.config import merge
from nasgen.store.trial import Trial

TINY: dict[str, Any] = {
    "data": {"source": "digits"},
    "space": {"max_channels": 32, "max_stages": 2},
    "algorithm": {
        "name": "synthesis", "population": 3, "parents": 2, "generations": 3, "epochs": 0.2,
        "selection": "band", "similarity": 0.8,
    },
    "environment": {"name": "factor", "retention_clusters": 0.7},
    "training": {"epochs": 0.2, "fraction": 0.5},
    "execution": {"executor": "serial"},
    "store": {"keep_weights": "pareto"},
    "finish": {"networks": 0},
}  # fmt: skip

SHORT: dict[str, Any] = {"algorithm": {"epochs": 0.1}, "training": {"epochs": 0.1}}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> nasgen.Run:
    found = nasgen.run(TINY, out=tmp_path_factory.mktemp("generations") / "run")
    collect_garbage(found)
    return found


def derived(run: nasgen.Run, generation: int) -> list[Trial]:
    return [t for t in run.trials if t.derivation is not None and t.generation == generation]


def census(run: nasgen.Run, trial: Trial) -> Census:
    return Census.of(run.folder.artifacts.load(trial.refs["clusters"]))


def test_every_network_keeps_its_clusters_dense_ones_too(run: nasgen.Run) -> None:
    assert {t.state for t in run.trials} == {"COMPLETE"}
    for trial in run.trials:
        found = census(run, trial)
        assert found.n_synapses > 0
        if trial.refs.keys() >= {"support"} and run.folder.artifacts.exists(trial.refs["support"]):
            masks = run.folder.artifacts.load(trial.refs["support"])
            there = [m for n, m in masks.items() if m.ndim > 1 and "head" not in n]
            assert found.n_synapses == sum(int(m.sum()) for m in there)
            kernels = sum(int(m.reshape(*m.shape[:2], -1).any(-1).sum()) for m in there)
            assert found.count("kernel") == kernels
    dense = [t for t in run.trials if not t.is_sparse]
    assert any(census(run, t).count("kernel") for t in dense)


def test_a_network_without_its_support_is_not_said_to_be_trained_again(run: nasgen.Run) -> None:
    there = run.folder.artifacts.exists
    gone = [t for t in run.trials if not there(t.weights_ref)]
    lost = [t for t in gone if t.is_sparse and not there(t.refs["support"])]
    assert lost
    for trial in gone:
        done = CliRunner().invoke(app, ["export", f"{run.path}:{trial.seq}"])
        assert done.exit_code != 0
        said = " ".join(done.output.split())
        assert f"the weights of trial {trial.seq} were not kept" in said
        assert ("nor is its support there" in said) == (trial in lost)
        assert ("trains it again" in said) == (trial not in lost)


def test_what_is_selected_by_similarity_is_selected_again(run: nasgen.Run) -> None:
    done = CliRunner().invoke(app, ["resume", str(run.path), "--verify", "--quiet"])
    assert done.exit_code == 0, done.output
    assert "differ" not in done.output


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"similarity": 1.5}, "algorithm.similarity .*expected a share in .0, 1., got 1.5"),
        ({"selection": "closest"}, "'closest', which takes no target; 'band' does"),
        ({"similarity_width": -0.1}, "algorithm.similarity_width .*a share in .0, 1., got -0.1"),
        ({"similarity_cluster": "filters"}, "algorithm.similarity_cluster: .*'kernel' or 'filter'"),
        (
            {"selection": "random", "similarity": None, "similarity_cluster": "filter"},
            "takes no cluster; 'closest', 'farthest', 'band' do, got 'filter'",
        ),
        ({"selection": "clsest"}, "selection 'clsest' is not registered; did you mean 'closest'"),
    ],
)
def test_similarities_that_cannot_be_aimed_at_are_named(section: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        reading.resolved(TINY, overrides=[{"algorithm": section}])


def test_a_selection_named_by_its_dotted_path_is_given_what_members_by_name_get(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clusters, and all parents of a child at once: the same children come of it."""
    (tmp_path / "my_selection_x.py").write_text(
        "from nasgen.engine import similar\n\n\n"
        "def mine(individuals, k, rng, supports, target=0.9, width=0.05, cluster='kernel'):\n"
        "    return similar.band(individuals, k, rng, supports, target, width, cluster)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    aimed = {"similarity_width": 0.02, "similarity_cluster": "filter", "generations": 2}
    names = ("band", "my_selection_x:mine")
    found = [
        reading.resolved(TINY, overrides=[{"algorithm": {**aimed, "selection": name}}])
        for name in names
    ]
    assert [run.selects_by for run in found] == [frozenset({"clusters"})] * 2
    own, other = (
        nasgen.run(merge(TINY, {"algorithm": {**aimed, "selection": name}}), out=tmp_path / str(i))
        for i, name in enumerate(names)
    )
    assert [t.parents for t in own.trials] == [t.parents for t in other.trials]
    assert [t.key for t in own.trials] == [t.key for t in other.trials]


def test_rows_hold_the_numbers_of_the_ledger(run: nasgen.Run) -> None:
    found = {row["generation"]: row for row in rows(run)}
    generations = {t.generation for t in run.trials if t.derivation is not None}
    assert len(generations) > 1
    assert generations <= found.keys()
    for generation in generations:
        row, trials = found[generation], derived(run, generation)
        assert row["trials"] == [t.seq for t in trials]
        accuracies = [t.metrics["val_accuracy"] for t in trials]
        assert row["val_accuracy"] == pytest.approx(np.mean(accuracies))
        assert row["best_val_accuracy"] == max(accuracies)
        counts = [census(run, t).counts for t in trials]
        for name in ("n_synapses", "n_kernels", "n_filters"):
            assert row[name] == pytest.approx(np.mean([count[name] for count in counts]))
            recorded = [t.metrics[name] for t in trials if name in t.metrics]
            assert recorded
            assert set(recorded) <= {count[name] for count in counts}
        assert row["density"] == pytest.approx(1 / row["synaptic_efficiency"])


def test_what_pairs_share_is_what_is_shown(run: nasgen.Run) -> None:
    row = next(r for r in rows(run) if len(r["trials"]) > 1)
    own = [
        {(n, i) for n, part in census(run, run.trials[seq]).clusters().items() for i in part}
        for seq in row["trials"]
    ]
    pairs = [len(a & b) / len(a) for a in own for b in own if a is not b]
    assert row["similarity"]["kernel"]["tags"]["overlap"] == pytest.approx(np.mean(pairs))


def test_the_report_and_the_terminal_show_them(run: nasgen.Run) -> None:
    found = rows(run)
    page = run.report_path.read_text()
    assert '<section id="generations">' in page
    section = page[
        page.index('<section id="generations">') : page.index('<section id="tradeoffs">')
    ]
    last = found[-1]
    for text in (
        quantity("n_synapses", last["n_synapses"]),
        quantity("n_kernels", last["n_kernels"]),
        quantity("val_accuracy", last["val_accuracy"]),
        percent(last["density"]),
    ):
        assert text in section, text
    shared = [row["similarity"]["kernel"]["tags"]["overlap"] for row in found]
    assert any(percent(share) in section for share in shared if share is not None)
    done = CliRunner().invoke(app, ["show", str(run.path), "--generations", "--json"])
    assert [json.loads(line) for line in done.stdout.splitlines()] == found
    table = CliRunner().invoke(app, ["show", str(run.path)]).stdout
    assert "synaptic_efficiency" in table
    lines = CliRunner().invoke(app, ["show", str(run.path), "--history", "--json"]).stdout
    counts = [json.loads(line).get("counts") for line in lines.splitlines()]
    assert any(
        c and c["n_synapses"] in {t.metrics.get("n_synapses") for t in run.trials} for c in counts
    )


def test_clusters_that_are_lost_leave_gaps_and_no_error(run: nasgen.Run, tmp_path: Path) -> None:
    row = next(r for r in rows(run) if len(r["trials"]) > 1)
    lost = [run.folder.artifacts.path(run.trials[seq].refs["clusters"]) for seq in row["trials"]]
    moved = [path.rename(tmp_path / path.name) for path in dict.fromkeys(lost)]
    (lost[0]).write_bytes(b"damaged")
    try:
        again = next(r for r in rows(run) if r["generation"] == row["generation"])
        assert again["similarity"]["kernel"]["tags"]["overlap"] is None
        assert again["val_accuracy"] == row["val_accuracy"]
        run.report()
    finally:
        for path in moved:
            path.rename(run.folder.artifacts.folder / path.name)


def test_a_search_selects_by_similarity_and_a_run_without_derivations_has_no_such_section(
    tmp_path: Path,
) -> None:
    section = {"name": "genetic", "population": 3, "selection": "farthest"}
    tables = {"budget": {"trials": 8}, "space": {"max_channels": 10, "max_vertices": 6}}
    run = nasgen.run(
        TINY | {"environment": {}, "algorithm": section} | tables, out=tmp_path / "run"
    )
    assert {t.state for t in run.trials} == {"COMPLETE"}
    assert all(run.folder.artifacts.exists(t.refs["clusters"]) for t in run.trials)
    assert rows(run) == []
    assert 'id="generations"' not in run.report_path.read_text()
    done = CliRunner().invoke(app, ["show", str(run.path), "--generations"])
    assert "no network of this run was made of its parents' weights" in done.stdout
    assert len(nasgen.resume(run.path, trials="+3").trials) == 11


def test_the_report_says_that_ancestors_were_trained_apart(run: nasgen.Run, tmp_path: Path) -> None:
    apart = "ancestors were trained apart"
    assert apart not in run.report_path.read_text()
    section = {"name": "synthesis", "population": 2, "parents": 2, "generations": 1, "ancestors": 2}
    found = nasgen.run(merge(TINY | {"algorithm": section}, SHORT), out=tmp_path / "run")
    assert f"Their 2 {apart}" in found.report_path.read_text()
