"""A table of trainings on other image sets: what it tells, what is left out, what is refused."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from nasgen.cli import app
from nasgen.errors import DataError, IncompatibleError, NasgenError, UnknownNameError
from nasgen.genotypes import Dag, Draft
from nasgen.predictors import leaving_out, trainings
from nasgen.predictors.base import Facts
from nasgen.predictors.features.network import NETWORK, NetworkFeatures, of_network
from nasgen.predictors.filter import Filter
from nasgen.predictors.logits import expit, logit
from nasgen.predictors.ridge import ridge
from nasgen.predictors.trainings import Trainings
from nasgen.predictors.transfer import Transfer
from tests.a_table import DAGS, SETS, SPACE, truth, written

FRESH = [SPACE.sample(np.random.default_rng([4, i])) for i in range(60)]
SHAPE, N_CLASSES = (3, 24, 24), 7  # of an image set that the table has not
FEATURES = NetworkFeatures(SPACE, Facts(SHAPE, N_CLASSES, 3000, images=4000))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("table") / "trainings.jsonl.gz")


@pytest.fixture(scope="module")
def table(file: Path) -> Trainings:
    return trainings.read(file)


def wanted(dags: list[Dag]) -> np.ndarray[Any, Any]:
    return np.array([truth(dag, SHAPE, N_CLASSES, 4000, -1.0) for dag in dags])


def encoded(dags: list[Dag]) -> np.ndarray[Any, Any]:
    return np.stack([FEATURES.encode(dag) for dag in dags])


# ---- the table -----------------------------------------------------------------------------------


def test_a_table_is_read_as_it_was_written(file: Path, table: Trainings) -> None:
    assert table.X.shape == (3 * len(DAGS), len(NetworkFeatures.names))
    assert table.known == ("colour", "grey")
    row = FEATURES.names.index("log_images")
    assert np.exp(table.X[:3, row]) == pytest.approx([2000, 4000, 8000])
    first = SPACE.blueprint(DAGS[0], (1, 28, 28), 10)
    assert table.X[0, : len(NETWORK)] == pytest.approx(of_network(first), abs=1e-4)
    again = file.with_name("again.jsonl.gz")
    assert written(again).read_bytes() == file.read_bytes()


def test_what_is_left_out_takes_all_that_comes_from_it_along(table: Trainings) -> None:
    left = table.without(["grey"])
    assert {left.names[i] for i in left.sets} == {"colour"}  # "mixed" comes from both
    assert {table.names[i] for i in table.without(["small"]).sets} == {"grey", "colour", "mixed"}
    with pytest.raises(UnknownNameError, match=r"'gray' is no image set.*did you mean 'grey'"):
        table.without(["gray"])


def test_features_that_have_changed_are_computed_from_the_genotypes(
    file: Path, table: Trainings
) -> None:
    def older(lines: list[dict[str, Any]]) -> None:
        lines[0]["features"] = ["something"]
        for row in lines[1:]:
            row["x"] = [1.0]

    assert pytest.approx(table.X, abs=1e-4) == trainings.read(changed(file, older)).X


def changed(file: Path, change: Callable[[list[dict[str, Any]]], Any]) -> Path:
    """Return a copy of a table whose lines were changed."""
    lines = [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]
    change(lines)
    path = file.with_name(f"{len(list(file.parent.iterdir()))}.jsonl.gz")
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, lines)).encode()))
    return path


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (lambda lines: lines[0].update(kind="cell"), IncompatibleError, "kind 'dag'.*got 'cell'"),
        (lambda lines: lines[0].update(format=0), DataError, "format 1, got format 0"),
        (lambda lines: lines[0].update(format=9), DataError, "A newer nasgen made it"),
        (lambda lines: lines[0].pop("format"), DataError, "got no format"),
        (lambda lines: lines[1].update(set="unheard"), DataError, "cannot be read as a table"),
        (lambda lines: lines[1]["points"][0].__setitem__(1, 7.0), DataError, r"lie in \[0, 1\]"),
        (lambda lines: lines[1]["x"].pop(), DataError, "cannot be read as a table"),
        (lambda lines: lines.__setitem__(0, [1]), DataError, "got no format"),
    ],
)
def test_a_foreign_old_or_changed_table_is_one_sentence(
    file: Path, change: Callable[[list[dict[str, Any]]], Any], error: type[NasgenError], said: str
) -> None:
    with pytest.raises(error, match=said):
        trainings.read(changed(file, change))


@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda b: b"nothing", lambda b: b""]
)
def test_a_damaged_table_is_one_sentence(file: Path, damage: Callable[[bytes], bytes]) -> None:
    path = file.with_name("damaged.jsonl.gz")
    path.write_bytes(damage(file.read_bytes()))
    trainings._read.cache_clear()
    with pytest.raises(DataError, match="cannot be read as a table of trainings"):
        trainings.read(path)
    with pytest.raises(DataError, match="found no such file"):
        trainings.read(file.with_name("absent.jsonl.gz"))


def test_what_to_do_about_a_table_can_be_done_where_nasgen_is_installed(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = file.with_name("lost.jsonl.gz")
    with pytest.raises(DataError, match=r"Name another one with predictor\.table = PATH"):
        trainings.lines(path)
    monkeypatch.setattr(trainings, "SHIPPED", path)
    with pytest.raises(DataError, match=r"Install nasgen again, .*predictor\.table = PATH"):
        trainings.lines(path)


# ---- the predictor -------------------------------------------------------------------------------


def test_it_orders_networks_on_images_that_the_table_has_not(table: Trainings) -> None:
    predictor = Transfer(0, table)
    predicted = predictor.predict(encoded(FRESH))
    assert ((predicted > 0) & (predicted < 1)).all()
    assert np.corrcoef(predicted, wanted(FRESH))[0, 1] > 0.7


def test_one_label_sets_the_level_and_many_correct_the_order(table: Trainings) -> None:
    X, y = encoded(FRESH), wanted(FRESH)  # noqa: N806
    one = Transfer(0, table).fit(X[:1], y[:1])
    assert one.predict(X[:1]) == pytest.approx(y[:1], abs=1e-6)
    turned = 1 - y  # a task on which all is the other way round
    many = Transfer(0, table).fit(X[:40], turned[:40])
    assert np.corrcoef(many.predict(X[40:]), turned[40:])[0, 1] > 0.7


def test_its_doubt_is_what_it_is_wrong_by_on_sets_that_it_has_not_seen(table: Trainings) -> None:
    X, y = encoded(FRESH), wanted(FRESH)  # noqa: N806
    mean, std = Transfer(0, table).fit(X[:1], y[:1]).predict(X, return_std=True)
    # Two known sets: the doubt is that of half the table, so it is larger.
    assert 0.2 < np.std(y - mean) / np.mean(std) < 1.2


def test_labels_that_are_no_accuracies_are_refused(table: Trainings) -> None:
    with pytest.raises(DataError, match=r"accuracies in \[0, 1\]"):
        Transfer(0, table).fit(encoded(FRESH[:3]), np.array([0.3, 1.7, 0.2]))


def test_at_equal_time_a_fast_network_is_shown_more(table: Trainings) -> None:
    timed = NetworkFeatures(SPACE, Facts(SHAPE, N_CLASSES, 3000, seconds=2.0))
    rows = np.stack([timed.encode(dag) for dag in FRESH])
    values, images = (rows[:, timed.names.index(name)] for name in ("log_values", "log_images"))
    assert np.corrcoef(values, images)[0, 1] < -0.8
    assert len({float(row[-1]) for row in encoded(FRESH)}) == 1  # so many images for all


# ---- the filter ----------------------------------------------------------------------------------


def screen_of(table: Trainings, **settings: Any) -> Filter:
    return Filter(
        lambda seed: Transfer(seed, table), FEATURES, seed=1, is_informed=True, oversample=10,
        **{"unscreened": 0.0, **settings},
    )  # fmt: skip


def test_candidates_are_chosen_before_there_is_a_label(table: Trainings) -> None:
    screen = screen_of(table)
    assert screen.n_wanted == 10
    ranks = []
    for i in range(0, len(FRESH), 10):
        verdict = screen.choose(FRESH[i : i + 10], np.random.default_rng(i))
        assert verdict.screened
        assert verdict.forecast is not None
        assert verdict.forecast["level"] is None
        values = wanted(FRESH[i : i + 10])
        ranks.append(float((values < values[verdict.index]).sum()) / 9)
    assert np.mean(ranks) > 0.75  # chance: 0.5
    screen.observe(0, FRESH[0], 0.42)
    assert screen.choose(FRESH[:10], np.random.default_rng(0)).forecast["level"] == 0.42  # type: ignore[index]


@pytest.mark.parametrize("sign", [1, -1])
def test_the_audit_counts_what_was_said_before_the_first_label(table: Trainings, sign: int) -> None:
    """Where the table is right it keeps its work; where it is wrong it loses it."""
    screen = screen_of(table, unscreened=0.5)
    values = wanted(FRESH) if sign > 0 else 1 - wanted(FRESH)
    of = {dag.key: value for dag, value in zip(FRESH, values, strict=True)}
    picks = [
        FRESH[i : i + 2][screen.choose(FRESH[i : i + 2], np.random.default_rng(i)).index]
        for i in range(0, len(FRESH), 2)
    ]
    for seq, dag in enumerate(picks):  # all were begun before the first had ended
        screen.observe(seq, dag, of[dag.key])
    screen.review()
    last = screen.audit.judgements[-1]
    assert (last.tau or 0) * sign > 0.3
    assert (last.change == "widened" or screen.audit.share > 0.5) == (sign < 0)


# ---- judging it ----------------------------------------------------------------------------------


def test_each_image_set_is_judged_by_the_others_at_equal_time(table: Trainings) -> None:
    number = table.names.index("colour")
    _, labels = leaving_out.at_equal_time(table, number)
    assert 0 < len(labels) <= (table.sets == number).sum() / 3
    found = leaving_out.left_out(table)
    assert {(row["left_out"], row["set"]) for row in found} >= {("colour", "colour")}
    assert next(row["n"] for row in found if row["set"] == "colour") == len(labels)
    (known,) = [row for row in leaving_out.left_out(table, 0, 4, 1) if row["set"] == "colour"]
    assert known["n"] == len(labels) - 4, "those that are learnt from are not judged"
    whole = leaving_out.summary(found)[-1]["predictors"]
    assert whole["transfer"]["kendall"] > 0.5
    assert whole["transfer"]["alike"] > 0.4 > whole["more operations"]["alike"]
    assert whole["transfer"]["chosen"] > 0.75
    rivals = [name for rival in leaving_out.RIVALS for name in (rival, f"more {rival}")]
    assert list(whole) == ["transfer", *rivals]
    for row in found:  # one opponent is the other or its reverse
        for rival in leaving_out.RIVALS:
            taus = [row["predictors"][name]["kendall"] for name in (rival, f"more {rival}")]
            assert abs(taus[0]) == pytest.approx(abs(taus[1]), abs=0.02)


# ---- rounds of one training ----------------------------------------------------------------------


def test_trials_of_a_stretch_compare_with_those_of_the_same_stretch() -> None:
    """What a further stretch adds to all networks changes no choice and no judgement."""
    said = []
    for gain in (0.0, 0.2):
        screen = Filter(ridge, FEATURES, seed=1, oversample=10, unscreened=0.5, warmup=8)
        for seq, dag in enumerate(FRESH[:40]):
            pair = [dag, DAGS[seq]]
            picked = pair[screen.choose(pair, np.random.default_rng(seq)).index]
            begin = 0.1 * (seq // 8)
            screen.observe(seq, picked, 0.5 * wanted([picked])[0] + gain * begin, group=begin)
        rng = np.random.default_rng(0)
        choices = [screen.choose(FRESH[i : i + 5], rng).index for i in range(40)]
        said.append((choices, [(j.tau, j.gain) for j in screen.audit.judgements]))
    assert said[0][0] == said[1][0]
    assert said[0][1]
    assert np.allclose(*(np.array(s[1], dtype=float) for s in said), equal_nan=True)


def test_accuracies_of_a_stretch_stay_accuracies_where_the_next_one_comes_nearer_to_1(
    table: Trainings,
) -> None:
    screen = screen_of(table)
    for seq, (value, begin) in enumerate([(0.95, 0.0), (0.99, 0.0), (0.98, 0.1), (0.99, 0.1)]):
        screen.observe(seq, FRESH[seq], value, group=begin)
    labels = screen._values()
    assert labels[2:].tolist() == [0.98, 0.99]  # the latest stretch as it is
    assert labels[0] < 0.985 < labels[1] < 1
    assert screen.choose(FRESH[:10], np.random.default_rng(0)).screened


def test_what_a_stretch_adds_to_the_logits_of_all_accuracies_changes_no_choice(
    table: Trainings,
) -> None:
    said = []
    for gain in (0.0, 0.8):
        screen = screen_of(table)
        for seq, dag in enumerate(FRESH[:40]):
            stretch = seq // 10
            value = expit(logit(wanted([dag])) + gain * stretch).item()
            screen.observe(seq, dag, value, group=0.1 * stretch)
        rng = np.random.default_rng(0)
        verdicts = [screen.choose(FRESH[i : i + 10], rng) for i in range(50)]
        said.append([verdict.index for verdict in verdicts])
    assert said[0] == said[1]


# ---- features ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_isomorphic_graphs_have_the_same_features_to_the_last_bit(seed: int) -> None:
    dag, rng = DAGS[seed], np.random.default_rng(seed)
    vertices = [dag.vertices[i] for i in rng.permutation(len(dag.vertices))]
    edges = [dag.edges[i] for i in rng.permutation(len(dag.edges))]
    assert (FEATURES.encode(Dag(tuple(vertices), tuple(edges))) == FEATURES.encode(dag)).all()


def test_costs_are_those_that_torch_counts() -> None:
    from nasgen.evaluation import measure
    from nasgen.phenotype.network import build

    for dag in DAGS[:4]:
        network = build(SPACE.blueprint(dag, SHAPE, N_CLASSES))
        of = dict(zip(FEATURES.names, FEATURES.encode(dag), strict=True))
        assert np.exp(of["log_params"]) == pytest.approx(measure.n_params(network), rel=0.02)
        assert np.exp(of["log_macs"]) == pytest.approx(measure.multiply_adds(network, SHAPE))


def test_layers_are_counted_where_they_work_and_paths_by_their_length() -> None:
    """Two convolutions at the full side of which the second may be gone around, one at a half."""
    draft = Draft()
    first = draft.add("conv", [draft.input], kernel=3, channels=8)
    second = draft.add("conv", [first], kernel=5, channels=8)
    both = draft.add("sum", [second, first])
    half = draft.add("max_pool", [both])
    last = draft.add("conv", [half], kernel=3, channels=16)
    draft.connect(last, draft.output)
    features = NetworkFeatures(SPACE, Facts((1, 16, 16), 10, 500, images=1000))
    of = dict(zip(features.names, features.encode(draft.freeze()), strict=True))
    assert (of["depth"], of["shortest"]) == (3, 2)
    assert (of["layers_0"], of["layers_1"], of["n_sum"], of["n_project"]) == (2, 2, 1, 0)
    macs = {"first": 9 * 8 * 256, "second": 25 * 64 * 256, "last": 9 * 128 * 64, "head": 160}
    assert np.exp(of["log_macs"]) == pytest.approx(sum(macs.values()))
    assert of["macs_0"] == pytest.approx((macs["first"] + macs["second"]) / sum(macs.values()))
    # 3 + 4 pixels, a pool of 2, and 3 places of 2 pixels
    assert np.exp(of["log_field"]) == pytest.approx((7 + 1 + 4) / 16)
    widths = [of[f"log_width_{name}"] for name in ("first", "end", "most")]
    assert np.exp(widths) == pytest.approx([8, 16, 16])


def test_the_command_line_shows_what_each_left_out_set_says(file: Path) -> None:
    def asked(*words: str) -> Any:
        return CliRunner().invoke(app, ["predictors", "evaluate", *words])

    shown = asked(str(file))
    assert shown.exit_code == 0, shown.output
    assert "operations" in shown.output
    found = json.loads(asked(str(file), "--json").stdout)
    assert found["left_out"][-1]["left_out"] == "all, one by one"
    assert {row["set"] for row in found["sets"]} <= set(SETS)
    assert asked(str(file), "--features", "structural").exit_code == 2
    assert "judged by `nasgen predictors evaluate transfer`" in str(
        asked("nasbench201", "--predictors", "transfer").output
    )
