"""Training rows say whether images may be mirrored, and a new run records it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import nasgen
from nasgen.data.base import load
from nasgen.data.mirrored import LEAST, SIDE, averaged, keeps_answers

ALL = np.arange(900)
CONFIG = {
    "algorithm": {"name": "random", "population": 2},
    "budget": {"trials": 1},
    "training": {"epochs": 0.1},
    "space": {"max_channels": 4},
    "finish": {"networks": 0},
}


def lit(rng: np.random.Generator, sides: NDArray[Any], brightness: NDArray[Any]) -> NDArray[Any]:
    """Return noisy images (N, 3, 12, 12) with a bright block on the left (0) or right (1)."""
    images = rng.normal(40, 4, (len(sides), 3, 12, 12))
    for image, side, bright in zip(images, sides, brightness, strict=True):
        image[:, 3:9, 6 * side + 1 : 6 * side + 5] += bright
    return images


@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e300])
def test_what_a_mirror_image_means_is_found_out(scale: float) -> None:
    rng = np.random.default_rng(0)
    sides, strong = rng.integers(0, 2, (2, len(ALL)))
    images = scale * lit(rng, sides, 60 + 60 * strong)
    assert keeps_answers(images, strong, ALL, is_class=True) is True
    assert keeps_answers(images, sides, ALL, is_class=True) is False
    assert keeps_answers(images, strong.astype(float), ALL, is_class=False) is True
    assert keeps_answers(images, sides.astype(float)[:, None], ALL, is_class=False) is False
    one_sided = scale * lit(rng, np.zeros_like(sides), 60 + 60 * strong)
    assert keeps_answers(one_sided, strong, ALL, is_class=True) is False, "no image is like it"


def test_nothing_is_said_of_what_neighbours_do_not_know() -> None:
    rng = np.random.default_rng(0)
    images, noise = rng.normal(size=(900, 1, 8, 8)), rng.integers(0, 3, 900)
    assert keeps_answers(images, noise, ALL, is_class=True) is None
    assert keeps_answers(images, rng.normal(size=900), ALL, is_class=False) is None
    assert keeps_answers(images, np.zeros(900, int), ALL, is_class=True) is None
    assert keeps_answers(images, np.zeros(900), ALL, is_class=False) is None
    assert keeps_answers(np.zeros_like(images), noise, ALL, is_class=True) is None
    sides = rng.integers(0, 2, 900)
    few = ALL[: LEAST - 1]
    assert keeps_answers(lit(rng, sides, 90 + 0 * sides), sides, few, is_class=True) is None


def test_rows_outside_of_the_training_part_have_no_say() -> None:
    rng = np.random.default_rng(0)
    sides = rng.integers(0, 2, 900)
    images = lit(rng, sides, 90 + 0 * sides)
    images[600:], sides[600:] = np.inf, 7
    assert keeps_answers(images, sides, ALL[:600], is_class=True) is False


@pytest.mark.parametrize("shape", [(8, 8), (28, 28), (33, 90), (1, 70), (500, 3)])
def test_averages_of_mirror_images_are_mirrored_averages(shape: tuple[int, int]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 2, *shape), dtype=np.uint8)
    small = averaged(images)
    assert max(small.shape[2:]) <= SIDE
    np.testing.assert_array_equal(averaged(images[..., ::-1]), small[..., ::-1])
    if shape == (8, 8):
        np.testing.assert_array_equal(small, images)
    if shape == (28, 28):
        np.testing.assert_allclose(small[0, 0, 0, 0], images[0, 0, :2, :2].mean())


@pytest.mark.parametrize(
    ("kind", "name", "keeps"),
    [("cifar10", "cifar-10-batches-bin", True), ("mnist", "fashion-mnist", False),
     ("mnist", "mnist", False)],
)  # fmt: skip
def test_photographs_may_be_mirrored_and_digits_may_not(
    kind: str, name: str, keeps: bool, real: Callable[[str], Path]
) -> None:
    found = load(f"{kind}:{real(name)}")
    rows = np.arange(len(found.targets))
    assert keeps_answers(found.inputs["x"], found.targets, rows, is_class=True) is keeps


def test_a_run_mirrors_no_coloured_digits_and_says_so(tmp_path: Path) -> None:
    found = load("digits")
    colour = np.repeat(found.inputs["x"], 3, axis=1)
    data: Any = (colour, found.targets)
    run = nasgen.run(CONFIG, data=data, out=tmp_path / "run")
    assert run.config.training.flip is False
    assert "flip = false" in (tmp_path / "run" / "config.toml").read_text("utf-8")
    assert nasgen.load(tmp_path / "run").config.training.flip is False
    asked = {**CONFIG, "training": {"epochs": 0.1, "flip": True}}
    assert nasgen.run(asked, data=data, out=tmp_path / "asked").config.training.flip is True
    few: Any = (colour[:200], found.targets[:200])
    assert nasgen.run(CONFIG, data=few, out=tmp_path / "few").config.training.flip is None


def test_a_run_that_has_begun_goes_on_as_it_has_recorded(tmp_path: Path) -> None:
    run = nasgen.run(CONFIG, out=tmp_path / "run")
    assert run.config.training.flip is False
    file = tmp_path / "run" / "config.toml"
    older = file.read_text("utf-8").replace("flip = false\n", "")
    file.write_text(older, encoding="utf-8")
    again = nasgen.resume(tmp_path / "run", trials="+1")
    assert again.config.training.flip is None
    assert file.read_text("utf-8") == older
