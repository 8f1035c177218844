"""Gathers what an export is made of: networks with their weights, rows, and their own answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import torch

from nasgen import seeding
from nasgen.data.files import ELSEWHERE
from nasgen.errors import ConfigError, DataError, MissingExtraError, UnknownNameError
from nasgen.evaluation.feeds.base import Stored
from nasgen.export import folder, reading
from nasgen.export.reading import Exported
from nasgen.export.subject import PROBABILITIES, Subject, member, mix

MOST: Final = 2**26  # numbers in all random rows
NONE: Final = np.zeros(0)  # answers that are not there yet


class Trained(Protocol):
    """What is read of a trained network: its run's name, its trial, what answers with it."""

    @property
    def run(self) -> str: ...
    @property
    def trial(self) -> Any: ...
    @property
    def inference(self) -> Any: ...


@dataclass(frozen=True)
class Asked:
    """What an export was asked for; see `nasgen.ensembles.exporting.export`."""

    out: Path
    formats: str
    check_on: int
    all_views: bool
    mixed: str
    temperature: float
    about: Mapping[str, Any]


def subject_of(
    members: Sequence[Trained],
    shares: Sequence[float],
    mixed: str = PROBABILITIES,
    temperature: float = 1.0,
    all_views: bool = True,
) -> Subject:
    """Return networks that answer together as what is exported."""
    inference = members[0].inference
    shown = {tuple(m.inference.views) for m in members} if all_views else {()}
    if len(shown) > 1:
        raise ConfigError(
            "the networks of this ensemble are shown different views of an image, as their runs "
            'say; write it for one view: views="1" (--views 1).'
        )
    (views,) = shown
    feed = inference.transform.feed
    views = () if views and feed.standalone_views(views) is None else views
    return Subject(
        tuple(
            member(m.inference, m.trial.genotype, m.trial.refs, share, _facts(m))
            for m, share in zip(members, shares, strict=True)
        ),
        inference.transform,
        views,
        mixed,
        temperature,
    )


def held(
    members: Sequence[Trained], shares: Sequence[float], mixed: str, temperature: float, scope: Any
) -> Exported:
    """Return networks as an export that lies in memory; `scope` has the plug-ins of their run.

    It is built as from a pickle: tensors may lie in another order in the run, which changes the
    last digits of answers.
    """
    subject = replace(subject_of(members, shares, mixed, temperature), is_joined=False)
    about = _known(members, members[0].inference.task)
    found = Exported(None, {**folder.networks(subject), **about}, subject, scope)
    return reading.unpacked(reading.packed(found))


def export(members: Sequence[Trained], shares: Sequence[float], asked: Asked) -> folder.Written:
    """Write an export and return what came of it."""
    formats = folder.chosen(asked.formats)
    inference = members[0].inference
    subject = subject_of(members, shares, asked.mixed, asked.temperature, asked.all_views)
    found = _rows(members[0], asked.check_on)
    answers = [
        m.inference.raw_answers(m.trial.genotype, m.trial.refs["weights"], found.raw)
        for m in members
    ]
    each = [torch.from_numpy(a.averaged if subject.views else a.plain).double() for a in answers]
    expected = mix(each, shares, asked.mixed != PROBABILITIES, asked.temperature).numpy()
    rows = replace(found, expected=expected)
    about = {**_known(members, inference.task), **asked.about}
    about["metrics"] = fitting(about["metrics"], 1 + len(subject.views))
    return folder.write(subject, rows, asked.out, formats, about)


def fitting(metrics: Sequence[Mapping[str, Any]], n_views: int) -> list[Mapping[str, Any]]:
    """Return what was measured of the networks as they are exported, averaged over so many views.

    Validation rows are always seen as they are; a test over another number of views is left out.
    """
    return [m for m in metrics if m["part"] == "validation" or m["views"] == n_views]


def _rows(network: Trained, n: int) -> folder.Rows:
    """Return rows to compare on, without answers: of the test part, or random ones.

    Of the validation part where the data set has no test rows. Random where the data set cannot be
    read, as where a run was moved to another machine.
    """
    inference = network.inference
    try:
        raw, targets = inference.rows(n)
    except (DataError, UnknownNameError, MissingExtraError) as error:
        feed, reason = inference.transform.feed, str(error).replace(ELSEWHERE, "").strip()
        n = max(1, min(n, MOST // math.prod(feed.input_shape)))
        drawn = feed.drawn(n, seeding.generator(network.trial.seed, "export"))
        if drawn is None:
            raise DataError(
                f"an export is compared with the original on rows of its data, and {reason} The "
                f"feed '{inference.transform.form}' has no method `drawn` for random rows. "
                f"{ELSEWHERE}"
            ) from None
        return folder.Rows(Stored(drawn), NONE, None, folder.RANDOM, reason)
    return folder.Rows(raw, NONE, targets, folder.TEST if inference.has_test else folder.VALIDATION)


def _facts(network: Trained) -> dict[str, Any]:
    """Return what model.json says of a network."""
    trial = network.trial
    return {
        "run": network.run,
        "trial": trial.seq,
        "key": trial.key,
        "operator": trial.source,
        "parents": list(trial.parents),
        "generation": trial.generation,
        "tags": list(trial.tags),
        "metrics": dict(trial.metrics),
        "objectives": dict(trial.objectives),
    }


def _known(members: Sequence[Trained], task: Any) -> dict[str, Any]:
    """Return what is known of the networks without their run: of a single one its validation."""
    first = members[0]
    if len(members) > 1:
        return {"name": f"{first.run}-ensemble", "metrics": []}
    metrics = first.trial.metrics
    found = [
        {"name": name, "part": "validation", "value": float(metrics[f"val_{name}"]), "views": 1}
        for name in task.metrics
        if isinstance(metrics.get(f"val_{name}"), int | float)
    ]
    return {"name": f"{first.run}-trial{first.trial.seq}", "metrics": found}
