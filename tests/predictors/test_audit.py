"""The audit: it tells good predictions from worthless ones, and the filter obeys it."""

from __future__ import annotations

import io
import math
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from nasgen import registry
from nasgen.predictors import scores
from nasgen.predictors.audit import N_FIRST, N_STEP, Audit, Forecast
from nasgen.predictors.base import Features
from nasgen.predictors.features.cells import NasBench201Features
from nasgen.predictors.features.stier2021 import Stier2021
from nasgen.predictors.features.structural import Structural, log_params
from nasgen.predictors.filter import Filter
from nasgen.report.page import render
from nasgen.runs import reading
from nasgen.runs.progress import PlainLog
from nasgen.search_spaces.dag_cnn import DagCnn
from nasgen.seeding import generator
from nasgen.settings.config import parse
from tests.report.conftest import build_view

SPACE = DagCnn(max_channels=32, max_vertices=8, max_depth=8)
DAGS = [SPACE.sample(np.random.default_rng([3, i])) for i in range(300)]
KEYS = [str(i) for i in range(400)]


def fed(audit: Audit, n: int, quality: float, size: float | None = None, seed: int = 0) -> Audit:
    """Tell `n` labels whose predictions agree with them to about `quality` (0: not at all)."""
    rng = generator(seed, "audit test", 0)
    start = len(audit._known)
    for seq in range(start, start + n):
        label = rng.normal()
        noise = rng.normal(size=2)
        predicted = quality * label + (1 - quality) * noise[0]
        by_size = 0.0 if size is None else size * label + (1 - size) * noise[1]
        audit.expect(KEYS[seq], Forecast(predicted, by_size, 2, bool(predicted < 0)))
        audit.settle(seq, KEYS[seq], label)
        audit.review()
    return audit


# ---- what it decides -----------------------------------------------------------------------------


def test_a_good_predictor_keeps_its_work() -> None:
    audit = fed(Audit(0.2, 0), 100, quality=0.7, size=0.3)
    assert audit.share == 0.2
    assert {j.change for j in audit.judgements} == {"kept"}
    last = audit.judgements[-1]
    assert last.tau is not None
    assert last.tau > 0.5
    assert last.p_chance < 0.01
    assert last.p_better is not None
    assert last.p_better > 0.9
    assert last.false_reject is not None
    assert last.chance_reject is not None
    assert last.false_reject < last.chance_reject == 0.5


@pytest.mark.parametrize("seed", range(5))
def test_a_worthless_predictor_is_switched_off_step_by_step(seed: int) -> None:
    audit = fed(Audit(0.2, 0), 100, quality=0.0, seed=seed)
    shares = [j.unscreened for j in audit.judgements]
    assert max(shares) == 1.0
    assert audit.judgements[[s == 1.0 for s in shares].index(True)].change == "off"
    assert all(b <= 2 * a for a, b in zip([0.2, *shares], shares, strict=False))


def test_a_predictor_that_only_measures_size_loses_its_work_too() -> None:
    audit = fed(Audit(0.2, 0), 60, quality=0.4, size=0.8)
    assert audit.is_off
    assert all(j.p_chance < 0.1 for j in audit.judgements[-3:])  # chance it does beat


@pytest.mark.parametrize("seed", range(3))
def test_that_labels_and_forecasts_rise_together_is_no_skill(seed: int) -> None:
    rng = generator(seed, "audit test", 1)
    audit, labels = Audit(0.2, 0), [0.0]
    for seq in range(80):
        label = 0.1 * seq + rng.normal()
        level = float(np.mean(labels))  # what a predictor says that has learnt nothing but the mean
        audit.expect(KEYS[seq], Forecast(level, level, 2, False, False, level))
        audit.settle(seq, KEYS[seq], label)
        audit.review()
        labels.append(label)
    assert audit.is_off
    assert {j.tau for j in audit.judgements} == {None}
    assert {j.p_chance for j in audit.judgements} == {1.0}


def test_the_gain_of_screening_is_not_that_of_a_search_that_gets_better() -> None:
    audit = Audit(0.2, 0)
    for seq in range(100):  # a lottery, and the slice passes in the first half for the most part
        level, screened = float(seq), seq % 4 != 0 if seq < 50 else seq % 8 != 0
        audit.expect(KEYS[seq], Forecast(level, level, 2, False, screened, level))
        audit.settle(seq, KEYS[seq], level + seq % 3 - 1)
    audit.review()
    assert audit.judgements[0].gain == pytest.approx(0.0, abs=0.3)


