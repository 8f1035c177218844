"""Recurrent networks for sequences: an embedding, layers of units, a classifier (Stier 2021, 4.2).

A layer reads the embedding or layers before it, all side by side; the classifier reads the states
of some layers at the end of each sequence, or at its start of layers that read backward. Unlike
`mlp`, which sums a sequence up over time, these networks know the order of its steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import exp, log
from typing import Any, ClassVar, Final, Literal, final

import numpy as np

from nasgen.errors import ConfigError, IllegalGenotypeError, suggest
from nasgen.genotypes import Dag, Draft, Genotype, Vertex, tags
from nasgen.genotypes.recurrent import BACKWARD, CELLS, Recurrent
from nasgen.genotypes.tags import Ranges
from nasgen.layers.base import Shape
from nasgen.search_spaces.base import Design, SearchSpace
from nasgen.search_spaces.blueprint import INPUT, Blueprint, Links, Step, cost
from nasgen.search_spaces.designs import families

LENGTHS: Final = f"{INPUT}.lengths"
DRAWN_WIDTHS: Final = (16.0, 96.0)  # units of a layer, drawn log-uniformly
SKIP_PROB: Final = 0.3  # that a layer, or the classifier, reads an earlier layer too
ALIKE_PROB: Final = 0.8  # that all layers of a draw are of one kind
BOTH_PROB: Final = 0.5  # that all layers of a draw read in both directions, where some may
USUAL_WIDTH: Final = 50  # of the paper's layers
# Name -> (kind of layer, how many); gated ones first, which learn fastest.
DESIGNS: Final[Mapping[str, tuple[str, int]]] = {
    "gru1": ("gru", 1),
    "lstm1": ("lstm", 1),
    "gru2": ("gru", 2),
    "lstm2": ("lstm", 2),
    "gru3": ("gru", 3),
    "rnn-relu1": ("rnn_relu", 1),
    "rnn-tanh1": ("rnn_tanh", 1),
    "lstm3": ("lstm", 3),
    "rnn-tanh3": ("rnn_tanh", 3),
    "rnn-relu3": ("rnn_relu", 3),
}


class UnitSpace(SearchSpace):
    """Networks of recurrent layers, whichever way they are drawn; see `Recurrent`.

    A member has the options `embedding`, the width of what stands for a step of the input, 0 for as
    many as there are units that read it, and `reading`: "end", the states at the end of each
    sequence, or "padded", those at the last step of the batch, with zeros behind a sequence as if
    they belonged to it. `is_separate` says that a layer which reads several others is one recurrent
    layer for each of them, whose states are added; else it reads them side by side.
    """

    genotype: ClassVar[type[Genotype]] = Recurrent
    ranks: ClassVar[tuple[int, ...]] = (2,)

    embedding: int
    reading: Literal["end", "padded"]

    @property
    def is_separate(self) -> bool:
        """Whether a layer that reads several others is one recurrent layer for each of them."""
        return False

    @property
    def has_backward(self) -> bool:
        """Whether layers may read sequences from the end to the start."""
        return False

    def problems(self, genotype: Any) -> list[str]:
        """Return one sentence for each rule that the genotype breaks; empty when it is legal."""
        if not isinstance(genotype, Recurrent):
            kind = getattr(genotype, "kind", type(genotype).__name__)
            return [f"expected a genotype of kind '{Recurrent.kind}', got '{kind}'."]
        wrong = []
        layers = genotype.inner
        if not layers:
            wrong.append("expected at least one recurrent layer.")
        dead = [v.tag for v in layers if v.tag not in genotype.live]
        if dead:
            wrong.append(f"layer {dead[0]} is on no path from input to output.")
        for vertex in layers:
            n, backward = vertex.get("channels"), vertex.get(BACKWARD)
            others = {key for key, _ in vertex.params} - {"channels", BACKWARD}
            if type(n) is not int or n < 1 or others or backward not in (None, True):
                wrong.append(
                    f"layer {vertex.tag}: expected the setting channels >= 1, and no other one but "
                    f"{BACKWARD} = true, got {dict(vertex.params)}."
                )
            elif backward and not self.has_backward:
                wrong.append(
                    f"layer {vertex.tag} reads backward, from the end of sequences to the start, "
                    "which layers do in the space 'recurrent' with space.directions = 'both'."
                )
        if (genotype.input.tag, genotype.output.tag) in genotype.edges:
            wrong.append("the output reads the input, which has no state; join it with a layer.")
        return wrong

    def adopt(self, genotype: Genotype) -> Recurrent:
        """Return a legal network from elsewhere under provisional tags; see `SearchSpace.adopt`."""
        found = super().adopt(genotype)
        assert isinstance(found, Recurrent)
        return found.provisional()

    def shown(self, genotype: Recurrent) -> dict[str, int]:
        """Return how many layers and units there are, the depth, and how many layers read backward.

        The last one only where some may.
        """
        n, n_backward = len(genotype.inner), sum(bool(v.get(BACKWARD)) for v in genotype.inner)
        found = {"n_layers": n, "n_units": genotype.n_units, "depth": genotype.depth}
        return found | ({"n_backward": n_backward} if self.has_backward else {})

    def blueprint(self, genotype: Any, input_shape: Shape, n_classes: int) -> Blueprint:
        """Return the network as build steps, for sequences (F, T) of any T.

        Raises IllegalGenotypeError for an illegal genotype, ConfigError for another shape.
        """
        if wrong := self.problems(genotype):
            raise IllegalGenotypeError("the genotype is not legal here: " + " ".join(wrong))
        shape = tuple(input_shape)
        if len(shape) != 2 or any(type(n) is not int or n < 1 for n in shape):
            raise ConfigError(
                f"input_shape: expected sequences (F, T), which recurrent layers read, got {shape}."
            )
        reading = _Reading(genotype, shape, self.reading == "padded", self.is_separate)
        return reading.run(self.embedding or _n_first(genotype), n_classes)


@final
@dataclass(frozen=True)
class RecurrentSpace(UnitSpace):
    """Options: kinds of layers, widths, how many layers, the embedding and where states are read.

    - `cells`: kinds of layers, some of rnn_tanh, rnn_relu, gru, lstm.
    - `widths`: units that a layer may have where it is drawn or mutated, ascending.
    - `max_layers`: 1 to 16 that read in one direction.
    - `directions`: "forward", or "both": layers may also read from the end of a sequence to its
      start, and half of the networks that are drawn have, for each layer, one beside it that does.
    - `embedding`, `reading`: see `UnitSpace`.
    """

    narrow: ClassVar[Mapping[str, Any]] = {
        "cells": ("gru", "lstm"), "widths": (4, 8), "max_layers": 2, "reading": "padded",
        "directions": "both",
    }  # fmt: skip

    cells: tuple[str, ...] = CELLS
    widths: tuple[int, ...] = (8, 12, 16, 24, 32, 50, 64, 96, 128)
    max_layers: int = 3
    directions: Literal["forward", "both"] = "forward"
    embedding: int = 50
    reading: Literal["end", "padded"] = "end"

    def __post_init__(self) -> None:
        wrong = [
            f"space.cells: '{cell}' is no recurrent layer{suggest(cell, CELLS)} Expected some of "
            f"{', '.join(CELLS)}."
            for cell in self.cells
            if cell not in CELLS
        ]
        if not self.cells or len(set(self.cells)) < len(self.cells):
            wrong.append(f"space.cells: expected each kind once, got {list(self.cells)}.")
        if not self.widths or list(self.widths) != sorted(set(self.widths)) or self.widths[0] < 1:
            wrong.append(
                f"space.widths: expected ascending integers >= 1, got {list(self.widths)}."
            )
        if not 1 <= self.max_layers <= 16:
            wrong.append(f"space.max_layers: expected 1 to 16, got {self.max_layers}.")
        if self.embedding < 1:
            wrong.append(f"space.embedding: expected an integer >= 1, got {self.embedding}.")
        if wrong:
            raise ConfigError(wrong)

    @property
    def has_backward(self) -> bool:
        """Whether layers may read sequences from the end to the start."""
        return self.directions == "both"

    def problems(self, genotype: Any) -> list[str]:
        """Return one sentence for each rule that the genotype breaks; empty when it is legal."""
        wrong = super().problems(genotype)
        if wrong:
            return wrong
        n_backward = sum(bool(vertex.get(BACKWARD)) for vertex in genotype.inner)
        n, of = max((len(genotype.inner) - n_backward, ""), (n_backward, " that read backward"))
        if n > self.max_layers:
            wrong.append(f"expected at most {self.max_layers} layers (max_layers){of}, got {n}.")
        for vertex in genotype.inner:
            if vertex.op not in self.cells:
                wrong.append(f"layer {vertex.tag}: '{vertex.op}' is not among space.cells.")
            if vertex.channels > self.widths[-1]:
                wrong.append(
                    f"layer {vertex.tag}: expected at most {self.widths[-1]} units (widths), got "
                    f"{vertex.channels}."
                )
        return wrong

    def sample(self, rng: np.random.Generator) -> Recurrent:
        """Draw a legal network with provisional tags: 1 to `max_layers` layers in a row.

        Some layers, and sometimes the classifier, read an earlier layer as well.
        """
        draft = Draft()
        ends: list[tuple[int, ...]] = [(draft.input,)]
        cell, alike = self._cell(rng), rng.random() < ALIKE_PROB
        both = self.has_backward and rng.random() < BOTH_PROB
        for _ in range(int(rng.integers(1, self.max_layers + 1))):
            wanted = exp(rng.uniform(log(DRAWN_WIDTHS[0]), log(DRAWN_WIDTHS[1])))
            width = min(self.widths, key=lambda n: abs(log(n / wanted)))
            here = _added(draft, cell if alike else self._cell(rng), width, ends[-1], both)
            if len(ends) > 1 and rng.random() < SKIP_PROB:
                _connect(draft, ends[int(rng.integers(len(ends) - 1))], here)
            ends.append(here)
        _connect(draft, ends[-1], [draft.output])
        if len(ends) > 2 and rng.random() < SKIP_PROB:
            _connect(draft, ends[int(rng.integers(1, len(ends) - 1))], [draft.output])
        return Recurrent.of(draft.freeze())

    def _cell(self, rng: np.random.Generator) -> str:
        return self.cells[int(rng.integers(len(self.cells)))]

    def seed(self, rng: np.random.Generator) -> Recurrent:
        """Return one narrow layer; draws nothing."""
        return chain(self.cells[-1], self.widths[: 1 + len(self.widths) // 4][-1:])

    def designs(
        self, input_shape: Shape, n_outputs: int, macs: float | None = None
    ) -> tuple[Design, ...]:
        """Return plain stacks of layers of one kind, of several widths."""
        widths = [n for n in self.widths if n >= min(16, self.widths[-1])]
        nearest = min(self.widths, key=lambda n: abs(n - USUAL_WIDTH))
        usual = chain(self.cells[-1], [nearest])
        n_usual, _ = cost(self.blueprint(usual, input_shape, n_outputs))
        made: dict[str, families.Family] = {
            ("bi-" if both else "") + name: partial(_stack, cell, n, both)
            for name, (cell, n) in DESIGNS.items()
            for both in ((False, True) if self.has_backward else (False,))
            if cell in self.cells and n <= self.max_layers
        }
        n_macs = n_usual if macs is None else min(macs, n_usual)
        return families.offered(self, made, widths, input_shape, n_outputs, n_macs)

    def widened(self, genotype: Recurrent, factor: float) -> Recurrent:
        """Return a network with `factor` times the units, up to the largest of `widths`."""
        if genotype.links is not None or genotype.recurrent is not None:
            return genotype
        draft = genotype.edit()
        for vertex in genotype.inner:
            wider = max(vertex.channels, round(vertex.channels * factor))
            draft.change(vertex.tag, channels=min(wider, max(self.widths[-1], vertex.channels)))
        return Recurrent.of(draft.freeze())


def chain(cell: str, widths: Sequence[int], both: bool = False) -> Recurrent:
    """Return layers of one kind in a row, each reading the one before, under provisional tags.

    In `both` directions each layer is two of its width, side by side.
    """
    draft = Draft()
    here: Sequence[int] = [draft.input]
    for width in widths:
        here = _added(draft, cell, width, here, both)
    _connect(draft, here, [draft.output])
    return Recurrent.of(draft.freeze())


def _added(
    draft: Draft, cell: str, width: int, sources: Sequence[int], both: bool
) -> tuple[int, ...]:
    """Add a layer that reads forward, and in `both` directions one beside it; return their tags."""
    forward = draft.add(cell, sources, channels=width)
    if not both:
        return (forward,)
    return forward, draft.add(cell, sources, channels=width, backward=True)


def _connect(draft: Draft, sources: Sequence[int], targets: Sequence[int]) -> None:
    for source in sources:
        for target in targets:
            draft.connect(source, target)


def _stack(cell: str, n: int, both: bool, width: int) -> Dag | None:
    return chain(cell, [width] * n, both)


def _n_first(genotype: Recurrent) -> int:
    """Return how many units read the input."""
    ends = genotype.outputs(genotype.input.tag)
    if genotype.links is None:
        return sum(int(genotype.vertex(tag).channels) for tag in ends)
    return max(1, sum(source == genotype.input.tag for source, _ in genotype.links))


class _Reading:
    """Build steps of a recurrent network; `where` says which step gives a layer's states."""

    def __init__(self, genotype: Recurrent, shape: Shape, padded: bool, separate: bool) -> None:
        self.genotype, self.padded, self.separate = genotype, padded, separate
        self.image = Step(
            INPUT, INPUT, INPUT, genotype.input.tag, (), (), (), shape, (),
            tags.derived_range(shape[0], "image"),
        )  # fmt: skip
        self.steps: list[Step] = []
        self.where: dict[int, Step] = {}

    def run(self, embedding: int, n_classes: int) -> Blueprint:
        genotype, start = self.genotype, self.genotype.input.tag
        tag = tags.derived(start, 0, "stem")
        n_steps = self.image.out_shape[1]
        self.where[start] = self._add(
            "embed", "stem", tag, [self.image], {"channels": embedding}, (embedding, n_steps),
            tags.derived_range(embedding, tag),
        )  # fmt: skip
        for vertex in genotype.inner:
            self.where[vertex.tag] = self._layer(vertex, n_steps)
        output = genotype.output.tag
        # Forward ones come first: they end at the last step, the others at the first one.
        sources = sorted(genotype.inputs(output), key=self._is_backward)
        ending = {"backward": n} if (n := sum(map(self._is_backward, sources))) else {}
        read = [self.where[s] for s in sources]
        joined = tuple(r for step in read for r in step.out_tags)
        width = sum(step.out_shape[0] for step in read)
        last = self._add(
            "last_step", "resize", tags.derived(output, output, "resize"), read,
            {"padded": self.padded, **ending}, (width,), joined, others=(LENGTHS,),
        )  # fmt: skip
        links = self._links(sources, [output])
        self._add(
            "head", "head", tags.derived(output, output, "head"), [last], {"classes": n_classes},
            (n_classes,), (), links,
        )  # fmt: skip
        shapes = {tag: step.out_shape for tag, step in self.where.items()} | {output: (width,)}
        return Blueprint(self.image.out_shape, n_classes, tuple(self.steps), shapes)

    def _layer(self, vertex: Vertex, n_steps: int) -> Step:
        sources = self.genotype.inputs(vertex.tag)
        own = vertex.channel_tags or tags.derived_range(int(vertex.channels), vertex.tag)
        shape, params = (int(vertex.channels), n_steps), dict(vertex.params)
        begins_at_end = self._is_backward(vertex.tag) and not self.padded
        others = (LENGTHS,) if begins_at_end else ()

        def reading(tag: int, *of: int) -> Step:
            links = self._links(of, tags.expand(own))
            before = [self.where[s] for s in of]
            return self._add(vertex.op, "vertex", tag, before, params, shape, own, links, others)

        if not self.separate or len(sources) == 1:
            return reading(vertex.tag, *sources)
        parts = [reading(tags.derived(s, vertex.tag, "separate"), s) for s in sources]
        return self._add("sum", "vertex", vertex.tag, parts, {}, shape, own)

    def _is_backward(self, tag: int) -> bool:
        return bool(self.genotype.vertex(tag).get(BACKWARD))

    def _add(
        self,
        layer: str,
        role: str,
        tag: int,
        inputs: Sequence[Step],
        params: Mapping[str, Any],
        out_shape: Shape,
        own: Ranges,
        links: Links = (),
        others: tuple[str, ...] = (),
    ) -> Step:
        step = Step(
            f"{layer}_{len(self.steps)}", layer, role, tag, tuple(s.name for s in inputs),
            tuple(sorted(params.items())), tuple(s.out_shape for s in inputs), out_shape,
            tuple(s.out_tags for s in inputs), own, others, links,
        )  # fmt: skip
        self.steps.append(step)
        return step

    def _links(self, sources: Sequence[int], targets: Sequence[int]) -> Links:
        """Return what of these sources each unit, or the output, reads; see `Step.links`."""
        genotype, found = self.genotype, []
        start = genotype.input.tag
        if genotype.links is not None:
            columns = [
                start if source == start else unit
                for source in sources
                for unit in tags.expand(self.where[source].out_tags)
            ]
            found.append(("in", _places(columns, targets, genotype.reading)))
        if genotype.recurrent is not None and targets[0] in genotype.layer_of:
            found.append(("self", _places(targets, targets, genotype.remembering)))
        n_columns = {"in": sum(self.where[s].out_shape[0] for s in sources), "self": len(targets)}
        return tuple(
            (role, rows) for role, rows in found if any(len(r) < n_columns[role] for r in rows)
        )


def _places(
    columns: Sequence[int], targets: Sequence[int], read: Mapping[int, tuple[int, ...]]
) -> tuple[tuple[int, ...], ...]:
    chosen = [frozenset(read.get(target, ())) for target in targets]
    return tuple(tuple(i for i, tag in enumerate(columns) if tag in of) for of in chosen)
