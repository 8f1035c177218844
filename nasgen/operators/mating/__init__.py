"""Matings: functions that mix the weights of m parents, run where the weights are; see `base`."""

from nasgen.registry import MOST_PARENTS, Entry

_HERE = "nasgen.operators.mating"

ENTRIES: tuple[Entry, ...] = (
    Entry(
        "mean",
        f"{_HERE}.mean:mean",
        "strength is the size of the parents' mean weight; the union of their supports",
        reference="Chung 2017, equations 4 and 5",
        n_parents=(1, MOST_PARENTS),
        options={"draws": False},
    ),
)
