"""Immutable encodings of networks. No torch, no DEAP, no randomness."""

from nasgen.genotypes.child import Child, Plan
from nasgen.genotypes.dag import Dag, Draft
from nasgen.genotypes.vertex import Vertex

__all__ = ["Child", "Dag", "Draft", "Plan", "Vertex"]