def test_the_forecast_of_a_trial_without_a_label_is_forgotten() -> None:
    audit = Audit(0.2, 0)
    audit.expect("a", Forecast(1.0, 0.0))
    audit.drop("a")
    audit.drop("never expected")
    audit.expect("a", Forecast(2.0, 0.0))
    audit.settle(1, "a", 0.5)
    assert [forecast.predicted for forecast, _ in audit._known.values()] == [2.0]


def test_among_networks_of_one_size_chance_is_the_only_opponent() -> None:
    audit = fed(Audit(0.2, 0), 60, quality=0.7)
    assert audit.share == 0.2
    assert audit.judgements[-1].size_tau is None
    assert (audit.judgements[-1].p_better or 0) > 0.99


def test_the_best_tenth_is_that_of_the_whole_slice_and_says_how_many_it_is() -> None:
    audit = fed(Audit(0.2, 0), 70, quality=1.0)
    last = audit.judgements[-1]
    assert (last.n, last.n_top, last.top_tau) == (40, 7, pytest.approx(1.0))
    early = {j.n_top: j.top_tau for j in audit.judgements}
    assert early[4] is None  # too few to have an order worth telling
    assert early[5] == pytest.approx(1.0)


def test_a_predictor_that_learns_gets_its_work_back() -> None:
    audit = fed(Audit(0.2, 0), 60, quality=-0.5)
    assert audit.is_off
    fed(audit, 100, quality=0.8)
    assert audit.share == 0.2
    changes = [j.change for j in audit.judgements]
    assert changes.index("off") < changes.index("on") < changes.index("narrowed")


def test_it_waits_for_enough_labels() -> None:
    audit = fed(Audit(0.2, 0), N_FIRST - 1, quality=0.0)
    assert not audit.judgements
    fed(audit, 1 + N_STEP, quality=0.0)
    assert len(audit.judgements) == 2


def test_screened_trials_never_count_as_evidence_but_tell_the_gain() -> None:
    audit = Audit(0.2, 0)
    for seq in range(40):
        audit.expect(KEYS[seq], Forecast(float(seq), 0.0, 2, False, screened=seq % 2 == 0))
        audit.settle(seq, KEYS[seq], float(seq) + (100 if seq % 2 == 0 else 0))
    audit.review()
    (judgement,) = audit.judgements
    assert judgement.n == 20
    assert judgement.tau == 1.0
    assert judgement.gain == pytest.approx(99.0)


def test_labels_nobody_foresaw_do_not_count() -> None:
    audit = Audit(0.2, 0)
    for seq in range(50):
        audit.settle(seq, KEYS[seq], float(seq))
    audit.review()
    assert not audit.judgements


@given(st.permutations(range(24)))
@settings(deadline=None, max_examples=20)
def test_the_order_of_arrival_changes_nothing(order: list[int]) -> None:
    def judged(seqs: list[int]) -> Any:
        audit = Audit(0.2, 0)
        for seq in range(24):
            audit.expect(KEYS[seq], Forecast(float(seq * 7 % 24), float(seq * 5 % 24)))
        for seq in seqs:
            audit.settle(seq, KEYS[seq], float(seq * 11 % 24))
        audit.review()
        return audit.judgements

    assert judged(order) == judged(list(range(24)))


# ---- what it saves -------------------------------------------------------------------------------


def test_an_estimate_saves_one_training_of_the_mean_length() -> None:
    audit = Audit(0.5, 0)
    assert audit.saved() == (None, None)
    for seq in range(4):
        audit.settle(seq, KEYS[seq], 0.5, train_s=float(seq))
    audit.n_estimated = 6
    assert audit.saved() == (6, 9.0)
    assert audit.sentence == "the predictor saved about 6 trainings or 9 s"


def test_a_filter_that_sees_the_truth_saves_trainings_and_a_lottery_does_not() -> None:
    good, lots = searched(pools_hurt), searched(lottery)
    saved, seconds = good.audit.saved()
    assert saved is not None
    assert 20 < saved <= good.audit.n_rejected
    assert seconds == pytest.approx(2.0 * saved)
    assert (lots.audit.saved()[0] or 0) < 0.4 * lots.audit.n_rejected
    last = good.audit.judgements[-1]
    assert f"saved about {last.n_saved:.0f} trainings or {last.saved_s:.0f} s" in last.sentence
    assert "% of the good ones, random choice 50 %" in last.sentence


