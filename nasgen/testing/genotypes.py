"""The contract of a genotype: JSON, keys, gene tags and outline of what its search space draws."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, ClassVar

from nasgen import registry, seeding
from nasgen.errors import IllegalGenotypeError
from nasgen.genotypes import Genotype, Outline, read
from nasgen.genotypes.tags import is_provisional
from nasgen.testing.base import Contract, Outcome, examine_all

N_SAMPLES = 20
NOT_ONE: tuple[Any, ...] = ({}, {"kind": "?"}, {"nothing": [1]})  # data that no kind has written


def check(group: str, name: str) -> Outcome:
    """Apply every rule to a kind of genotype."""
    return examine_all(RULES, group, name)


def samples(name: str, given: Sequence[Genotype] = ()) -> Iterator[Genotype]:
    """Return the given genotypes; without any, draw some from the search spaces of their type.

    Raises LookupError when no built-in space and none of the same plug-in draws the kind.
    """
    if given:
        yield from given
        return
    kind, origin = registry.resolve("genotypes", name), registry.get("genotypes", name).origin
    spaces = [
        space()
        for entry in registry.entries("search_spaces").values()
        if entry.origin in ("built-in", origin)
        and (space := registry.resolve("search_spaces", entry.name)).genotype is kind
    ]
    if not spaces:
        raise LookupError("no search space here draws it; register one in the same plug-in")
    for i in range(N_SAMPLES):
        yield spaces[i % len(spaces)].sample(seeding.generator(0, "contract genotype", i))


def describes(name: str, given: Sequence[Genotype] = ()) -> Iterator[str]:
    """It derives from Genotype, under the name of its kind; samples are of this very type."""
    kind = registry.resolve("genotypes", name)
    if not isinstance(kind, type) or not issubclass(kind, Genotype):
        yield f"expected a class derived from nasgen.Genotype, got {kind!r}."
        return
    own = getattr(kind, "kind", None)
    yield "" if own == name else f"expected the class attribute kind = '{name}', got {own!r}."
    for i, genotype in enumerate(samples(name, given)):
        right = type(genotype) is kind
        yield "" if right else f"sample {i}: expected a {kind.__name__}, got {genotype!r}."


def serialisable(name: str, given: Sequence[Genotype] = ()) -> Iterator[str]:
    """`genotypes.read` returns an equal genotype of what `to_json` wrote, with the same key."""
    for i, genotype in enumerate(samples(name, given)):
        for it in (genotype, genotype.mint(0, i)):
            data = it.to_json()
            if data.get("kind") != name:
                yield f"sample {i}: to_json must write 'kind': '{name}', got {data.get('kind')!r}."
                return
            back = read(json.loads(json.dumps(data)))
            same = back == it and hash(back) == hash(it) and back.key == it.key
            yield "" if same else f"sample {i} does not come back unchanged from JSON."
            stored = json.dumps(it.stored()) == json.dumps((data, it.outline().to_json()))
            yield "" if stored else f"sample {i}: stored must be the JSON of it and its outline."
            bare = read(json.loads(json.dumps(it.bare_json())))
            yield "" if bare.key == it.key else f"sample {i}: bare_json has another key."


def refuses(name: str, given: Sequence[Genotype] = ()) -> Iterator[str]:
    """Data of another shape are refused by IllegalGenotypeError."""
    kind = registry.resolve("genotypes", name)
    for data in NOT_ONE:
        try:
            found = kind.from_json(data)
        except IllegalGenotypeError:
            yield ""
        else:
            yield f"from_json({data}): expected IllegalGenotypeError, got {found!r}."


def tagged(name: str, given: Sequence[Genotype] = ()) -> Iterator[str]:
    """Minting makes all gene tags final, other ones in another trial; the key stays as it is."""
    for i, genotype in enumerate(samples(name, given)):
        if not genotype.is_explicit:
            same = genotype.mint(0, i) == genotype and not genotype.tags
            yield "" if same else f"sample {i}: no network yet, so it has no gene tags to mint."
            continue
        if not genotype.tags or not all(is_provisional(tag) for tag in genotype.tags):
            yield f"sample {i}: expected provisional gene tags (tags.PROVISIONAL + 0, 1, ...)."
            continue
        first, second = genotype.mint(0, 2 * i), genotype.mint(0, 2 * i + 1)
        starts = [start for own in first.channel_tags.values() for start, _ in own]
        if any(is_provisional(tag) for tag in (*first.tags, *starts)):
            yield f"sample {i}: a gene tag stayed provisional in mint; use tags.mint for each."
        elif first.tags & second.tags or len(first.tags) != len(genotype.tags):
            yield f"sample {i}: two trials share a gene tag; use tags.mint for each."
        elif first.mint(0, 2 * i + 1) != first:
            yield f"sample {i}: mint changed final gene tags, which must stay."
        else:
            same = first.key == genotype.key == second.key
            yield "" if same else f"sample {i}: its key changes with its gene tags."


def outlined(name: str, given: Sequence[Genotype] = ()) -> Iterator[str]:
    """The outline is JSON, runs from an input to an output and knows the genotype's gene tags."""
    for i, genotype in enumerate(samples(name, given)):
        outline = genotype.outline()
        ops = [node.op for node in outline.nodes]
        if Outline.from_json(json.loads(json.dumps(outline.to_json()))) != outline:
            yield f"sample {i}: its outline does not come back unchanged from JSON."
        elif not {"input", "output"} <= set(ops):
            yield f"sample {i}: expected nodes 'input' and 'output' in its outline, got {ops}."
        elif genotype.is_explicit and not {n.tag for n in outline.inner} <= genotype.tags:
            yield f"sample {i}: nodes of its outline carry gene tags that it has not."
        elif not any(a in outline.live for a, b in outline.edges if ops[b] == "output"):
            yield f"sample {i}: no path of its outline leads to the output."
        else:
            yield ""


