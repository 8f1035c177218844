"""Searches on tables: accuracies are looked up instead of trained, so a benchmark takes seconds.

`nasgen bench` plays the same search loop as a real run, with its ledger in memory. A bench is a
function without arguments that returns a table, registered by `@nasgen.bench("its-name")`; this
package can be called for that reason.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from nasgen import registry
from nasgen.registry import Entry

ENTRIES = (
    Entry(
        "nasbench201",
        "nasgen.bench.table:of_nasbench201",
        "the 15,625 cells of NAS-Bench-201 on three data sets",
        reference="Dong 2020",
    ),
    Entry(
        "nasbench-macro",
        "nasgen.bench.table:of_nasbench_macro",
        "the 6,561 chains of NAS-Bench-Macro on CIFAR-10",
        reference="Su 2021",
    ),
    Entry(
        "synthetic-dag",
        "nasgen.bench.synthetic:SyntheticDag",
        "graphs of free topology, scored by the paths of a hidden one",
    ),
)


class _Room(ModuleType):
    """This package as a decorator: `nasgen.bench` is both."""

    def __call__(self, name: str, **fields: Any) -> Any:
        return registry.bench(name, **fields)


sys.modules[__name__].__class__ = _Room
