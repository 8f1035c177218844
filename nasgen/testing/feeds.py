"""The contract of a feed: its state is all it is, rows are read alike, networks can be fed."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nasgen import registry, seeding
from nasgen.data.base import Dataset, load, make
from nasgen.data.split import split
from nasgen.evaluation.batches import answered, evaluation_batches
from nasgen.evaluation.feeds.base import Feed, settled_by
from nasgen.evaluation.recipe import Recipe
from nasgen.evaluation.tasks import base as tasks
from nasgen.evaluation.transform import Transform
from nasgen.phenotype.network import Network, build
from nasgen.settings.config import Training
from nasgen.testing.base import NAME_DATA, Contract, Outcome, Rule, examine_all

N_ROWS = 40
CPU = torch.device("cpu")


def check(group: str, name: str) -> Outcome:
    """Apply every rule to a feed, on data of its form."""
    if not datasets(name):
        note = (
            f"there are no data of the form '{name}' to feed it; register a data set of that form "
            f"{NAME_DATA}"
        )
        return Outcome(problems=(note,))
    return examine_all(RULES, group, name)


def datasets(form: str) -> list[Dataset]:
    """Return small data of a form: those of built-in forms, else what plug-ins name as examples."""
    rng = seeding.generator(0, "contract feed")
    classes = np.arange(N_ROWS) % 3
    if form == "image":
        pixels = rng.integers(0, 256, (N_ROWS, 3, 8, 9), dtype=np.uint8)
        return [make("bytes", pixels, classes), make("floats", pixels / 7 - 3, classes)]
    if form == "table":
        cells = {
            "number": rng.normal(5, 3, N_ROWS).tolist(),
            "gaps": [None if i % 5 == 0 else float(i) for i in range(N_ROWS)],
            "same": [4.0] * N_ROWS,
            "text": [("red", "blue", "")[i % 3] for i in range(N_ROWS)],
        }
        return [
            make("mixed", cells, classes),
            make("numbers", rng.normal(size=(N_ROWS, 4)), classes),
        ]
    if form == "sequence":
        lengths = 1 + np.arange(N_ROWS) % 6
        vectors = [rng.normal(2, 5, (n, 3)) for n in lengths]
        tokens = [rng.integers(0, 9, n) for n in lengths]
        return [make("vectors", vectors, classes), make("tokens", tokens, classes)]
    found = []
    for scheme, entry in registry.entries("datasets").items():
        if entry.origin != "built-in" and "example" in entry.options:
            example = str(entry.options["example"])
            dataset = load(f"{scheme}:{example}" if example else scheme)
            if dataset.form == form:
                found.append(dataset)
    return found


def _fitted(name: str) -> Iterator[tuple[Dataset, NDArray[np.int64], Feed]]:
    """Yield data, the rows of its training part, and the feed fitted on them."""
    for dataset in datasets(name):
        rows = split(dataset, 0.25, 0).train
        yield dataset, rows, registry.resolve("feeds", name).fit(dataset, rows)


def _network(name: str, feed: Feed) -> Network:
    space = registry.resolve("search_spaces", registry.get("feeds", name).options["space"])()
    genotype = space.sample(seeding.generator(0, "contract feed")).mint(0, 0)
    return build(space.blueprint(genotype, feed.input_shape, 3)).eval()


def _batches(feed: Feed, dataset: Dataset, rows: Any = None) -> list[dict[str, torch.Tensor]]:
    return list(evaluation_batches(feed, feed.prepared(dataset.inputs), rows, CPU))


def _same(first: list[dict[str, torch.Tensor]], second: list[dict[str, torch.Tensor]]) -> bool:
    pairs = list(zip(first, second, strict=True))
    return all(a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a) for a, b in pairs)


def describes(name: str) -> Iterator[str]:
    """It is a Feed, and its entry names a registered search space."""
    target = registry.resolve("feeds", name)
    derived = isinstance(target, type) and issubclass(target, Feed)
    yield "" if derived else "expected a class derived from nasgen.Feed."
    space = registry.get("feeds", name).options.get("space")
    known = space in registry.names("search_spaces")
    yield (
        ""
        if known
        else f'expected options={{"space": NAME}} of a registered search space, got {space!r}.'
    )


def kept(name: str) -> Iterator[str]:
    """What `restore` makes of its state, through JSON and .npz, prepares rows as it does."""
    for dataset, rows, feed in _fitted(name):
        task = tasks.named(dataset.task).fit(dataset, rows)
        transform = Transform(name, feed, dataset.task, task, dataset.classes)
        with tempfile.TemporaryDirectory() as folder:
            transform.save(Path(folder))
            again = Transform.load(Path(folder))
        json.dumps(feed.state()[0])
        same = again is not None and again.feed.input_shape == feed.input_shape
        if again is None or not same:
            yield f"{dataset.name}: the restored feed has another input_shape."
        else:
            alike = _same(_batches(feed, dataset), _batches(again.feed, dataset))
            yield "" if alike else f"{dataset.name}: the restored feed prepares other batches."


def fits_training_alone(name: str) -> Iterator[str]:
    """What it learns comes from the rows it is given: others may be anything."""
    for dataset, rows, feed in _fitted(name):
        alone = replace(
            dataset,
            inputs={key: a[rows] for key, a in dataset.inputs.items()},
            targets=dataset.targets[rows],
            validation=None,
        )
        other = type(feed).fit(alone, np.arange(len(rows)))
        same = _same(_batches(feed, alone), _batches(other, alone))
        yield "" if same else f"{dataset.name}: rows outside of the training part had a say."


def settles(name: str) -> Iterator[str]:
    """What `settled` returns are settings of [training] with values that they may have."""
    for dataset, rows, feed in _fitted(name):
        settled_by(feed, name, Training(), dataset, rows)  # raises for anything else
        yield ""


def feeds_networks(name: str) -> Iterator[str]:
    """Batches and the example are what networks of its space read; outputs are finite."""
    for dataset, _, feed in _fitted(name):
        network = _network(name, feed)
        for what, batch in (
            ("a batch", _batches(feed, dataset)[0]),
            ("the example", feed.example()),
        ):
            with torch.no_grad():
                y = answered(network, batch)
            good = y.shape == (len(batch["x"]), 3) and bool(torch.isfinite(y).all())
            yield "" if good else f"{dataset.name}: {what} gave outputs {tuple(y.shape)}."


def shows_views(name: str) -> Iterator[str]:
    """Views have the shape of a batch, leave it as it is, and networks answer them."""
    for dataset, _, feed in _fitted(name):
        network, batch = _network(name, feed), _batches(feed, dataset)[0]
        before = {key: tensor.clone() for key, tensor in batch.items()}
        for view in feed.views(Recipe.of(Training(flip=True, crop=1), feed.input_shape)):
            shown = feed.viewed(batch, view)
            alike = {k: t.shape for k, t in shown.items()} == {k: t.shape for k, t in batch.items()}
            if not alike:
                yield f"{dataset.name}: the view {view} has other inputs or shapes than the batch."
                continue
            with torch.no_grad():
                y = answered(network, shown)
            yield "" if torch.isfinite(y).all() else f"{dataset.name}: the view {view} overflows."
        yield "" if _same([before], [batch]) else f"{dataset.name}: views changed the batch."


def alone_or_together(name: str) -> Iterator[str]:
    """What a network answers to a row does not depend on the rows beside it."""
    for dataset, rows, feed in _fitted(name):
        network = _network(name, feed)
        with torch.no_grad():
            together = answered(network, _batches(feed, dataset, rows)[0])
            single = answered(network, _batches(feed, dataset, rows[:1])[0])
        same = torch.allclose(together[:1], single, rtol=1e-4, atol=1e-5)
        yield "" if same else f"{dataset.name}: a row alone gets another answer than in a batch."


def shuffles(name: str) -> Iterator[str]:
    """Training batches show each row once an epoch, in an order of the generator alone."""
    for dataset, rows, feed in _fitted(name):
        inputs = {k: torch.from_numpy(v) for k, v in feed.prepared(dataset.inputs).items()}
        recipe = Recipe.of(Training(), feed.input_shape)
        orders = []
        for seed in (1, 1, 2):
            draw = torch.Generator().manual_seed(seed)
            places = torch.arange(len(dataset.targets))
            batches = feed.batches(inputs, places, torch.from_numpy(rows), 5, draw, recipe)
            orders.append(torch.cat([targets for _, targets in batches.epoch()]).tolist())
        once = len(set(orders[0])) == len(orders[0]) and set(orders[0]) <= set(rows.tolist())
        yield ("" if once else f"{dataset.name}: an epoch shows rows twice or wrong ones.")
        fixed = orders[0] == orders[1] != orders[2]
        yield "" if fixed else f"{dataset.name}: the order must come from the generator alone."


def goes_on(name: str) -> Iterator[str]:
    """Batches that go on within an epoch are those that one training would be shown there."""
    for dataset, rows, feed in _fitted(name):
        inputs = {k: torch.from_numpy(v) for k, v in feed.prepared(dataset.inputs).items()}
        recipe = Recipe.of(Training(), feed.input_shape)
        shown = []
        for position in (0, 1):
            draw = torch.Generator().manual_seed(1)
            places = torch.arange(len(dataset.targets))
            batches = feed.batches(inputs, places, torch.from_numpy(rows), 5, draw, recipe)
            batches.position = position
            stream = islice(batches.stream(), batches.n_steps + 1 - position)
            shown.append([targets.tolist() for _, targets in stream])
        same = shown[0][1:] == shown[1]
        yield "" if same else f"{dataset.name}: an epoch must begin with the batch number `first`."


def stands_alone(name: str) -> Iterator[str]:
    """Where it has a module for export, that makes of `numbers` what `batch` makes of rows."""
    for dataset, rows, feed in _fitted(name):
        module = feed.standalone()
        if module is None:
            yield ""
            continue
        stored = {key: array[rows] for key, array in dataset.inputs.items()}
        given = {k: torch.from_numpy(np.array(a)) for k, a in feed.numbers(stored).items()}
        wanted = feed.batch(
            {k: torch.from_numpy(np.array(a)) for k, a in feed.prepared(stored).items()}
        )
        with torch.no_grad():
            found = module.eval()(*given.values())
        size = wanted["x"].shape
        found = found[tuple(slice(0, n) for n in size)]  # a batch may be shorter
        alike = found.shape == size and torch.allclose(found, wanted["x"], rtol=1e-4, atol=1e-5)
        yield "" if alike else f"{dataset.name}: `standalone` gives networks something else."
        missing = sorted({*wanted} - {"x"} - {*given})
        yield (
            ""
            if not missing
            else f"{dataset.name}: `numbers` lacks {missing}, which `batch` gives."
        )


def draws_rows(name: str) -> Iterator[str]:
    """Random rows, where it draws any, come from the generator alone; networks can be fed them."""
    for dataset, _, feed in _fitted(name):
        drawn = [feed.drawn(6, seeding.generator(seed, "contract feed")) for seed in (1, 1, 2)]
        if drawn[0] is None:
            yield ""
            continue
        made = [list(evaluation_batches(feed, feed.prepared(d or {}), None, CPU)) for d in drawn]
        fixed = _same(made[0], made[1]) and not _same_rows(made[0], made[2])
        yield "" if fixed else f"{dataset.name}: random rows must come from the generator alone."
        network = _network(name, feed)
        with torch.no_grad():
            y = torch.cat([answered(network, batch) for batch in made[0]])
        good = y.shape == (6, 3) and bool(torch.isfinite(y).all())
        yield "" if good else f"{dataset.name}: random rows gave outputs {tuple(y.shape)}."
        read = feed.numbers(drawn[0])
        counts = {key: len(array) for key, array in read.items()}
        yield (
            "" if set(counts.values()) == {6} else f"{dataset.name}: `numbers` gave {counts} rows."
        )


def _same_rows(first: list[dict[str, torch.Tensor]], second: list[dict[str, torch.Tensor]]) -> bool:
    pairs = [(a["x"], b["x"]) for a, b in zip(first, second, strict=True)]
    return all(a.shape == b.shape and torch.equal(a, b) for a, b in pairs)


def pure(name: str) -> Iterator[str]:
    """It leaves stored arrays as they are."""
    for dataset, _, feed in _fitted(name):
        before = {k: a.copy() for k, a in dataset.inputs.items()}
        _batches(feed, dataset)
        same = all(before[k].tobytes() == a.tobytes() for k, a in dataset.inputs.items())
        yield "" if same else f"{dataset.name}: it changed the stored arrays."


RULES: tuple[Rule, ...] = (
    describes, kept, fits_training_alone, settles, feeds_networks, shows_views, alone_or_together,
    shuffles, goes_on, stands_alone, draws_rows, pure,
)  # fmt: skip


class FeedContract(Contract):
    """Inherit and set `name`, the form of the data."""

    group = "feeds"

    def test_it_says_what_it_is(self) -> None:
        """A Feed, with a search space for its form."""
        self.holds(describes)

    def test_its_state_is_all_it_is(self) -> None:
        """It is kept with a run and restored from there."""
        self.holds(kept)

    def test_it_learns_from_the_training_part_alone(self) -> None:
        """Else the validation is no honest one."""
        self.holds(fits_training_alone)

    def test_it_settles_what_can_be_set(self) -> None:
        """With values that settings of [training] may have."""
        self.holds(settles)

    def test_networks_can_be_fed(self) -> None:
        """With batches and with the example."""
        self.holds(feeds_networks)

    def test_views_are_shown_as_rows_are(self) -> None:
        """Predictions for them can be averaged."""
        self.holds(shows_views)

    def test_rows_do_not_see_each_other(self) -> None:
        """A row alone gets the answer that it gets in a batch."""
        self.holds(alone_or_together)

    def test_an_epoch_shows_each_row_once(self) -> None:
        """In an order of the generator alone."""
        self.holds(shuffles)

    def test_it_leaves_arrays_alone(self) -> None:
        """Stored rows stay as they are."""
        self.holds(pure)

    def test_exported_networks_read_what_it_gives(self) -> None:
        """Where it has a module for them."""
        self.holds(stands_alone)

    def test_random_rows_can_stand_for_data(self) -> None:
        """Where it draws any, to check an export without data."""
        self.holds(draws_rows)
