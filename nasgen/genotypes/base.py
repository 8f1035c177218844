"""The contract of a genotype: what the search, the store and the report ask of every kind.

A kind is registered with `@nasgen.genotype("its-kind")`; a search space says which one it draws.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Self

from nasgen.errors import IllegalGenotypeError
from nasgen.genotypes.tags import Ranges

LONGEST_TEXT: Final = 22  # letters of a node's text in a drawing
MOST_CHANNELS: Final = 2**53  # what is stored may be any number


@dataclass(frozen=True)
class Node:
    """One part of an outline. `op` says what it does, `params` with which settings.

    `label` is its text in a drawing; "" leaves it to the drawing, which shows `op` and `params`.
    """

    tag: int
    op: str
    params: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""

    @property
    def width(self) -> int:
        """The channels of its layer, 0 where it says none."""
        value = self.params.get("channels")
        if isinstance(value, bool) or not isinstance(value, int | float):
            return 0
        return int(value) if 0 < value < MOST_CHANNELS else 0

    @property
    def text(self) -> str:
        """What a drawing calls it: `label`, or such as "conv 3×3 · 16"."""
        if self.label:
            return _short(self.label)
        found, kernel = self.op.replace("_", " "), self.params.get("kernel")
        found += f" {kernel}×{kernel}" if isinstance(kernel, int) else ""
        found += f" · {self.params['channels']}" if self.width else ""
        for name, value in self.params.items():
            more = f" · {name}" if value is True else f" · {name} {value}"
            if name not in ("kernel", "channels") and len(found + more) <= LONGEST_TEXT:
                found += more
        return _short(found)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data without what is empty."""
        data: dict[str, Any] = {"tag": self.tag, "op": self.op}
        if self.params:
            data["params"] = dict(self.params)
        if self.label:
            data["label"] = self.label
        return data


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"


@dataclass(frozen=True)
class Outline:
    """What can be drawn, printed and counted of a genotype without its code.

    `nodes` are in topological order, those named "input" and "output" included; `edges` are pairs
    of their places, (from, to) with from < to, the inputs of a node in their order.
    """

    nodes: tuple[Node, ...]
    edges: tuple[tuple[int, int], ...]

    @property
    def inner(self) -> tuple[Node, ...]:
        """All nodes but "input" and "output"."""
        return tuple(node for node in self.nodes if node.op not in ("input", "output"))

    @property
    def live(self) -> frozenset[int]:
        """Places of nodes on a path from an input to an output, and of inputs and outputs."""
        ends = {
            end: {place for place, node in enumerate(self.nodes) if node.op == end}
            for end in ("input", "output")
        }
        ahead, back = set(ends["input"]), set(ends["output"])
        for source, target in sorted(self.edges):
            if source in ahead:
                ahead.add(target)
        for source, target in sorted(self.edges, key=lambda edge: -edge[1]):
            if target in back:
                back.add(source)
        return frozenset(ahead & back | ends["input"] | ends["output"])

    @property
    def depth(self) -> int:
        """Number of inner nodes on the longest path from an input to an output; 0 without one."""
        level: dict[int, int] = {p: 0 for p, node in enumerate(self.nodes) if node.op == "input"}
        for source, target in sorted(self.edges):
            if source in level:
                level[target] = max(level.get(target, 0), level[source] + 1)
        ends = [level.get(p, 1) for p, node in enumerate(self.nodes) if node.op == "output"]
        return max(ends, default=1) - 1

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data that `from_json` reads back to an equal outline."""
        return {
            "nodes": [node.to_json() for node in self.nodes],
            "edges": [list(edge) for edge in self.edges],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read an outline; raises IllegalGenotypeError for what `to_json` would not write."""
        try:
            nodes = tuple(
                Node(int(n["tag"]), str(n["op"]), dict(n.get("params", {})), n.get("label", ""))
                for n in data["nodes"]
            )
            edges = tuple((int(a), int(b)) for a, b in data["edges"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise IllegalGenotypeError(
                f"expected an outline with 'nodes' and 'edges', got something else ({error!r})."
            ) from None
        if any(not 0 <= a < b < len(nodes) for a, b in edges):
            raise IllegalGenotypeError(
                f"expected edges between places in 0..{len(nodes) - 1}, each from a lower place to "
                "a higher one."
            )
        return cls(nodes, edges)


class Genotype(ABC):
    """An immutable, hashable encoding of a network. Equal genotypes are `==`.

    Class attributes
    - `kind`: the name under which it is registered; `to_json` writes it, `genotypes.read` reads it.
    - `is_restricted`: True for a subclass whose members keep rules that edits of its base class
      break, such as a cell among the graphs. Operators that accept the base class then do not fit
      its spaces, while features, which only read, do.
    - `is_explicit`: False for what is no network yet, see `nasgen.genotypes.derivation`.

    Gene tags (`nasgen.genotypes.tags`) that an operator or a space gives are provisional; `mint`
    makes them final.
    """

    kind: ClassVar[str]
    is_restricted: ClassVar[bool] = False
    is_explicit: ClassVar[bool] = True

    @property
    @abstractmethod
    def key(self) -> str:
        """Text that is equal exactly for genotypes of the same network, whatever their tags."""

    @property
    @abstractmethod
    def tags(self) -> frozenset[int]:
        """Gene tags of its vertices, or of what else may be inherited as a whole."""

    @property
    def channel_tags(self) -> Mapping[int, Ranges]:
        """Tag of each vertex that owns channels -> their tags, as ranges; none by default."""
        return {}

    @abstractmethod
    def mint(self, root_seed: int, trial: int) -> Self:
        """Return it with provisional gene tags made final (called by the engine alone)."""

    @abstractmethod
    def outline(self) -> Outline:
        """Return what can be drawn, printed and counted of it."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data with its "kind"."""

    def stored(self) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Return its JSON and that of its outline, to be read only, as a trial keeps them.

        A kind may let relatives share parts, which saves memory and time in long runs.
        """
        return self.to_json(), self.outline().to_json()

    def to_networkx(self) -> Any:
        """Return it as a `networkx.DiGraph`; see `nasgen.genotypes.graphs`."""
        from nasgen.genotypes import graphs  # which reads all kinds

        return graphs.to_networkx(self)

    def _repr_html_(self) -> str:
        """Return its drawing, which notebooks show."""
        from nasgen.genotypes import drawing  # which other processes need not load

        return str(drawing.figure(self.outline()))

    def bare_json(self) -> dict[str, Any]:
        """Return JSON data of a genotype with the same key, for readers who need no gene tags."""
        return self.to_json()

    @classmethod
    @abstractmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return the genotype that `to_json` wrote; IllegalGenotypeError for other data."""
