"""The settings of a run, and their reference: `nasgen new` writes the descriptions as comments."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError

from nasgen.errors import ConfigError, suggest
from nasgen.settings import text
from nasgen.settings.constraints import texts
from nasgen.settings.ensemble import Ensemble
from nasgen.settings.environment import Environment
from nasgen.settings.execution import Execution
from nasgen.settings.prediction import Prediction
from nasgen.settings.predictor import Predictor
from nasgen.settings.sections import Duration, OptionSection, Section, Share, Weights, listed
from nasgen.settings.training import Training as Training

# What older versions called a setting; the error about such a name suggests the new one.
FORMER = {"pruning": "stopping", "stopping.pruner": "stopper", "origin.genotype": "network"}
# Tables of frequencies of operators, and the registry groups whose members they name.
TABLES = ("mutations", "morphisms", "crossovers", "matings", "prunings")


class Data(Section):
    """The data set, and how it is used."""

    source: str = Field(
        "digits",
        description="images: digits | mnist:DIR | cifar10:DIR | folder:DIR | "
        "csv:FILE?target=COLUMN&shape=1x28x28; tables: csv:FILE?target=COLUMN; images, tables or "
        "sequences: npz:FILE; or a plug-in's name",
    )
    task: str = Field(
        "auto",
        description="auto | classification | regression | a plug-in's; auto: texts, booleans and "
        "integers are classes, other numbers are values to predict",
    )
    validation: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="share of the training rows (images, sequences, rows of a table) that is held "
        "out to choose between networks; test rows are never used for that; default: 0.1, of more "
        "than 25,000 rows 2,500 rows",
    )
    split_seed: int = Field(
        0, ge=0, description="random seed of that split; separate from the seed of the run"
    )


class Space(OptionSection):
    """Which networks are legal."""

    name: str = Field(
        "auto",
        description="auto: dag-cnn for images, mlp for tables and sequences | see `nasgen list "
        "search_spaces`; other keys are passed to it (`nasgen list "
        "search_spaces NAME` lists them), such as max_channels = 96",
    )


class Algorithm(OptionSection):
    """How new candidates are made and who survives."""

    name: str = Field(
        "auto",
        description="auto: lineage with a time budget, one objective and nothing that it cannot "
        "do, else genetic | lineage | random | genetic | aging | local | nsga2 | nsga3 | growth | "
        "synthesis | prune | fixed; other keys are passed to it (`nasgen list algorithms NAME` "
        "lists them), such as tournament = 3",
    )
    population: int | None = Field(
        None,
        ge=1,
        description="networks in the population; default: half of the trials, from 4 to 16 in "
        "steps of 4; for lineage, and for random with a time budget, networks to begin with; "
        "default: as the budget allows; for synthesis, children of a generation; default: 4",
    )
    designs: bool = Field(
        True,
        description="begin with the search space's own designs, networks that are known to be good "
        "(`nasgen list designs`), where the algorithm has a first generation; false: draw it at "
        "random. random, growth and fixed use none",
    )
    rungs: int = Field(
        1,
        ge=1,
        le=10,
        description="levels of successive halving: candidates are first trained for "
        "1/eta**(rungs - 1) of the epochs; at each further level the best 1/eta are trained on to "
        "eta times as many. A generation begins with eta**(rungs - 1) times as many candidates",
    )
    eta: int = Field(3, ge=2, le=100, description="factor between two rungs, see rungs")
    crossover_prob: Share = Field(
        0.3,
        description="probability that a child has two parents or more; default: 0.3, with lineage "
        "0.1, with synthesis 1",
    )
    adapt: bool = Field(
        False,
        description="choose operators more often that improve on the parents, separately among "
        "mutations (with morphisms) and among crossovers; crossover_prob does not change",
    )
    mutations: Weights = Field(
        default_factory=dict,
        description="NAME = relative frequency; those that are not named take no part; empty: all "
        "that fit the space, plug-ins included, equally often (with lineage as often as it says, "
        "with growth none)",
    )
    morphisms: Weights = Field(
        default_factory=dict,
        description="NAME = relative frequency, on one scale with the mutations; see `nasgen list "
        "morphisms`; empty: the algorithm's own, for most none",
    )
    crossovers: Weights = Field(
        default_factory=dict,
        description="NAME = relative frequency; empty: all crossovers that fit the space, as for "
        "mutations",
    )
    matings: Weights = Field(
        default_factory=dict,
        description="NAME = relative frequency, on one scale with the crossovers; see `nasgen list "
        "matings`; empty: none. They mix the weights of several parents; crossover_prob is the "
        "share of crossovers and matings together",
    )
    prunings: Weights = Field(
        default_factory=dict,
        description="NAME = relative frequency, on one scale with the mutations; see `nasgen list "
        "prunings`; empty: none. They remove weights of trained networks",
    )
    operators: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="NAME = options of an operator that a table above names, such as regrow = "
        "{ share = 0.1 }; `nasgen list mutations regrow` lists them",
    )
    parents: int = Field(
        2,
        ge=1,
        le=64,
        description="number of parents of matings and crossovers that take any number",
    )
    retention: float = Field(
        0.8, gt=0, lt=1, description="share of the parent's weights that a pruning keeps"
    )
    protect: Literal["none", "first", "last", "both"] = Field(
        "none", description="layers from which prunings take nothing: none | first | last | both"
    )
    classifier: bool = Field(False, description="prunings of weights take of the classifier too")
    recurrent: Literal["all", "both", "i2h", "h2h"] = Field(
        "all", description="prunings take of all layers, or of recurrent ones: both | i2h | h2h"
    )


class Origin(Section):
    """The network to start from, for the algorithms growth, synthesis, prune and fixed."""

    network: str | None = Field(
        None,
        description="a name (`nasgen list networks`), a JSON file as `nasgen show RUN --trial N "
        "--json` prints it, relative to this file, or RUN or RUN:TRIAL: the best network of a run "
        "or one of its trials, with its weights; default: the seed of the search space",
    )


class Objectives(Section):
    """What is optimised."""

    names: Annotated[tuple[str, ...], BeforeValidator(listed)] = Field(
        (),
        description="names from `nasgen list objectives`; the first one decides which network is "
        "best; empty: the task's own, val_accuracy for classes, val_rmse for values",
    )
    constraint: Annotated[tuple[str, ...], BeforeValidator(texts)] = Field(
        (),
        description="bounds that networks must satisfy, such as ['n_params < 200k', 'latency_ms "
        "<= 2'] or 'n_params < 200k and flops < 30M'; any objective, optimised or not; < <= > >=; "
        "k M G. A network that violates a bound known before training is not trained; one that "
        "violates another bound loses every comparison with networks that satisfy it",
    )


class Budget(Section):
    """When the search ends: at the first limit that is reached."""

    trials: int | None = Field(
        None, ge=1, description="total number of networks to train, failed ones included"
    )
    time: Duration | None = Field(
        None, description="wall time in total, with ensemble and report: '90s', '10m', '1h'"
    )


class Finish(Section):
    """The best networks are trained again, longer (from their weights, if those are inherited)."""

    networks: int | None = Field(
        None,
        ge=0,
        description="number of them, half of the trials at most; default: 1 with lineage, more "
        "where each keeps four fifths of its speed or would still be shown 40 epochs; otherwise 2 "
        "with a time budget, else a tenth of the trials, 3 at most; with several objectives, whose "
        "result is a front: half of the population with a time budget, else a quarter of the "
        "trials, the population at most; 0: none",
    )
    share: Share | None = Field(
        None,
        description="share of a time budget that is reserved for them; default: 0.67 or more with "
        "lineage, and with random search that trains its networks on, the more the fewer images "
        "there is time for (0.78 where algorithm.population is set); else 0.6",
    )
    epochs: float | None = Field(
        None, gt=0, description="default: four times [training] epochs, or what the time allows"
    )
    baseline: bool = Field(
        False,
        description="train the first network that was drawn at random like a finalist, from "
        "scratch, to compare the result with; it takes one finalist's share of the budget and is "
        "never the best network nor in an ensemble",
    )
    widen: float | None = Field(
        None,
        ge=1,
        le=16,
        description="factor by which their channels are widened; default: as the time budget "
        "allows, at most 2; 1 without a time budget, where they go on from their own weights, and "
        "where size is an objective or constrained",
    )


class Store(Section):
    """What is kept."""

    keep_weights: Literal["population", "pareto", "all"] = Field(
        "population",
        description="networks whose weights stay in the run folder: the population and the best "
        "ones | those on the Pareto front | all",
    )
    ledger: str | None = Field(
        None, description="Optuna storage URL; default: ledger.db in the run folder"
    )


class Stopping(OptionSection):
    """Unpromising trainings are ended early, by the first objective on validation rows."""

    stopper: str = Field(
        "none",
        description="none | median | percentile | successive-halving | hyperband | patient | "
        "threshold | curve; other keys are passed to it (`nasgen list stoppers NAME` lists them), "
        "such as n_startup_trials = 5",
    )
    warmup: int = Field(1, ge=1, description="epochs before the first intermediate evaluation")
    interval: int = Field(
        1, ge=1, description="epochs between intermediate evaluations on the validation rows"
    )


class Plugins(Section):
    """Files and modules that register operators, layers, objectives and so on for this run."""

    files: tuple[str, ...] = Field((), description="paths, relative to this file")
    modules: tuple[str, ...] = Field(
        (),
        description="modules that Python can import, such as 'package.module', or one object that "
        "is registered there, 'package.module:object'",
    )


class SearchConfig(Section):
    """Everything a run depends on."""

    seed: int = Field(0, ge=0, lt=2**63, description="random seed")
    data: Data = Data()
    space: Space = Space()
    algorithm: Algorithm = Algorithm()
    environment: Environment = Environment()
    origin: Origin = Origin()
    objectives: Objectives = Objectives()
    training: Training = Training()
    budget: Budget = Budget()
    finish: Finish = Finish()
    prediction: Prediction = Prediction()
    ensemble: Ensemble = Ensemble()
    predictor: Predictor = Predictor()
    stopping: Stopping = Stopping()
    execution: Execution = Execution()
    store: Store = Store()
    plugins: Plugins = Plugins()


# ---- reading -----------------------------------------------------------------------------------


def parse(data: Mapping[str, Any], where: str = "config") -> SearchConfig:
    """Return the checked config; ConfigError lists every mistake with the nearest valid name.

    A setting that is None counts as not given: it is what it is by default.
    """
    try:
        found = SearchConfig.model_validate(_given(data))
    except ValidationError as error:
        raise ConfigError(f"{where}: {_sentence(e)}" for e in error.errors()) from None
    _check_texts(data, where)
    return found


def _given(tables: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _given(value) if isinstance(value, Mapping) else value
        for key, value in tables.items()
        if value is not None
    }


def _check_texts(data: Any, where: str) -> None:
    if text.has_nul(data):
        raise ConfigError(f"{where}: expected texts without the character NUL; take it out.")


def read_toml(
    path: str | Path, migrate: Callable[[dict[str, Any]], dict[str, Any]] = lambda tables: tables
) -> dict[str, Any]:
    """Return the tables of a TOML file; paths relative to it become absolute.

    `migrate` brings what an older version stored up to date.
    """
    path = Path(path)
    try:
        data = migrate(text.parsed(path, tomllib.loads, "TOML"))
    except OSError as error:
        raise ConfigError(
            f"config file {path} cannot be read ({error.strerror or error}); "
            "`nasgen new search.toml` writes one."
        ) from None
    _check_texts(data, str(path))
    plugins = data.get("plugins")
    if isinstance(plugins, dict) and isinstance(plugins.get("files"), list):
        plugins["files"] = [
            str((path.parent / f).resolve()) if isinstance(f, str) else f for f in plugins["files"]
        ]
    origin = data.get("origin")
    if isinstance(origin, dict) and isinstance(network := origin.get("network"), str):
        named = (network, network.rpartition(":")[0] or network)  # RUN:TRIAL
        if any((path.parent / name).exists() for name in named):
            origin["network"] = str((path.parent / network).resolve())
    return data


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with the tables of `over` laid on top, table by table.

    A table of frequencies such as `algorithm.mutations` is replaced as a whole.
    """
    result = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        replaced = key in TABLES
        result[key] = merge(result[key], value) if both and not replaced else value
    return result


