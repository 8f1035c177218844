"""What a new run begins with: its folder, config, record, data and empty ledger."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from nasgen import registry
from nasgen.data import arrays, files
from nasgen.data.base import Dataset, make
from nasgen.data.split import split
from nasgen.errors import ConfigError, DataError
from nasgen.evaluation.feeds.base import settled_by
from nasgen.evaluation.transform import Transform
from nasgen.runs import foreseen, origin, reachable, segments
from nasgen.runs.resolved import Resolved
from nasgen.runs.segments import leg_record
from nasgen.settings.config import TABLES, SearchConfig
from nasgen.settings.writing import to_toml
from nasgen.store import folder as run_folder
from nasgen.store import migrations
from nasgen.store.folder import RunFolder
from nasgen.store.ledger import Ledger, study_name, utc_now

MIN_ROWS: Final = 2  # to train on: a norm over a batch of one row is not defined


def dataset_of(data: Any, task: str) -> Dataset:
    """Return the data set of what `nasgen.run` was given: a Dataset, (x, y) or four arrays.

    Raises DataError for anything else, and for arrays that cannot be used.
    """
    if isinstance(data, Dataset):
        return data
    if isinstance(data, tuple | list) and len(data) in (2, 4):
        return make("data", *data, task=task)
    size = f" of {len(data)}" if isinstance(data, tuple | list) else ""
    raise DataError(
        "data: expected a nasgen.Dataset, (x, y) or (x_train, y_train, x_test, y_test), got "
        f"{type(data).__name__}{size}."
    )


def prepare(
    folder: RunFolder, resolved: Resolved, dataset: Dataset, trials: int | None
) -> Resolved:
    """Write what a run starts with: config, record, empty ledger. Only then it is a run.

    Return its config, with what the training rows decide of [training].
    """
    config = resolved.config
    parts = split(dataset, config.data.validation, config.data.split_seed)  # a class too small, say
    if len(parts.train) < MIN_ROWS:
        raise DataError(
            f"{config.data.source}: expected at least {MIN_ROWS} {dataset.unit}s to train on, got "
            f"{len(parts.train)} once test and validation rows are held out; add some."
        )
    transform = Transform.fit(dataset, parts.train)
    _check_fit(resolved, transform)
    about = transform.form, config.training, dataset, parts.train
    if found := settled_by(transform.feed, *about):
        training = config.training.model_copy(update=found)
        config = config.model_copy(update={"training": training})
        resolved = Resolved(config, resolved.scope, dataset)
    reachable.check(resolved, transform.feed.input_shape, transform.task.n_outputs)
    if (first := resolved.origin) is not None:  # the run must not depend on a file elsewhere
        first.keep(folder)
        config = with_own_origin(folder, config)
    folder.write_text("config.toml", to_toml(config))
    transform.save(folder.path)
    if arrays.is_bare(config.data.source):
        arrays.save(dataset, folder.path)
    record = _birth(folder, resolved, dataset, trials)
    told = foreseen.of_pruning(resolved, transform.feed.input_shape, transform.task.n_outputs)
    folder.write_json("run.json", record | ({"foreseen": told} if told else {}))
    Ledger.create(
        folder.ledger_url(config.store.ledger),
        {o.name: o.direction for o in resolved.objectives},
        [
            *(name for table in TABLES for name in getattr(config.algorithm, table)),
            *("sample", "design", "seed", "continue", "finish", "baseline"),
        ],
        study_name(config.store.ledger, folder.name),
        f"{platform.node()}:{folder.path.resolve()}",
    ).close()
    folder.begun()
    return resolved


def with_own_origin(folder: RunFolder, config: SearchConfig) -> SearchConfig:
    """Return the config with the network of [origin] that the run keeps, if it has one."""
    if not (folder.path / origin.FILE).is_file():
        return config
    own = config.origin.model_copy(update={"network": origin.FILE})
    return config.model_copy(update={"origin": own})


def _check_fit(resolved: Resolved, transform: Transform) -> None:
    """Raise ConfigError unless the search space reads rows of this form, and training does."""
    shape, space, config = transform.feed.input_shape, resolved.space, resolved.config
    wrong = []
    if len(shape) not in space.ranks:
        wrong.append(
            f"space.name: '{config.space.name}' reads {_forms(space.ranks)}, but "
            f"{config.data.source} is of the form '{transform.form}'; "
            f"{_other_space(config, len(shape), transform.form)}."
        )
    if len(shape) < 3:
        own = config.training
        asked = {"flip": own.flip, "crop": own.crop, "start_scale": (own.start_scale or 1.0) < 1}
        wrong += [
            f"training.{name}: needs images, but {config.data.source} is of the form "
            f"'{transform.form}'; leave it out."
            for name, is_asked in asked.items()
            if is_asked
        ]
    if wrong:
        raise ConfigError(wrong)


def _other_space(config: SearchConfig, rank: int, form: str) -> str:
    """Return what to do about a space that does not read the data: it may come with a network."""
    network = config.origin.network
    if network is not None and origin.space_of(network).get("name") == config.space.name:
        return f"it came with origin.network = '{network}': name another network, or other data"
    usual = _usual_space(form)
    return f"leave space.name out, or choose one for {_forms((rank,))}, such as '{usual}'"


def _usual_space(form: str) -> str:
    return str(registry.get("feeds", form).options.get("space", "mlp"))


def _forms(ranks: Sequence[int]) -> str:
    names = {1: "rows of numbers", 2: "sequences (F, T)", 3: "images (C, H, W)"}
    return " and ".join(names.get(rank, f"arrays of {rank} axes") for rank in ranks)


def _birth(
    folder: RunFolder, resolved: Resolved, dataset: Dataset, trials: int | None
) -> dict[str, Any]:
    config = resolved.config
    return {
        "schema": migrations.FORMAT,
        "run": folder.name,
        "seed": config.seed,
        "created": utc_now(),
        "machine": run_folder.machine(),
        "data": {
            "source": config.data.source,
            **dataset.described(),
        },
        **segments.facts(resolved, dataset),
        "made_for_the_last": resolved.algorithm_type.made_for_the_last,
        "revision": resolved.algorithm_type.revision,
        "legs": [leg_record(trials, config.budget.time)],
        "summary": None,
    }


def default_folder(config: SearchConfig) -> Path:
    scheme, _, rest = config.data.source.partition(":")
    entry = registry.entries("datasets").get(scheme)
    is_path = entry is None or bool(entry.options.get("path", True))
    data = (Path(files.parted(rest)[0]).stem if is_path else "") or scheme
    if arrays.is_bare(config.data.source):
        data = "data"
    stem = f"{data}-{config.algorithm.name}-seed{config.seed}"
    return run_folder.new_run_path(Path("runs"), stem)
