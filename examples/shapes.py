"""Draw a small data set of shapes: python examples/shapes.py FOLDER

The folder gets a sub-folder for each class, as `nasgen search --data folder:FOLDER` wants it.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SIDE, N = 12, 100  # pixels of an image's side, images of each class


def picture(shape: str, rng: np.random.Generator) -> Image.Image:
    """Return one grey image: a shape of random size and place on a noisy ground."""
    noise = rng.integers(0, 190, (SIDE, SIDE), dtype=np.uint8)
    image = Image.fromarray(noise)
    size = int(rng.integers(4, 8))
    x, y = (int(rng.integers(0, SIDE - size)) for _ in range(2))
    box, grey = (x, y, x + size, y + size), int(rng.integers(120, 220))
    draw = ImageDraw.Draw(image)
    if shape == "circle":
        draw.ellipse(box, fill=grey)
    elif shape == "square":
        draw.rectangle(box, fill=grey)
    else:
        draw.polygon([(x, y + size), (x + size, y + size), (x + size // 2, y)], fill=grey)
    return image


def main(folder: Path) -> None:
    """Write N images of each shape."""
    rng = np.random.default_rng(0)
    for shape in ("circle", "square", "triangle"):
        (folder / shape).mkdir(parents=True, exist_ok=True)
        for i in range(N):
            picture(shape, rng).save(folder / shape / f"{i}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "shapes"))