def assignments(items: Iterable[str]) -> dict[str, Any]:
    """Read `--set section.key=value` items; values are TOML, bare words are text, nothing is None.

    So `--set section.key=` takes out what a preset or a file says of it.
    """
    result: dict[str, Any] = {}
    problems = []
    for item in items:
        path, equals, given = item.partition("=")
        keys = [k.strip() for k in path.split(".")]
        if not equals or not all(keys):
            problems.append(f"--set expects section.key=value, got '{item}'.")
            continue
        try:
            value = text.checked(tomllib.loads(f"v = {given}")["v"])
        except ValueError:  # no TOML, or a number that is too long for Python
            value = given.strip() or None
        except RecursionError:
            problems.append(f"--set {path}: expected a value, got lists nested too deeply.")
            continue
        nested: dict[str, Any] = {keys[-1]: value}
        for key in reversed(keys[:-1]):
            nested = {key: nested}
        result = merge(result, nested)
    if problems:
        raise ConfigError(problems)
    return result


def _sentence(error: Any) -> str:
    location = [str(part) for part in error["loc"]]
    path = ".".join(location)
    if error["type"] == "extra_forbidden":
        valid = keys(*location[:-1])
        nearest = FORMER.get(path, location[-1])
        return f"'{path}' is not a setting{suggest(nearest, valid)} Valid here: {', '.join(valid)}."
    if error["type"] == "model_type":
        return f"'{path}' must be a table such as [{path}], got {error['input']!r}."
    message = str(error["msg"]).removeprefix("Value error, ").rstrip(".")
    message = message[:1].lower() + message[1:]
    came = "" if "got" in message else f", got {error['input']!r}"
    return f"{path}: {message}{came}."


def keys(*location: str) -> tuple[str, ...]:
    """Return the settings of a section, or the sections when none is named."""
    model: Any = SearchConfig
    for part in location:
        field = model.model_fields.get(part)
        model = field.annotation if field is not None else SearchConfig
    return tuple(model.model_fields)
