"""Trainings that cover stretches of one schedule see what one whole training sees."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from nasgen.errors import ConfigError
from nasgen.evaluation import training as module
from nasgen.evaluation.evaluator import Evaluator
from nasgen.evaluation.images import ImageBatches, Normaliser, resized
from nasgen.evaluation.recipe import AVERAGE, Recipe
from nasgen.evaluation.schedule import FULL_SIZE_FROM, WHOLE, Stretch, image_scale, one_cycle
from nasgen.evaluation.training import make_optimizer, train
from nasgen.loop import jobs
from nasgen.loop.constants import Constants
from nasgen.settings.config import Training
from nasgen.settings.fidelity import Fidelity
from nasgen.store.trial import Trial
from tests.evaluation.test_cohort import _dag, _evaluator, _job, _members, _parent

Json = dict[str, Any]
SIDE, N_STEPS = 16, 16
HALF = Normaliser(torch.full((1, 1, 1, 1), 128.0), torch.full((1, 1, 1, 1), 64.0))
WITH_OPTIMIZER = ["weights", "predictions", "optimizer"]


class Training16:
    """A network on 16x16 images, in epochs of 4 steps; it remembers what every step was like."""

    def __init__(self, **settings: Any) -> None:
        torch.manual_seed(0)
        self.head = nn.Linear(4, 2)
        self.network = nn.Sequential(
            nn.Conv2d(1, 4, 3, bias=False),
            nn.BatchNorm2d(4),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            self.head,
        )
        self.recipe = Recipe.of(Training(**settings), (1, SIDE, SIDE))
        draw = torch.Generator().manual_seed(0)
        labels = torch.arange(32) % 2
        noise = torch.randint(0, 100, (32, 1, SIDE, SIDE), generator=draw)
        images = (noise + labels.view(-1, 1, 1, 1) * 120).to(torch.uint8)
        self.batches = ImageBatches(
            images, labels, torch.arange(32), 8, HALF, draw, start_scale=0.5
        )
        self.names = list(self.network.state_dict())
        self.optimizer = make_optimizer(self.network, self.recipe)
        self.rates: list[float] = []
        self.sides: list[int] = []
        self.optimizer.register_step_post_hook(
            lambda optimizer, *_: self.rates.append(optimizer.param_groups[0]["lr"])
        )
        self.network.register_forward_pre_hook(self._note_side)

    def _note_side(self, network: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        if network.training:
            self.sides.append(given[0].shape[-1])

    def run(self, epochs: float, stretch: Stretch = WHOLE) -> list[torch.Tensor]:
        train(
            self.network, self.batches, F.cross_entropy, self.recipe, epochs,
            optimizer=self.optimizer, stretch=stretch,
        )  # fmt: skip
        return [tensor.clone() for tensor in self.network.state_dict().values()]


@given(own=st.floats(-1, 2), begin=st.floats(0, 0.9), share=st.floats(0.01, 1))
def test_progress_stays_in_the_stretch(own: float, begin: float, share: float) -> None:
    stretch = Stretch(begin, min(1.0, begin + share * (1 - begin)))
    assert stretch.begin <= stretch.at(own) <= stretch.end + 1e-12
    assert stretch.at(0) == stretch.begin
    assert stretch.at(1) == pytest.approx(stretch.end)
    assert WHOLE.at(own) == min(max(own, 0.0), 1.0)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("at", [0.25, 0.375, 0.5])  # the second one within an epoch
def test_two_stretches_are_one_training_to_the_bit(optimizer: str, at: float) -> None:
    whole, parts = (Training16(optimizer=optimizer, average=0) for _ in range(2))
    at_once = whole.run(4)
    parts.run(4 * at, Stretch(0.0, at))
    in_parts = parts.run(4 * (1 - at), Stretch(at, 1.0))
    assert parts.rates == pytest.approx(whole.rates, rel=1e-12)
    assert parts.sides == whole.sides
    assert len(whole.rates) == N_STEPS
    assert {SIDE // 2, SIDE} < set(whole.sides)
    assert all(torch.equal(a, b) for a, b in zip(at_once, in_parts, strict=True))


def test_time_moves_a_training_through_its_stretch_and_no_further(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A clock of equal ticks: the bounds are exact, whatever else the machine is doing.
    ticks = itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks) * 0.001)
    late = Training16()
    train(
        late.network, late.batches, F.cross_entropy, late.recipe, 10_000, seconds=0.4,
        optimizer=late.optimizer, stretch=Stretch(0.5, 0.75),
    )  # fmt: skip
    first, last = (late.recipe.lr * one_cycle(p, late.recipe.warmup) for p in (0.5, 0.75))
    assert late.rates == sorted(late.rates, reverse=True)
    assert first >= late.rates[0] > 0.98 * first
    assert last <= late.rates[-1] < 1.1 * last


# ---- averaged weights ----------------------------------------------------------------------------


def _weights_of_steps(share: float, n: int) -> torch.Tensor:
    """How much each of `n` steps counts: the k-th k (k + 1) ... (k + 1 / share - 2), normalised."""
    order = round(1 / share)
    counts = [float(np.prod([k + i for i in range(order - 1)])) for k in range(1, n + 1)]
    return torch.tensor(counts, dtype=torch.float64) / sum(counts)


@pytest.mark.parametrize("share", [1.0, 0.5, 0.1])
def test_what_is_left_is_the_mean_over_the_steps(share: float) -> None:
    training = Training16(average=share)
    seen: list[list[torch.Tensor]] = []
    training.optimizer.register_step_post_hook(
        lambda *_: seen.append([t.double() for t in training.network.state_dict().values()])
    )
    left = training.run(4, Stretch(0.0, 0.5))
    counts = _weights_of_steps(share, N_STEPS)
    for name, tensor, steps in zip(training.names, left, zip(*seen, strict=True), strict=True):
        if name.startswith("1.") and name[2:] not in ("weight", "bias"):
            continue  # what a norm has measured
        expected = torch.tensordot(counts, torch.stack(steps), dims=1)
        torch.testing.assert_close(tensor.double(), expected, rtol=1e-4, atol=1e-6)
        assert not torch.equal(tensor.double(), steps[-1])


def test_statistics_are_those_of_the_mean_on_images_of_the_last_size() -> None:
    training = Training16(average=0.5)
    training.run(4, Stretch(0.0, 0.2))
    assert set(training.sides[-4:]) == {SIDE // 2 + 4}
    conv, norm = training.network[0], training.network[1]
    assert isinstance(norm, nn.BatchNorm2d)
    assert (norm.momentum, int(norm.num_batches_tracked or 0)) == (0.1, 4)
    # An epoch shows each image once, and none is shifted or mirrored here.
    images = resized(HALF(training.batches.images), image_scale(0.2, 0.5))
    with torch.no_grad():
        responses = conv(images)
    torch.testing.assert_close(norm.running_mean, responses.mean((0, 2, 3)), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(norm.running_var, responses.var((0, 2, 3)), rtol=0.3, atol=1e-3)


def test_weights_are_averaged_by_default_where_the_schedule_is_not_over() -> None:
    recipe = Recipe.of(Training(), (3, 32, 32))
    assert (recipe.average_at(0.99), recipe.average_at(1.0)) == (AVERAGE, 0.0)
    asked = Recipe.of(Training(average=0.3), (3, 32, 32))
    assert (asked.average_at(0.99), asked.average_at(1.0)) == (0.3, 0.3)
    ends = [Training16(average=share).run(2) for share in (None, 0, 0.1)]
    same = [all(map(torch.equal, ends[0], end)) for end in ends]
    assert same == [True, True, False]


def test_a_look_sees_the_mean_and_moves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    looked, alone = Training16(average=0.5), Training16(average=0.5)
    steps: list[torch.Tensor] = []
    seen: list[torch.Tensor] = []
    looked.optimizer.register_step_post_hook(
        lambda *_: steps.append(looked.head.weight.detach().double())
    )

    def look(epoch: int) -> tuple[dict[str, float], bool]:
        seen.append(looked.head.weight.detach().double())
        return {}, True

    class Looking(module.Trainee):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            self.look = look

    expected = alone.run(3)
    monkeypatch.setattr(module, "Trainee", Looking)
    assert all(map(torch.equal, looked.run(3), expected))
    assert len(seen) == 2
    for n, found in zip((4, 8), seen, strict=True):
        mean = torch.tensordot(_weights_of_steps(0.5, n), torch.stack(steps[:n]), dims=1)
        torch.testing.assert_close(found, mean, rtol=1e-5, atol=1e-6)


# ---- trials --------------------------------------------------------------------------------------


def _partial(seq: int, begin: float, end: float, **changes: Any) -> Json:
    epochs = round(4 * (end - begin), 6)
    fidelity = Fidelity(epochs, 1.0, begin=begin, end=end).to_json()
    return _job(seq, _dag(), wants=WITH_OPTIMIZER) | {"fidelity": fidelity} | changes


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_two_trials_are_one_training_to_the_bit(tmp_path: Path, optimizer: str) -> None:
    """What is judged in the middle is a mean, and leaves no trace in what comes of the training."""
    evaluator = _evaluator(tmp_path, optimizer=optimizer)
    keep = {"wants": [*WITH_OPTIMIZER, "last"], "stream": 5}
    at_once = {"fidelity": {"epochs": 4.0, "fraction": 1.0}}
    whole = evaluator.evaluate(_job(1, _dag()) | keep | at_once)
    first = evaluator.evaluate(_partial(1, 0.0, 0.375) | keep)  # ends within an epoch
    assert first["refs"]["last"] != first["refs"]["weights"]
    assert "last" not in whole["refs"]
    goes_on = keep | {"shown": first["metrics"]["epochs_done"]}
    second = evaluator.evaluate(_partial(2, 0.375, 1.0, inherit=_goes_on(first)) | goes_on)
    refs = [result["refs"]["weights"] for result in (whole, second)]
    if refs[0] != refs[1]:
        kept = [evaluator.artifacts.load(ref) for ref in refs]
        for name, values in kept[0].items():
            np.testing.assert_array_equal(kept[1][name], values, name)
    assert second["refs"] == whole["refs"]
    # Each of the three counts: the place in the epoch, the last weights, the optimiser's state.
    for other, more in (
        (first["refs"], {"shown": 0.0}),
        (first["refs"] | {"last": first["refs"]["weights"]}, {}),
        ({k: ref for k, ref in first["refs"].items() if k != "optimizer"}, {}),
    ):
        inherit = _goes_on(first | {"refs": other})
        lesser = evaluator.evaluate(_partial(2, 0.375, 1.0, inherit=inherit) | goes_on | more)
        assert lesser["refs"]["weights"] != whole["refs"]["weights"]


def _goes_on(result: Json) -> Json:
    return {"parents": [{"genotype": _dag().to_json(), "refs": result["refs"]}], "plan": {}}


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> tuple[Evaluator, Json, Json]:
    evaluator = _evaluator(tmp_path_factory.mktemp("halves"), optimizer="sgd")
    first = evaluator.evaluate(_partial(1, 0.0, 0.5))
    second = evaluator.evaluate(_partial(2, 0.5, 1.0, inherit=_goes_on(first)))
    assert [first["state"], second["state"]] == ["COMPLETE"] * 2
    return evaluator, first, second


def test_a_trial_that_goes_on_has_the_rates_and_the_moments_of_one_training(halves: Any) -> None:
    evaluator, first, second = halves
    whole = evaluator.evaluate(_job(3, _dag(), 4) | {"fidelity": {"epochs": 4.0, "fraction": 1.0}})
    rates = [row["lr"] for result in (first, second) for row in result["curve"]]
    assert rates == pytest.approx([row["lr"] for row in whole["curve"]])
    assert second["metrics"]["n_fresh"] == 0
    assert "optimizer_not_inherited" not in second["metrics"]
    assert second["metrics"]["val_loss"] < first["metrics"]["val_loss"]
    cold = _goes_on(first | {"refs": {"weights": first["refs"]["weights"]}})
    without = evaluator.evaluate(_partial(2, 0.5, 1.0, inherit=cold))
    assert without["refs"]["weights"] != second["refs"]["weights"]


def test_what_is_validated_is_what_is_kept(halves: Any) -> None:
    evaluator, first, _ = halves
    kept = evaluator.artifacts.load(first["refs"]["predictions"])["validation"]
    weights = first["refs"]["weights"]
    again = evaluator.inference.predict(_dag().to_json(), weights, "validation")
    np.testing.assert_allclose(again, kept, atol=1e-6)
    last = _evaluator(evaluator.artifacts.folder, optimizer="sgd", average=0)
    assert last.evaluate(_partial(1, 0.0, 0.5))["refs"]["weights"] != weights


def test_a_cohort_of_one_is_averaged_as_the_job_is(halves: Any) -> None:
    evaluator, first, _ = halves
    cohort = evaluator.evaluate({"seq": 1, "cohort": [_partial(1, 0.0, 0.5)]})
    assert cohort["cohort"][0]["refs"] == first["refs"]


def test_relatives_that_train_together_hand_over_one_mean_of_what_they_share(
    tmp_path: Path,
) -> None:
    evaluator = _evaluator(tmp_path, optimizer="sgd")
    fidelity = Fidelity(1.0, 0.5, begin=0.25, end=0.5).to_json()
    jobs_ = _members(_parent(evaluator), 2, wants=WITH_OPTIMIZER, fidelity=fidelity)
    results = evaluator.evaluate({"seq": 1, "cohort": jobs_})["cohort"]
    name = "steps.conv_1.conv.weight"  # one member has more channels in it, the other before it
    kept = []
    for job, result in zip(jobs_, results, strict=True):
        assert result["state"] == "COMPLETE", result["failure"]
        answers = evaluator.artifacts.load(result["refs"]["predictions"])["validation"]
        again = evaluator.inference.predict(
            job["genotype"], result["refs"]["weights"], "validation"
        )
        np.testing.assert_allclose(again, answers, atol=1e-6)
        kept.append(evaluator.artifacts.load(result["refs"]["weights"])[name][:8, :6])
    assert np.array_equal(*kept)
    assert kept[0].any()


def test_a_mean_keeps_what_a_support_holds_down_at_zero(tmp_path: Path) -> None:
    evaluator = _evaluator(tmp_path, optimizer="sgd", average=0.7)
    name = "steps.conv_1.conv.weight"
    mask = np.random.default_rng(0).random((8, 6, 3, 3)) < 0.5
    ref = evaluator.artifacts.save({name: mask})
    first = evaluator.evaluate(_partial(1, 0.0, 0.5, support=ref))
    second = evaluator.evaluate(_partial(2, 0.5, 1.0, inherit=_goes_on(first)))
    for result in (first, second):
        assert result["state"] == "COMPLETE", result["failure"]
        weights = evaluator.artifacts.load(result["refs"]["weights"])[name]
        assert not weights[~mask].any()
        assert weights[mask].all()


def test_a_network_of_small_images_is_validated_on_small_images(tmp_path: Path) -> None:
    evaluator = _evaluator(tmp_path, start_scale=0.5)
    small = evaluator.evaluate(_partial(1, 0.0, 0.1))
    scale = image_scale(0.1, 0.5)
    assert small["metrics"]["val_scale"] == scale < 0.6
    network = evaluator.inference.network(_dag().to_json(), small["refs"]["weights"])
    inputs, _, rows = evaluator.inference.part("validation")
    images = evaluator.inference.feed.batch({"x": torch.from_numpy(inputs["x"][rows])})["x"]
    with torch.no_grad():
        answers = network(resized(images, scale)).softmax(1)
    kept = evaluator.artifacts.load(small["refs"]["predictions"])["validation"]
    np.testing.assert_allclose(answers.numpy(), kept, atol=1e-5)
    for end in (FULL_SIZE_FROM, 1.0):
        full = evaluator.evaluate(_partial(1, end - 0.1, end))
        assert "val_scale" not in full["metrics"]


def test_a_trial_has_the_threads_that_it_asks_for(tmp_path: Path) -> None:
    found: list[int] = []

    def threads(measured: Any) -> float:
        found.append(torch.get_num_threads())
        return 0.0

    evaluator = _evaluator(tmp_path)
    evaluator.objectives = {"n_params": threads}
    before = torch.get_num_threads()
    asked = [None, 2, 1, 2]
    members = [
        _job(1, _dag()) | {"fidelity": Fidelity(0.1, 0.5, threads=n).to_json()} for n in asked
    ]
    for job in (*members[:3], {"seq": 1, "cohort": members[3:]}):
        evaluator.evaluate(job)
    assert found == [1, 2, 1, 2]
    assert torch.get_num_threads() == before
    with evaluator.inference.threads(2):
        inputs, _, rows = evaluator.inference.part("validation")

        def forward(x: torch.Tensor) -> torch.Tensor:
            found.append(torch.get_num_threads())
            return torch.zeros(len(x), 10)

        evaluator.inference.answers(forward, inputs, rows)
    assert found[-1] == 2


# ---- parents that diverged -----------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_parent_that_diverged_gives_no_weights(tmp_path: Path, value: float) -> None:
    evaluator, strict = _evaluator(tmp_path), _evaluator(tmp_path, on_bad_parent="drop")
    parent = evaluator.evaluate(_job(0, _dag(), wants=WITH_OPTIMIZER))
    weights = evaluator.artifacts.load(parent["refs"]["weights"])
    sick_one = weights["steps.conv_1.conv.weight"] = weights["steps.conv_1.conv.weight"].copy()
    sick_one[0, 0, 0, 0] = value
    sick = parent | {"refs": parent["refs"] | {"weights": evaluator.artifacts.save(weights)}}
    job = _job(1, _dag(), inherit=_goes_on(sick))
    reason = "'steps.conv_1.conv.weight' holds NaN or infinite values"
    cold = evaluator.evaluate(job)
    assert reason in cold["metrics"]["not_inherited"]
    assert cold["refs"] == evaluator.evaluate(_job(1, _dag()))["refs"]
    dropped = strict.evaluate(job)
    assert (dropped["state"], dropped["failure_kind"]) == ("FAILED", "inheritance")
    assert reason in dropped["failure"]
    # Amid a schedule nothing begins: a line, or a finalist, would go on from random weights.
    amid = evaluator.evaluate(_partial(2, 0.5, 1.0, inherit=_goes_on(sick)))
    assert (amid["state"], amid["failure_kind"]) == ("FAILED", "inheritance")
    assert reason in amid["failure"]
    begun = evaluator.evaluate(_partial(2, 0.0, 0.5, inherit=_goes_on(sick)))
    assert begun["state"] == "COMPLETE"


def test_moments_that_diverged_are_left_behind(halves: Any) -> None:
    evaluator, first, _ = halves
    moments = evaluator.artifacts.load(first["refs"]["optimizer"])
    name = next(name for name in moments if name.endswith("momentum_buffer"))
    moments[name] = np.full_like(moments[name], np.inf)
    sick = first | {"refs": first["refs"] | {"optimizer": evaluator.artifacts.save(moments)}}
    result = evaluator.evaluate(_partial(2, 0.5, 1.0, inherit=_goes_on(sick)))
    assert result["state"] == "COMPLETE"
    assert result["metrics"]["n_fresh"] == 0
    assert f"'{name}' is not finite" in result["metrics"]["optimizer_not_inherited"]


def test_weights_that_are_no_numbers_are_handed_over_by_no_trial(tmp_path: Path) -> None:
    def spoiled(measured: Any) -> float:  # as a last step can do, when nothing is validated
        next(measured.network.parameters()).data.fill_(float("nan"))
        return 0.0

    evaluator = _evaluator(tmp_path)
    evaluator.objectives = {"n_params": spoiled}
    result = evaluator.evaluate(_job(1, _dag(), with_validation=True))
    assert (result["state"], result["failure_kind"]) == ("FAILED", "non-finite")
    assert "conv_0" in result["failure"]
    assert result["refs"] == {}


# ---- fidelity and jobs ---------------------------------------------------------------------------


def test_a_fidelity_says_only_what_is_set() -> None:
    assert set(Fidelity(1.0).to_json()) == {"epochs", "fraction", "seconds"}
    whole = Fidelity(1.0, begin=0.25, end=0.5, threads=2)
    assert Fidelity.of(json.loads(json.dumps(whole.to_json()))) == whole
    assert (whole.stretch, Fidelity().stretch) == ((0.25, 0.5), (0.0, 1.0))
    assert [f.is_partial for f in (whole, Fidelity(), Fidelity(begin=0.5, end=1.0))] == [
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"begin": 0.5, "end": 0.5}, {"begin": 0.7, "end": 0.2}, {"begin": -0.1}, {"end": 1.1},
        {"end": float("nan")}, {"begin": 1.0}, {"begin": "0"}, {"threads": 0}, {"threads": 1.5},
    ],
)  # fmt: skip
def test_what_is_no_stretch_is_refused(wrong: Json) -> None:
    with pytest.raises(ConfigError, match="fidelity: expected"):
        Fidelity(1.0, **wrong)


@pytest.mark.parametrize("phase", ["search", "finish"])
@pytest.mark.parametrize("end", [None, 0.5, 1.0])
def test_what_ends_before_the_schedule_keeps_its_optimiser(phase: Any, end: float | None) -> None:
    trial = Trial(
        0, "RUNNING", _dag().to_json(), "key", "identity", "sample",
        phase=phase, fidelity=Fidelity(1.0, end=end),
    )  # fmt: skip
    constants = Constants(0, (), Fidelity(1.0), Fidelity(), "", "")
    job = jobs.job(trial, {0: trial}, constants, lambda seq: trial)
    assert ({"optimizer", "last"} <= set(job["wants"])) == (end == 0.5)
    assert (job.get("shown") == 0) == ("stream" in job) == (end == 0.5)


def test_a_job_says_what_its_networks_were_shown_of_the_schedule() -> None:
    """Champions and challengers are shown the same images in the same order."""
    trials: dict[int, Trial] = {}
    constants = Constants(7, (), Fidelity(1.0), Fidelity(), "", "")

    def told(parents: tuple[int, ...], begin: float | None, end: float | None, n: float) -> Json:
        seq = len(trials)
        trials[seq] = Trial(
            seq, "COMPLETE", _dag().to_json(), f"key {seq}", "identity", "sample",
            fidelity=Fidelity(1.0, begin=begin, end=end), parents=parents, seed=seq,
            metrics={"epochs_done": n}, goes_on=bool(parents),
        )  # fmt: skip
        return jobs.job(trials[seq], trials, constants, trials.__getitem__)

    made = [
        told((), 0.0, 0.25, 0.5), told((), 0.0, 0.25, 0.25),  # first networks, fast and slow
        told((0,), 0.25, 0.5, 0.5), told((1, 0), 0.25, 0.5, 0.25),  # one goes on, a child
        told((3, 2), 0.5, 0.75, 1.0), told((4,), 0.75, None, 3.0),
        told((5,), 0.0, 0.25, 0.5),  # a further segment has a schedule of its own
    ]  # fmt: skip
    assert [job["shown"] for job in made] == [0, 0, 0.5, 0.25, 0.5, 1.5, 0]
    assert len({job["stream"] for job in made}) == 1
    assert len({job["seed"] for job in made}) == len(made)
    assert "stream" not in told((), None, None, 1.0)
