"""Batches: what augmentation may and may not do, normalisation, order."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nasgen.evaluation.batches import evaluation_batches
from nasgen.evaluation.feeds.image import ImageFeed
from nasgen.evaluation.images import ImageBatches, Normaliser, shift_and_flip

IDENTITY = Normaliser(torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1))


def _batches(n: int, batch_size: int, seed: int = 0, **augmentation: object) -> ImageBatches:
    images = torch.arange(n, dtype=torch.uint8).view(n, 1, 1, 1).expand(n, 1, 4, 4).contiguous()
    return ImageBatches(
        images,
        torch.arange(n),
        torch.arange(n),
        batch_size,
        IDENTITY,
        torch.Generator().manual_seed(seed),
        **augmentation,  # type: ignore[arg-type]
    )


@settings(deadline=None, max_examples=40)
@given(
    crop=st.integers(0, 3),
    height=st.integers(3, 7),
    width=st.integers(3, 7),
    channels=st.integers(1, 3),
    seed=st.integers(0, 1000),
)
def test_each_image_is_cut_out_of_its_zero_padded_self(
    crop: int, height: int, width: int, channels: int, seed: int
) -> None:
    draw = torch.Generator().manual_seed(seed)
    n = 5
    images = torch.randint(1, 256, (n, channels, height, width), generator=draw, dtype=torch.uint8)
    dy, dx = torch.randint(0, 2 * crop + 1, (2, n), generator=draw)
    flip = torch.rand(n, generator=draw) < 0.5
    got = shift_and_flip(images, dy, dx, flip, crop).numpy()
    for i in range(n):
        padded = np.pad(images[i].numpy(), ((0, 0), (crop, crop), (crop, crop)))
        y, x = int(dy[i]), int(dx[i])
        expected = padded[:, y : y + height, x : x + width]
        if flip[i]:
            expected = expected[:, :, ::-1]
        np.testing.assert_array_equal(got[i], expected)


def test_centred_crop_without_flip_changes_nothing() -> None:
    images = torch.randint(0, 256, (4, 3, 6, 6), dtype=torch.uint8)
    middle = torch.full((4,), 2)
    assert torch.equal(
        shift_and_flip(images, middle, middle, torch.zeros(4, dtype=torch.bool), 2), images
    )


def test_an_epoch_shows_every_image_once_with_its_label() -> None:
    seen = []
    for inputs, labels in _batches(64, 16).epoch():
        images = inputs["x"]
        assert torch.equal(images[:, 0, 0, 0].long(), labels)
        seen += labels.tolist()
    assert sorted(seen) == list(range(64))
    assert seen != list(range(64))


def test_order_depends_on_the_generator_alone_and_changes_each_epoch() -> None:
    first, again, other = _batches(32, 8, 1), _batches(32, 8, 1), _batches(32, 8, 2)
    orders = [[y.tolist() for _, y in b.epoch()] for b in (first, again, other, first)]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]
    assert orders[0] != orders[3]


@pytest.mark.parametrize(
    ("n", "batch_size", "sizes"),
    [(10, 4, [4, 4, 2]), (9, 4, [4, 4]), (3, 8, [3]), (17, 16, [16]), (24, 16, [16, 8])],
)
def test_a_rest_of_less_than_half_a_batch_is_left_out(
    n: int, batch_size: int, sizes: list[int]
) -> None:
    batches = _batches(n, batch_size)
    assert [len(y) for _, y in batches.epoch()] == sizes
    assert batches.n_steps == len(sizes)


def test_half_of_the_images_are_mirrored_and_pixels_are_kept() -> None:
    ramp = torch.arange(8, dtype=torch.uint8).view(1, 1, 1, 8).expand(400, 1, 8, 8).contiguous()
    batches = ImageBatches(
        ramp,
        torch.zeros(400, dtype=torch.long),
        torch.arange(400),
        400,
        IDENTITY,
        torch.Generator().manual_seed(0),
        flip=True,
    )
    images = next(batches.epoch())[0]["x"]
    mirrored = images[:, 0, 0, 0] == 7
    assert 140 < int(mirrored.sum()) < 260
    assert torch.equal(images[mirrored].flip(3), ramp[: int(mirrored.sum())].float())


def test_normalised_training_images_have_mean_0_and_deviation_1_a_channel() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (300, 3, 5, 5), dtype=np.uint8)
    images[:, 1] //= 4
    values = Normaliser.of(images)(torch.from_numpy(images))
    np.testing.assert_allclose(values.mean((0, 2, 3)), 0, atol=1e-4)
    np.testing.assert_allclose(values.std((0, 2, 3)), 1, atol=1e-3)
    assert values.is_contiguous(memory_format=torch.channels_last)


def test_a_constant_channel_stays_finite() -> None:
    images = np.full((4, 1, 3, 3), 7, np.uint8)
    assert torch.equal(Normaliser.of(images)(torch.from_numpy(images)), torch.zeros(4, 1, 3, 3))


def test_normalising_leaves_stored_float_images_alone() -> None:
    stored = torch.ones(2, 1, 3, 3)
    Normaliser(torch.ones(1, 1, 1, 1), torch.ones(1, 1, 1, 1))(stored)
    assert torch.equal(stored, torch.ones(2, 1, 3, 3))


def test_evaluation_images_come_in_order_and_as_they_are() -> None:
    images = np.random.default_rng(0).integers(0, 256, (1300, 1, 8, 8), dtype=np.uint8)
    rows = np.array([3, 900, 12])
    cpu = torch.device("cpu")
    zero, one = np.zeros(1, np.float32), np.ones(1, np.float32)
    feed = ImageFeed((1, 8, 8), "uint8", zero, one)
    stored = {"x": images}
    everything = torch.cat([b["x"] for b in evaluation_batches(feed, stored, None, cpu)])
    np.testing.assert_array_equal(everything.numpy(), images.astype(np.float32))
    some = torch.cat([b["x"] for b in evaluation_batches(feed, stored, rows, cpu)])
    np.testing.assert_array_equal(some.numpy(), images[rows].astype(np.float32))