def test_those_who_pass_while_nothing_is_screened_are_no_measure_of_screening() -> None:
    audit = Audit(0.2, 0)
    for seq in range(60):
        alone = seq < 30  # switched off: bad luck, or an early generation
        audit.expect(KEYS[seq], Forecast(0.0, 0.0, 1 if alone else 3, screened=seq >= 45))
        audit.settle(seq, KEYS[seq], float(seq % 15) - 100 * alone)
    assert audit.saved()[0] == pytest.approx(0.0, abs=1e-9)


# ---- the filter obeys ----------------------------------------------------------------------------


@cache
def searched(
    target: Any, seed: int = 0, features: Features | None = None, **options: Any
) -> Filter:
    """Play a search: offered candidates are random, chosen ones get their label at once.

    Tests of the same search look at one and the same filter.
    """
    make = registry.resolve("predictors", "ridge")
    described = features or Structural()
    screen = Filter(make, described, seed=seed, warmup=10, unscreened=0.3, **options)
    rng = generator(seed, "filter test", 0)
    for seq in range(150):
        offered = [DAGS[int(i)] for i in rng.integers(len(DAGS), size=screen.n_wanted)]
        chosen = offered[screen.choose(offered, rng).index]
        screen.observe(seq, chosen, target(chosen, seq), train_s=2.0)
    return screen


def pools_hurt(dag: Any, seq: int) -> float:
    """Size has nothing to do with it."""
    return -sum(v.op in ("max_pool", "avg_pool") for v in dag.inner) + 0.01 * math.sin(seq)


def lottery(dag: Any, seq: int) -> float:
    return float(generator(1, "lottery", seq).normal())


def test_a_filter_that_sees_the_truth_stays_at_work_and_gains() -> None:
    screen = searched(pools_hurt)
    assert screen.audit.share == 0.3
    last = screen.audit.judgements[-1]
    assert last.gain is not None
    assert last.gain > 0
    assert screen.audit.n_rejected > 50


def test_a_filter_on_labels_that_are_a_lottery_makes_no_candidates_in_vain() -> None:
    screen = searched(lottery)
    assert screen.audit.is_off
    assert screen.n_wanted == 1


class OnlyDepth:
    """One feature, as of a single score."""

    names = ("depth",)

    def encode(self, genotype: Any) -> Any:
        return np.array([float(genotype.depth)])


@pytest.mark.parametrize("features", [Structural(), Stier2021(), OnlyDepth()])
def test_size_is_an_opponent_whatever_the_features(features: Features) -> None:
    screen = searched(lambda dag, seq: log_params(dag), features=features)
    assert (screen.audit.judgements[-1].size_tau or 0) > 0.95
    if "log_params" not in features.names:  # nothing else tells what size does
        assert screen.audit.is_off


def test_the_size_of_a_cell_is_that_of_the_benchmarks_network() -> None:
    tables = {"space": {"name": "nasbench201"}, "predictor": {"name": "ridge"}}
    resolved = reading.resolved(tables)
    screen, space = resolved.screen(), resolved.space
    assert screen is not None
    own = NasBench201Features()
    for seed in range(3):
        cell = space.sample(np.random.default_rng(seed))
        assert screen.size(cell) == own.encode(cell)[own.names.index("log_params")]


def test_news_come_once() -> None:
    screen = searched(lottery)
    assert len(screen.news()) == len(screen.audit.judgements) > 0
    assert screen.news() == []


def test_an_audit_is_in_the_unit_of_the_labels_whatever_the_direction() -> None:
    up = searched(lambda dag, seq: 100 + pools_hurt(dag, seq))
    down = searched(lambda dag, seq: -100 - pools_hurt(dag, seq), direction="minimize")
    pairs = zip(up.audit.judgements, down.audit.judgements, strict=True)
    assert all(a.tau == pytest.approx(b.tau) for a, b in pairs)
    forecasts = [f.predicted for f, _ in up.audit._known.values()]
    assert 90 < np.median(forecasts) < 110


# ---- it is told ----------------------------------------------------------------------------------


def test_the_log_says_every_judgement() -> None:
    console = Console(file=io.StringIO(), width=300, color_system=None)
    log = PlainLog(console)
    good, bad = fed(Audit(0.2, 0), 30, quality=0.7), fed(Audit(0.2, 0), 60, quality=-0.7)
    for judgement in (*good.judgements, *bad.judgements):
        log("audit", {"judgement": judgement})
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    judgements = (*good.judgements, *bad.judgements)
    assert {"kept", "widened"} <= {j.change for j in judgements}
    assert [line.split("] ", 1)[1] for line in lines] == [j.sentence for j in judgements]
    assert "tau -0." in lines[-1]


