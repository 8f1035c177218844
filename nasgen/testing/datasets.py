"""The contract of a data set: two reads are equal, images are honest, networks fit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from nasgen import registry, seeding
from nasgen.data.base import Dataset, load
from nasgen.data.split import split
from nasgen.search_spaces.dag_cnn import DagCnn
from nasgen.testing.base import Contract, Outcome, Rule, examine

VALIDATION = 0.1
MAX_COPIES = 0.05  # share of test images that may be training images


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
    """Two reads give the same images, labels and classes."""
    first, again = load(source), load(source)
    yield "" if first.digest == again.digest else f"{source}: two reads differ; fix its seed."


def honest(source: str) -> Iterator[str]:
    """Test images are no training images."""
    dataset = load(source)
    train = {image.tobytes() for image in dataset.x_train}
    n = sum(image.tobytes() in train for image in dataset.x_test)
    few = n <= MAX_COPIES * len(dataset.x_test)
    yield "" if few else f"{source}: {n} of {len(dataset.x_test)} test images are training images."


def complete(source: str) -> Iterator[str]:
    """Every class has test images, and images vary."""
    dataset = load(source)
    absent = sorted(set(range(dataset.n_classes)) - set(dataset.y_test.tolist()))
    yield "" if not absent else f"{source}: no test image of class {dataset.classes[absent[0]]!r}."
    varies = bool(np.ptp(dataset.x_train.reshape(-1)) > 0)
    yield "" if varies else f"{source}: all values of all training images are the same."


def usable(source: str) -> Iterator[str]:
    """It can be split, and networks of the default search space fit its images."""
    dataset: Dataset = load(source)
    parts = split(dataset, VALIDATION, seed=0)
    n = len(parts.train) + len(parts.validation)
    whole = n == len(dataset.x_train)
    yield "" if whole else f"{source}: {n} of {len(dataset.x_train)} images are in the split."
    space = DagCnn()
    dag = space.sample(seeding.generator(0, "contract data set"))
    space.blueprint(dag, dataset.shape, dataset.n_classes)
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