def immutable(name: str, given: Sequence[Genotype] = ()) -> Iterator[str]:
    """It cannot be changed, neither itself nor through the JSON that it gave."""
    for i, genotype in enumerate(samples(name, given)):
        before, data = json.dumps(genotype.to_json()), genotype.to_json()
        data.clear()
        try:
            genotype.kind = "changed"  # type: ignore[misc]
        except (AttributeError, TypeError):
            same = json.dumps(genotype.to_json()) == before
            yield "" if same else f"sample {i}: changing the JSON that it gave changed it."
        else:
            yield f"sample {i}: its attributes can be set; make it a frozen dataclass."


RULES = (describes, serialisable, refuses, tagged, outlined, immutable)


class GenotypeContract(Contract):
    """Inherit and set `name`, the kind; `given` are genotypes of it if no search space draws it."""

    group = "genotypes"
    given: ClassVar[tuple[Genotype, ...]] = ()

    def _holds(self, rule: Any) -> None:
        self.holds(partial(rule, given=self.given))

    def test_it_is_a_genotype_of_its_kind(self) -> None:
        """A class derived from Genotype, with `kind` as it is registered."""
        self._holds(describes)

    def test_it_survives_json(self) -> None:
        """Equal, with the same key and hash."""
        self._holds(serialisable)

    def test_it_refuses_other_data(self) -> None:
        """By IllegalGenotypeError."""
        self._holds(refuses)

    def test_its_tags_are_final_once_minted(self) -> None:
        """Other ones in another trial, and no part of the key."""
        self._holds(tagged)

    def test_its_outline_is_consistent(self) -> None:
        """JSON, from input to output, with the genotype's gene tags."""
        self._holds(outlined)

    def test_it_cannot_be_changed(self) -> None:
        """Nor through the JSON that it gave."""
        self._holds(immutable)
