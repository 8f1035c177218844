"""Each rule of the genotype suite can fail: a sound kind with one fault is found."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, replace
from typing import Any

import pytest

import nasgen
from nasgen import registry
from nasgen.errors import IllegalGenotypeError
from nasgen.genotypes import tags
from nasgen.testing.check import check_member

pytestmark = pytest.mark.usefixtures("registry_restored")


@dataclass(frozen=True)
class Stack(nasgen.Genotype):
    """A sound kind, which the faulty ones derive from: some layers of one width."""

    kind = "stack"
    layers: tuple[int, ...] = (tags.PROVISIONAL,)
    width: int = 8

    @property
    def key(self) -> str:
        return f"stack:{len(self.layers)}x{self.width}"

    @property
    def tags(self) -> frozenset[int]:
        return frozenset(self.layers)

    def mint(self, root_seed: int, trial: int) -> Any:
        return replace(self, layers=tuple(tags.mint(t, root_seed, trial) for t in self.layers))

    def outline(self) -> nasgen.Outline:
        inner = (nasgen.Node(tag, "layer", {"channels": self.width}) for tag in self.layers)
        nodes = (nasgen.Node(0, "input"), *inner, nasgen.Node(0, "output"))
        return nasgen.Outline(nodes, tuple(itertools.pairwise(range(len(nodes)))))

    def to_json(self) -> dict[str, Any]:
        return {"kind": "stack", "layers": list(self.layers), "width": self.width}

    @classmethod
    def from_json(cls, data: Any) -> Any:
        try:
            return cls(tuple(data["layers"]), data["width"])
        except KeyError as error:
            raise IllegalGenotypeError(f"expected layers and width ({error}).") from None


class OtherKind(Stack):
    kind = "heap"


class OtherJson(Stack):
    def to_json(self) -> dict[str, Any]:
        return {**super().to_json(), "kind": "dag"}


class Forgetful(Stack):
    def to_json(self) -> dict[str, Any]:
        return {**super().to_json(), "width": 8}


class Trusting(Stack):
    @classmethod
    def from_json(cls, data: Any) -> Any:
        return cls(tuple(data.get("layers", ())), data.get("width", 8))


class Provisional(Stack):
    def mint(self, root_seed: int, trial: int) -> Any:
        return self


class OneTrial(Stack):
    def mint(self, root_seed: int, trial: int) -> Any:
        return super().mint(root_seed, 0)


class KeyOfTags(Stack):
    @property
    def key(self) -> str:
        return f"stack:{self.layers}{self.width}"


class NoWayOut(Stack):
    def outline(self) -> nasgen.Outline:
        return replace(super().outline(), edges=())


class NoInput(Stack):
    def outline(self) -> nasgen.Outline:
        nodes = super().outline().nodes
        return nasgen.Outline((replace(nodes[0], op="start"), *nodes[1:]), ((0, 1),))


class StrangeTags(Stack):
    def outline(self) -> nasgen.Outline:
        outline = super().outline()
        nodes = tuple(replace(n, tag=7) if n.op == "layer" else n for n in outline.nodes)
        return replace(outline, nodes=nodes)


class Settable(Stack):
    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)


def message(kind: type[Stack]) -> str:
    """Register a kind with a space that draws it; return what its check says."""

    @dataclass(frozen=True)
    class Space(nasgen.SearchSpace):
        genotype = kind

        def sample(self, rng: Any) -> Any:
            n = int(rng.integers(1, 4))
            return kind(tuple(tags.PROVISIONAL + i for i in range(n)), int(rng.integers(4, 64)))

        def problems(self, genotype: Any) -> list[str]:
            return []

        def blueprint(self, genotype: Any, input_shape: Any, n_classes: int) -> Any:
            raise NotImplementedError

    registry.register("genotypes", "stack", kind)
    registry.register("search_spaces", "stacks", Space)
    finding = check_member("genotypes", "stack")
    assert finding.ok == (not finding.message)
    assert finding.n_checked > 0
    return finding.message


def test_a_sound_kind_is_fine() -> None:
    assert message(Stack) == ""


@pytest.mark.parametrize(
    ("faulty", "sentence"),
    [
        (OtherKind, "expected the class attribute kind = 'stack', got 'heap'"),
        (OtherJson, "to_json must write 'kind': 'stack', got 'dag'"),
        (Forgetful, "does not come back unchanged from JSON"),
        (Trusting, "expected IllegalGenotypeError"),
        (Provisional, "a gene tag stayed provisional in mint"),
        (OneTrial, "two trials share a gene tag"),
        (KeyOfTags, "its key changes with its gene tags"),
        (NoWayOut, "no path of its outline leads to the output"),
        (NoInput, "expected nodes 'input' and 'output' in its outline"),
        (StrangeTags, "carry gene tags that it has not"),
        (Settable, "its attributes can be set; make it a frozen dataclass"),
    ],
)
def test_a_fault_is_told(faulty: type[Stack], sentence: str) -> None:
    kind = faulty if faulty is Settable else dataclass(frozen=True)(faulty)
    assert sentence in message(kind)


def test_a_kind_that_nothing_draws_cannot_be_checked() -> None:
    registry.register("genotypes", "stack", Stack)
    finding = check_member("genotypes", "stack")
    assert not finding.ok
    assert "no search space here draws it; register one in the same plug-in" in finding.message


def test_what_is_no_class_is_told() -> None:
    registry.register("genotypes", "stack", random.random)
    assert (
        "expected a class derived from nasgen.Genotype"
        in check_member("genotypes", "stack").message
    )
