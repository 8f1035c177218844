"""How many threads train one network that has the machine for itself: as many as are fastest.

A small network is slower on all cores than on one, because its threads wait for each other more
than they compute.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from nasgen.settings import fidelity

LIMIT_S: Final = 0.2  # for each number of threads, or a few turns: see `speed.in_turns`


def fastest(evaluator: Any, genotype: Mapping[str, Any], seed: int) -> int:
    """Return the number of threads on which an evaluator trains a network fastest, by trying.

    A network that cannot be trained gets one: its training says why.
    """
    most = 1 if evaluator.device.type == "cuda" else fidelity.n_cores()
    if most == 1:
        return 1
    wanted = {"threads": fidelity.thread_counts(most), "limit_s": LIMIT_S}
    wanted["validation"] = False
    job = {"seq": 0, "attempt": 1, "seed": seed, "genotypes": [dict(genotype)], "speed": wanted}
    found = evaluator.evaluate(job)["metrics"].get("row_s")
    return fidelity.fastest({int(n): seconds for n, seconds in found.items()}) if found else 1
