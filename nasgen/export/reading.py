"""Reads the folder of an export back: networks that answer raw rows without their run.

Nothing of the folder is executed or unpickled: networks are built from their steps in model.json by
nasgen's own layers (and plug-ins that are named now), their weights are safetensors. An export in
memory can be pickled: what a pickle has of it is the same, JSON and arrays of numbers.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nasgen import genotypes
from nasgen.data import files
from nasgen.errors import DamagedError, NasgenError, StoreError, UnknownNameError
from nasgen.evaluation import batches, device, inference
from nasgen.evaluation.feeds.base import stored_of
from nasgen.evaluation.transform import Transform
from nasgen.export import folder, python
from nasgen.export.subject import MEANS, Member, Subject, mix
from nasgen.genotypes import Genotype, drawing
from nasgen.genotypes.svg import element
from nasgen.phenotype.network import Network, build
from nasgen.registry import plugins
from nasgen.search_spaces.blueprint import Blueprint, Step
from nasgen.settings.text import parsed
from nasgen.store import tensors

Array = NDArray[Any]
MOST_STEPS: Final = 100_000
MOST_VIEWS: Final = 100
SHARES_OFF: Final = 1e-4  # from 1: of rounding
AGAIN: Final = "Export the network again."


@dataclass(frozen=True, eq=False)
class Exported:
    """An exported network or ensemble. `record` is its model.json.

    Made by `load`. Its answers are those of model.py and of `network.predict_proba` in the run.
    One that was never written has no `path`. `is_exact`: it computes in float64, so that the answer
    to a row does not depend, in its last digits, on which rows are asked with it; some three times
    as slow.
    """

    path: Path | None
    record: Mapping[str, Any]
    subject: Subject
    scope: plugins.Scope
    is_exact: bool = False

    def __repr__(self) -> str:
        return f"Exported({'' if self.path is None else repr(str(self.path))})"

    def _repr_html_(self) -> str:
        """Return the drawings of its networks with their shares, which notebooks show."""
        members = self.subject.members
        words = [f"share {m.share:.3g}" for m in members] if len(members) > 1 else [""]
        figures = (
            drawing.figure(m.genotype.outline(), *filter(None, [text]))
            for m, text in zip(members, words, strict=True)
        )
        return str(element("div", element("p", repr(self)), *figures))

    def __reduce__(self) -> tuple[Any, ...]:
        return unpacked, (packed(self),)

    @property
    def classes(self) -> tuple[str, ...]:
        """Name of each class, in the order of `predict`; empty where the task has none."""
        return self.subject.transform.classes

    @property
    def genotypes(self) -> tuple[Genotype, ...]:
        """The genotype of each network."""
        return tuple(member.genotype for member in self.subject.members)

    @property
    def weights(self) -> tuple[float, ...]:
        """The share of each network; they sum to 1."""
        return tuple(member.share for member in self.subject.members)

    @property
    def modules(self) -> tuple[Network, ...]:
        """The networks as torch modules, which read what the feed makes of rows."""
        return tuple(member.network for member in self.subject.members)

    def predict_proba(self, rows: Any) -> Array:
        """Return the task's predictions of raw rows, as `network.predict_proba` takes them.

        Raises DataError for other rows, EvaluationError for answers that are not finite.
        """
        remarks: dict[str, None] = {}
        with self.scope.active():
            found = self._predicted(rows, remarks)
        for remark in remarks:
            warnings.warn(remark, stacklevel=2)
        return found

    def predict(self, rows: Any) -> Array:
        """Return the answer for each raw row: the place of the class in `classes`, or the value."""
        return self.subject.transform.task.decided(self.predict_proba(rows))

    def predict_names(self, rows: Any) -> list[str]:
        """Return the name of the class of each raw row."""
        return [self.classes[i] for i in self.predict(rows)]

    def exactly(self) -> Exported:
        """Return the same, but `is_exact`."""
        return replace(self, is_exact=True)

    def call(self, function: Any, *args: Any) -> Any:
        """Return what a function returns, called where the plug-ins are found."""
        with self.scope.active():
            return function(*args)

    def _predicted(self, rows: Any, remarks: dict[str, None]) -> Array:
        if inference.is_empty(rows):
            return self._none
        feed = self.subject.transform.feed
        stored = stored_of(feed, rows)
        for remark in feed.remarks(stored):
            remarks[remark] = None
        prepared = feed.prepared(stored)
        subject, task, found = self.subject, self.subject.transform.task, []
        networks = self._exact if self.is_exact else self.modules
        is_logits = subject.mixed != "probabilities"
        shares = [member.share for member in subject.members]
        with torch.inference_mode(), device.flushed_denormals():
            cpu = torch.device("cpu")
            for batch in batches.evaluation_batches(feed, prepared, None, cpu):
                batch = _doubled(batch) if self.is_exact else batch
                shown = [batch, *(feed.viewed(batch, view) for view in subject.views)]
                each = []
                for network in networks:
                    outputs = [batches.answered(network, b) for b in shown]
                    parts = [task.predictions(o if self.is_exact else o.float()) for o in outputs]
                    each.append(parts[0] if len(parts) == 1 else torch.stack(parts).mean(0))
                found.append(mix(each, shares, is_logits, subject.temperature))
        return batches.finite(np.concatenate([p.numpy() for p in found])) if found else self._none

    @cached_property
    def _exact(self) -> tuple[Network, ...]:
        return tuple(deepcopy(network).double() for network in self.modules)

    @cached_property
    def _none(self) -> Array:
        """The predictions of no row."""
        outputs = torch.zeros((2, self.subject.transform.task.n_outputs))
        found: Array = self.subject.transform.task.predictions(outputs).float().numpy()[:0]
        return found


def is_one(path: str | Path) -> bool:
    """Tell whether a folder is an export."""
    return (Path(path) / folder.RECORD).is_file() and not (Path(path) / "run.json").exists()


def opened(path: str | Path, named: Sequence[Any] = ()) -> Exported:
    """Return the export in a folder with the plug-ins that are named now, files and modules."""
    given = plugins.named(named)
    modules = tuple(given["modules"])
    permitted = [module.partition(":")[0] for module in modules]
    return load(path, plugins.Scope(given["files"], modules, permitted).load())


def load(path: str | Path, scope: plugins.Scope) -> Exported:
    """Return the export in a folder. StoreError says what is missing or damaged.

    `scope` has the plug-ins that are named now: layers, feeds and tasks of others are not known.
    """
    place = Path(path)
    file = place / folder.RECORD
    try:
        record = parsed(file, json.loads, "JSON")
    except OSError as error:
        if isinstance(error, NasgenError):
            raise
        raise StoreError(f"{file} cannot be read: {error.strerror or error}.") from None
    version = record.get("nasgen_export") if isinstance(record, dict) else None
    if type(version) is not int:
        raise StoreError(f"{file} is no model.json of `nasgen export`.")
    if version > folder.VERSION:
        raise StoreError(
            f"{file} is of format {version}, and this nasgen reads up to {folder.VERSION}; install "
            "a newer one."
        )
    with scope.active():
        transform = Transform.load(place, AGAIN)
        if transform is None:
            raise StoreError(f"{place} has no transform.json. {AGAIN}")
        weights = tensors.load(place / python.WEIGHTS)
        with _damage(file):
            subject = _subject(record, weights, transform)
    return Exported(place, record, subject, scope)


def packed(found: Exported) -> dict[str, Any]:
    """Return an export as JSON and arrays of numbers, from which `unpacked` makes it again."""
    facts, arrays = found.subject.transform.packed()
    weights = {name: t.detach().cpu().numpy() for name, t in python.weights(found.subject).items()}
    own = ("files", "modules")
    return {
        "nasgen_export": folder.VERSION,
        "record": {**found.record, **folder.networks(found.subject)},
        "weights": weights,
        "transform": facts,
        "transform_arrays": arrays,
        "plugins": {name: list(getattr(found.scope, name)) for name in own},
        "is_exact": found.is_exact,
    }


def unpacked(state: Mapping[str, Any]) -> Exported:
    """Return an export that was packed; its plug-ins are loaded, by the names of then.

    Raises DamagedError where it cannot be read, UnknownNameError where it has a part of a plug-in
    that is not there any more; a plug-in that only the search needed may be gone.
    """
    version = state["nasgen_export"]
    if version > folder.VERSION:
        raise StoreError(
            f"the networks are of format {version}, and this nasgen reads up to {folder.VERSION}; "
            "install a newer one."
        )
    given = state["plugins"]
    scope = plugins.Scope(given["files"], given["modules"])
    scope.load(scope.missing)
    with scope.active(), _damage("what was pickled", "Put its plug-in back."):
        transform = Transform.unpacked(state["transform"], state["transform_arrays"])
        subject = _subject(state["record"], state["weights"], transform)
    return Exported(None, state["record"], subject, scope, state["is_exact"])


def _subject(
    record: Mapping[str, Any], weights: Mapping[str, Array], transform: Transform
) -> Subject:
    """Return what model.json and the weights describe."""
    members = _members(record["members"], record["stacks"], weights, transform)
    subject = Subject(
        members, transform, _views(record["views"], transform.feed), str(record["mixed"]),
        float(record["temperature"]), is_joined=False,
    )  # fmt: skip
    shares = [member.share for member in members]
    if not (min(shares) >= 0 and abs(sum(shares) - 1) < SHARES_OFF):
        raise ValueError(f"share: expected numbers of at least 0 that sum to 1, got {shares[:8]}")
    if subject.mixed not in MEANS:
        raise ValueError(f"mixed: expected one of {', '.join(MEANS)}, got {subject.mixed!r}")
    if not 0 < subject.temperature < math.inf:
        raise ValueError(f"temperature: expected a number above 0, got {subject.temperature}")
    return subject


def _views(given: Any, feed: Any) -> tuple[Any, ...]:
    """Return the views of a row, each of which was tried on an example."""
    if not isinstance(given, list) or len(given) > MOST_VIEWS:
        raise ValueError(f"views: expected a list of at most {MOST_VIEWS}, got {str(given)[:50]}")
    views = tuple(map(_tupled, given))
    example = feed.example()
    shapes = {name: tensor.shape for name, tensor in example.items()}
    for view in views:
        if {name: t.shape for name, t in feed.viewed(example, view).items()} != shapes:
            raise ValueError(f"views: {view!r} changes the shape of a row")
    return views


def _members(
    entries: Sequence[Mapping[str, Any]],
    stacks: Sequence[Sequence[int]],
    weights: Mapping[str, Array],
    transform: Transform,
) -> tuple[Member, ...]:
    """Return the networks; `stacks` are those that are written together.

    They have "tensors", their own names -> where these are in the file. Older files have none: all
    tensors of such networks lie one behind another.
    """
    places = sorted(place for stack in stacks for place in stack)
    if not entries or places != list(range(len(entries))):
        raise ValueError("members: expected at least one network, each in one stack")
    found: dict[int, Member] = {}
    for i, stack in enumerate(stacks):
        prefix = f"network_{i + 1}." if len(stacks) > 1 else "network."
        all_of = {n.removeprefix(prefix): a for n, a in weights.items() if n.startswith(prefix)}
        for j, place in enumerate(stack):
            names, own = entries[place].get("tensors"), all_of
            if names is None:
                own = {
                    name: _part(array, j, len(stack)) if array.ndim else array
                    for name, array in all_of.items()
                }
            found[place] = _member(entries[place], own, transform, names)
    return tuple(found[place] for place in places)


def _member(
    entry: Mapping[str, Any],
    weights: Mapping[str, Array],
    transform: Transform,
    names: Mapping[str, Any] | None,
) -> Member:
    """Return a network built of its steps; what its weights must be is compared before."""
    steps = tuple(map(_step, entry["steps"][:MOST_STEPS]))
    shape = tuple(int(n) for n in entry["input_shape"])
    n_outputs = int(entry["n_outputs"])
    if (shape, n_outputs) != (transform.feed.input_shape, transform.task.n_outputs):
        raise ValueError(
            f"expected networks that read {transform.feed.input_shape} and have "
            f"{transform.task.n_outputs} outputs, got {shape} and {n_outputs}"
        )
    with torch.device("meta"):
        network = Network(Blueprint(shape, n_outputs, steps))
    member = Member(
        network,
        genotypes.read(entry["genotype"]),
        float(entry["share"]),
        {k: v for k, v in entry.items() if k not in ("steps", "genotype", "share", "tensors")},
    )
    names = python.names_of(network, member.steps) if names is None else names
    wanted = {name: tuple(t.shape) for name, t in network.state_dict().items()}
    state: dict[str, Tensor] = {}
    for name, size in wanted.items():
        place = names[name]
        of, *part = (place,) if isinstance(place, str) else place
        got = weights.get(of)
        got = _part(got, *part) if got is not None and part else got
        if got is None or got.shape != size:
            raise ValueError(
                f"expected the tensor {of} of shape {size}, got "
                f"{'none' if got is None else got.shape}"
            )
        state[name] = torch.from_numpy(np.array(got))
    network = build(network.blueprint)  # as large as the file of its weights, as is known now
    network.load_state_dict(state)
    with torch.inference_mode():  # its steps may be wired otherwise than their shapes say
        answer = batches.answered(network.eval(), transform.feed.example())
    if tuple(answer.shape) != (1, n_outputs):
        raise ValueError(f"expected an answer of shape (1, {n_outputs}), got {tuple(answer.shape)}")
    return replace(member, network=network)


def _part(array: Array, j: int, n: int) -> Array:
    """Return the j-th of n equal parts of an array, along its first axis."""
    size, rest = divmod(len(array), n)
    if rest or not 0 <= j < n:
        raise ValueError(
            f"expected {n} equal parts of {len(array)} rows, and one of these, got {j}"
        )
    return array[j * size : (j + 1) * size]


def _doubled(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: t.double() if t.is_floating_point() else t for name, t in batch.items()}


def _step(data: Mapping[str, Any]) -> Step:
    """Return a step from JSON, with its lists as tuples."""
    known = {field.name for field in fields(Step)}
    return Step(**{name: _tupled(value) for name, value in data.items() if name in known})


def _tupled(value: Any) -> Any:
    return tuple(map(_tupled, value)) if isinstance(value, list) else value


@contextmanager
def _damage(
    file: Path | str, remedy: str = "If it is a plug-in's, name that: --plugin FILE."
) -> Iterator[None]:
    """Turn what building from foreign JSON raises into DamagedError; what nasgen says stays."""
    try:
        yield
    except UnknownNameError as error:
        raise UnknownNameError(f"{file}: {error} {remedy}") from None
    except NasgenError as error:
        _refuse(file, str(error))
    except files.UNREADABLE as error:
        _refuse(file, f"{type(error).__name__}: {error}")


def _refuse(file: Path | str, reason: str) -> NoReturn:
    raise DamagedError(f"{file} cannot be read: {files.shortened(reason, 300)}. {AGAIN}") from None
