"""Notes the settings of a process, uses nasgen in it, and prints what is not as it was."""

import gc
import importlib
import json
import locale
import logging
import os
import pkgutil
import random
import signal
import sys
import warnings

import numpy as np
import optuna
import torch

# What a library does to a process when it is first imported is the library's: they come before.
LIBRARIES = (
    "alembic.command", "deap.tools", "hypothesis", "jinja2", "pyarrow.parquet", "pytest",
    "rich.live", "rustworkx", "safetensors", "scipy.special", "sklearn.datasets",
    "sklearn.ensemble", "sqlalchemy",
    "sympy", "torch._inductor.runtime", "torch.utils.flop_counter",
)  # fmt: skip
STEPS = {"data": {"source": "digits"}, "budget": {"trials": 2}, "algorithm": {"population": 2}}
QUICK = {
    "training": {"epochs": 0.1},
    "finish": {"networks": 0},
    "execution": {"executor": "serial"},
    "space": {"max_channels": 8},
    "stopping": {"stopper": "median"},
}


def settings() -> dict[str, str]:
    """Return what belongs to the process, as text."""
    loggers = [logging.getLogger(name) for name in ("", "optuna", "alembic", "sqlalchemy", "torch")]
    return {
        "random": str(hash(random.getstate())),
        "numpy": str(hash(np.random.get_state()[1].tobytes())),  # type: ignore[index,union-attr]
        "numpy errors": str(np.geterr()),
        "torch seed": str(hash(bytes(torch.get_rng_state().tolist()))),
        "torch threads": str(torch.get_num_threads()),
        "torch dtype": str(torch.get_default_dtype()),
        "torch deterministic": str(torch.are_deterministic_algorithms_enabled()),
        "torch matmul": torch.get_float32_matmul_precision(),
        "torch gradients": str(torch.is_grad_enabled()),
        "denormals": str(sys.float_info.min * 0.5),
        "optuna": str(optuna.logging.get_verbosity()),
        "loggers": str([(log.name, log.level, log.handlers, log.filters) for log in loggers]),
        "propagation": str([log.propagate for log in loggers]),
        "logging": str(logging.root.manager.disable),
        "warnings": str(warnings.filters),
        "warnings shown by": str(warnings.showwarning),
        "signals": str([signal.getsignal(s) for s in sorted(signal.valid_signals())]),
        "timer": str(signal.getitimer(signal.ITIMER_REAL)),
        "environment": str(sorted(os.environ.items())),
        "folder": os.getcwd(),
        "locale": str(locale.getlocale()),
        "recursion": str(sys.getrecursionlimit()),
        "path": str(sys.path),
        "hooks": str((sys.excepthook, sys.unraisablehook, sys.displayhook, sys.stdout, sys.stderr)),
        "garbage": str((gc.isenabled(), gc.get_threshold(), gc.get_freeze_count())),
        "umask": str((os.umask(0o22), os.umask(0o22))),
    }


def changed(before: dict[str, str]) -> dict[str, tuple[str, str]]:
    now = settings()
    return {name: (before[name], now[name]) for name in before if now[name] != before[name]}


def main(out: str) -> None:
    """Import every module of nasgen, run a search and what follows it; print the changes."""
    optuna.logging.set_verbosity(optuna.logging.INFO)
    torch.set_num_threads(2)
    np.random.seed(1)
    torch.manual_seed(1)
    for name in LIBRARIES:
        importlib.import_module(name)
    random.seed(1)
    before = settings()
    import nasgen

    for module in pkgutil.walk_packages(nasgen.__path__, "nasgen."):
        if not module.name.endswith("__main__"):
            __import__(module.name)
    found = {"import": changed(before)}
    run = nasgen.run({**STEPS, **QUICK}, out=out)
    found["run"] = changed(before)
    run = nasgen.load(out)
    run.ensemble.predict(run.dataset.x_test[:3])
    run.report()
    run.train(epochs=0.1)
    found["load, predict, report, train"] = changed(before)
    nasgen.resume(out, trials="+1")
    found["resume"] = changed(before)
    from nasgen.store.tuning import optimise

    optimise(lambda draw: draw.suggest_float("x", 0, 1), n_trials=2, seed=0, direction="maximize")
    found["tune"] = changed(before)
    print(json.dumps({step: changes for step, changes in found.items() if changes}))


if __name__ == "__main__":
    main(sys.argv[1])
