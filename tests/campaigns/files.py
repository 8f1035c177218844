"""Data sets: tables, arrays, idx files and folders of images, damaged as bytes and by content."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import struct
import zipfile
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from nasgen.data.base import Dataset, load
from tests.campaigns.damage import TOKENS, Rng, damaged
from tests.campaigns.guard import raises_wrong
from tests.campaigns.parts import Act, Part

HEAD: Final = 3000  # where a file is damaged: behind it, most files hold values alone
CELLS: Final = (
    b"", b"nan", b"inf", b"1e400", b"-1", b"0", b"1", b"2", b"x", b" 3", b"3 ", b"true", b'"a,b"',
    b'"', b"1" * 400, b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"1,2", b"\n", b"\r\n", b"0x1F",
)  # fmt: skip
DTYPES: Final = (
    "u1", "i1", "i2", "u2", ">i4", "i8", "u8", "f2", "f4", ">f8", "c8", "?", "U3", "S3", "M8[D]",
    "m8[s]", "O", "V4", "i4,f4", "longdouble",
)  # fmt: skip
NAMES: Final = ("a", "é", "train", "test", ".hidden", "caf\udce9", " ", "a\nb", "x" * 200, "-", "?")


def whole(source: str) -> None:
    """Load a data set; what is accepted must be one whose parts can be trained on."""
    found = load(source)
    raises_wrong(isinstance(found, Dataset), f"{source}: no Dataset")
    raises_wrong(len(found.digest) == 32 and len(found.targets) > 0, f"{source}: nothing in it")


class Csv(Part):
    """Tables, and images as rows."""

    name = "csv"

    def prepare(self) -> None:
        rows = [f"{i % 7},{('Ulm', 'Kiel')[i % 2]},{i / 3},{'ab'[i % 2]}" for i in range(24)]
        self.table = ("size,town,cost,y\n" + "\n".join(rows) + "\n").encode()
        pixels = [",".join(str((i * j) % 256) for j in range(4)) + f",{i % 2}" for i in range(24)]
        self.images = ("a,b,c,d,y\n" + "\n".join(pixels) + "\n").encode()
        self.file = self.folder / "data.csv"
        for data, more in ((self.table, ""), (self.images, "&shape=1x2x2")):
            self.file.write_bytes(data)
            whole(f"csv:{self.file}?target=y{more}")

    def draw(self, rng: Rng) -> Act:
        data, query = (self.table, "target=y"), (self.images, "target=y&shape=1x2x2")
        content, text = data if rng.random() < 0.6 else query
        if rng.random() < 0.5:
            cells = [line.split(b",") for line in content.split(b"\n")]
            for _ in range(int(rng.integers(1, 6))):
                row = cells[int(rng.integers(0, len(cells)))]
                row[int(rng.integers(0, len(row)))] = CELLS[int(rng.integers(0, len(CELLS)))]
            content = b"\n".join(b",".join(row) for row in cells)
        else:
            content = damaged(content, rng)
        if rng.random() < 0.15:
            text = damaged(text.encode(), rng, TOKENS[:12]).decode("utf-8", "replace")
        self.file.write_bytes(content)
        return lambda: whole(f"csv:{self.file}?{text}")


class Npz(Part):
    """Archives of arrays: other arrays, damaged headers in intact archives, damaged archives."""

    name = "npz"

    def prepare(self) -> None:
        rng = np.random.default_rng(0)
        y = np.arange(24) % 2
        self.layouts: list[dict[str, Any]] = [
            {"x": rng.integers(0, 255, (24, 1, 4, 4)).astype("u1"), "y": y},
            {"x": rng.normal(size=(24, 3)), "y": y.astype("f8") + rng.normal(size=24)},
            {"x": rng.integers(0, 9, (24, 5)), "lengths": 1 + np.arange(24) % 5, "y": y},
            {"x_train": rng.normal(size=(24, 3)), "y_train": y, "x_test": rng.normal(size=(4, 3)),
             "y_test": y[:4]},
        ]  # fmt: skip
        self.file = self.folder / "data.npz"
        for arrays in self.layouts:
            np.savez(self.file, **arrays)
            whole(f"npz:{self.file}")

    def draw(self, rng: Rng) -> Act:
        arrays = dict(self.layouts[int(rng.integers(0, len(self.layouts)))])
        way = int(rng.integers(0, 3))
        if way == 0:
            key = list(arrays)[int(rng.integers(0, len(arrays)))]
            arrays[key] = self._other(arrays[key], rng)
            if rng.random() < 0.2:
                arrays[str(NAMES[int(rng.integers(0, 4))])] = arrays.pop(key)
        members = {f"{key}.npy": _npy(value) for key, value in arrays.items()}
        if way == 1:
            key = list(members)[int(rng.integers(0, len(members)))]
            members[key] = damaged(members[key], rng, head=140)
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for key, data in members.items():
                archive.writestr(key, data)
        data = buffer.getvalue()
        self.file.write_bytes(damaged(data, rng) if way == 2 else data)
        return lambda: whole(f"npz:{self.file}")

    def _other(self, array: Any, rng: Rng) -> Any:
        """Return the array with another type, shape or values."""
        with np.errstate(all="ignore"):
            match int(rng.integers(0, 5)):
                case 0:
                    dtype = DTYPES[int(rng.integers(0, len(DTYPES)))]
                    try:
                        return array.astype(dtype)
                    except (TypeError, ValueError):
                        return np.zeros(array.shape, dtype=dtype)
                case 1:
                    return array[int(rng.integers(0, 24)) :]
                case 2:
                    return array.reshape(array.shape + (1,) * int(rng.integers(1, 4)))
                case 3:
                    shape = [int(n) for n in rng.integers(0, 30, int(rng.integers(0, 6)))]
                    return np.zeros([*shape[:2], *(min(n, 3) for n in shape[2:])], array.dtype)
                case _:
                    found = array.astype("f8")
                    bad = [np.nan, np.inf, -1.0, 1e300, 0.5, 300.0][int(rng.integers(0, 6))]
                    found.flat[rng.integers(0, found.size, int(rng.integers(1, 30)))] = bad
                    return found


def _npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)  # as numpy itself would write objects
    return buffer.getvalue()


class Idx(Part):
    """The four files of MNIST, also compressed."""

    name = "idx"

    def prepare(self) -> None:
        self.contents: dict[str, bytes] = {}
        for part, n in (("train", 24), ("t10k", 6)):
            images = np.arange(n * 12, dtype=np.uint8).tobytes()
            labels = bytes(i % 2 for i in range(n))
            self.contents[f"{part}-images-idx3-ubyte"] = struct.pack(">4I", 2051, n, 4, 3) + images
            self.contents[f"{part}-labels-idx1-ubyte"] = struct.pack(">2I", 2049, n) + labels
        self._write(self.contents)
        whole(f"mnist:{self.folder}")

    def draw(self, rng: Rng) -> Act:
        contents = dict(self.contents)
        name = list(contents)[int(rng.integers(0, 4))]
        zipped = rng.random() < 0.4
        if zipped:
            inside = damaged(contents[name], rng, head=24) if rng.random() < 0.5 else contents[name]
            data = gzip.compress(inside, 1)
            contents.pop(name)
            contents[f"{name}.gz"] = data if rng.random() < 0.5 else damaged(data, rng)
        else:
            contents[name] = damaged(contents[name], rng, head=24)
        if rng.random() < 0.1:
            contents.pop(list(contents)[int(rng.integers(0, 4))])
        self._write(contents)
        return lambda: whole(f"mnist:{self.folder}")

    def _write(self, contents: dict[str, bytes]) -> None:
        for path in self.folder.iterdir():
            path.unlink()
        for name, data in contents.items():
            (self.folder / name).write_bytes(data)


class Images(Part):
    """Folders of image files of seven formats: damaged files, other modes, strange names."""

    name = "image folder"
    formats = ("png", "jpg", "gif", "bmp", "webp", "ppm", "tif")
    modes = ("L", "RGB", "RGBA", "1", "P", "LA", "CMYK", "I;16", "F", "YCbCr")

    def prepare(self) -> None:
        self.root = self.folder / "set"
        self.seeds = {kind: self._image("RGB", kind, 0) for kind in self.formats}
        for kind in self.formats:
            self._write({f"{c}/{i}.{kind}": self.seeds[kind] for c in "ab" for i in range(4)})
            whole(f"folder:{self.root}")

    def _image(self, mode: str, kind: str, seed: int, size: tuple[int, int] = (5, 4)) -> bytes:
        noise = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
        image, buffer = Image.fromarray(noise), io.BytesIO()
        try:
            image = (
                image.convert("L").convert(mode) if mode in ("I;16", "F") else image.convert(mode)
            )
            image.save(buffer, {"jpg": "JPEG", "tif": "TIFF", "ppm": "PPM"}.get(kind, kind.upper()))
        except (OSError, ValueError):  # a mode that the format has not got
            return self._image("RGB", kind, seed, size)
        return buffer.getvalue()

    def draw(self, rng: Rng) -> Act:
        kind = self.formats[int(rng.integers(0, len(self.formats)))]
        whole_file = self.seeds[kind]
        contents = {f"{c}/{i}.{kind}": whole_file for c in "ab" for i in range(4)}
        name = list(contents)[int(rng.integers(0, len(contents)))]
        match int(rng.integers(0, 5)):
            case 0:
                mode = self.modes[int(rng.integers(0, len(self.modes)))]
                size = (5, 4) if rng.random() < 0.7 else (int(rng.integers(1, 9)), 4)
                contents[name] = self._image(mode, kind, int(rng.integers(0, 99)), size)
            case 1:
                strange = NAMES[int(rng.integers(0, len(NAMES)))]
                contents[f"{strange}/{name.replace('/', '_')}"] = contents.pop(name)
            case _:
                contents[name] = damaged(whole_file, rng, head=HEAD)
        self._write(contents)
        return lambda: whole(f"folder:{self.root}")

    def _write(self, contents: dict[str, bytes]) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        for name, data in contents.items():
            path = Path(os.fsdecode(os.fsencode(str(self.root / name))))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
