"""Morphisms: functions of (parent, space, rng) that return a `Child` that computes the same.

They grow a trained network without a step back: genotype and plan together preserve the function,
in training and in evaluation, and the new weights can learn at once. A member that makes no such
claim says so in its entry: options={"preserves": False}.
"""

from nasgen.operators.needs import GRAPHS
from nasgen.registry import Entry

_HERE = "nasgen.operators.morphism"
_PAINTER = "Painter 2018"
_CHEN = "Chen 2016"
_WEI = "Wei 2016"

ENTRIES = (
    Entry(
        "r2r-widen",
        f"{_HERE}.r2r_widen:r2r_widen",
        "twin channels that cancel each other where they are read",
        reference=_PAINTER,
        accepts="dag",
        space=GRAPHS,
    ),
    Entry(
        "r2r-widen-all",
        f"{_HERE}.r2r_widen_all:r2r_widen_all",
        "twin channels for every vertex that can get them, in one step",
        reference=_PAINTER,
        accepts="dag",
        space=GRAPHS,
    ),
    Entry(
        "r2r-deepen",
        f"{_HERE}.r2r_deepen:r2r_deepen",
        "a residual module behind a vertex, zero by twins",
        reference=_PAINTER,
        accepts="dag",
        space=GRAPHS,
    ),
    Entry(
        "r2r-inception",
        f"{_HERE}.r2r_inception:r2r_inception",
        "an inception module behind a vertex, zero by twins in each branch",
        reference=_PAINTER,
        accepts="dag",
        space=GRAPHS,
    ),
    Entry(
        "net2net-widen",
        f"{_HERE}.net2net_widen:net2net_widen",
        "replicated channels, their readers divided by the number of replicas",
        reference=_CHEN,
        accepts="dag",
        space=GRAPHS,
    ),
    Entry(
        "net2net-deepen",
        f"{_HERE}.net2net_deepen:net2net_deepen",
        "an identity behind a vertex: linear, or conv-relu where nothing is negative",
        reference=_CHEN,
        accepts="dag",
        space=GRAPHS,
    ),
    Entry(
        "zero-widen",
        f"{_HERE}.zero_widen:zero_widen",
        "fresh channels whose readers start at zero",
        reference=_WEI,
        accepts="dag",
        space=GRAPHS,
    ),
    Entry(
        "branch",
        f"{_HERE}.branch:branch",
        "a parallel branch that starts silent, in a concat or as a sum",
        reference=_PAINTER,
        accepts="dag",
        space=GRAPHS,
    ),
    Entry(
        "kernel",
        f"{_HERE}.kernel:kernel",
        "a larger kernel, zero around the old one",
        reference=_WEI,
        accepts="dag",
        space=GRAPHS,
    ),
    Entry(
        "skip",
        f"{_HERE}.skip:skip",
        "a shortcut through a linear layer that starts at zero",
        reference=_WEI,
        accepts="dag",
        space=GRAPHS,
    ),
    Entry(
        "random-pad",
        f"{_HERE}.random_pad:random_pad",
        "the control: grown as by r2r, the new weights drawn at random",
        reference=_PAINTER,
        accepts="dag",
        space=GRAPHS,
        options={"preserves": False},
    ),
)
