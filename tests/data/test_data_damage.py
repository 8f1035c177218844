"""Whatever happens to the bytes of a file, loading it gives a data set or a DataError."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nasgen.data.base import Dataset, load
from nasgen.errors import DataError

IMAGES = ("png", "jpg", "gif", "bmp", "webp", "ppm")
X = np.arange(48, dtype=np.uint8).reshape(8, 1, 3, 2)
Y = np.array([0, 1] * 4)


@pytest.fixture
def source(request, tmp_path, write_idx, write_cifar) -> tuple[str, Path]:
    kind = request.param
    if kind in ("idx", "idx.gz"):
        write_idx(tmp_path, [1, 2, 1, 2], [1, 2], zipped=kind == "idx.gz")
        return f"mnist:{tmp_path}", min(tmp_path.glob("train-images*"))
    if kind == "cifar":
        write_cifar(tmp_path)
        return f"cifar10:{tmp_path}", tmp_path / "test_batch.bin"
    if kind.startswith("npz"):
        file = tmp_path / "toy.npz"
        save = np.savez_compressed if kind == "npz, compressed" else np.savez
        save(file, x=X, y=Y)
        return f"npz:{file}", file
    if kind == "csv":
        file = tmp_path / "toy.csv"
        file.write_text("a,y,b\n" + "".join(f'{i},"{"xz"[i % 2]}",{i / 2}\n' for i in range(10)))
        return f"csv:{file}?target=y", file
    noise = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    for name in ("a/0", "a/1", "b/0", "b/1"):
        file = tmp_path / f"{name}.{kind}"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(noise).save(file)
    return f"folder:{tmp_path}", file


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        at = int(rng.integers(0, min(len(changed), 2000)))
        what = rng.integers(0, 3)
        if what == 0:
            changed[at] = int(rng.integers(0, 256))
        elif what == 1:
            del changed[at : at + int(rng.integers(1, 9))]
        else:
            changed[at:at] = rng.bytes(3)
    return bytes(changed)


@pytest.mark.parametrize(
    "source",
    ["idx", "idx.gz", "cifar", "npz", "npz, compressed", "csv", *IMAGES],
    indirect=True,
)
def test_damage_is_survived_or_reported(source):
    text, file = source
    whole = file.read_bytes()
    assert isinstance(load(text), Dataset)
    rng = np.random.default_rng(1)
    n_reported = 0
    for _ in range(40):
        file.write_bytes(damaged(whole, rng))
        try:
            load(text)
        except DataError:
            n_reported += 1
    assert n_reported
