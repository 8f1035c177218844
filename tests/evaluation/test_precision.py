"""bfloat16 in training: where it is chosen, that it learns, and that nothing else is in it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nasgen.evaluation.images import ImageBatches, Normaliser
from nasgen.evaluation.precision import MIN_SIDE, is_fast, mixed_precision
from nasgen.evaluation.recipe import Recipe
from nasgen.evaluation.training import History, train
from nasgen.phenotype.network import build
from nasgen.search_spaces.dag_cnn import DagCnn
from nasgen.settings.config import Training

CPU = torch.device("cpu")
SHAPE = (1, 12, 12)


def test_auto_is_bfloat16_only_where_the_hardware_multiplies_matrices_in_it() -> None:
    best = "bfloat16" if is_fast(CPU) else "float32"
    assert mixed_precision("auto", CPU, MIN_SIDE)[0] == best
    assert mixed_precision("auto", CPU, MIN_SIDE - 1)[0] == "float32"
    assert mixed_precision("float32", CPU, 224)[0] == "float32"
    assert mixed_precision("bfloat16", CPU, 8)[0] == "bfloat16"


@pytest.mark.parametrize(
    ("has", "fast"),
    [({"avx512_bf16"}, True), ({"amx_bf16"}, True), ({"avx512_f", "amx_int8"}, False)],
)
def test_a_processor_is_judged_by_its_units(
    has: set[str], fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = dict.fromkeys(has, True) | dict.fromkeys({"avx512_bf16", "amx_bf16"} - has, False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found, raising=False)
    assert is_fast(CPU) == fast
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert not is_fast(CPU)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_auto_is_never_float32_on_cuda() -> None:
    assert mixed_precision("auto", torch.device("cuda"), 8)[0] in ("bfloat16", "float16")


@cache
def _trained(precision: str, time: int = 0) -> tuple[nn.Module, History]:
    """Train a drawn network on bright and dark images with noise, once for each `time`."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(256) % 2
    noise = torch.randint(0, 80, (256, *SHAPE), generator=draw)
    images = (noise + 90 * labels[:, None, None, None]).to(torch.uint8)
    space = DagCnn()
    genotype = space.sample(np.random.default_rng(0)).mint(0, 0)
    network = build(space.blueprint(genotype, SHAPE, 2)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    recipe = replace(Recipe.of(Training(batch_size=32), SHAPE), precision=precision)
    normalise = Normaliser.of(images.numpy())
    rows = torch.arange(256)
    batches = ImageBatches(
        images, labels, rows, 32, normalise, torch.Generator().manual_seed(0), recipe.crop
    )
    return network, train(
        network, batches, partial(F.cross_entropy, label_smoothing=0.05), recipe, 3.0
    )


def test_bfloat16_learns_as_float32_does_and_keeps_its_weights_in_float32() -> None:
    (exact, exactly), (rounded, roundly) = _trained("float32"), _trained("bfloat16")
    assert (exactly.precision, roundly.precision) == ("float32", "bfloat16")
    # Label smoothing of 0.05 leaves 0.117 to a perfect classifier of two classes.
    assert exactly.train_loss < 0.2
    assert roundly.train_loss == pytest.approx(exactly.train_loss, abs=0.02)
    assert roundly.train_loss != exactly.train_loss
    for a, b in zip(exact.state_dict().values(), rounded.state_dict().values(), strict=True):
        assert a.dtype == b.dtype


def test_bfloat16_repeats_bit_for_bit() -> None:
    first, second = (_trained("bfloat16", time)[0].state_dict() for time in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
