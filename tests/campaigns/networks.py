"""Genotypes as JSON, tensors as safetensors, and heredity plans."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import nasgen
from nasgen import genotypes, registry
from nasgen.engine.operators import Operator, children
from nasgen.errors import NotApplicable
from nasgen.genotypes import Child
from nasgen.genotypes.child import minted_plan
from nasgen.genotypes.kinds import accepted, varies
from nasgen.phenotype.heredity import inherit
from nasgen.phenotype.network import build
from nasgen.runs import reading
from nasgen.search_spaces.dag_cnn import DagCnn
from nasgen.search_spaces.mlp import Mlp
from nasgen.testing.preservation import randomised
from tests.campaigns.damage import Rng, as_bytes, changed_json, damaged
from tests.campaigns.folders import finished, tables
from tests.campaigns.guard import raises_wrong
from tests.campaigns.parts import Act, Part

SHAPES = {"mlp": (5,), "dag-cnn": (1, 8, 8)}


class GenotypeFile(Part):
    """The file that [origin] network names: read, judged by the space, built."""

    name = "genotype"

    def prepare(self) -> None:
        import numpy as np

        rng = np.random.default_rng(0)
        self.spaces = {"mlp": Mlp(), "dag-cnn": DagCnn(max_channels=32)}
        self.seeds = [
            (name, json.loads(json.dumps(space.sample(rng).mint(0, i).to_json())))
            for name, space in self.spaces.items()
            for i in range(4)
        ]
        self.file = self.folder / "network.json"
        self.tables = {
            name: {
                **tables(self.folder),
                "space": {"name": name},
                "algorithm": {"name": "growth"},
                "origin": {"network": str(self.file)},
                **({} if name == "mlp" else {"data": {"source": "digits"}}),
            }
            for name in self.spaces
        }
        for name, data in self.seeds:
            self.file.write_bytes(as_bytes(data))
            self._read(name)

    def _read(self, name: str) -> None:
        origin = reading.resolved(self.tables[name], "config").origin
        assert origin is not None
        space = self.spaces[name]
        build(space.blueprint(origin.genotype, SHAPES[name], 3))
        again = genotypes.read(json.loads(json.dumps(origin.genotype.to_json())))
        raises_wrong(again.key == origin.genotype.key, "the key changes when it is stored")

    def draw(self, rng: Rng) -> Act:
        name, data = self.seeds[int(rng.integers(0, len(self.seeds)))]
        if rng.random() < 0.8:
            content = as_bytes(changed_json(data, rng))
        else:
            content = damaged(as_bytes(data), rng)
        self.file.write_bytes(content)
        return lambda: self._read(name)


class Tensors(Part):
    """Artifacts whose name fits their damaged content, so that only reading them can tell."""

    name = "safetensors"

    def prepare(self) -> None:
        run = nasgen.load(finished(self.folder / "seed"))
        self.network = run.network()
        self.artifacts = run.folder.artifacts
        self.data = self.artifacts.path(self.network.weights_ref).read_bytes()
        self._read(self.network.weights_ref)

    def _read(self, ref: str) -> None:
        self.network.inference.predict(self.network.trial.genotype, ref, "test")

    def draw(self, rng: Rng) -> Act:
        n = int.from_bytes(self.data[:8], "little")
        if rng.random() < 0.6:
            header = as_bytes(changed_json(json.loads(self.data[8 : 8 + n]), rng))
            size = len(header) if rng.random() < 0.9 else int(rng.integers(0, 2**62))
            data = size.to_bytes(8, "little") + header + self.data[8 + n :]
        elif rng.random() < 0.7:
            data = damaged(self.data, rng, head=8 + n)
        else:  # other values: not a number, infinite, or wrong
            at = int(rng.integers(8 + n, len(self.data)))
            data = self.data[:at] + rng.bytes(4) + self.data[at + 4 :]
        ref = hashlib.blake2b(data, digest_size=20).hexdigest()
        path = self.artifacts.path(ref)
        path.write_bytes(data)

        def read() -> None:
            try:
                self._read(ref)
            finally:
                path.unlink()

        return read


class Plans(Part):
    """Plans of the built-in operators with other values, executed on networks with weights."""

    name = "heredity plan"
    groups = ("morphisms", "mutations", "crossovers")

    def prepare(self) -> None:
        import numpy as np

        rng = np.random.default_rng(1)
        self.space, self.shape = DagCnn(max_channels=32), SHAPES["dag-cnn"]
        self.cases: list[tuple[list[Any], Child]] = []
        for group in self.groups:
            for name in registry.names(group):
                entry = registry.get(group, name)
                fits = varies(accepted(entry), self.space.genotype)
                if entry.requires or entry.runs_in == "worker" or not fits:
                    continue
                n = max(2 if group == "crossovers" else 1, entry.arity[0])
                self.cases += self._children(Operator(name, registry.resolve(group, name)), n, rng)
        with_plans = [case for case in self.cases if case[1].plan]
        raises_wrong(len(with_plans) > 4, "the operators gave no plans")
        self.cases = with_plans
        self.states: dict[str, Any] = {}
        for parents, child in self.cases:
            self._execute(parents, child, child.plan)

    def _children(self, operator: Operator, n: int, rng: Rng) -> list[tuple[list[Any], Child]]:
        class Parent:
            def __init__(self, genotype: Any) -> None:
                self.genotype = genotype

        for _ in range(20):
            parents = [self.space.sample(rng).mint(7, i) for i in range(n)]
            try:
                made_of = [Parent(p) for p in parents]
                found = children(operator, made_of, self.space, rng, lambda *_: {}, 30.0)  # type: ignore[arg-type]
            except NotApplicable:
                continue
            return [(parents, child) for child in found]
        return []

    def _execute(self, parents: list[Any], child: Child, plan: Any) -> None:
        givers = []
        for parent in parents:
            if parent.key not in self.states:
                blueprint = self.space.blueprint(parent, self.shape, 3)
                self.states[parent.key] = (blueprint, randomised(blueprint, 1).state_dict())
            givers.append(self.states[parent.key])
        blueprint = self.space.blueprint(child.genotype.mint(7, 9), self.shape, 3)
        network = build(blueprint, 0)
        report = inherit(network, blueprint, givers, minted_plan(plan, 7, 9))
        n = sum(t.numel() for t in network.state_dict().values())
        raises_wrong(report.n_values == n, f"{report.n_values} of {n} values are accounted for")

    def draw(self, rng: Rng) -> Act:
        parents, child = self.cases[int(rng.integers(0, len(self.cases)))]
        plan = changed_json(json.loads(json.dumps(child.plan)), rng)
        if not isinstance(plan, dict):
            plan = {"tags": plan}
        return lambda: self._execute(parents, child, plan)
