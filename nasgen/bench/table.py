"""The tables that ship with nasgen: every network of a space with its accuracies.

Sources and licences: `tables/ATTRIBUTION.md`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nasgen.bench.base import signal_of
from nasgen.errors import EvaluationError, UnknownNameError, suggest
from nasgen.genotypes import Dag
from nasgen.genotypes.cell import Template
from nasgen.search_spaces import nasbench201, nasbench_macro


@dataclass(frozen=True)
class Table:
    """All accuracies of a search space, in per cent.

    `columns` are arrays (n,), a network's row being its code; NaN where nobody measured it.
    `signals` maps what a search may see to what is reported of the network that it finds, the
    default first. `n_networks` counts what is legal and differs by its canonical key.
    """

    name: str
    template: Template
    columns: Mapping[str, npt.NDArray[Any]]
    signals: Mapping[str, str]
    n_networks: int

    @property
    def space(self) -> Mapping[str, Any]:
        """The config's [space]."""
        return {"name": self.name}

    def accuracy(self, genotype: Dag, column: str, epoch: int | None = None) -> float:
        """Return what a column says of a network, in per cent; EvaluationError for nothing."""
        row, values = self.row(genotype), self.columns[column]
        value = float(values[row]) if row < len(values) else np.nan
        if not np.isfinite(value):
            raise EvaluationError(f"row {row} of {self.name} has no {column}.")
        return value

    def optimum(self, column: str) -> float:
        """Return the best value of a column, in per cent, where the reported one is known too."""
        is_known = np.isfinite(self.columns[self.signals.get(column, column)])
        return float(np.nanmax(np.where(is_known, self.columns[column], np.nan)))

    def row(self, genotype: Dag) -> int:
        """Return the row of a network; raises IllegalGenotypeError for one of another space."""
        row = 0
        codes = self.template.codes(genotype)
        for choices, code in zip(self.template.choices, codes, strict=True):
            row = row * len(choices) + code
        return row

    def genotype(self, row: int) -> Dag:
        """Return the network of a row, under provisional tags."""
        ops = []
        for choices in reversed(self.template.choices):
            row, code = divmod(row, len(choices))
            ops.append(choices[code])
        return self.template.cell(ops[::-1])

    @cached_property
    def digest(self) -> str:
        """Digits of what it says."""
        hasher = hashlib.blake2b(repr((self.name, self.signals)).encode(), digest_size=8)
        for column, values in self.columns.items():
            hasher.update(column.encode() + values.tobytes())
        return hasher.hexdigest()

    def epochs_of(self, column: str) -> int:
        """No learning curves."""
        return 0

    def signal(self, name: str | None) -> tuple[str, str]:
        """Return (searched, reported) columns; ConfigError for a signal that the table lacks."""
        return signal_of(self.signals, name, self.name)


TEMPLATES: Final = {"nasbench201": nasbench201.TEMPLATE, "nasbench-macro": nasbench_macro.TEMPLATE}
SIGNALS: Final = {
    "nasbench201": {
        "c10v_valid_200": "c10_test_200",
        "c10_valid_12ep": "c10_test_200",
        "c100_valid_12ep": "c100_test_200",
        "in16_valid_12ep": "in16_test_200",
        # What the settings of searches were chosen on, so that the first remained unseen.
        "c100_test_200": "c100_test_200",
        "in16_test_200": "in16_test_200",
    },
    "nasbench-macro": {"mean_acc": "mean_acc", "test_acc1": "mean_acc"},
}
NAMES: Final = tuple(TEMPLATES)
# Counted once: canonical keys of all cells take half a minute.
N_NETWORKS: Final = {"nasbench201": 6333, "nasbench-macro": 3969}


@cache
def load(name: str) -> Table:
    """Return a table by the name of its search space; raises UnknownNameError."""
    if name not in TEMPLATES:
        raise UnknownNameError(
            f"bench '{name}' does not exist{suggest(name, NAMES)} Expected {' or '.join(NAMES)}."
        )
    with files("nasgen.bench").joinpath(f"tables/{name}.npz").open("rb") as file:
        stored = np.load(file, allow_pickle=False)
        columns = {column: stored[column] for column in stored.files}
    return Table(name, TEMPLATES[name], columns, SIGNALS[name], N_NETWORKS[name])


def of_nasbench201() -> Table:
    """Return the table of NAS-Bench-201."""
    return load("nasbench201")


def of_nasbench_macro() -> Table:
    """Return the table of NAS-Bench-Macro."""
    return load("nasbench-macro")
