"""A small dense network of the same form, with about as many synapses as a sparse one has left."""

from __future__ import annotations

from typing import Any, Final

from nasgen import genotypes
from nasgen.genotypes import Dag
from nasgen.genotypes.tags import take
from nasgen.runs.results import Run

N_HALVINGS: Final = 30


def narrowed(run: Run, n_synapses: int) -> dict[str, Any]:
    """Return the genotype of a run's first network with all widths scaled by one factor, as JSON.

    The factor is the one whose number of synapses, classifier and biases apart, is nearest.
    """
    dag = genotypes.read(run.trial(0).genotype)
    assert isinstance(dag, Dag)
    widths = {tag: sum(n for _, n in ranges) for tag, ranges in dag.channel_tags.items()}

    def at(share: float) -> Dag:
        kept = {
            tag: take(dag.channel_tags[tag], max(1, round(share * n))) for tag, n in widths.items()
        }
        return dag.narrowed(kept)

    def count(found: Dag) -> int:
        return n_synapses_of(run, found.to_json())

    low, high = 0.0, 1.0
    for _ in range(N_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if count(at(middle)) < n_synapses else (low, middle)
    found = min((at(low), at(high)), key=lambda one: abs(count(one) - n_synapses))
    return found.to_json()


def n_synapses_of(run: Run, genotype: dict[str, Any]) -> int:
    """Return how many synapses the dense network of a genotype has, on the data of a run."""
    from nasgen.evaluation import living
    from nasgen.phenotype.network import build

    inference: Any = run.inference
    blueprint = inference.decode(genotype)[1]
    return living.measured(blueprint, build(blueprint), None)["n_synapses"]
