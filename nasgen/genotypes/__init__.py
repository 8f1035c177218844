"""Immutable encodings of networks. No torch, no DEAP, no randomness."""

from nasgen.genotypes.base import Genotype, Node, Outline
from nasgen.genotypes.child import Child, Plan
from nasgen.genotypes.dag import Dag, Draft
from nasgen.genotypes.kinds import read
from nasgen.genotypes.vertex import Vertex
from nasgen.registry import Entry

ENTRIES = (
    Entry(
        "dag",
        "nasgen.genotypes.dag:Dag",
        "a labelled graph of free topology: vertices are layers, edges carry feature maps",
        reference="Stier 2021, section 4.4",
    ),
    Entry(
        "cell",
        "nasgen.genotypes.cell:Cell",
        "a graph of fixed nodes whose edges carry operations",
        reference="Dong 2020",
    ),
    Entry(
        "recurrent",
        "nasgen.genotypes.recurrent:Recurrent",
        "layers of recurrent units in an acyclic graph, joined whole or unit by unit",
        reference="Stier 2021, sections 4.2 and 4.3",
    ),
    Entry(
        "derivation",
        "nasgen.genotypes.derivation:Derivation",
        "what an operator will make of its parents' weights; a worker finds the network out",
    ),
)

__all__ = ["Child", "Dag", "Draft", "Genotype", "Node", "Outline", "Plan", "Vertex", "read"]
