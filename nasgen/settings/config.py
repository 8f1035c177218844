"""The settings of a run, and their reference: `nasgen new` writes the descriptions as comments."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from nasgen.errors import ConfigError, suggest
from nasgen.settings.constraints import texts

# What older versions called a setting; files that people write are told the new name.
FORMER = {"pruning": "stopping", "stopping.pruner": "stopper"}
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(value: Any) -> Any:
    """Read a duration: a number of seconds, or text such as "90s", "10m", "1.5h", "2d"."""
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhd]?)\s*", value)
        if match is None:
            raise ValueError(f"expected a duration such as '90s', '10m' or '1.5h', got '{value}'")
        return float(match[1]) * _UNITS[match[2]]
    return value


Duration = Annotated[float, BeforeValidator(seconds), Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Weights = dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]]


class Section(BaseModel):
    """A table of the config file; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class OptionSection(BaseModel):
    """A table that names a registered member; its further keys are that member's options."""

    model_config = ConfigDict(frozen=True, extra="allow")

    @property
    def options(self) -> dict[str, Any]:
        """The keys that belong to the named member."""
        return dict(self.model_extra or {})


class Data(Section):
    """Where the images come from."""

    source: str = Field(
        "digits",
        description="digits | mnist:DIR | cifar10:DIR | folder:DIR | "
        "npz:FILE | csv:FILE?target=y&shape=1x28x28 | a plug-in's name",
    )
    validation: float = Field(
        0.1,
        gt=0,
        lt=1,
        description="share of the training images; chooses between networks, test images never do",
    )
    split_seed: int = Field(0, ge=0, description="seed of that split, the same for every run")


class Space(OptionSection):
    """Which networks are legal."""

    name: str = Field(
        "dag-cnn",
        description="see `nasgen list search_spaces`; further keys are its options (`nasgen list "
        "search_spaces NAME`), such as max_channels = 96",
    )


class Algorithm(OptionSection):
    """How new candidates are made and who survives."""

    name: str = Field(
        "genetic",
        description="random | genetic | aging | local | nsga2 | nsga3 | growth | fixed; "
        "further keys are its options (`nasgen list algorithms NAME`), such as tournament = 3",
    )
    population: int | None = Field(
        None,
        ge=2,
        description="individuals alive; default: half of the trials, from 4 to 16 in steps of 4",
    )
    rungs: int = Field(
        1,
        ge=1,
        le=10,
        description="successive halving: train candidates for 1/eta**(rungs - 1) of the epochs, "
        "the best 1/eta of them on to eta times as many, and so on; a generation then begins with "
        "eta**(rungs - 1) times as many candidates",
    )
    eta: int = Field(3, ge=2, le=100, description="see rungs")
    crossover_prob: Share = Field(0.3, description="share of children made from two parents")
    adapt: bool = Field(
        False,
        description="let operators that improve on their parents be chosen more often, within "
        "mutations (and morphisms) and within crossovers; crossover_prob stays",
    )
    mutations: Weights = Field(
        default_factory=dict,
        description="name -> relative frequency; empty: every registered mutation, equally often, "
        "none if the algorithm grows by morphisms",
    )
    morphisms: Weights = Field(
        default_factory=dict,
        description="name -> relative frequency beside the mutations', see `nasgen list "
        "morphisms`; empty: what the algorithm grows by, for most none",
    )
    crossovers: Weights = Field(
        default_factory=dict,
        description="name -> relative frequency; empty: every registered crossover, equally often",
    )


class Origin(Section):
    """A network to begin with, for algorithms that begin with one: growth, fixed."""

    genotype: str | None = Field(
        None,
        description="JSON file of a network, as `nasgen show RUN --trial N --json` prints it, "
        "relative to this file; default: the seed of the search space",
    )


class Objectives(Section):
    """What is optimised."""

    names: tuple[str, ...] = Field(
        ("val_accuracy",),
        min_length=1,
        description="the first one chooses the best network; see `nasgen list objectives`",
    )
    constraint: Annotated[tuple[str, ...], BeforeValidator(texts)] = Field(
        (),
        description="what networks must keep to, such as ['n_params < 200k', 'latency_ms <= 2'] or "
        "'n_params < 200k and flops < 30M'; any objective, whether optimised or not; < <= > >=; "
        "k M G. What is known before training is not trained at all, the rest loses every "
        "comparison",
    )


