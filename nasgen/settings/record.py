"""What run.json holds, as far as nasgen relies on it; other keys may stand beside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from nasgen.settings.plan import FOLLOWED

Count = Annotated[int, Field(ge=0, strict=True)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]  # seconds of one row
Number = Annotated[float, Field(allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow")


class _Speed(_Part):
    image_s: Rate
    image_s_all: Rate
    val_s: Seconds
    start_s: Seconds = 0.0
    end_s: Seconds = 0.0
    test_s: Seconds = 0.0
    threads: Annotated[int, Field(ge=1, strict=True)] = 1
    answer_s: Seconds = 0.0
    answer_gain: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 1.0


class _Screening(_Part):
    name: str
    needs: Count
    fitted: bool | None


class _Plan(_Part):
    """What `nasgen.settings.plan.Plan` reads; other strategies have keys of their own."""

    strategy: str
    rounds: list[tuple[Count, Count]] = []
    stretch_s: Seconds | None = None
    until: Annotated[float, Field(ge=0, le=1)] = 1.0
    finalists: Count = 0
    baselines: Count = 0
    at_once: Annotated[int, Field(ge=1, strict=True)] = 1
    threads: Annotated[int, Field(ge=1, strict=True)] | None = None
    finish_s: Seconds | None = None
    speed: _Speed | None = None
    load_s: Seconds | None = None
    flops: Annotated[float, Field(ge=0)] | None = None
    trials: Count | None = None
    trial_s: Seconds | None = None
    generations: Count | None = None
    predictor: _Screening | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> _Plan:
        wanted = {"rounds", "stretch_s", "until", "finalists"}
        if self.strategy in FOLLOWED and (lost := wanted - self.model_fields_set):
            raise ValueError(f"expected {sorted(lost)[0]}")
        return self


class _Leg(_Part):
    trials: Count | None
    time_s: Seconds | None
    spent_s: Seconds
    done: bool
    n_done: Count
    n_estimated: Count = 0
    command: str = ""
    plan: _Plan | None = None


class _Data(_Part):
    source: str
    digest: str
    form: str
    task: str
    shape: list[Count]
    columns: list[Any] = []
    classes: list[str]
    n_train: Count
    n_test: Count


class _Tested(_Part):
    """Results on validation and test rows, val_NAME and test_NAME of the task's metric."""

    views: Count = 1

    @model_validator(mode="after")
    def _has_both(self) -> _Tested:
        names = set(self.model_extra or {})
        metrics = {name.removeprefix("val_") for name in names if name.startswith("val_")}
        if not any(f"test_{metric}" in names for metric in metrics):
            raise ValueError("expected val_NAME and test_NAME of one metric")
        for name in names:
            value = (self.model_extra or {})[name]
            if name.startswith(("val_", "test_")) and not isinstance(value, int | float | None):
                raise ValueError(f"expected a number as {name}, got {value!r}")
        return self


class _Best(_Tested):
    trial: Count
    n_params: Number | None
    flops: Number | None
    latency_ms: Number | None


class _Member(_Part):
    run: str
    trial: Count
    weight: Number


class _SelectedOn(_Part):
    part: str
    rows: Count
    by: str


class _Ensemble(_Tested):
    members: list[_Member]
    gap: Number | None = None
    selected_on: _SelectedOn | None = None


class _Baseline(_Tested):
    trial: Count
    won: Count | None = None
    lost: Count | None = None


class _Trials(_Part):
    complete: Count
    failed: Count
    pruned: Count
    estimated: Count = 0
    filtered: Count


class _Front(_Part):
    trial: Count
    objectives: dict[str, Number] = {}


class _Nearest(_Part):
    trial: Count
    message: str


class _Reached(_Part):
    trial: Count
    value: Number
    name: str | None = None
    n_synapses: Count | None = None


class _Evolution(_Part):
    phase: Literal["search", "finish"]
    objective: str
    design: _Reached | None
    draw: _Reached | None
    evolved: _Reached | None
    ancestor: _Reached | None = None  # which older runs do not know
    over: Literal["ancestor", "design", "draw"] | None
    gain: Number | None

    @model_validator(mode="after")
    def _is_whole(self) -> _Evolution:
        if (self.gain is None) != (self.over is None):
            raise ValueError("expected both of over and gain, or none")
        if self.over is not None and None in (self.evolved, getattr(self, self.over)):
            raise ValueError(f"expected evolved and {self.over}, which gain compares")
        return self


class _Summary(_Part):
    run: str
    trials: _Trials
    best: _Best | None
    ensemble: _Ensemble | None
    wall_s: Seconds
    train_s: Seconds
    nearest: _Nearest | None = None
    front: list[_Front] = []
    front_left_out: Count = 0
    ended_early: str | None = None
    evolution: _Evolution | None = None
    baseline: _Baseline | None = None
    infeasible: Count = 0


class _Metric(_Part):
    metric: str
    direction: Literal["maximize", "minimize"]


class _Objective(_Part):
    direction: Literal["maximize", "minimize"]
    unit: str


class _Measured(_Part):
    task: _Metric | None = None
    objectives: dict[str, _Objective] | None = None


class _Record(_Part):
    run: str
    seed: int
    created: str
    machine: dict[str, Any]
    data: _Data
    versions: dict[str, str]
    legs: Annotated[list[_Leg], Field(min_length=1)]
    summary: _Summary | None
    recipe: str | None = None
    threads: Count | None = None
    plugins: dict[str, str] = {}
    population: list[Count] = []
    alive: list[Count] = []
    pareto: list[Count] = []
    operators: dict[str, dict[str, Count]] = {}
    audit: dict[str, Any] | None = None
    filtered: Count = 0
    cautions: list[str] = []
    foreseen: list[str] = []
    made_for_the_last: bool | None = None
    revision: Annotated[int, Field(ge=1, strict=True)] = 1  # of its algorithm
    measured: _Measured = _Measured()

    @model_validator(mode="after")
    def _is_tested(self) -> _Record:
        task, summary = self.measured.task, self.summary
        if task is None or summary is None:
            return self
        for name in ("best", "ensemble"):
            part = getattr(summary, name)
            wanted = [f"{rows}_{task.metric}" for rows in ("val", "test")]
            if part is not None and (lost := [w for w in wanted if w not in part.model_extra]):
                raise ValueError(f"expected {lost[0]} in summary.{name}")
        for row in summary.front:
            if lost := [n for n in self.measured.objectives or () if n not in row.objectives]:
                raise ValueError(f"expected {lost[0]} of trial {row.trial} in summary.front")
        return self


def faults(data: Mapping[str, Any]) -> list[str]:
    """Return what is missing in a run's record or wrong with it, "legs.0.done: ..."; or nothing."""
    try:
        _Record.model_validate(data)
    except ValidationError as error:
        return [
            f"{'.'.join(map(str, problem['loc'])) or 'all'}: {problem['msg']}"
            for problem in error.errors(include_url=False, include_input=False)
        ]
    return []
