"""Every registered member keeps its family's contract: a new one is tested by being registered."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nasgen import registry
from nasgen.data import arrays
from nasgen.data.base import make
from nasgen.genotypes.derivation import Derivation
from nasgen.testing import (
    CrossoverContract,
    DatasetContract,
    EnsembleContract,
    EnvironmentContract,
    FeedContract,
    GenotypeContract,
    LayerContract,
    MatingContract,
    MorphismContract,
    MutationContract,
    ObjectiveContract,
    PredictorContract,
    PruningContract,
    ScoreContract,
    SearchSpaceContract,
    TaskContract,
    WorkerMutationContract,
)

N_CASES = 10


def free(group: str) -> list[str]:
    """Return the members that need nothing but genotypes."""
    return [name for name, entry in registry.entries(group).items() if not entry.requires]


IN_WORKER = [name for name, e in registry.entries("mutations").items() if e.runs_in == "worker"]


class Named:
    """Runs a contract once for each name of a group."""

    name: str

    @pytest.fixture(autouse=True)
    def _named(self, request: pytest.FixtureRequest) -> None:
        self.name = request.param


def every(names: list[str] | tuple[str, ...]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("_named", names, indirect=True)


@every([name for name in free("mutations") if name not in IN_WORKER])
class TestEveryMutation(Named, MutationContract):
    n = N_CASES


@every(IN_WORKER)
class TestEveryMutationInTheWorker(Named, WorkerMutationContract):
    pass


@every(free("morphisms"))
class TestEveryMorphism(Named, MorphismContract):
    n = 2 * N_CASES  # of few parents all may be as deep as the space allows


@every(free("crossovers"))
class TestEveryCrossover(Named, CrossoverContract):
    n = N_CASES


@every(registry.names("matings"))
class TestEveryMating(Named, MatingContract):
    pass


@every(registry.names("prunings"))
class TestEveryPruning(Named, PruningContract):
    pass


@every(registry.names("environments"))
class TestEveryEnvironment(Named, EnvironmentContract):
    pass


@every(registry.names("ensembles"))
class TestEveryEnsemble(Named, EnsembleContract):
    pass


@every([name for name in registry.names("genotypes") if name != Derivation.kind])
class TestEveryGenotype(Named, GenotypeContract):
    pass


class TestADerivation(GenotypeContract):
    """The driver proposes derivations, no search space draws them."""

    name = Derivation.kind
    given = (
        Derivation(("a",), "prunings", "magnitude", {"retention": 0.5}, 3),
        Derivation(("a", "b", "c"), "matings", "mean"),
    )


@every(registry.names("search_spaces"))
class TestEverySearchSpace(Named, SearchSpaceContract):
    pass


class TestASmallSearchSpace(SearchSpaceContract):
    name = "dag-cnn"
    options = {"max_channels": 8, "max_vertices": 5, "max_depth": 4, "max_stages": 1}  # noqa: RUF012


@every(registry.names("layers"))
class TestEveryLayer(Named, LayerContract):
    pass


@every(registry.names("objectives"))
class TestEveryObjective(Named, ObjectiveContract):
    pass


@every(registry.names("scores"))
class TestEveryScore(Named, ScoreContract):
    pass


@every(free("predictors"))  # the others read features of their own
class TestEveryPredictor(Named, PredictorContract):
    pass


# ---- data sets: each needs a source ----------------------------------------------------------

N, N_TEST = 60, 20


def images(n: int, seed: int, shape: tuple[int, ...] = (8, 8)) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8)


def idx(folder: Path) -> str:
    for part, n in (("train", N), ("t10k", N_TEST)):
        labels = (np.arange(n) % 10).astype(np.uint8)
        for kind, array in (("images-idx3", images(n, n)), ("labels-idx1", labels)):
            header = struct.pack(f">{1 + array.ndim}I", 0x0800 | array.ndim, *array.shape)
            (folder / f"{part}-{kind}-ubyte").write_bytes(header + array.tobytes())
    return str(folder)


def cifar(folder: Path) -> str:
    for seed, stem in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        rows = images(20, seed, (3073,))
        rows[:, 0] = np.arange(20) % 10
        rows.tofile(folder / f"{stem}.bin")
    return str(folder)


def image_folder(folder: Path) -> str:
    for label in ("cat", "dog"):
        (folder / label).mkdir()
        for i, pixels in enumerate(images(N // 2, len(label) + ord(label[0]))):
            Image.fromarray(pixels).save(folder / label / f"{i}.png")
    return str(folder)


def npz(folder: Path) -> str:
    np.savez(folder / "it.npz", x=images(N, 0), y=np.arange(N) % 3)
    return str(folder / "it.npz")


def csv(folder: Path) -> str:
    rows = ["y," + ",".join(f"p{i}" for i in range(16))]
    rows += [f"{i % 3}," + ",".join(map(str, x)) for i, x in enumerate(images(N, 0, (16,)))]
    (folder / "it.csv").write_text("\n".join(rows) + "\n")
    return f"{folder / 'it.csv'}?target=y&shape=1x4x4"


def array(folder: Path) -> str:
    items = [np.arange(i, i + 2 + i % 5) for i in range(N)]
    dataset = make("it", items, np.arange(N) / 3)
    arrays.save(dataset, folder)
    return f"{folder / dataset.digest}.npz"


SOURCES: dict[str, Callable[[Path], str]] = {
    "digits": lambda folder: "",
    "reber": lambda folder: "n=200",
    "reber-embedded": lambda folder: "n=200",
    "mnist": idx,
    "cifar10": cifar,
    "folder": image_folder,
    "npz": npz,
    "csv": csv,
    "array": array,
}


@every(registry.names("datasets"))
class TestEveryDataset(Named, DatasetContract):
    name = ""

    @pytest.fixture(autouse=True)
    def _written(self, _named: None, tmp_path: Path) -> None:
        scheme = self.name
        assert scheme in SOURCES, f"write a small '{scheme}' in SOURCES, so that it is tested"
        rest = SOURCES[scheme](tmp_path)
        self.source = f"{scheme}:{rest}" if rest else scheme


@every(registry.names("feeds"))
class TestEveryFeed(Named, FeedContract):
    pass


@every(registry.names("tasks"))
class TestEveryTask(Named, TaskContract):
    pass
