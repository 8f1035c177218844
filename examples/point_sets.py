"""A form of data of its own: sets of points in space, with the feed through which they are read.

    nasgen check point_sets.py
    nasgen search --data solids:300 --plugin point_sets.py

A set has as many points as it likes; `counts` says how many. Each set is centred and scaled to the
radius 1, and turned about its vertical axis at random in training. Networks read, for each point,
its place, its distance from the centre and from the axis, and sum up over all points (the search
space `mlp` does that with whatever comes with `lengths`), so the points' order does not matter.
"""

import numpy as np

import nasgen
from nasgen.errors import DataError

CLASSES = ("ball", "cube", "ring")


@nasgen.dataset("solids", options={"example": "60"})
def solids(rest):
    """solids:N, N sets of 20 to 40 points on balls, cubes and rings of any size."""
    n, rng = int(rest), np.random.default_rng(0)
    points = np.zeros((n, 40, 3), np.float32)
    counts = rng.integers(20, 41, n)
    for i, count in enumerate(counts):
        p = rng.normal(size=(count, 3))
        if i % 3 == 0:
            p /= np.linalg.norm(p, axis=1, keepdims=True)
        elif i % 3 == 1:
            p /= np.abs(p).max(axis=1, keepdims=True)
        else:
            p[:, :2] /= np.linalg.norm(p[:, :2], axis=1, keepdims=True)
            p[:, 2] *= 0.1
        points[i, :count] = p * rng.uniform(0.5, 20) + rng.normal(size=3) * 9
    inputs, y, cut = {"x": points, "counts": counts}, np.arange(n) % 3, n * 4 // 5
    train, test = (
        {name: a[part] for name, a in inputs.items()} for part in (np.s_[:cut], np.s_[cut:])
    )
    return nasgen.Dataset("solids", train, y[:cut], test, y[cut:], CLASSES, form="points")


@nasgen.feed("points", options={"space": "mlp"})
class Points(nasgen.Feed):
    """Point sets: x (N, P, 3) and counts (N,); `most` is the largest training set."""

    def __init__(self, most):
        self.most = most

    @classmethod
    def fit(cls, dataset, rows):
        return cls(int(dataset.inputs["counts"][rows].max()))

    def state(self):
        return {"most": self.most}, {}

    @classmethod
    def restore(cls, facts, arrays):
        return cls(facts["most"])

    @property
    def input_shape(self):
        return (5, self.most)

    def read(self, raw):
        sets = [np.asarray(points, np.float32) for points in raw]
        wrong = next(
            (i for i, p in enumerate(sets) if p.ndim != 2 or p.shape[1] != 3 or not len(p)), None
        )
        if wrong is not None:
            raise DataError(
                f"set {wrong}: expected points (n, 3), n >= 1, got {sets[wrong].shape}."
            )
        counts = np.array([len(points) for points in sets])
        x = np.zeros((len(sets), max(counts), 3), np.float32)
        for row, points in zip(x, sets, strict=True):
            row[: len(points)] = points
        return {"x": x, "counts": counts}

    def prepared(self, stored):
        x, counts = stored["x"], stored["counts"]
        inside = (np.arange(x.shape[1]) < counts[:, None])[:, :, None]
        centred = np.where(
            inside, x - (x * inside).sum(1, keepdims=True) / counts[:, None, None], 0
        )
        radius = np.linalg.norm(centred, axis=2).max(axis=1)[:, None, None]
        return {"x": (centred / np.maximum(radius, 1e-6)).astype(np.float32), "lengths": counts}

    def batch(self, prepared):
        import torch

        points = prepared["x"]
        distances = points.norm(dim=2), points[:, :, :2].norm(dim=2)
        return {
            "x": torch.cat((points, torch.stack(distances, 2)), 2).transpose(1, 2).contiguous(),
            "lengths": prepared["lengths"],
        }

    def batches(self, prepared, targets, rows, batch_size, generator, recipe):
        import torch

        from nasgen.evaluation.batches import Batches

        def turned(rows):
            angle = 6.2832 * torch.rand(len(rows["x"]), generator=generator).to(rows["x"].device)
            cos, sin = angle.cos()[:, None], angle.sin()[:, None]
            x, y, z = rows["x"].unbind(2)
            return self.batch(
                {**rows, "x": torch.stack((cos * x - sin * y, sin * x + cos * y, z), 2)}
            )

        return Batches(turned, prepared, targets, rows, batch_size, generator)

    def numbers(self, stored):
        return {"x": stored["x"], "lengths": np.asarray(stored["counts"], np.int64)}

    def drawn(self, n, rng):  # random rows, to check an export where the data are not there
        counts = rng.integers(1, self.most + 1, n)
        return {"x": rng.normal(size=(n, self.most, 3)).astype(np.float32), "counts": counts}

    free_axes = {"x": {1: "points"}}  # noqa: RUF012 - read only

    def standalone(self):  # `nasgen export` writes it into model.py
        import torch
        from torch import nn

        class Centred(nn.Module):
            """Points (B, P, 3) and their numbers (B,) -> (B, 5, P) as networks read them."""

            def forward(self, x, lengths):
                inside = (torch.arange(x.shape[1]) < lengths[:, None])[:, :, None]
                centre = (x * inside).sum(1, keepdim=True) / lengths[:, None, None]
                points = torch.where(inside, x - centre, 0.0)
                radius = points.norm(dim=2).amax(1)[:, None, None].clamp(min=1e-6)
                points = points / radius
                distances = points.norm(dim=2), points[:, :, :2].norm(dim=2)
                return torch.cat((points, torch.stack(distances, 2)), 2).transpose(1, 2)

        return Centred()

    def example(self):
        import torch

        return {"x": torch.zeros((1, *self.input_shape)), "lengths": torch.tensor([self.most])}