@pytest.mark.parametrize("n", [3, 60])
def test_the_report_shows_every_judgement_or_that_there_is_none(n: int) -> None:
    audit = fed(Audit(0.2, 0), n, quality=-0.5, size=0.2)
    html = render(build_view(20, audit=audit.to_json()))
    section = html[html.index('<section id="predictor">') :].split("</section>")[0]
    assert section.count("<tr><td") == len(audit.judgements)
    assert ("too few unscreened" in section) == (n == 3)
    assert ('class="bad">off' in section) == (n == 60)
    assert 'id="predictor"' not in render(build_view(20))


def test_the_report_says_why_a_predictor_was_never_fitted() -> None:
    audit = Audit(0.2, 0)
    audit.unfitted = "8 of 30 labels"
    html = render(build_view(20, audit=audit.to_json()))
    section = html[html.index('<section id="predictor">') :].split("</section>")[0]
    assert "never fitted (8 of 30 labels)" in section
    assert "too few unscreened" not in section


def test_of_a_predictor_that_nobody_named_it_is_not_said_that_it_was_idle() -> None:
    for is_asked, said in ((True, "the predictor is not fitted: 8 of 30 labels"), (False, None)):
        audit = Audit(0.2, 0, is_asked)
        audit.unfitted = "8 of 30 labels"
        assert audit.sentence == said
    for name, is_asked in (("auto", False), ("forest", False), ("ridge", True), ("none", False)):
        tables = {"algorithm": {"name": "genetic"}, "predictor": {"name": name}}
        resolved = reading.resolved(tables)
        assert resolved.is_predictor_asked == is_asked
        screen = resolved.screen()
        assert screen is None or screen.audit.is_asked == is_asked


@pytest.mark.parametrize("mode", ["filter", "substitute"])
def test_the_report_says_in_the_words_of_the_mode_what_was_saved(mode: str) -> None:
    screen = searched(pools_hurt)
    config = parse({"predictor": {"name": "ridge", "mode": mode}})
    html = render(build_view(20, config=config, audit=screen.audit.to_json()))
    section = html[html.index('<section id="predictor">') :].split("</section>")[0]
    saved = f"saved about {screen.audit.saved()[0]:.0f} trainings"
    assert (saved in section) == (mode == "filter")
    assert ("candidates before training" in section) == (mode == "filter")
    assert ("stood in for 0 trainings" in section) == (mode == "substitute")
    assert ("good ones rejected" in section) == (mode == "filter")
    assert "time saved" in section
    header, row = section.split("<tbody>")[0], section.split("<tbody>")[1].split("</tr>")[0]
    assert header.count('scope="col"') == row.count("<td")


# ---- scores --------------------------------------------------------------------------------------


@given(st.lists(st.floats(-1e6, 1e6), min_size=5, max_size=30, unique=True))
@settings(deadline=None, max_examples=30)
def test_tau_is_one_for_the_same_order_and_minus_one_for_the_opposite(values: list[float]) -> None:
    labels = np.array(values)
    assert scores.kendall(np.argsort(np.argsort(labels)), labels) == pytest.approx(1.0)
    assert scores.kendall(-labels, labels) == pytest.approx(-1.0)
    assert scores.p_chance(labels, labels) < 0.05 < 0.9 < scores.p_chance(-labels, labels)


def test_the_test_against_chance_is_fair() -> None:
    rng = np.random.default_rng(0)
    p = [scores.p_chance(rng.normal(size=12), rng.normal(size=12)) for _ in range(400)]
    assert abs(np.mean(np.array(p) < 0.1) - 0.1) < 0.05


def test_the_bootstrap_favours_the_better_predictor_and_nobody_among_equals() -> None:
    rng = np.random.default_rng(0)
    labels = rng.normal(size=40)
    good, bad = labels + 0.3 * rng.normal(size=40), labels + 2 * rng.normal(size=40)
    assert (scores.p_better(good, bad, labels, rng) or 0) > 0.95
    assert (scores.p_better(bad, good, labels, rng) or 0) < 0.05
    assert scores.p_better(good, good, labels, rng) == 0.5


def test_the_top_is_judged_apart() -> None:
    labels = np.arange(100.0)
    predicted = labels.copy()
    predicted[90:] = predicted[90:][::-1]
    assert scores.top_kendall(predicted, labels) == pytest.approx(-1.0)
    assert (scores.kendall(predicted, labels) or 0) > 0.95
    assert scores.top_kendall(predicted[:30], labels[:30]) is None
    assert scores.r2(labels, labels) == 1.0
    assert scores.r2(np.full(100, labels.mean()), labels) == pytest.approx(0.0)
