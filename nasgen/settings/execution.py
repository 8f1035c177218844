"""The settings of where trials run, and of how long anything may take."""

from __future__ import annotations

from pydantic import Field

from nasgen.settings.sections import Duration, Section


class Execution(Section):
    """Where trials run."""

    executor: str = Field(
        "processes",
        description="processes | serial (in this process, for debugging; outside of Python's main "
        "thread no limit ends code that hangs)",
    )
    workers: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="worker processes; default: cores divided by threads_per_trial, one with a GPU",
    )
    threads_per_trial: int = Field(
        1,
        ge=1,
        le=1024,
        description="CPU threads of each training (--threads); it changes results in their last "
        "digits, so keep it equal where runs must agree. What has the machine for itself, as the "
        "last network of a time budget, gets as many as are fastest",
    )
    device: str = Field(
        "auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto | cpu | cuda | cuda:N"
    )
    grace: Duration = Field(
        10.0,
        description="a trial that is still running this long after training.time_limit, or after "
        "the end of the time budget, is ended from outside and has failed",
    )
    start_limit: Duration = Field(
        600.0,
        description="the run stops if a worker process takes longer to load the plug-ins and to "
        "read the data",
    )
    operator_limit: Duration = Field(
        30.0, description="the run stops if an operator takes longer to make one child"
    )
