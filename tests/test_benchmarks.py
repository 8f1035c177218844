"""The scripts of benchmarks/ start, and the tables of the documents say what is missed."""

from __future__ import annotations

import importlib
import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nasgen import registry
from nasgen.bench import play
from nasgen.bench.base import find
from nasgen.bench.play import Played
from nasgen.bench.summary import summary
from nasgen.runs import reading
from nasgen.settings import config

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
MARKS = "before\n<!-- figures: begin -->\nold\n<!-- figures: end -->\nafter\n"
STAMP = {"commit": "abc", "measured": "now", "machine": {"processor": "Some CPU", "cores": 3}}


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Return what imports a script of benchmarks/ by its name."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


@pytest.fixture
def figures(script: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Return figures.py, at work on an empty folder of results and documents of its own."""
    module = script("figures")
    results = tmp_path / "results"
    results.mkdir()
    monkeypatch.setattr(module, "RESULTS", results)
    marked = {
        "FIGURES": ["figures"], "README": ["headlines"], "WORTH": [*script("worth").page([])],
        "PAPERS": [*module.REPRODUCED, "one-parent"],
        "SYNTHESIS": ["costs", "modes", "targets"],
        "PRUNING": ["stier2021-pruning", "stier2021-rnn", "stier2021-rnn-quick", "times"],
        "PRIORS": ["stier2021-priors", "times"], "GROWTH": ["growing"],
    }  # fmt: skip
    for part, (document, *_) in (module.BESIDE | module.SHOWN).items():
        marked.setdefault(document, []).append(part)
    for document, names in marked.items():
        file = tmp_path / document
        file.write_text("".join(MARKS.replace("figures", name) for name in names))
        monkeypatch.setattr(module, document, file)
    return module


# ---- every script --------------------------------------------------------------------------------


@pytest.mark.parametrize("file", sorted(BENCHMARKS.glob("*.py")), ids=lambda file: str(file.stem))
def test_a_script_loads_and_explains_itself(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    if "argparse" not in file.read_text():
        runpy.run_path(str(file), run_name="loaded")
        return
    monkeypatch.setattr(sys, "argv", [file.name, "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(file), run_name="__main__")
    assert end.value.code == 0
    assert f"usage: {file.name}" in capsys.readouterr().out


def test_feature_sets_are_timed_on_the_graphs_that_they_read(script: Callable[[str], Any]) -> None:
    module = script("features")
    names = module.feature_sets()
    assert {"structural", "stier2021"} <= set(names)
    assert not {"nasbench201", "nasbench-macro", "zero-cost"} & set(names)
    rng = np.random.default_rng(0)
    dag = module.grown(module.DagCnn(max_vertices=module.N_VERTICES), rng)
    assert len(dag.inner) == module.N_VERTICES
    for name in names:
        assert np.isfinite(registry.resolve("features", name)().encode(dag)).all()


def test_networks_that_stand_for_others_are_legal(script: Callable[[str], Any]) -> None:
    module = script("morphisms")
    assert module.SPACE.problems(module.network()) == []


def test_every_search_of_the_table_has_settings_that_are_read(
    figures: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)  # where the searches are run
    for arm in figures.ARMS.values():
        pairs = list(zip(arm.arguments[::2], arm.arguments[1::2], strict=True))
        sets = [figures.placed(value) for flag, value in pairs if flag == "--set"]
        name = dict(pairs).get("--algorithm", "genetic")
        tables = config.merge({"algorithm": {"name": name}}, config.assignments(sets))
        checked = reading.resolved(tables)
        if checked.config.origin.network is not None:
            assert checked.origin is not None


# ---- the table -----------------------------------------------------------------------------------


def test_a_missed_goal_stands_in_the_table_as_missed(figures: Any) -> None:
    printed = [
        {"ledger": "memory", "per_second": 900.0},
        {"ledger": "sqlite", "per_second": 200.0},
        {"ledger": "journal", "per_second": 350.0},
    ]
    # As a shell leaves it, and as figures.py keeps it.
    text = "\n".join(map(json.dumps, printed))
    (figures.RESULTS / "engine.json").write_text(text + "\n")
    command = "python benchmarks/training_loop.py --rounds 3"  # as it was run, not as it is now
    output = [{"time_ratio": 1.25, "time_ratio_to_plain": 0.9}]
    kept = {"command": command, **STAMP, "output": output}
    (figures.RESULTS / "training_loop.json").write_text(json.dumps(kept, indent=1))
    figures.write_table()
    written = figures.FIGURES.read_text()
    assert written.startswith("before\n<!-- figures: begin -->\n| command, and what it measured | ")
    assert written.endswith("<!-- figures: end -->\nafter\n")
    assert "\nold\n" not in written
    rows = [line for line in written.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == 5  # two commands with three figures, nothing of what was not measured
    assert rows[0] == "| `python benchmarks/engine.py` | | | |"
    assert rows[1].endswith("ledger `memory` | 900 | ≥ 1,000 | **no** |")
    assert rows[2].endswith("ledger `journal` | 350 | ≥ 300 | yes |")
    assert rows[3] == f"| `{command}` | | | |"
    assert "1.25 × (0.90 × of a plain one) | ≤ 1.10 × | **no** |" in rows[4]
    assert "Machine: 3 cores, Some CPU." in written
    headlines = figures.README.read_text()
    assert "| what | measured | control |\n|---|---|---|\n<!-- headlines: end -->" in headlines
    figures.write_table()
    assert figures.FIGURES.read_text() == written
    assert figures.README.read_text() == headlines


def test_the_documents_hold_what_lies_in_the_results(
    script: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module = script("figures")
    names = [n for n, v in vars(module).items() if isinstance(v, Path) and v.suffix == ".md"]
    assert {*names} > {"README", "FIGURES", "WORTH"}
    before = {name: getattr(module, name).read_text() for name in names}
    for name, text in before.items():
        monkeypatch.setattr(module, name, tmp_path / name)
        (tmp_path / name).write_text(text)
    module.write_table()
    assert before == {name: (tmp_path / name).read_text() for name in before}


def test_the_first_headlines_that_are_measured_stand_in_the_readme_beside_their_controls(
    script: Callable[[str], Any],
) -> None:
    headlines, text = script("headlines"), (ROOT / "README.md").read_text()
    lines = [line for line, *_ in script("figures").lines()]
    shown = text.split("<!-- headlines: begin -->")[1].split("<!-- headlines: end -->")[0]
    rows = [line.split(" | ") for line in shown.splitlines() if line.startswith("| ")][1:]
    measured = [headline.what for headline, *_ in headlines.measured(lines)]
    assert [row[0].removeprefix("| ") for row in rows] == measured
    assert len(rows) == headlines.N_SHOWN == 5
    assert all(len(row) == 3 and any(c.isdigit() for c in row[1]) for row in rows)


def test_figures_of_several_machines_say_which(figures: Any) -> None:
    for name, processor in (("training_loop", "Quick"), ("engine", "Slow")):
        output = [{"ledger": "memory", "per_second": 1.0, "time_ratio": 1.0,
                   "time_ratio_to_plain": 1.0}]  # fmt: skip
        kept = {**STAMP, "machine": {"cores": 2, "processor": processor}, "output": output}
        (figures.RESULTS / f"{name}.json").write_text(json.dumps(kept))
    table = figures.table()
    assert "| `python benchmarks/engine.py` | on B | | |" in table
    assert "| `python benchmarks/training_loop.py` | on A | | |" in table
    assert "Machines: A: 2 cores, Quick; B: 2 cores, Slow." in table


def test_searches_are_medians_over_seeds(figures: Any) -> None:
    def row(seed: int, best: float) -> dict[str, Any]:
        part = {"test_accuracy": best, "n_params": 1000}
        return {
            "arm": "cifar10-20m", "seed": seed, "command": "nasgen search", **STAMP,
            "best": part, "ensemble": part, "wall_s": 1300.0 + seed,
            "trials": {"complete": 2, "failed": 1, "filtered": 4},
        }  # fmt: skip

    rows = [row(seed, best) for seed, best in enumerate((0.80, 0.85, 0.86))]
    (figures.RESULTS / "searches.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = {line.what.split(", ")[-2]: line for line, *_ in figures.lines() if "test" in line.what}
    best, ensemble = found["best network"], found["ensemble"]
    assert (best.measured[:7], best.goal, best.reached) == ("85.00 %", "≥ 84 %", True)
    assert (ensemble.goal, ensemble.reached) == ("", None)
    wall = next(line for line, *_ in figures.lines() if "wall" in line.what)
    assert (wall.measured, wall.reached) == ("1301 s, 3 trials", False)
    assert figures.table().count("| `nasgen search` | | | |\n") == 1
    assert "ensemble, test | 85.00 % | – | – |" in figures.table()


def benched(first: str, second: str) -> dict[str, Any]:
    """Return what the bench prints where one algorithm has the independent means."""
    optimum = find("nasbench201").optimum("c10v_valid_200")
    noise = 0.01 * np.resize([-1.0, 1.0], 30)[:, None]
    slow, fast = np.full((30, 120), 91.43) + noise, np.full((30, 120), 91.50) + noise
    slow[:, 51:] = 91.56 + noise
    slow[:, 109:] = fast[:, 59:] = optimum
    asked = np.full(30, 120)
    tested = slow + 2.73  # the independent test accuracies
    tested[:, 51:] += 0.02
    runs = {first: Played(slow, tested, asked), second: Played(fast, fast, asked)}
    return summary("nasbench201", runs, [50, 100], 30)


def predicted(kendall: float, top: float) -> dict[str, Any]:
    def scores(a: float, b: float) -> dict[str, Any]:
        return {"kendall": {"mean": a, "sd": 0.0}, "top_kendall": {"mean": b, "sd": 0.0}}

    return {
        "source": "nasbench201", "n_labels": 100, "repeats": 20, "size": scores(0.4, 0.0),
        "predictors": {"ridge": scores(0.6, 0.09), "gp": scores(kendall, top)},
    }  # fmt: skip


def transferred(tau: float) -> dict[str, Any]:
    own = {"transfer": {"kendall": tau, "chosen": 0.5 + tau / 2},
           "size alone": {"kendall": 0.4, "chosen": 0.7}}  # fmt: skip
    row = {"left_out": "cifar10", "sets": 5, "n": 400, "predictors": own}
    return {"source": "transfer", "n_labels": 0, "left_out": [row], "sets": []}


def filtered(factor: float) -> dict[str, Any]:
    return {
        "bench": "nasbench201", "seeds": 5, "queries": 300, "fewer_trainings": factor,
        "fewer_trainings_95": [factor, factor], "trainings_with_filter": 300 / factor,
    }  # fmt: skip


def pairs(gain: float) -> list[dict[str, Any]]:
    settings = {"data": "mnist:DIR", "trials": {"plain": 100, "screened": 60}}
    return [
        {"arm": arm, "seed": seed, "settings": settings, **STAMP, "best": 0.8 + own + seed / 1e4}
        for seed in range(3)
        for arm, own in (("plain", 0.0), ("screened", gain * (1 + seed / 10)))
    ]


def engines(rate: float, best: float) -> list[dict[str, Any]]:
    return [
        {"engine": name, "seeds": 2, "best": {"50": 1.0, "600": b}, "evaluations_per_s": r}
        for name, r, b in (("nasgen", rate, best), ("golem", 7.5, 60.0))
    ]


def grown(gain: float) -> list[dict[str, Any]]:
    def row(seed: int, arm: str, best: float, ensemble: float, of: str = "new") -> dict[str, Any]:
        return {
            "arm": arm, "seed": seed, "scale": "quick", "settings": of, "train_flops": 9.0,
            "best": {"test_accuracy": best}, "ensemble": {"test_accuracy": ensemble},
        }  # fmt: skip

    old = row(0, "growth", 0.1, 0.1, "old")  # of earlier settings: it counts no more
    return [old] + [
        found
        for seed, more in enumerate((0.0, 0.001))
        for found in (
            row(seed, "growth", 0.80, 0.80 + gain + more),
            row(seed, "lineage", 0.80 - gain, 0.80),
            row(seed, "independent", 0.80, 0.80),
            row(seed, "shared-flops", 0.80, 0.80),
        )
    ]


def inherited(gain: float) -> list[dict[str, Any]]:
    key = {"data": "cifar10", "seed": 0, "fraction": 0.25, "epochs": 5.0, "group": "mutations"}
    arms = [("cold", 1.0, 0.0), ("inherited", 0.5, gain), ("unplanned", 0.5, 0.0)]
    rows: list[dict[str, Any]] = [
        key | {"child": child, "arm": arm, "share": share, "val_accuracy": 0.5 + child / 50 + own}
        for child in range(3)
        for arm, share, own in arms
    ]
    return [*rows, key | {"child": 9, "arm": "cold", "share": 1.0, "val_accuracy": None}]


def shorter(share: float) -> list[dict[str, Any]]:
    settings = {"data": "mnist:DIR", "epochs": 9.0}
    return [
        {
            "arm": arm, "seed": 0, "settings": settings, "best": 0.9, "train_s": s, "images": s,
            "n_trials": 9, "n_pruned": 0, "trace": [[s, s, 0.9]],
        }
        for arm, s in (("full", 10.0), ("median", 10 * share))
    ]  # fmt: skip


def morphed(ms: float, plan_ms: float) -> dict[str, Any]:
    rows = {"branch": {"ms": 1.0, "plan_ms": 1.0}, "kernel": {"ms": ms, "plan_ms": plan_ms}}
    return {"n_values": 1_000_000, "morphisms": rows}


def summed_up(met: bool) -> list[Any]:
    """Return what `nasgen reproduce` prints of a paper: its rows, then one line for all."""
    rows = [
        {"arm": "factor", "setting": f"generation {n}", "metric": metric, "paper": paper,
         "ours": ours, "ci95": None}
        for n, ours in ((5, 5.6), (7, 12.3))
        for metric, paper, ours in (("synaptic efficiency", 5.2, ours), ("accuracy", None, 0.95))
    ]  # fmt: skip
    targets = [{"name": "efficiency", "wanted": "5.2 ± 20 %", "got": "5.6", "met": met}]
    machine = {"processor": "Some CPU", "cores": 3}
    last = {"paper": "shafiee2016", "scale": "quick", "machine": machine, "seconds": 300.0,
            "rows": rows, "targets": targets}  # fmt: skip
    return [{"arm": "factor", "seed": 0}, last]


def lined(accuracy: float) -> list[Any]:
    row = {"data": "cifar10", "seed": 0, "epochs": 30.3, "share": 0.6, "scratch": 0.85}
    return [row | {"grown": accuracy}]


# Output that reaches every goal, and output that reaches none.
OUTPUTS: dict[str, tuple[list[Any], list[Any]]] = {
    "bench-nasbench201": ([benched("local", "genetic+rank")], [benched("genetic+rank", "local")]),
    "predictors-nasbench201": ([predicted(0.7, 0.19)], [predicted(0.67, 0.17)]),
    "filter": ([filtered(1.8)], [filtered(1.6)]),
    "transfer": ([transferred(0.6)], [transferred(0.3)]),
    "screened": (pairs(0.001), pairs(-0.02)),
    "features": (
        [{"features": "stier2021", "per_cpu_second": 2500}],
        [{"features": "stier2021", "per_cpu_second": 1500}],
    ),
    "golem": (engines(900.0, 70.0), engines(5.0, 50.0)),
    "morphisms": ([morphed(10.0, 10.0)], [morphed(60.0, 30.0)]),
    "shared_parameters": (
        [
            [
                {
                    "kind": "wider",
                    "relatives": 10,
                    "shared_to_parent": 1.6,
                    "shared_to_mean_child": 1.5,
                    "copies_to_parent": 10.0,
                }
            ]
        ],
        [
            [
                {
                    "kind": "grown",
                    "relatives": 10,
                    "shared_to_parent": 2.6,
                    "shared_to_mean_child": 2.5,
                    "copies_to_parent": 10.0,
                }
            ]
        ],
    ),
    "support": (
        [{"multiply_adds": [4, 1], "masked_ratio": 1.0, "compacted_ratio": 0.3}],
        [{"multiply_adds": [4, 1], "masked_ratio": 1.1, "compacted_ratio": 0.3}],
    ),
    "painter2018": (grown(0.02), grown(-0.02)),
    "shafiee2016": (summed_up(True), summed_up(False)),
    "lineage": (lined(0.86), lined(0.84)),
    "heredity": (inherited(0.01), inherited(-0.01)),
}


@pytest.mark.parametrize("reached", [True, False])
@pytest.mark.parametrize("name", OUTPUTS)
def test_each_output_is_read_beside_its_goals(figures: Any, name: str, reached: bool) -> None:
    text = "\n".join(map(json.dumps, OUTPUTS[name][not reached]))
    ending = "jsonl" if figures.TOOLS[name].keeps_rows else "json"
    (figures.RESULTS / f"{name}.{ending}").write_text(text)
    found = list(figures.lines())
    goals = [line for line, *_ in found if line.goal]
    assert goals
    assert {line.reached for line in goals} == {reached}
    assert {command for _, command, _ in found} == {figures.TOOLS[name].command}


def test_each_variant_on_graphs_has_a_line_without_a_goal(figures: Any) -> None:
    named = [*play.algorithms_of("synthetic-dag")]
    assert {"genetic/relabel", "genetic/insert-subgraph", "genetic/path"} < set(named)
    scores = np.linspace(20.0, 60.0, 30 * 120).reshape(30, 120)
    runs = {name: Played(scores + n, scores, np.full(30, 120)) for n, name in enumerate(named)}
    printed = summary("synthetic-dag", runs, [50, 120], 30)
    (figures.RESULTS / "bench-synthetic-dag.json").write_text(json.dumps(printed))
    found = [line for line, *_ in figures.lines()]
    assert [name for name in named if any(f"`{name}` at 120" in f.what for f in found)] == named
    assert len(found) == len(named)
    assert {line.reached for line in found} == {None}
    assert found[0].measured.startswith(f"{scores[:, -1].mean():.2f} ± ")


def test_one_seed_is_no_certainty(figures: Any) -> None:
    curve = np.full((1, 120), 91.43)
    runs = {name: Played(curve, curve, np.array([120])) for name in ("local", "genetic+rank")}
    for bench in ("nasbench201", "synthetic-dag"):
        printed = summary(bench, runs, [50, 100], 1)
        (figures.RESULTS / f"bench-{bench}.json").write_text(json.dumps(printed))
    found = [line for line, *_ in figures.lines() if "±" in line.measured]
    assert len(found) == 2 + 4 + 2
    assert {line.reached for line in found} == {None}
    assert all("± –" in line.measured for line in found)


def test_noise_makes_no_loss_disappear(figures: Any) -> None:
    noisy = pairs(0.0)
    for row, own in zip(noisy[1::2], (-0.05, 0.03, -0.01), strict=True):
        row["best"] += own
    text = "\n".join(map(json.dumps, noisy))
    (figures.RESULTS / "screened.jsonl").write_text(text)
    [(line, *_)] = figures.lines()
    assert "paired -1.00 ±" in line.measured
    assert line.reached is False


def test_figures_without_a_goal_are_no_misses(figures: Any) -> None:
    other = {**benched("genetic+rank", "local"), "bench": "nasbench-macro", "signal": "mean_acc"}
    (figures.RESULTS / "bench-nasbench-macro.json").write_text(json.dumps(other))
    rows = "\n".join(map(json.dumps, shorter(0.4)))
    (figures.RESULTS / "less-training.jsonl").write_text(rows)
    found = [line for line, *_ in figures.lines()]
    assert len(found) == 4
    assert {line.reached for line in found} == {None}
    assert found[-1].measured == "median 0.40"


def test_the_figures_of_a_paper_stand_in_its_section_as_they_were_printed(figures: Any) -> None:
    kept = {"command": "c", **STAMP, "output": summed_up(False)}
    (figures.RESULTS / "shafiee2016.json").write_text(json.dumps(kept))
    figures.write_table()
    sections = figures.PAPERS.read_text().split("<!-- shafiee2016: begin -->\n")[1]
    own, others = sections.split("<!-- shafiee2016: end -->")
    assert "commit abc, scale `quick`, cores: 3, Some CPU, 5 minutes in all." in own
    assert "| arm | setting | synaptic efficiency | accuracy |" in own
    assert "| factor | generation 7 | 12.3 (paper 5.2) | 0.95 |" in own
    assert "| efficiency | 5.2 ± 20 % | 5.6 | no |" in own
    assert others.count("Nothing was measured yet.") == 3


def test_structure_is_shown_by_the_best_of_the_papers_regressors(figures: Any) -> None:
    def judged(name: str, r2: float) -> dict[str, Any]:
        scores = {s: {"mean": r2, "sd": 0.1} for s in ("r2", "kendall", "top_kendall")}
        return {"kind": "predictor", "predictor": name, "split": scores, "folds": scores}

    rows = [{"kind": "networks", "n": 300, "scale": "quick"}]
    rows += [judged("ridge", 0.2), judged("forest", 0.4), judged("gp", 0.9)]
    rows += [judged("size alone", 0.05), {"kind": "feature", "feature": "depth"}]
    text = "\n".join(map(json.dumps, rows))
    (figures.RESULTS / "stier2021-nas.json").write_text(text)
    found = [line for line, *_ in figures.lines()]
    assert len(found) == 2
    for line in found:
        assert "300 networks" in line.what
        assert "`forest`" in line.what
        assert line.measured.startswith("R² 0.40 ± 0.10 (size alone 0.05)")
        assert line.reached is None


def test_a_file_of_something_else_is_named(figures: Any) -> None:
    (figures.RESULTS / "filter.json").write_text('{"what": 1}')
    with pytest.raises(SystemExit, match=r"filter: expected what `python benchmarks/filter.py"):
        figures.table()


def test_an_output_is_kept_with_its_origin_and_not_measured_again(
    figures: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    where = figures.PLACES["DATA"]
    printing = (
        "import json; print(json.dumps([7])); "
        f"print(json.dumps({{'a': 'mnist:{where}/x'}}, indent=1))"
    )
    engine = figures.TOOLS["engine"]
    tool = type(engine)(f'python -c "{printing}"', engine.lines)
    monkeypatch.setitem(figures.TOOLS, "engine", tool)
    figures.keep("engine")
    kept = json.loads((figures.RESULTS / "engine.json").read_text())
    assert kept["output"] == figures.outputs("engine") == [[7], {"a": "mnist:DATA/x"}]
    assert kept["machine"]["cores"] >= 1
    assert {"command", "commit", "measured"} <= set(kept)
    figures.keep("engine")
    assert "there already" in capsys.readouterr().out


def test_one_seed_is_said_to_tell_nothing_with_the_difference(script: Callable[[str], Any]) -> None:
    worth = script("worth")
    assert worth._compared({"mean": -0.74, "ci95": None, "n": 1}) == (
        "one seed cannot tell (difference of the search: -0.74 points)"
    )
    several = worth._compared({"mean": -0.74, "ci95": 0.8, "n": 3})
    assert several == "the search is not distinguishable from it (-0.74 ± 0.80 points, 3 seeds)"
