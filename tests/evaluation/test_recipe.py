"""Resolved defaults, digests, devices, and which objectives exist."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from nasgen import registry
from nasgen.errors import ConfigError
from nasgen.evaluation import device
from nasgen.evaluation.recipe import Recipe
from nasgen.settings.config import Training

CIFAR, MNIST, DIGITS = (3, 32, 32), (1, 28, 28), (1, 8, 8)


def test_defaults_depend_on_the_optimiser_and_on_the_images() -> None:
    adamw, sgd = (Recipe.of(Training(optimizer=o), CIFAR) for o in ("adamw", "sgd"))
    assert adamw.lr != sgd.lr
    assert adamw.weight_decay != sgd.weight_decay
    assert (adamw.flip, adamw.crop) == (True, 2)
    assert (Recipe.of(Training(), MNIST).flip, Recipe.of(Training(), MNIST).crop) == (False, 1)
    assert Recipe.of(Training(), DIGITS).crop == 0


def test_given_settings_win_over_defaults_even_when_they_are_zero() -> None:
    recipe = Recipe.of(Training(lr=0.5, weight_decay=0.0, crop=0, flip=False), CIFAR)
    assert (recipe.lr, recipe.weight_decay, recipe.crop, recipe.flip) == (0.5, 0.0, 0, False)


def test_the_digest_follows_what_changes_the_result_and_nothing_else() -> None:
    base = Recipe.of(Training(), CIFAR).digest()
    assert Recipe.of(Training(), CIFAR).digest() == base
    assert Recipe.of(Training(time_limit=5, epochs=9), CIFAR).digest() == base
    changed = (Training(lr=0.123), Training(batch_size=77), Training(crop=1))
    for other in (*changed, Training(precision="float32")):
        assert Recipe.of(other, CIFAR).digest() != base


def test_small_training_sets_get_small_batches() -> None:
    recipe = Recipe.of(Training(batch_size=128), DIGITS)
    assert recipe.batch_for(50_000) == 128
    assert 16 <= recipe.batch_for(1300) <= 130
    assert recipe.batch_for(100) == 16
    assert recipe.batch_for(5) == 5


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "CPU", ""])
def test_an_unknown_device_is_named_with_the_valid_ones(name: str) -> None:
    with pytest.raises(ConfigError, match="expected auto, cpu, cuda or cuda:N"):
        device.resolve(name)


def test_devices_resolve_or_say_what_is_missing() -> None:
    assert device.resolve("cpu") == torch.device("cpu")
    assert device.resolve("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ConfigError, match="CUDA device"):
        device.resolve("cuda:99")


def test_every_objective_resolves_and_says_its_direction_and_unit() -> None:
    found = registry.entries("objectives")
    assert {"val_accuracy", "error_rate", "n_params", "flops", "latency_ms"} <= set(found)
    for name, entry in found.items():
        assert callable(registry.resolve("objectives", name))
        assert entry.options["direction"] in ("maximize", "minimize")
        assert entry.options["unit"]


def test_objectives_and_recipe_are_listed_without_torch() -> None:
    code = (
        "import sys; import nasgen.evaluation.recipe; from nasgen import registry; "
        "registry.names('objectives'); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_denormals_are_flushed_inside_only_even_when_nested() -> None:
    tiny = torch.tensor(1e-40)
    with device.flushed_denormals():
        with device.flushed_denormals():
            assert float(tiny * 1) == 0
        assert float(tiny * 1) == 0
    assert float(tiny * 1) > 0
