"""model.onnx: the model for ONNX Runtime and what else reads ONNX, for any number of rows.

Needs the extra `nasgen[export]`: onnx, onnxscript and onnxruntime.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor
from torch.export import ExportedProgram

NAME: Final = "onnx"
FILE: Final = "model.onnx"
OUTPUT: Final = "answers"
NEEDED: Final = ("onnx", "onnxscript", "onnxruntime")


def missing() -> list[str]:
    """Return which of the packages that it needs are not installed."""
    return [name for name in NEEDED if importlib.util.find_spec(name) is None]


def write(exported: ExportedProgram, folder: Path, inputs: Mapping[str, Tensor]) -> None:
    """Write the program as ONNX, weights and all in one file."""
    found: Any = torch.onnx.export(
        exported, input_names=list(inputs), output_names=[OUTPUT], dynamo=True, verbose=False
    )
    found.save(str(folder / FILE), external_data=False)


def reader(folder: Path) -> Callable[[Mapping[str, Tensor]], Tensor]:
    """Return a function that answers inputs with the written file in ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    path = str(folder / FILE)
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def answers(inputs: Mapping[str, Tensor]) -> Tensor:
        given = {name: tensor.numpy() for name, tensor in inputs.items()}
        return torch.from_numpy(session.run([OUTPUT], given)[0])

    return answers
