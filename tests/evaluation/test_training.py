"""The loop on plain tensors and hand-made networks: schedule, bounds, failures."""

from __future__ import annotations

import itertools
import time

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from nasgen.errors import EvaluationError
from nasgen.evaluation import measure
from nasgen.evaluation.images import ImageBatches, Normaliser
from nasgen.evaluation.recipe import Recipe
from nasgen.evaluation.schedule import one_cycle
from nasgen.evaluation.training import Row, make_optimizer, train
from nasgen.settings.config import Training

SHAPE = (1, 8, 8)
HALF = Normaliser(torch.full((1, 1, 1, 1), 128.0), torch.full((1, 1, 1, 1), 64.0))


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 2),
    )


def _batches(n: int = 256) -> ImageBatches:
    """Two classes, dark and bright images with noise."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(n) % 2
    noise = torch.randint(0, 100, (n, *SHAPE), generator=draw)
    images = (noise + labels.view(-1, 1, 1, 1) * 120).to(torch.uint8)
    return ImageBatches(images, labels, torch.arange(n), 32, HALF, draw)


def _recipe(**settings_: object) -> Recipe:
    return Recipe.of(Training(**settings_), SHAPE)  # type: ignore[arg-type]


@settings(deadline=None)
@given(warmup=st.floats(0, 1), progress=st.floats(-1, 2))
def test_the_rate_stays_between_zero_and_its_peak(warmup: float, progress: float) -> None:
    assert 0 <= one_cycle(progress, warmup) <= 1


@pytest.mark.parametrize("warmup", [0.01, 0.2, 0.9])
def test_the_rate_rises_linearly_then_falls_to_zero(warmup: float) -> None:
    assert one_cycle(0, warmup) == pytest.approx(1 / 25)
    assert one_cycle(warmup / 2, warmup) == pytest.approx((1 / 25 + 1) / 2)
    assert one_cycle(warmup, warmup) == pytest.approx(1)
    assert one_cycle((1 + warmup) / 2, warmup) == pytest.approx(0.5)
    assert one_cycle(1, warmup) == pytest.approx(0)
    falling = [one_cycle(warmup + i / 50 * (1 - warmup), warmup) for i in range(51)]
    assert falling == sorted(falling, reverse=True)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_both_optimisers_learn(optimizer: str) -> None:
    history = train(
        _network(), _batches(), F.cross_entropy, _recipe(optimizer=optimizer, label_smoothing=0), 6
    )
    assert history.train_loss < 0.4
    assert history.curve[0]["train_loss"] > history.train_loss
    assert history.curve[-1]["lr"] < 0.02 * max(row["lr"] for row in history.curve)


def test_norms_and_biases_do_not_decay() -> None:
    network = _network()
    groups = make_optimizer(network, _recipe(weight_decay=0.3)).param_groups
    decay = {id(p): g["weight_decay"] for g in groups for p in g["params"]}
    assert {decay[id(p)] for p in network.parameters() if p.ndim > 1} == {0.3}
    assert {decay[id(p)] for p in network.parameters() if p.ndim == 1} == {0.0}


@pytest.mark.parametrize(("epochs", "n_steps"), [(0.25, 2), (1, 8), (2.5, 20), (0.001, 1)])
def test_epochs_may_be_fractional(epochs: float, n_steps: int) -> None:
    history = train(_network(), _batches(), F.cross_entropy, _recipe(), epochs)
    assert history.n_rows == n_steps * 32
    assert history.epochs_done == n_steps / 8
    assert history.curve[-1]["epoch"] == history.epochs_done


def test_no_epochs_leave_a_network_as_it_is() -> None:
    network = _network()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    history = train(network, _batches(), F.cross_entropy, _recipe(), epochs=0.0)
    assert (history.epochs_done, history.n_rows, history.curve) == (0.0, 0, [])
    assert all(torch.equal(before[name], t) for name, t in network.state_dict().items())


def test_with_seconds_training_ends_early_and_annealed(monkeypatch: pytest.MonkeyPatch) -> None:
    # A clock of equal ticks: the bounds are exact, whatever else the machine is doing.
    ticks = itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks) * 0.001)
    history = train(_network(), _batches(), F.cross_entropy, _recipe(lr=0.01), 100_000, seconds=0.4)
    assert 0.35 < history.train_s < 0.41
    assert 0 < history.epochs_done < 100_000
    assert history.curve[-1]["lr"] < 0.01 * 0.05


def test_enough_seconds_change_nothing() -> None:
    bounded, free = _network(), _network()
    train(bounded, _batches(), F.cross_entropy, _recipe(), 1, seconds=1e6)
    train(free, _batches(), F.cross_entropy, _recipe(), 1)
    for a, b in zip(bounded.parameters(), free.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_diverging_loss_stops_training_soon() -> None:
    with pytest.raises(EvaluationError, match="loss became") as caught:
        train(_network(), _batches(), F.cross_entropy, _recipe(optimizer="sgd", lr=1e30), 1000)
    assert caught.value.kind == "non-finite"


def test_used_up_time_stops_training_and_says_how_far_it_came() -> None:
    left = iter([1.0, 1.0, -1.0])
    with pytest.raises(EvaluationError, match=r"0\.38 of 10 epochs") as caught:
        train(
            _network(), _batches(), F.cross_entropy, _recipe(), 10, time_left_s=lambda: next(left)
        )
    assert caught.value.kind == "timeout"


def test_each_epoch_is_reported_and_the_answer_false_stops() -> None:
    rows: list[Row] = []

    def report(row: Row) -> bool:
        rows.append(row)
        return row["epoch"] < 3

    history = train(_network(), _batches(), F.cross_entropy, _recipe(), 10, report=report)
    assert history.stopped
    assert history.epochs_done == 3
    assert {1.0, 2.0, 3.0} <= {row["epoch"] for row in rows}
    assert all(set(row) == {"epoch", "train_loss", "elapsed_s"} for row in rows)
    assert [row["epoch"] for row in history.curve] == [1, 2, 3]


@settings(deadline=None, max_examples=10)
@given(
    c_in=st.integers(1, 4),
    c_out=st.integers(1, 6),
    kernel=st.sampled_from([1, 3, 5]),
    side=st.integers(5, 9),
)
def test_flops_of_a_convolution_are_two_for_each_multiply_add(
    c_in: int, c_out: int, kernel: int, side: int
) -> None:
    conv = nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2, bias=False)
    expected = 2 * c_in * c_out * kernel**2 * side**2
    assert measure.flops(conv, measure.zeros((c_in, side, side))) == expected
    assert measure.n_params(conv) == c_in * c_out * kernel**2


def test_measuring_changes_neither_mode_nor_statistics_nor_threads() -> None:
    network, n_threads = _network(), torch.get_num_threads()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    measure.flops(network, measure.zeros(SHAPE))
    assert measure.latency_ms(network, measure.zeros(SHAPE), torch.device("cpu"), n_runs=3) > 0
    assert network.training
    assert torch.get_num_threads() == n_threads
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