class Training(Section):
    """How one candidate is trained during the search."""

    epochs: float | None = Field(
        None,
        gt=0,
        le=100_000,
        description="passes over the training images; default: 1 to 12, so that about 30,000 "
        "images are shown, ten times as many where a time budget ends a trial",
    )
    fraction: float = Field(1.0, gt=0, le=1, description="share of the training images used")
    seconds: Duration | None = Field(
        None,
        description="shape the schedule so that training ends, fully annealed, after this long at "
        "the latest; set by itself when the budget is a time",
    )
    time_limit: Duration | None = Field(None, description="a trial that takes longer has failed")
    optimizer: Literal["sgd", "adamw"] = Field("sgd", description="sgd (Nesterov) | adamw")
    lr: float | None = Field(
        None,
        gt=0,
        description="peak learning rate of the one-cycle schedule; "
        "default 0.004 for adamw, 0.1 for sgd",
    )
    weight_decay: float | None = Field(None, ge=0, description="default 5e-4, adamw: 0.05")
    batch_size: int = Field(
        64,
        ge=1,
        le=65_536,
        description="images a step; fewer for a small data set, so that an epoch has some 32 steps",
    )
    warmup: Share = Field(0.2, description="share of the schedule in which the rate rises")
    label_smoothing: float = Field(0.05, ge=0, lt=1, description="0 to switch off")
    flip: bool | None = Field(None, description="mirror half of the images; default: colour only")
    crop: int | None = Field(
        None,
        ge=0,
        description="shift by up to this many pixels; default: a sixteenth of the shorter side, 0 "
        "below 16 pixels",
    )
    start_scale: float | None = Field(
        None,
        gt=0,
        le=1,
        description="side of the first training images as a share of the full one, to which it "
        "grows (progressive resizing); default 0.5 from 24 pixels on, else 1",
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="of training; auto: bfloat16 on GPUs from Ampere on, and from 24 pixels on on "
        "processors with AMX; float16 on older GPUs; else float32",
    )
    inherit_weights: bool = Field(
        False,
        description="start children from their parents' weights by gene tag, not from scratch",
    )
    on_bad_parent: Literal["scratch", "drop"] = Field(
        "scratch",
        description="a child whose parents' weights are gone or do not fit: train it from "
        "scratch | drop it as failed; its trial says so",
    )


class Budget(Section):
    """When the search ends; with both limits the first one reached."""

    trials: int | None = Field(None, ge=1, description="trainings, finished or failed")
    time: Duration | None = Field(
        None, description="wall time, ensemble and report included: '90s', '10m', '1h'"
    )


class Finish(Section):
    """The best are trained again, longer, from their own weights where weights are inherited."""

    networks: int | None = Field(
        None,
        ge=0,
        description="default 2 with a time budget, else a tenth of the trials, at most 3; 0: none",
    )
    share: Share = Field(0.6, description="share of a time budget kept for it")
    epochs: float | None = Field(
        None, gt=0, description="default: four times [training] epochs, or what the time allows"
    )
    widen: float | None = Field(
        None,
        ge=1,
        le=16,
        description="factor for their channels; default: as wide as a time budget is enough for, "
        "at most 2; 1 without one, and where size is an objective or constrained",
    )


class Ensemble(Section):
    """How the final networks are combined."""

    name: str = Field("greedy", description="see `nasgen list ensembles`")
    rounds: int = Field(25, ge=1, le=10_000, description="selection rounds, with replacement")
    candidates: int = Field(20, ge=1, description="best networks with kept weights looked at")


class Execution(Section):
    """Where trials run."""

    executor: str = Field("processes", description="serial | processes")
    workers: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="processes; default: as many as "
        "cores divided by threads_per_trial, one with a GPU",
    )
    threads_per_trial: int = Field(
        1, ge=1, le=1024, description="part of the result: keep it equal where histories must agree"
    )
    device: str = Field(
        "auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto | cpu | cuda | cuda:N"
    )


class Store(Section):
    """What is kept."""

    keep_weights: Literal["population", "pareto", "all"] = Field(
        "population", description="whose weights stay in the run folder"
    )
    ledger: str | None = Field(
        None, description="Optuna storage URL; default: ledger.db in the run folder"
    )


