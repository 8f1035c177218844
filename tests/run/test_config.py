"""Configs: all mistakes at once, with the nearest valid name; TOML round-trips; fidelities."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasgen import papers, registry
from nasgen.bench import play
from nasgen.errors import ConfigError
from nasgen.runs import reading, suspicious
from nasgen.settings import fidelity
from nasgen.settings.config import SearchConfig, assignments, merge, parse, read_toml
from nasgen.settings.sections import seconds
from nasgen.settings.writing import to_toml


def test_five_mistakes_are_five_sentences() -> None:
    with pytest.raises(ConfigError) as caught:
        reading.resolved(
            {
                "sede": 1,
                "training": {"lr": -1},
                "space": {"name": "dag-cn"},
                "algorithm": {"name": "genetic", "population": 4, "tournament": 9},
                "objectives": {"names": ["val_acuracy"]},
            }
        )
    text = str(caught.value)
    assert len(caught.value.problems) == 5
    for expected in (
        "did you mean 'seed'",
        "training.lr",
        "did you mean 'dag-cnn'",
        "expected 1 to 4, the size of the population",
        "did you mean 'val_accuracy'",
    ):
        assert expected in text


@pytest.mark.parametrize(
    ("tables", "expected"),
    [
        ({"algorithm": {"name": "genetik"}}, "did you mean 'genetic'"),
        ({"algorithm": {"turnament": 2}}, "did you mean 'tournament'"),
        ({"space": {"max_chanels": 9}}, "did you mean 'max_channels'"),
        ({"space": {"min_depth": 9, "max_depth": 3}}, "min_depth"),
        ({"algorithm": {"mutations": {"relable": 1}}}, "did you mean 'relabel'"),
        ({"algorithm": {"mutations": {"relabel": 0}}}, "above 0"),
        ({"algorithm": {"population": 1}}, "algorithm.population: expected at least 2, got 1"),
        ({"data": {"source": "mnits:x"}}, "did you mean 'mnist'"),
        ({"budget": {"time": "3s"}}, "at least 10 s"),
        ({"budget": {"time": "soon"}}, "duration"),
        ({"budget": {"trials": 0}}, "greater than or equal to 1"),
        ({"budget": {"trials": 3}, "finish": {"networks": 3}}, "fewer than"),
        ({"objectives": {"names": ["flops", "flops"]}}, "once"),
        ({"execution": {"executor": "slurm"}}, "executor 'slurm'"),
        ({"ensemble": {"name": "greedi"}}, "did you mean 'greedy'"),
        ({"pruning": {"pruner": "median"}}, "did you mean 'stopping'"),
        ({"stopping": {"pruner": "median"}}, "did you mean 'stopping.stopper'"),
        ({"stopping": {"stopper": "median", "pruner": 1}}, "did you mean 'stopper'"),
        ({"training": {"lr": float("nan")}}, "training.lr"),
        ({"algorithm": {"name": "nsga2", "survival": "best"}}, "'nsga2' or 'nsga3'"),
        ({"algorithm": {"offspring": "many"}}, "offspring"),
        ({"plugins": {"files": ["nowhere.py"]}}, "nowhere.py does not exist"),
    ],
)
def test_a_mistake_says_what_came_and_what_would_do(
    tables: dict[str, object], expected: str
) -> None:
    with pytest.raises(ConfigError, match=expected):
        reading.resolved(tables)


def test_a_written_config_reads_back_equal() -> None:
    config = reading.resolved({"space": {"max_channels": 32}, "budget": {"time": "10m"}}).config
    assert config.algorithm.mutations
    assert reading.resolved(tomllib.loads(to_toml(config))).config == config
    assert parse(tomllib.loads(to_toml(SearchConfig(), comments=True))) == SearchConfig()


@pytest.mark.parametrize("preset", [None, "synthesis"])
def test_what_a_commented_config_does_not_set_is_left_open(preset: str | None) -> None:
    """So an algorithm that is named later keeps its own defaults, such as its crossover_prob."""
    tables = {} if preset is None else read_toml(papers.preset(preset))
    text = to_toml(parse(tables), comments=True)
    later = {"algorithm": {"name": "lineage"}, "budget": {"time": "10m"}} if preset is None else {}
    written, plain = (reading.resolved(t, overrides=[later]) for t in (tomllib.loads(text), tables))
    assert written.config == plain.config
    assert {name: own for name, own in tomllib.loads(text).items() if own} == tables


def test_a_commented_config_shows_the_defaults() -> None:
    lines = to_toml(SearchConfig(), comments=True).splitlines()
    shown = [re.sub(r"^# (?=[a-z_]+ = )", "", line) for line in lines]
    assert sum(a != b for a, b in zip(lines, shown, strict=True)) > 40
    assert parse(tomllib.loads("\n".join(shown))) == SearchConfig()


def test_every_preset_is_a_valid_config() -> None:
    for name, path in papers.presets().items():
        assert reading.resolved(read_toml(path)).config, name
        assert papers.preset_summary(path)
    with pytest.raises(ConfigError, match="did you mean 'demo'"):
        papers.preset("demmo")


@given(st.integers(1, 10_000), st.sampled_from(["s", "m", "h"]))
def test_durations_read_with_their_unit(number: int, unit: str) -> None:
    assert seconds(f"{number}{unit}") == number * {"s": 1, "m": 60, "h": 3600}[unit]


def test_assignments_are_toml_with_bare_words_as_text() -> None:
    assert assignments(["a.b=1", "a.c=x", "d=true", 'a.e=["f"]']) == {
        "a": {"b": 1, "c": "x", "e": ["f"]},
        "d": True,
    }
    with pytest.raises(ConfigError) as caught:
        assignments(["nothing", "=3", "a..b=1"])
    assert len(caught.value.problems) == 3


def test_tables_merge_but_frequencies_are_replaced_as_a_whole() -> None:
    base = {"a": {"x": 1, "y": 2}, "algorithm": {"mutations": {"relabel": 1}}}
    over = {"a": {"y": 3}, "algorithm": {"mutations": {"remove": 1}}}
    assert merge(base, over) == {
        "a": {"x": 1, "y": 3},
        "algorithm": {"mutations": {"remove": 1}},
    }


def test_relative_plugins_are_found_beside_the_config(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('[plugins]\nfiles = ["ops.py"]\n')
    assert read_toml(tmp_path / "c.toml")["plugins"]["files"] == [str(tmp_path / "ops.py")]


def test_a_broken_toml_names_its_line(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("[data\n")
    with pytest.raises(ConfigError, match="line 1"):
        read_toml(tmp_path / "c.toml")
    with pytest.raises(ConfigError, match="nasgen new"):
        read_toml(tmp_path / "missing.toml")


def test_a_time_budget_is_divided_between_search_and_finish() -> None:
    tables = {"budget": {"time": "20m"}, "execution": {"workers": 2}}
    config = reading.resolved({**tables, "algorithm": {"name": "genetic"}}).config
    searched = fidelity.search_fidelity(config, 45_000)
    share = 1 - fidelity.FINISH_SHARE
    assert searched.seconds == pytest.approx(1200 * share * 2 / fidelity.n_timed_trials(1200))
    assert fidelity.n_finish(config, None) == 2
    without = reading.resolved({"budget": {"trials": 40}}).config
    assert fidelity.search_fidelity(without, 45_000) == fidelity.Fidelity(epochs=1.0)
    assert fidelity.n_finish(without, 40) == 3
    assert fidelity.n_finish(without, 5) == 0


def test_a_predictor_that_would_never_be_fitted_is_warned_of() -> None:
    def warnings(**tables: dict[str, object]) -> list[str]:
        return suspicious.cautions(reading.resolved(tables))

    ridge = {"name": "ridge", "warmup": 8}
    [text] = warnings(predictor=ridge, budget={"trials": 8})
    assert "expected fewer than the 8 trials, got 8" in text
    assert warnings(predictor=ridge, budget={"trials": 9}) == []
    assert warnings(predictor=ridge, budget={"time": "1m"}) == []
    assert warnings(predictor={"warmup": 999}, budget={"trials": 8}) == []
    assert len(warnings(predictor={"name": "ridge", "warmup": 10**6})) == 1


def test_local_search_is_warned_of_operators_that_need_several_parents() -> None:
    def warnings(**section: object) -> list[str]:
        tables = {"algorithm": {"name": "local", **section}, "execution": {"executor": "serial"}}
        return suspicious.cautions(reading.resolved(tables))

    assert warnings() == []
    assert warnings(prunings={"magnitude": 1.0}) == []
    for group in ("crossovers", "matings"):
        name = registry.names(group)[0]
        [text] = warnings(**{group: {name: 1.0}})
        assert f"algorithm.{group}: 'local' search uses one parent" in text
        assert warnings(name="genetic", **{group: {name: 1.0}}) == []


def test_genetic_search_for_one_objective_brings_a_predictor_and_others_do_not() -> None:
    def named(**tables: dict[str, object]) -> str:
        config = reading.resolved(tables).config
        assert reading.resolved(parse(tomllib.loads(to_toml(config))).model_dump()).config == config
        return config.predictor.name

    assert named() == "forest"
    assert named(budget={"trials": 3}) == "forest"  # more trials may follow
    assert named(predictor={"oversample": 4.0}) == "forest"
    assert named(predictor={"name": "none"}) == "none"
    assert named(predictor={"name": "ridge"}) == "ridge"
    assert named(objectives={"names": ["val_accuracy", "n_params"]}) == "none"
    for algorithm in ("random", "aging", "local", "nsga2", "growth"):
        assert named(algorithm={"name": algorithm}) == "none"
    # Searches on tables name what they are compared with.
    assert play.resolved("nasbench201", "genetic", 0).config.predictor.name == "none"
    assert play.resolved("nasbench201", "genetic+rank", 0).config.predictor.name == "rank"


def test_workers_read_space_options_as_they_were_checked() -> None:
    resolved = reading.resolved({"space": {"max_channels": 64.0, "widths": [8.0, 16.0]}})
    sent = resolved.worker_context(Path())["space"]
    assert (sent["max_channels"], list(sent["widths"])) == (64, [8, 16])
    assert all(type(n) is int for n in (sent["max_channels"], *sent["widths"]))


def test_one_objective_may_stand_without_a_list() -> None:
    assert parse({"objectives": {"names": "n_params"}}).objectives.names == ("n_params",)


def test_a_value_left_out_takes_what_a_preset_sets_out() -> None:
    """So a preset's schedule, or its end at a drop, can be done without; the rest stays."""
    drop, final = (assignments([f"{key}="]) for key in ("algorithm.drop", "environment.final"))
    kept = reading.resolved(read_toml(papers.preset("shafiee2016")), overrides=[drop]).config
    assert "drop" not in kept.algorithm.options
    assert kept.algorithm.options["generations"] == 12
    free = reading.resolved(read_toml(papers.preset("synthesis")), overrides=[final]).config
    assert not {"final", "generations"} & {*free.environment.options}
    assert free.environment.options["score"] == "loss"
    assert parse(assignments(["seed=", "training.lr="])) == SearchConfig()


def test_a_schedule_is_as_long_as_the_search_unless_it_says_how_long() -> None:
    preset = read_toml(papers.preset("synthesis"))
    for sets, expected in (
        ([], 20),
        (["algorithm.generations=7"], 7),
        (["algorithm.generations=7", "environment.generations=5"], 5),
    ):
        section = reading.resolved(preset, overrides=[assignments(sets)]).config.environment
        assert section.options["generations"] == expected
        again = reading.resolved(tomllib.loads(to_toml(SearchConfig(environment=section))))
        assert again.config.environment == section, "the stored config says it"
    with pytest.raises(ConfigError, match=r"or algorithm\.generations where"):
        reading.resolved(preset, overrides=[assignments(["algorithm.generations="])])
