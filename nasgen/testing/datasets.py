"""The contract of a data set: two reads are equal, the test is honest, networks fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasgen import registry, seeding
from nasgen.data.base import Dataset, load
from nasgen.data.split import split
from nasgen.data.targets import CLASSIFICATION
from nasgen.evaluation.transform import Transform
from nasgen.testing.base import Contract, Outcome, Rule, examine

VALIDATION = 0.1
MAX_COPIES = 0.05  # share of test rows that may be training rows


def check(group: str, name: str) -> Outcome:
    """Apply every rule to the example that the data set names, else its signature alone.

    `@nasgen.dataset("name", options={"example": "..."})` gives what follows the colon.
    """
    entry = registry.get(group, name)
    registry.resolve(group, name)
    example = entry.options.get("example")
    if example is None:
        note = (
            "only its signature was checked; for more name something small to read: "
            f'@nasgen.dataset("{name}", options={{"example": "what follows the colon"}}).'
        )
        return Outcome(notes=(note,))
    source = f"{name}:{example}" if example else name
    return sum((examine(rule(source), entry.origin) for rule in RULES), Outcome())


def repeatable(source: str) -> Iterator[str]:
    """Two reads give the same inputs, targets and names."""
    first, again = load(source), load(source)
    yield "" if first.digest == again.digest else f"{source}: two reads differ; fix its seed."


def honest(source: str) -> Iterator[str]:
    """Test rows are no training rows."""
    dataset = load(source)
    train, test = (_rows(part) for part in (dataset.inputs, dataset.inputs_test))
    known = set(train)
    n = sum(row in known for row in test)
    few = n <= MAX_COPIES * len(test)
    yield "" if few else f"{source}: {n} of {len(test)} test {_unit(dataset)}s are training ones."


def _rows(inputs: Mapping[str, NDArray[Any]]) -> list[bytes]:
    """Return the content of each row; of a sequence what lies within its length."""
    n = len(inputs["x"])
    if "lengths" in inputs:
        return [inputs["x"][i, : int(inputs["lengths"][i])].tobytes() for i in range(n)]
    return [b"|".join(repr(a[i].tolist()).encode() for a in inputs.values()) for i in range(n)]


def _unit(dataset: Dataset) -> str:
    return dataset.unit


def complete(source: str) -> Iterator[str]:
    """Every class has test rows, and inputs vary."""
    dataset = load(source)
    if dataset.task == CLASSIFICATION:
        absent = sorted(set(range(dataset.n_classes)) - set(dataset.targets_test.tolist()))
        name = dataset.classes[absent[0]] if absent else ""
        yield "" if not absent else f"{source}: no test {_unit(dataset)} of class {name!r}."
    varies = any(len(np.unique(values)) > 1 for values in dataset.inputs.values())
    yield "" if varies else f"{source}: all values of all training {_unit(dataset)}s are the same."


def usable(source: str) -> Iterator[str]:
    """It can be split, read by its feed, and networks of its form's search space fit it."""
    dataset: Dataset = load(source)
    parts = split(dataset, VALIDATION, seed=0)
    n, n_all = len(parts.train) + len(parts.validation), len(dataset.targets)
    yield "" if n == n_all else f"{source}: {n} of {n_all} {_unit(dataset)}s are in the split."
    transform = Transform.fit(dataset, parts.train)
    name = registry.get("feeds", dataset.form).options.get("space", "dag-cnn")
    space = registry.resolve("search_spaces", name)()
    genotype = space.sample(seeding.generator(0, "contract data set"))
    space.blueprint(genotype, transform.feed.input_shape, transform.task.n_outputs)
    yield ""


RULES: tuple[Rule, ...] = (repeatable, honest, complete, usable)


class DatasetContract(Contract):
    """Inherit and set `source`, such as "digits" or "mine:DIR"."""

    group = "datasets"
    source: str

    @property
    def name(self) -> str:  # type: ignore[override]
        """The scheme of the source."""
        return self.source.partition(":")[0]

    def _holds_for_source(self, rule: Rule) -> None:
        __tracebackhide__ = True
        self.holds(lambda _: rule(self.source))

    def test_two_reads_are_equal(self) -> None:
        """Images, labels and classes."""
        self._holds_for_source(repeatable)

    def test_test_images_are_no_training_images(self) -> None:
        """Else the test measures memory."""
        self._holds_for_source(honest)

    def test_every_class_can_be_tested(self) -> None:
        """And images vary."""
        self._holds_for_source(complete)

    def test_networks_can_be_trained_on_it(self) -> None:
        """It can be split, and networks fit its images."""
        self._holds_for_source(usable)