class Predictor(Section):
    """A surrogate that screens candidates before they are trained."""

    name: str = Field(
        "auto",
        description="auto: the algorithm's, for one objective | none | `nasgen list predictors`",
    )
    features: str | None = Field(
        None,
        description="what it reads; see `nasgen list features`; several, and single scores, joined "
        "by +, as 'structural+synflow'; default: those of the search space, else structural",
    )
    score: str = Field(
        "jacob_cov", description="what the predictor 'zero-cost' goes by; see `nasgen list scores`"
    )
    oversample: float = Field(2.0, ge=1, le=1000, description="candidates made for each training")
    warmup: int = Field(16, ge=2, description="trainings before it may reject")
    unscreened: Share = Field(
        0.2,
        description="share that passes without being judged, and on which the predictor is "
        "audited; it grows while the predictor is no better than chance or network size",
    )
    acquisition: Literal["mean", "ucb", "ei", "thompson"] = Field(
        "mean", description="what makes a candidate promising: mean | ucb | ei | thompson"
    )
    mode: Literal["filter", "substitute"] = Field(
        "filter",
        description="filter: choose what is trained | substitute: give a share of the candidates "
        "a predicted fitness instead of training them",
    )
    estimated: float = Field(0.5, ge=0, lt=1, description="that share, in the mode substitute")


class Stopping(OptionSection):
    """Trainings that promise little are stopped early, judged by the first objective."""

    stopper: str = Field(
        "none",
        description="none | median | percentile | successive-halving | hyperband | patient | "
        "threshold | curve; further keys are its options (`nasgen list stoppers NAME`), such as "
        "n_startup_trials = 5",
    )
    warmup: int = Field(1, ge=1, description="epochs before the first look at validation images")
    interval: int = Field(1, ge=1, description="epochs from look to look; each costs a validation")


class Plugins(Section):
    """Python files with operators, layers, objectives, data sets."""

    files: tuple[str, ...] = Field((), description="paths, relative to this file")


class SearchConfig(Section):
    """Everything a run depends on."""

    seed: int = Field(0, ge=0, lt=2**63, description="root of every random draw")
    data: Data = Data()
    space: Space = Space()
    algorithm: Algorithm = Algorithm()
    origin: Origin = Origin()
    objectives: Objectives = Objectives()
    training: Training = Training()
    budget: Budget = Budget()
    finish: Finish = Finish()
    ensemble: Ensemble = Ensemble()
    predictor: Predictor = Predictor()
    stopping: Stopping = Stopping()
    execution: Execution = Execution()
    store: Store = Store()
    plugins: Plugins = Plugins()


# ---- reading -----------------------------------------------------------------------------------


def parse(data: Mapping[str, Any], where: str = "config") -> SearchConfig:
    """Return the checked config; ConfigError lists every mistake with the nearest valid name."""
    try:
        return SearchConfig.model_validate(dict(data))
    except ValidationError as error:
        raise ConfigError(f"{where}: {_sentence(e)}" for e in error.errors()) from None


def read_toml(path: str | Path) -> dict[str, Any]:
    """Return the tables of a TOML file; paths relative to it become absolute."""
    path = Path(path)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"config file {path} cannot be read ({error.strerror or error}); "
            "`nasgen new search.toml` writes one."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: expected TOML, but {error}.") from None
    plugins = data.get("plugins")
    if isinstance(plugins, dict) and isinstance(plugins.get("files"), list):
        plugins["files"] = [
            str((path.parent / f).resolve()) if isinstance(f, str) else f for f in plugins["files"]
        ]
    origin = data.get("origin")
    if isinstance(origin, dict) and isinstance(origin.get("genotype"), str):
        origin["genotype"] = str((path.parent / origin["genotype"]).resolve())
    return data


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with the tables of `over` laid on top, table by table.

    A table of frequencies such as `algorithm.mutations` is replaced as a whole.
    """
    result = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        replaced = key in ("mutations", "morphisms", "crossovers")
        result[key] = merge(result[key], value) if both and not replaced else value
    return result


def assignments(items: Iterable[str]) -> dict[str, Any]:
    """Read `--set section.key=value` items; values are TOML, bare words are text."""
    result: dict[str, Any] = {}
    problems = []
    for item in items:
        path, equals, text = item.partition("=")
        keys = [k.strip() for k in path.split(".")]
        if not equals or not all(keys):
            problems.append(f"--set expects section.key=value, got '{item}'.")
            continue
        try:
            value = tomllib.loads(f"v = {text}")["v"]
        except tomllib.TOMLDecodeError:
            value = text.strip()
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
