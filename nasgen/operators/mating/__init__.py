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
    Entry(
        "intersect-mean",
        f"{_HERE}.intersect_mean:intersect_mean",
        "what all parents have; strength is the size of their mean weight: the first choice",
        reference="Chung 2017",
        n_parents=(1, MOST_PARENTS),
        options={"draws": False, "intersects": True},
    ),
    Entry(
        "product",
        f"{_HERE}.product:product",
        "kernels that any parent has, in them what all their owners have; geometric mean",
        reference="Chung 2018, equations 2 and 3",
        n_parents=(1, MOST_PARENTS),
        options={"draws": False},
    ),
    Entry(
        "product-all",
        f"{_HERE}.product:product_all",
        "what all parents have; strength is the geometric mean of their weights",
        reference="Chung 2018, equations 2 and 3",
        n_parents=(1, MOST_PARENTS),
        options={"draws": False, "intersects": True},
    ),
    Entry(
        "fitness-mean",
        f"{_HERE}.fitness_mean:fitness_mean",
        "as mean, with weights by fitness rank",
        reference="after Chung 2017, equations 4 and 5",
        requires=("ranks",),
        n_parents=(1, MOST_PARENTS),
        options={"draws": False},
    ),
)
