"""The contract of a search space: what it samples is legal, repeatable, varied and buildable."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import product
from typing import Any, ClassVar

import torch

from nasgen import registry, seeding
from nasgen.errors import FOREIGN, IllegalGenotypeError, NotApplicable
from nasgen.genotypes import Child, Dag, Draft, read, tags
from nasgen.operators.conformance import shapes_of
from nasgen.phenotype.network import build
from nasgen.search_spaces.base import Design, SearchSpace
from nasgen.search_spaces.blueprint import INPUT, Blueprint
from nasgen.testing.base import Contract, Outcome, Rule, every_shape, examine_all
from nasgen.testing.operators import relatives

N_SAMPLES = 12
N_CLASSES = (2, 10)
N_VARIED = 3  # parents of each operator
FEW_MACS = 1e5  # multiply-adds that a small budget affords
NO_OPERATOR = (
    "no operator fits this space, so a search draws every network at random; register a mutation, "
    "or derive the space from nasgen.search_spaces.graph.GraphSpace, which built-in operators on "
    "graphs ask for layers, widths and limits."
)
Options = Mapping[str, Any]


def check(group: str, name: str) -> Outcome:
    """Apply every rule to a search space with its default options."""
    found = examine_all((partial(rule, options={}) for rule in RULES), group, name)
    if found.problems or relatives(_made(name, {}), registry.get(group, name).origin):
        return found
    return found + Outcome(notes=(NO_OPERATOR,))


def _made(name: str, options: Options) -> Any:
    return registry.resolve("search_spaces", name)(**options)


def _samples(name: str, options: Options, n: int = N_SAMPLES) -> Iterator[tuple[int, Any]]:
    space = _made(name, options)
    for i in range(n):
        yield i, space.sample(seeding.generator(0, "contract sample", i))


def describes(name: str, options: Options) -> Iterator[str]:
    """It is a frozen dataclass derived from SearchSpace; equal options give an equal space."""
    space = _made(name, options)
    yield (
        "" if issubclass(type(space), SearchSpace) else "expected a class derived from SearchSpace."
    )
    params = getattr(type(space), "__dataclass_params__", None)
    yield "" if params is not None and params.frozen else "expected a frozen dataclass."
    if dataclasses.is_dataclass(space):
        equal = _made(name, options) == space
        yield "" if equal else "two spaces of the same options must be equal."


def legal(name: str, options: Options) -> Iterator[str]:
    """Samples are legal, before and after their tags are final, and their tags are provisional."""
    space = _made(name, options)
    for i, dag in _samples(name, options):
        if type(dag) is not space.genotype:
            yield f"sample {i}: expected a {space.genotype.__name__}, got {type(dag).__name__}."
            return
        own = [*dag.tags, *(start for own in dag.channel_tags.values() for start, _ in own)]
        if not all(tags.is_provisional(tag) for tag in own):
            yield f"sample {i}: expected provisional gene tags; draw it with Draft().add."
        else:
            wrong = space.problems(dag) or space.problems(dag.mint(0, i))
            yield f"sample {i} is illegal: {wrong[0]}" if wrong else ""


def repeatable(name: str, options: Options) -> Iterator[str]:
    """A seed gives one sample, and seeds give different ones."""
    keys = set()
    again = _samples(name, options)
    for (i, dag), (_, same) in zip(_samples(name, options), again, strict=True):
        keys.add(dag.key)
        yield "" if dag == same else f"sample {i}: two results for one seed; draw from `rng` only."
        other = _made(name, options).draw(seeding.generator(0, "contract sample", i)).genotype
        yield "" if dag == other else f"sample {i}: sample() and draw() differ for one seed."
    yield "" if len(keys) > 1 else f"{N_SAMPLES} seeds gave one and the same network."


def designed(name: str, options: Options) -> Iterator[str]:
    """Its designs are legal for inputs of every form, differ, and are the same when asked again."""
    space = _made(name, options)
    for shape, macs in product(shapes_of(space), (None, FEW_MACS)):
        here = f"designs({shape}, {N_CLASSES[-1]}, {macs})"
        found = tuple(space.designs(shape, N_CLASSES[-1], macs))
        if not all(isinstance(design, Design) for design in found):
            yield f"{here}: expected nasgen.search_spaces.base.Design objects."
            return
        yield (
            ""
            if found == tuple(space.designs(shape, N_CLASSES[-1], macs))
            else (f"{here}: two answers to one question; nothing may be drawn.")
        )
        for what, values in (
            ("name", [design.name for design in found]),
            ("network", [design.genotype.key for design in found]),
        ):
            twice = len(values) - len(set(values))
            yield f"{here}: each {what} once, {twice} of them came again." if twice else ""
        for design in found:
            if wrong := space.problems(design.genotype):
                yield f"{here}: '{design.name}' is illegal: {wrong[0]}"
            elif not all(tags.is_provisional(tag) for tag in design.genotype.tags):
                yield f"{here}: '{design.name}' needs provisional gene tags."
            elif read(json.loads(json.dumps(design.genotype.to_json()))) != design.genotype:
                yield f"{here}: '{design.name}' does not come back unchanged from JSON."
            else:
                wrong_order = _disorder(space.blueprint(design.genotype, shape, N_CLASSES[-1]))
                yield f"{here}: '{design.name}': {wrong_order}" if wrong_order else ""


def serialisable(name: str, options: Options) -> Iterator[str]:
    """Samples survive JSON unchanged, with the same key."""
    for i, dag in _samples(name, options):
        back = read(json.loads(json.dumps(dag.to_json())))
        same = back == dag and back.key == dag.key
        yield "" if same else f"sample {i} does not come back unchanged from JSON."


def decodes(name: str, options: Options) -> Iterator[str]:
    """Samples can be read for inputs of every shape; steps fit together; the last gives logits."""
    space = _made(name, options)
    for i, dag in _samples(name, options):
        shapes = every_shape(space)
        shape, n_classes = shapes[i % len(shapes)], N_CLASSES[i % len(N_CLASSES)]
        blueprint = space.blueprint(dag, shape, n_classes)
        here = f"sample {i}, input {shape}"
        if blueprint != space.blueprint(dag, shape, n_classes):
            yield f"{here}: two blueprints for one genotype."
        else:
            wrong = _disorder(blueprint)
            yield f"{here}: {wrong}" if wrong else ""


def _disorder(blueprint: Blueprint) -> str:
    shapes = {INPUT: blueprint.input_shape}
    for step in blueprint.steps:
        if step.name in shapes:
            return f"two steps are called '{step.name}'."
        late = [source for source in step.inputs if source not in shapes]
        if late:
            return f"step '{step.name}' reads '{late[0]}', which no earlier step gives."
        if tuple(shapes[source] for source in step.inputs) != step.in_shapes:
            return f"step '{step.name}': its in_shapes are not what its inputs give."
        if step.role != "head" and tags.count(step.out_tags) != step.out_shape[0]:
            return (
                f"step '{step.name}': expected {step.out_shape[0]} gene tags for its channels, "
                f"got {tags.count(step.out_tags)}."
            )
        shapes[step.name] = step.out_shape
    last = blueprint.steps[-1].out_shape[0]
    if last != blueprint.n_classes:
        return f"expected {blueprint.n_classes} logits at the end, got {last}."
    return ""


def refuses(name: str, options: Options) -> Iterator[str]:
    """A genotype of unknown operations is not adopted; a graph of them is illegal and not built."""
    space = _made(name, options)
    draft = Draft()
    draft.connect(draft.add("no such operation", [draft.input]), draft.output)
    stranger = draft.freeze()
    if issubclass(space.genotype, Dag):
        wrong = space.problems(stranger)
        named = isinstance(wrong, list) and wrong != [] and all(isinstance(w, str) for w in wrong)
        yield (
            ""
            if named
            else f"problems: expected sentences about an unknown operation, got {wrong!r}."
        )
        try:
            space.blueprint(stranger, every_shape(space)[0], 10)
        except IllegalGenotypeError:
            yield ""
        else:
            yield "blueprint: expected IllegalGenotypeError for an unknown operation."
    try:
        space.adopt(stranger)
    except IllegalGenotypeError:
        yield ""
    else:
        yield "adopt: expected IllegalGenotypeError for a genotype that is illegal here."


def computes(name: str, options: Options) -> Iterator[str]:
    """Samples are networks that turn inputs into finite outputs."""
    space = _made(name, options)
    for i, dag in _samples(name, options, n=4):
        shapes = shapes_of(space)
        blueprint = space.blueprint(dag, shapes[i % len(shapes)], 5)
        network = build(blueprint, seed=i).eval()
        with torch.no_grad():
            logits = network(torch.rand(2, *blueprint.input_shape))
        good = tuple(logits.shape) == (2, 5) and bool(torch.isfinite(logits).all())
        yield "" if good else f"sample {i}: expected finite logits (2, 5), got {logits.shape}."


def varied(name: str, options: Options) -> Iterator[str]:
    """Every operator that fits, built-in or of the same plug-in, has legal children or none."""
    space, origin = _made(name, options), registry.get("search_spaces", name).origin
    for i, (group, operator) in enumerate(relatives(space, origin)):
        for j in range(N_VARIED):
            rng = seeding.generator(0, "contract variation", i, j)
            n_parents = registry.get(group, operator).arity[0]
            parents = [space.sample(rng).mint(0, n_parents * j + k) for k in range(n_parents)]
            try:
                made = registry.resolve(group, operator)(*parents, space, rng)
            except NotApplicable:
                yield ""
                continue
            except FOREIGN as error:
                yield (
                    f"'{operator}', which fits a {type(space).__mro__[1].__name__}, raised "
                    f"{type(error).__name__}: {error} in this space; what the class promises "
                    "must hold here too."
                )
                return
            children = made if isinstance(made, tuple | list) else [made]
            wrong = [
                text
                for child in map(Child.of, children)
                if child is not None
                for text in space.problems(child.genotype)
            ]
            yield f"'{operator}' gave an illegal child in this space: {wrong[0]}" if wrong else ""


RULES = (describes, legal, repeatable, designed, serialisable, decodes, refuses, computes, varied)


class SearchSpaceContract(Contract):
    """Inherit, set `name`, and `options` if other than the default ones are to be tested."""

    group = "search_spaces"
    options: ClassVar[Options] = {}

    def _with_options(self, rule: Any) -> Rule:
        bound: Rule = partial(rule, options=self.options)
        return bound

    def test_it_is_a_frozen_dataclass(self) -> None:
        """Derived from SearchSpace; equal options give an equal space."""
        self.holds(self._with_options(describes))

    def test_its_samples_are_legal(self) -> None:
        """With provisional gene tags, and once these are final."""
        self.holds(self._with_options(legal))

    def test_a_seed_gives_one_sample(self) -> None:
        """And different seeds give different ones."""
        self.holds(self._with_options(repeatable))

    def test_its_designs_are_legal(self) -> None:
        """If it has any: different ones, the same each time, for inputs of every form."""
        self.holds(self._with_options(designed))

    def test_its_samples_survive_json(self) -> None:
        """With the same key."""
        self.holds(self._with_options(serialisable))

    def test_its_samples_decode_for_images_of_any_size(self) -> None:
        """1 and 3 channels, 8 x 8 to 64 x 64."""
        self.holds(self._with_options(decodes))

    def test_it_refuses_what_is_illegal(self) -> None:
        """By sentences and by IllegalGenotypeError."""
        self.holds(self._with_options(refuses))

    def test_its_samples_compute(self) -> None:
        """Images in, finite logits out."""
        self.holds(self._with_options(computes))

    def test_the_operators_that_fit_work_in_it(self) -> None:
        """Those of nasgen and of the same plug-in: legal children, or none."""
        with self.scope().active():
            has = relatives(
                _made(self.name, self.options), registry.get(self.group, self.name).origin
            )
        if has:
            self.holds(self._with_options(varied))
