"""What a run has learnt about networks, as a table: features and accuracies, one row a network.

Only completed trials of the search phase have a row: estimates and finalists are no labels. Of a
network that was trained stretch by stretch the latest stretch has one. A table can be written to a
file and read again; since genotypes stand in it, other features than those it was written with can
be tried on it.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from nasgen import genotypes, registry
from nasgen.bench import sheets
from nasgen.bench.base import check_features, find, tables
from nasgen.bench.rows import RowTable
from nasgen.bench.table import Table
from nasgen.errors import ConfigError, DataError, EvaluationError, StoreError, suggest
from nasgen.genotypes import Dag, Genotype
from nasgen.genotypes.kinds import accepted, reads
from nasgen.predictors.base import Features, Floats, encode_all
from nasgen.predictors.features.joined import Joined
from nasgen.predictors.logits import levelled
from nasgen.predictors.order import normal_scores
from nasgen.runs import reading
from nasgen.runs.resolved import Resolved
from nasgen.runs.results import Run
from nasgen.search_spaces.base import SearchSpace
from nasgen.store.trial import Trial


@dataclass(frozen=True)
class Labelled:
    """`X` (n, f) features under `names`, `y` (n,) labels (higher is better), `keys` of networks.

    `rows` hold what a file gets besides label and features: trial, key, operator, fidelity,
    objectives, metrics, genotype. `size` (n,) is ln(parameters), None where it is not known.
    """

    X: Floats
    y: Floats
    names: tuple[str, ...]
    keys: tuple[str, ...]
    rows: tuple[Mapping[str, Any], ...] = ()
    size: Floats | None = None


LABEL: Final = "label"  # the column of a file that is predicted
ACCURACY: Final = "val_accuracy"  # the same of files that have none, as older ones


def of_run(run: Run, features: str | None = None, predictor: str | None = None) -> Labelled:
    """Return the labels of a run, with what a predictor reads (default: the run's own).

    `features` names what describes the networks instead. A named trial is the only row.
    Networks without features, such as one whose score is no number, have none. Labels of stretches
    of a schedule are `levelled`, accuracies as logits; then each network keeps its latest. Raises
    DataError when no search trial is complete.
    """
    resolved = _resolved(run, features, predictor)
    encoder = resolved.scope.around(resolved.features)
    first = run.objectives[0]
    sign = 1.0 if first.direction == "maximize" else -1.0
    # Of the rungs of successive halving the lowest, which all candidates have.
    trials = [
        t
        for t in run.trials
        if t.state == "COMPLETE"
        and (
            t.seq == run.named
            if run.named is not None
            else t.phase == "search" and not t.fidelity.rung
        )
    ]
    if not trials:
        raise DataError(f"{run.path} has no completed search trial to learn from.")
    with resolved.scope.active():
        dags = {t.seq: genotypes.read(t.genotype) for t in trials}
        _check_kinds(((f"{run.path}, trial {n}", dag) for n, dag in dags.items()), features)
    encoded = dict(zip(dags, encode_all(encoder, list(dags.values())), strict=True))
    trials = [t for t in trials if np.isfinite(encoded[t.seq]).all()]
    if not trials:
        raise DataError(f"{run.path}: no completed search trial has all features; choose others.")
    values = np.array([sign * t.objectives[first.name] for t in trials])
    y = levelled(values, _groups(run, trials), first.name == ACCURACY)
    kept = _latest(trials)
    trials, y = [trials[i] for i in kept], y[kept]
    rows: list[dict[str, Any]] = [
        {
            "trial": t.seq,
            "key": t.key,
            "operator": t.operator,
            "epochs": t.fidelity.epochs,
            "fraction": t.fidelity.fraction,
            "begin": t.fidelity.stretch[0],
            "end": t.fidelity.stretch[1],
            **dict(t.objectives),
            **_numbers(t.metrics),
            "genotype": plain(dags[t.seq]),
        }
        for t in trials
    ]
    return Labelled(
        np.stack([encoded[t.seq] for t in trials]),
        y,
        tuple(encoder.names),
        tuple(t.key for t in trials),
        tuple(rows),
        _size([row.get("n_params") for row in rows]),
    )


def _groups(run: Run, trials: Sequence[Trial]) -> Floats:
    """Return which trials compare: those of one segment whose stretches begin together; NaN: all.

    Each segment has a schedule of its own, and networks go on from what earlier ones have learnt.
    """
    n = [leg["n_done"] + leg.get("n_estimated", 0) for leg in run.record["legs"]]
    legs = np.searchsorted(np.cumsum(n[:-1]), [t.seq for t in trials], side="right")
    begins = [t.fidelity.stretch[0] if _is_part(t) else math.nan for t in trials]
    groups: Floats = legs + np.array(begins)
    return groups


def _is_part(trial: Trial) -> bool:
    """Tell whether a trial covers a stretch of a schedule, not all of it."""
    return trial.fidelity.stretch != (0, 1)


def _latest(trials: Sequence[Trial]) -> list[int]:
    """Return the places of whole trainings, and of each other network's latest stretch."""
    latest = {trial.key: i for i, trial in enumerate(trials) if _is_part(trial)}
    return [i for i, t in enumerate(trials) if not _is_part(t) or latest[t.key] == i]


def together(parts: Sequence[Labelled]) -> Labelled:
    """Return the networks of several tables with the same features in one."""
    sizes = [part.size for part in parts if part.size is not None]
    return Labelled(
        np.concatenate([part.X for part in parts]),
        np.concatenate([part.y for part in parts]),
        parts[0].names,
        tuple(key for part in parts for key in part.keys),
        tuple(row for part in parts for row in part.rows),
        np.concatenate(sizes) if len(sizes) == len(parts) else None,
    )


def of_file(path: Path, features: str | None = None) -> Labelled:
    """Return the networks of a file that `write` wrote, labelled `LABEL`, or `ACCURACY`.

    `features` None: the registered set whose columns the file has (the largest of them); else a set
    that is computed from the genotypes. Raises DataError for a file that cannot be used.
    """
    rows = sheets.read(path)
    label = LABEL if LABEL in rows[0] else ACCURACY
    _need(path, rows, "key", label)
    if features is not None:
        _need(path, rows, "genotype")
        dags = [_genotype(path, n, row["genotype"]) for n, row in enumerate(rows, start=2)]
        encoder = _features_of_graphs(path, features, dags)
        names = tuple(encoder.names)
        _check_kinds(((f"{path}, row {n}", dag) for n, dag in enumerate(dags, 2)), features)
        encoded = encode_all(encoder, dags)
    else:
        names = _features_in(path, rows[0])
        encoded = np.array([_floats(path, rows, name) for name in names]).T
    return Labelled(
        encoded,
        np.array(_floats(path, rows, label)),
        names,
        tuple(row["key"] for row in rows),
        tuple(rows),
        _size(_floats(path, rows, "n_params")) if "n_params" in rows[0] else None,
    )


def _features_of_graphs(path: Path, names: str, dags: Sequence[Genotype]) -> Features:
    """Return the features joined by "+"; raises DataError for those that no genotype alone has.

    Those that are made for a search space are made for the `dags` of the file instead, if they can.
    """
    parts: list[Features] = []
    for name in names.split("+"):
        is_score = name in registry.names("scores")
        if not is_score and hasattr(target := registry.resolve("features", name), "over"):
            parts.append(target.over(dags))
            continue
        needs = ("data",) if is_score else registry.get("features", name).requires
        if needs:
            what = "images" if "data" in needs else "what is known of a run"
            raise DataError(
                f"{path}: '{name}' is computed from {what}, and a file of networks has none; name "
                "a run instead, or features that are read from the graph, such as 'structural'."
            )
        parts.append(registry.resolve("features", name)())
    return parts[0] if len(parts) == 1 else Joined(parts)


def _check_kinds(networks: Iterable[tuple[str, Genotype]], features: str | None) -> None:
    """Raise DataError for a network of a kind that one of the features does not describe.

    `networks` are where each stands, and what it is. Scores are there for all kinds.
    """
    known = set(registry.names("features")) & set((features or "").split("+"))
    wanted = {name: accepted(registry.get("features", name)) for name in sorted(known)}
    for where, genotype in networks:
        for name, kind in wanted.items():
            if not reads(kind, type(genotype)):
                raise DataError(
                    f"{where}: expected a network of kind '{kind.kind}', which the "
                    f"features '{name}' describe, got one of kind '{genotype.kind}'; choose "
                    "features of that kind (`nasgen list features`)."
                )


def check_space(path: Path, found: Labelled, space: SearchSpace, name: str) -> None:
    """Raise DataError where a row of a file is no legal network of the space that `name` names."""
    for number, row in enumerate(found.rows, start=2):
        genotype = _genotype(path, number, row["genotype"])
        if genotype.kind == space.genotype.kind:
            wrong = space.problems(_with_tags(genotype))
        else:
            wrong = [f"its kind is '{genotype.kind}'"]
        if wrong:
            raise DataError(
                f"{path}, row {number}: expected a network of the search space of {name}, but "
                f"{wrong[0].rstrip('.')}; name a table of that space."
            )


def _with_tags(genotype: Genotype) -> Genotype:
    """Return a graph with the channel tags that `plain` left out, provisional ones."""
    if not isinstance(genotype, Dag) or not any(v.get("channels") for v in genotype.inner):
        return genotype
    draft = genotype.edit()
    for vertex in genotype.inner:
        draft.change(vertex.tag)  # gives a channel without a tag a new one
    return draft.freeze()


def n_rows(path: Path) -> int:
    """Return how many networks a file has; raises DataError for one that cannot be read."""
    return len(sheets.read(path))


def _resolved(run: Run, features: str | None, predictor: str | None) -> Resolved:
    """Return the config of a run with other features or another predictor."""
    own = run.config.predictor
    named = own.features if features is None else features
    if predictor is not None and "scores" in registry.get("predictors", predictor).requires:
        named = None  # it has features of its own
    update = {"name": predictor or own.name, "features": named}
    section = own.model_copy(update=update)
    trusted = run.resolved
    return Resolved(trusted.config.model_copy(update={"predictor": section}), trusted.scope)


def of_bench(
    name: str,
    signal: str | None = None,
    wanted: Sequence[int] | None = None,
    features: str | None = None,
    low: Sequence[str] = (),
) -> Labelled:
    """Return the legal networks of a table (`wanted`: of these rows), labelled in per cent.

    `low` names columns, COLUMN or COLUMN@EPOCH of a learning curve, that are read beside the
    features, as numbers and as normal scores among all networks: what a short training says of each
    network, of those that are to be predicted too. Networks without a value are left out. Raises
    ConfigError for a bench that is no table, for a column or an epoch that it has not, for the
    column that is predicted, and for features that are computed from images.

    Keys are canonical, whatever `features` tell apart; those of all rows of NAS-Bench-201 take half
    a minute.
    """
    table = find(name)
    searched, _ = table.signal(signal)
    if not isinstance(table, RowTable | Table):
        raise ConfigError(f"{name} scores any network and lists none; name a table, or a run.")
    places = [(searched, None), *(_place(table, at, searched, name) for at in low)]
    config = {**tables(name), "predictor": {"features": features}}
    resolved = reading.resolved(config, f"bench {name}")
    with resolved.scope.active():
        check_features(resolved.feature_names, name)
    networks = _networks(table, resolved.space, wanted)
    values = np.array([[_value(table, dag, *place) for place in places] for dag in networks])
    known = np.isfinite(values).all(axis=1)
    dags = [dag for dag, is_known in zip(networks, known, strict=True) if is_known]
    values = values[known]
    if not dags:
        raise DataError(f"{name}: no network has a value in all of {', '.join([searched, *low])}.")
    with resolved.scope.active():
        encoded = encode_all(resolved.features, dags)
        names = tuple(resolved.features.names)
    scored = [normal_scores(values[:, i]) for i in range(1, len(places))]
    return Labelled(
        np.column_stack([encoded, values[:, 1:], *scored]),
        values[:, 0],
        (*names, *low, *(f"order of {column}" for column in low)),
        tuple(map(partial(_key, table), dags)),
    )


def _networks(
    table: RowTable | Table, space: SearchSpace, wanted: Sequence[int] | None
) -> list[Genotype]:
    """Return the legal networks of a table, those of the `wanted` rows."""
    if isinstance(table, RowTable):
        every = list(table.genotypes.values())
        return every if wanted is None else [every[row] for row in wanted]
    rows = range(len(next(iter(table.columns.values())))) if wanted is None else wanted
    return [dag for dag in map(table.genotype, rows) if not space.problems(dag)]


def _place(table: RowTable | Table, at: str, label: str, name: str) -> tuple[str, int | None]:
    """Return the column and the epoch (None: its end) of COLUMN or COLUMN@EPOCH.

    Raises ConfigError for what the table has not, and for the `label` itself.
    """
    column, sign, digits = at.partition("@")
    if column not in table.columns or (sign and not digits.isdecimal()):
        raise ConfigError(
            f"--low: '{at}' is no column of {name}{suggest(column, table.columns)} Expected COLUMN "
            f"or COLUMN@EPOCH, with one of {', '.join(table.columns)}."
        )
    epoch, n = int(digits) if sign else None, table.epochs_of(column)
    if epoch is not None and not n:
        raise ConfigError(
            f"--low: '{at}' asks for an epoch, but '{column}' of {name} has no learning curve; "
            "name a column alone."
        )
    if epoch is not None and not 1 <= epoch <= n:
        raise ConfigError(
            f"--low: '{at}' is not on the learning curves of {name}; expected an epoch from 1 to "
            f"{n}."
        )
    if column == label and epoch in (None, n):
        raise ConfigError(
            f"--low: '{at}' is what is predicted; name another column"
            f"{f', or {column}@EPOCH with an epoch before {n}' if n else ''}."
        )
    return column, epoch


def _value(table: RowTable | Table, genotype: Any, column: str, epoch: int | None) -> float:
    try:
        return float(table.accuracy(genotype, column, epoch))
    except EvaluationError:
        return math.nan


def _key(table: Any, genotype: Any) -> str:
    if not isinstance(table, Table):
        return str(genotype.key)
    # Without their dead edges many cells are one, whose key is made once.
    return table.template.facts(table.template.pruned(genotype))[0]


def write(labelled: Labelled, path: Path) -> int:
    """Write one row a network to a file, by its ending (`sheets.ENDINGS`); return the rows written.

    Raises ConfigError for another ending, MissingExtraError without pyarrow for Parquet, StoreError
    when the file cannot be written.
    """
    if not path.name.endswith(sheets.ENDINGS):
        endings = ", ".join(sheets.ENDINGS)
        raise ConfigError(f"--out: expected a file ending in {endings}, got '{path}'.")
    encoded = (dict(zip(labelled.names, map(float, x), strict=True)) for x in labelled.X)
    rows = [
        {**own, LABEL: float(y), **features}
        for own, y, features in zip(labelled.rows, labelled.y, encoded, strict=True)
    ]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    try:
        if path.suffix == ".parquet":
            _write_parquet(rows, columns, path)
        else:
            text = io.StringIO(newline="")
            writer = csv.DictWriter(text, columns)
            writer.writeheader()
            writer.writerows(rows)
            data = text.getvalue().encode()
            # Without a time stamp, so that equal tables are equal files.
            path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    except OSError as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"{path} cannot be written ({error.strerror or error}).") from None
    return len(rows)


