"""What search spaces of layer graphs share: options, legality, decoding, widening.

A genotype is a DAG of layers; how it becomes a network is written in `decode`. Members differ in
the defaults of their options and in how they `sample`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from math import prod
from typing import Any, ClassVar, Final

import numpy as np

from nasgen import registry
from nasgen.errors import ConfigError, IllegalGenotypeError, NasgenError, UnknownNameError, suggest
from nasgen.genotypes import Dag, Genotype, Vertex, tags
from nasgen.layers import DECODER_ONLY
from nasgen.layers.base import Layer, Shape, find_layer
from nasgen.search_spaces.base import SearchSpace
from nasgen.search_spaces.blueprint import Blueprint
from nasgen.search_spaces.decode import decode

WIDTHS: Final = (8, 12, 16, 24, 32, 48, 64, 96, 128)  # channels; each step costs about twice
N_REMEMBERED: Final = 4096  # vertices known to be fine: those of a population
COUNTED: Final = ("conv", "max_pool", "avg_pool", "sum", "concat")  # shown by Optuna's tools
USUAL_PROB: Final = 0.7  # that a 3x3 kernel is drawn where one is legal
# Ends of what may be asked for: they bound the memory of the largest legal network.
MOST: Final = {
    "max_channels": 4096, "max_vertices": 1000, "max_depth": 1000, "max_stages": 16,
}  # fmt: skip


@dataclass(frozen=True)
class GraphSpace(SearchSpace):
    """Legal: every vertex live; settings in range; one input each, except for merging layers.

    - `layers`: vertex operations; default (empty or None) all registered, plug-ins included.
    - `widths`: channel counts that operators choose from, ascending (default: `WIDTHS` up to
      `max_channels`); any count from 1 to `max_channels` is legal.
    - `kernels`: sizes used, of those that the layers offer.
    - `min_depth`, `max_depth`: vertices on the longest path. `max_vertices`: all but input, output.
    - `sample_min_depth`, `sample_max_depth`: what `sample` draws within them, since mutations
      deepen what they are given (default: all that is legal).
    - `min_stages`, `max_stages`: what `sample` draws from; other genotypes are not bound by it.

    A limit that is left at its default gives way to what is set: `min_depth` = 30 alone raises
    `max_depth`.
    Raises ConfigError that lists every wrong option.
    """

    # Options of which the first is at most the second.
    limits: ClassVar[tuple[tuple[str, str], ...]] = (
        ("min_depth", "max_depth"), ("min_stages", "max_stages"), ("min_depth", "max_vertices"),
        ("min_depth", "sample_min_depth"), ("sample_min_depth", "sample_max_depth"),
        ("sample_max_depth", "max_depth"), ("sample_min_depth", "max_depth"),
        ("min_depth", "sample_max_depth"), ("sample_min_depth", "max_vertices"),
    )  # fmt: skip
    rank: ClassVar[int] = 3  # axes of the shapes that vertices read
    # Input shapes that differ in all that matters to the decoder; the second is the usual one.
    shapes: ClassVar[tuple[Shape, ...]] = ((1, 32, 32), (3, 32, 32), (3, 160, 160))

    max_channels: int = 512
    widths: tuple[int, ...] = ()
    kernels: tuple[int, ...] = (3, 5, 7)
    layers: tuple[str, ...] = ()
    min_depth: int = 2
    max_depth: int = 24
    max_vertices: int = 40
    min_stages: int = 1
    max_stages: int = 4
    sample_min_depth: int | None = None
    sample_max_depth: int | None = None
    _rules: dict[str, Layer] = field(init=False, repr=False, compare=False)
    _domains: dict[str, dict[str, tuple[Any, ...]]] = field(init=False, repr=False, compare=False)
    _fine: dict[int, Vertex] = field(init=False, repr=False, compare=False)
    _legal: deque[Dag] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # What is asked again and again and never changes: rules of layers, what was found legal.
        for name in ("_rules", "_domains", "_fine"):
            object.__setattr__(self, name, {})
        object.__setattr__(self, "_legal", deque(maxlen=4))
        wrong = self._fill_in()
        if not wrong:
            wrong = self._wrong_options()
        if wrong:
            raise ConfigError(wrong)

    def _fill_in(self) -> list[str]:
        """Set what was left empty; return what is wrong with the kinds of the options."""
        wrong = []
        for name in ("widths", "kernels", "layers"):
            value = getattr(self, name)
            kind = str if name == "layers" else int
            if value is None:
                value = ()
            if not isinstance(value, list | tuple) or any(type(v) is not kind for v in value):
                wrong.append(f"space.{name}: expected a list of {kind.__name__}, got {value!r}.")
                continue
            object.__setattr__(self, name, tuple(value))
        for option in fields(self):
            name = option.name
            value, most = getattr(self, name), MOST.get(name, MOST["max_depth"])
            if option.type not in ("int", "int | None") or (value is None and option.type != "int"):
                continue
            if type(value) is not int or not 1 <= value <= most:
                wrong.append(f"space.{name}: expected an integer in 1..{most}, got {value!r}.")
        if not wrong:
            self._give_way()
            light = registry.usual("layers")
            defaults = {
                "layers": tuple(op for op in light if self._is_offered(op)),
                "widths": tuple(w for w in WIDTHS if w <= self.max_channels)
                or (self.max_channels,),
            }
            for name, default in defaults.items():
                if not getattr(self, name):
                    object.__setattr__(self, name, default)
        return wrong

    def _give_way(self) -> None:
        """Let limits that were left at their defaults give way to what was set."""
        usual = {option.name: option.default for option in fields(self)}
        if self.widths and self.max_channels == usual["max_channels"]:
            object.__setattr__(self, "max_channels", max(self.max_channels, *self.widths))
        for low, high in self.limits:
            least, most = getattr(self, low), getattr(self, high)
            if least is None or most is None or least <= most:
                continue
            if least == usual[low]:
                object.__setattr__(self, low, most)
            elif most == usual[high]:
                object.__setattr__(self, high, least)

    def _is_offered(self, op: str) -> bool:
        """Tell whether a layer is among the default ones: a vertex of the rank of this space."""
        if op in DECODER_ONLY:
            return False
        return self.rank in getattr(registry.resolve("layers", op), "ranks", (3,))

    def _wrong_options(self) -> list[str]:
        wrong = []
        offered: set[Any] = set()
        n_wide = 0
        for op in self.layers:
            if op in DECODER_ONLY:
                wrong.append(f"space.layers: '{op}' is the decoder's own and no vertex; remove it.")
                continue
            try:
                rules = find_layer(op)
                if self.rank not in rules.ranks:
                    wrong.append(
                        f"space.layers: '{op}' does not read shapes of {self.rank} axes, which the "
                        "vertices of this space have; remove it."
                    )
                offered.update(rules.domain.get("kernel", ()))
                n_wide += _is_wide(rules) and rules.drawn == "always"
            except NasgenError as error:
                wrong.append(f"space.layers: {error}")
            except (AttributeError, TypeError) as error:
                wrong.append(
                    f"space.layers: '{op}' is no layer ({error}); derive it from "
                    "nasgen.layers.base.Layer, without constructor arguments."
                )
        if len(set(self.layers)) != len(self.layers):
            wrong.append(f"space.layers: every layer once, got {list(self.layers)}.")
        if not wrong and not n_wide:
            wrong.append(
                "space.layers: at least one layer with one input and a 'channels' setting is "
                f"needed, such as '{'conv' if self.rank == 3 else 'dense'}'; got "
                f"{list(self.layers)}."
            )
        if offered and self.kernels == next(f.default for f in fields(self) if f.name == "kernels"):
            usual = tuple(k for k in self.kernels if k in offered)
            object.__setattr__(self, "kernels", usual or tuple(sorted(offered)))
        if list(self.widths) != sorted(set(self.widths)) or not all(
            1 <= w <= self.max_channels for w in self.widths
        ):
            wrong.append(
                f"space.widths: expected ascending counts in 1..{self.max_channels} "
                f"(max_channels), got {list(self.widths)}."
            )
        if offered and (not self.kernels or not set(self.kernels) <= offered):
            wrong.append(
                f"space.kernels: expected some of {sorted(offered)}, got {list(self.kernels)}."
            )
        for low, high in self.limits:
            least, most = getattr(self, low), getattr(self, high)
            if least is not None and most is not None and least > most:
                wrong.append(f"space.{low}: expected at most {high} = {most}, got {least}.")
        return wrong

    @property
    def sampled_depths(self) -> tuple[int, int]:
        """The least and the largest depth that `sample` draws."""
        low, high = self.sample_min_depth, self.sample_max_depth
        return self.min_depth if low is None else low, self.max_depth if high is None else high

    # ---- layers ------------------------------------------------------------------------------

    def layer(self, op: str) -> Layer:
        """Return the rules of a legal vertex operation; raises UnknownNameError for another."""
        if op not in self.layers:
            raise UnknownNameError(
                f"'{op}' is no layer of this space{suggest(op, self.layers)} "
                f"It has {', '.join(self.layers)}; see space.layers."
            )
        if op not in self._rules:
            self._rules[op] = find_layer(op)
        return self._rules[op]

    @property
    def wide(self) -> tuple[str, ...]:
        """Layers with one input that own channels, such as `conv`."""
        return tuple(op for op in self.layers if _is_wide(self.layer(op)))

    @property
    def drawn(self) -> tuple[str, ...]:
        """Layers that sampling and random mutations may insert; in a uniform space skips too."""
        drawn = ("always", "relabel") if self.is_uniform else ("always",)
        return tuple(op for op in self.layers if self.layer(op).drawn in drawn)

    @property
    def is_uniform(self) -> bool:
        """Whether labels are drawn with equal chance, in mutations among those that fit."""
        return False

    def labels(self, ops: Iterable[str]) -> list[str]:
        """Return each operation as often as it is to be drawn.

        That is once, in a uniform space as often as it has settings, widths apart: a convolution
        with three kernels is three labels.
        """
        if not self.is_uniform:
            return list(ops)
        return [
            op
            for op in ops
            for _ in range(prod(len(v) for k, v in self.domain(op).items() if k != "channels"))
        ]

    def domain(self, op: str) -> dict[str, tuple[Any, ...]]:
        """Return setting -> values, ascending, that sampling and operators choose from."""
        if op not in self._domains:
            values = dict(self.layer(op).domain)
            if values.get("channels") == ():
                values["channels"] = self.widths
            if "kernel" in values:
                used = tuple(k for k in values["kernel"] if k in self.kernels)
                values["kernel"] = used or values["kernel"]
            self._domains[op] = values
        return dict(self._domains[op])

    def random_vertex_params(self, op: str, rng: np.random.Generator) -> dict[str, Any]:
        """Draw legal settings; outside of uniform spaces a kernel is 3x3 with probability 0.7."""
        drawn = {}
        for name, values in self.domain(op).items():
            usual = name == "kernel" and 3 in values and not self.is_uniform
            if usual and rng.random() < USUAL_PROB:
                drawn[name] = 3
            else:
                drawn[name] = values[int(rng.integers(len(values)))]
        return drawn

    # ---- legality ----------------------------------------------------------------------------

    def problems(self, genotype: Dag) -> list[str]:
        """Return one sentence for each broken rule; empty when the genotype is legal."""
        if any(genotype is known for known in self._legal):  # checked a moment ago
            return []
        n_inner = len(genotype.vertices) - 2
        if n_inner > self.max_vertices:  # first, so that a huge graph costs nothing more
            return self.wrong_size(n_inner, 0)
        found = self.wrong_size(n_inner, genotype.depth)
        if len(genotype.inputs(genotype.output.tag)) != 1:
            n = len(genotype.inputs(genotype.output.tag))
            found.append(f"the output: expected exactly one input, got {n}.")
        live, layers, before = genotype.live, self._rules, genotype.before
        for place, vertex in enumerate(genotype.vertices):
            # A vertex object that was found fine stays so; only its place in the graph is new.
            if self._fine.get(id(vertex)) is vertex and vertex.tag in live:
                n_in = len(before[vertex.tag])
                if n_in == 1 or (n_in > 1 and layers[vertex.op].merges):
                    continue
            # Provisional tags are nobody's: the place in the list says more.
            number = place if vertex.tag < 0 else vertex.tag
            here = f"vertex {number} ('{vertex.op}')"
            if not -(1 << 62) <= vertex.tag < 1 << 62:
                found.append(f"{here}: expected a gene tag of 62 bits and a sign.")
            if vertex.op in ("input", "output"):
                if vertex.params or vertex.channel_tags:
                    found.append(f"{here}: expected no settings and no channel tags.")
                continue
            if vertex.tag not in genotype.live:
                found.append(f"{here}: lies on no path from input to output.")
            if vertex.op not in self.layers:
                found.append(
                    f"{here}: unknown operation{suggest(vertex.op, self.layers)} "
                    f"Expected one of {', '.join(self.layers)}."
                )
                continue
            n_in = len(genotype.inputs(vertex.tag))
            if n_in < 1 or (n_in > 1 and not self.layer(vertex.op).merges):
                wanted = "at least one input" if n_in < 1 else "exactly one input"
                found.append(f"{here}: expected {wanted}, got {n_in}.")
            found += [f"{here}: {text}" for text in self._wrong_settings(vertex)]
            if not found:
                self._remember(vertex)
        if not found:
            self._legal.append(genotype)
        return found

    def wrong_size(self, n_inner: int, depth: int) -> list[str]:
        """Return what `problems` says about a number of inner vertices and a depth alone."""
        if n_inner > self.max_vertices:
            return [f"expected at most {self.max_vertices} inner vertices, got {n_inner}."]
        if not self.min_depth <= depth <= self.max_depth:
            return [
                f"expected a depth of {self.min_depth}..{self.max_depth} vertices, got {depth}."
            ]
        return []

    def _remember(self, vertex: Vertex) -> None:
        """Note that nothing is wrong with a vertex object, wherever it stands.

        Not by equality: 3 equals 3.0, which is no legal kernel.
        """
        self.layer(vertex.op)
        if len(self._fine) >= N_REMEMBERED:
            self._fine.clear()
        self._fine[id(vertex)] = vertex  # kept alive, so that its id is nobody else's

    def _wrong_settings(self, vertex: Vertex) -> list[str]:
        values, given = self.domain(vertex.op), dict(vertex.params)
        if set(values) != set(given):
            return [f"expected the settings {sorted(values)}, got {sorted(given)}."]
        wrong = []
        for name, value in given.items():
            if name == "channels" and self.layer(vertex.op).domain["channels"] == ():
                if type(value) is not int or not 1 <= value <= self.max_channels:
                    wrong.append(f"channels: expected 1..{self.max_channels}, got {value!r}.")
            elif not any(type(value) is type(v) and value == v for v in values[name]):
                wrong.append(f"{name}: expected one of {values[name]}, got {value!r}.")
        ranges, n = vertex.channel_tags, given.get("channels", 0)
        ends = [(start, start + size) for start, size in ranges]
        if any(a >= b or a < -(1 << 62) or b > 1 << 62 for a, b in ends):
            wrong.append("channel tags: expected ranges (first tag, count >= 1) of 62 bits.")
        elif tags.count(ranges) != n and not wrong:
            wrong.append(f"expected {n} channel tags, one a channel, got {tags.count(ranges)}.")
        elif any(b > c for (_, b), (c, _) in zip(sorted(ends), sorted(ends)[1:], strict=False)):
            wrong.append("channel tags: two channels carry the same tag; each needs its own.")
        return wrong

    # ---- the contract ------------------------------------------------------------------------

    def adopt(self, genotype: Genotype) -> Dag:
        """Return a legal graph from elsewhere under provisional tags; see `SearchSpace.adopt`."""
        dag = super().adopt(genotype)
        assert isinstance(dag, Dag)
        return _retagged(dag)

    def shown(self, genotype: Dag) -> dict[str, int]:
        """Return counts of vertices, of the usual operations and of channels, and the depth."""
        inner = genotype.inner
        ops = [v.op for v in inner]
        return {
            "n_vertices": len(inner),
            "depth": genotype.depth,
            **{f"n_{op}": ops.count(op) for op in COUNTED},
            "channels": sum(int(v.get("channels", 0)) for v in inner),
        }

    def widened(self, genotype: Dag, factor: float) -> Dag:
        """Return a graph with `factor` times the channels, in steps of 4, up to `max_channels`."""
        draft = genotype.edit()
        for v in genotype.inner:
            if "channels" in self.layer(v.op).domain:
                channels = max(v.channels, 4 * round(v.channels * factor / 4))
                draft.change(v.tag, channels=min(channels, self.max_channels))
        return draft.freeze()

    def blueprint(self, genotype: Dag, input_shape: Shape, n_classes: int) -> Blueprint:
        """Return the build steps of a genotype for rows of a shape; see `decode` for the rules.

        Raises IllegalGenotypeError that lists all problems of an illegal genotype.
        """
        found = self.problems(genotype)
        if found:
            raise IllegalGenotypeError("the genotype is not legal here: " + " ".join(found))
        return decode(genotype, input_shape, n_classes, self.max_channels, self.layer, self.rank)

    def options(self) -> dict[str, Any]:
        """Return the options as JSON data; the member made of them is an equal space."""
        return {
            field.name: list(value)
            if isinstance(value := getattr(self, field.name), tuple)
            else value
            for field in fields(self)
            if field.init
        }


def _is_wide(rules: Layer) -> bool:
    return not rules.merges and not rules.halves and "channels" in rules.domain


def _retagged(dag: Dag) -> Dag:
    """Return a graph with provisional tags; vertices, edges and channels keep their order.

    So the steps of its blueprint keep their names, and weights of the network fit as they are.
    """
    number = tags.PROVISIONAL

    def new(n: int) -> int:
        nonlocal number
        number += n
        return number - n

    vertices = tuple(
        Vertex(new(1), v.op, v.params, tuple((new(n), n) for _, n in v.channel_tags))
        for v in dag.vertices
    )
    final = {old.tag: v.tag for old, v in zip(dag.vertices, vertices, strict=True)}
    return Dag(vertices, tuple((final[a], final[b]) for a, b in dag.edges))
