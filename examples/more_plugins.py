"""A layer, an objective, two crossovers, a mutation written for DEAP, an ensemble, a data set.

nasgen check examples/more_plugins.py
nasgen search --plugin examples/more_plugins.py --data stripes:600 --trials 10
nasgen ensemble RUN --plugin examples/more_plugins.py --method best-few --set ensemble.n=2
"""

from dataclasses import dataclass

import numpy as np
from deap import tools

import nasgen


@nasgen.layer("depthwise-gelu")
class DepthwiseGelu(nasgen.Layer):
    """Depthwise convolution, batch norm, GELU: keeps the width and the gene tags of its input."""

    domain = {"kernel": (3, 5)}  # noqa: RUF012 - read only
    axes = {  # noqa: RUF012 - which axis of which tensor belongs to channels, for heredity
        "0.weight": ("out", None, None, None),
        "1.weight": ("out",),
        "1.bias": ("out",),
        "1.running_mean": ("out",),
        "1.running_var": ("out",),
    }
    channelwise = True  # no channel depends on another, so morphisms may widen through it

    def build(self, params, in_shapes, out_shape):
        from torch import nn  # here, so that listing plug-ins loads no torch

        c, kernel = out_shape[0], params["kernel"]
        conv = nn.Conv2d(c, c, kernel, padding=kernel // 2, groups=c, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(c), nn.GELU())


@nasgen.objective("calibration_error", options={"direction": "minimize", "unit": "fraction"})
def calibration_error(measured):
    """Expected calibration error in ten bins of confidence (Guo 2017), in [0, 1]."""
    sure = measured.probabilities.max(axis=1)
    right = measured.probabilities.argmax(axis=1) == measured.labels
    bins = np.minimum((10 * sure).astype(int), 9)
    gaps = [abs(sure[bins == b].sum() - right[bins == b].sum()) for b in range(10)]
    return float(sum(gaps) / len(sure))


@nasgen.ensemble("best-few")
@dataclass(frozen=True)
class BestFew(nasgen.EnsembleMethod):
    """The mean of the best networks that keep the limits of [ensemble] together."""

    n: int = 3  # an option: ensemble.n

    def choose(self, candidates):
        chosen = candidates.fitting()[: self.n]
        return [(candidates.members[i], 1 / len(chosen)) for i in chosen]


@nasgen.crossover("swap-widths")
def swap_widths(first, second, space, rng):
    """Both parents with the width of one convolution exchanged: two children."""
    ours = [v for v in first.vertices if v.op == "conv"]
    theirs = [v for v in second.vertices if v.op == "conv"]
    if not ours or not theirs:
        raise nasgen.NotApplicable("a parent has no convolution.")
    a, b = ours[rng.integers(len(ours))], theirs[rng.integers(len(theirs))]
    if a.channels == b.channels:
        raise nasgen.NotApplicable("both convolutions have the same width.")
    return (
        first.change(a.tag, channels=b.channels),
        second.change(b.tag, channels=a.channels),
    )


# Variations written for DEAP change lists in place; from_deap gives them lists of layers.
nasgen.mutation("shuffle-layers", summary="some layers change places (DEAP)")(
    nasgen.from_deap(tools.mutShuffleIndexes, indpb=0.2)
)
nasgen.crossover("two-point-layers", summary="a row of layers exchanged (DEAP)")(
    nasgen.from_deap(tools.cxTwoPoint)
)


@nasgen.dataset("stripes", options={"example": "240"})  # what `nasgen check` reads
def stripes(rest):
    """stripes:N, N noisy grey images of 12x12: stripes that lie, stand, rise or fall."""
    n = int(rest or 400)
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 4
    rows, columns = np.mgrid[0:12, 0:12]
    slopes = np.stack([rows, columns, rows + columns, rows - columns])[labels]
    phases = rng.uniform(0, 2 * np.pi, (n, 1, 1))
    images = np.sin(slopes + phases) + rng.normal(0, 0.5, slopes.shape)
    return images[:, None], labels