def _write_parquet(rows: list[dict[str, Any]], columns: list[str], path: Path) -> None:
    pyarrow, parquet = sheets.pyarrow(path)
    table = pyarrow.table({name: [row.get(name) for row in rows] for name in columns})
    parquet.write_table(table, path)


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in metrics.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def plain(genotype: Genotype) -> str:
    """Return the JSON of a genotype without what relatives are aligned by: a tenth of its bytes."""
    return json.dumps(genotype.bare_json(), separators=(",", ":"))


def _size(n_params: Iterable[float | None]) -> Floats | None:
    counts = list(n_params)
    known = [math.log(n) for n in counts if n is not None and n > 0]
    return np.array(known) if len(known) == len(counts) else None


# ---- reading a file ------------------------------------------------------------------------------


def _need(path: Path, rows: Sequence[Mapping[str, str]], *columns: str) -> None:
    missing = [name for name in columns if name not in rows[0]]
    if missing:
        names = [f"{LABEL} or {name}" if name == ACCURACY else name for name in missing]
        raise DataError(
            f"{path} has no column {', '.join(names)}; `nasgen dataset RUN` writes such a table, "
            f"of any task, with the column {LABEL}."
        )


def _features_in(path: Path, row: Mapping[str, str]) -> tuple[str, ...]:
    # What is computed from images has no columns of its own.
    known = [name for name, entry in registry.entries("features").items() if not entry.requires]
    sets = {name: tuple(registry.resolve("features", name)().names) for name in known}
    fitting = [names for names in sets.values() if set(names) <= set(row)]
    if not fitting:
        raise DataError(
            f"{path} has the columns of no feature set ({', '.join(sets)}); name one with "
            "--features, and it is computed from the genotypes."
        )
    return max(fitting, key=lambda names: len(names))


def _floats(path: Path, rows: Sequence[Mapping[str, str]], column: str) -> list[float]:
    found = []
    for number, row in enumerate(rows, start=2):
        try:
            value = float(row[column])
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise DataError(
                f"{path}, row {number}, column {column}: expected a finite number, got "
                f"'{row[column]}'."
            )
        found.append(value)
    return found


def _genotype(path: Path, number: int, text: str) -> Genotype:
    try:
        return genotypes.read(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}, row {number}, column genotype: {error}") from None
