"""Is this installation able to search? Used by `nasgen doctor`."""

from __future__ import annotations

import time
from typing import Any

from nasgen.runs import reading, workers
from nasgen.seeding import generator
from nasgen.settings import fidelity
from nasgen.store.artifacts import Artifacts
from nasgen.store.folder import machine, versions


def examine() -> dict[str, Any]:
    """Return versions, cores, devices and the result of one tiny training on the digits."""
    import tempfile

    import torch

    findings: dict[str, Any] = {**versions(), **machine()}
    findings["cores nasgen may use"] = fidelity.n_cores()
    findings["cuda"] = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none"
    resolved = reading.resolved({"training": {"epochs": 2.0}})
    genotype = resolved.space.sample(generator(0, "doctor"))
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        evaluator = workers.evaluator(resolved.worker_context(Artifacts(folder).folder))
        job = {
            "seq": 0,
            "genotype": genotype.to_json(),
            "fidelity": {"epochs": 2.0, "fraction": 1.0, "seconds": None},
            "seed": 0,
        }
        result = evaluator.evaluate(job, lambda row: True)
    findings["a tiny training"] = (
        f"{result['state'].lower()} in {time.perf_counter() - began:.1f} s, "
        + (result["failure"] or f"validation accuracy {result['metrics']['val_accuracy']:.3f}")
    )
    findings["ok"] = result["state"] == "COMPLETE"
    return findings
