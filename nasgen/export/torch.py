"""model.pt2: the model as `torch.export` has it, for any number of rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram, export

NAME: Final = "torch"
FILE: Final = "model.pt2"
ROWS: Final = "rows"  # what the first axis counts


def program(
    model: nn.Module, inputs: Mapping[str, Tensor], free: Mapping[str, Mapping[int, str]]
) -> ExportedProgram:
    """Return the model as a program; `inputs` are at least two rows, `free` as in `Feed.free_axes`.

    Raises whatever torch raises for a model that it cannot take.
    """
    dims = {ROWS: Dim(ROWS, min=1)} | {
        n: Dim(n, min=1) for of in free.values() for n in of.values()
    }
    shapes: tuple[Any, ...] = tuple(
        {0: dims[ROWS]} | {axis: dims[name] for axis, name in free.get(key, {}).items()}
        for key in inputs
    )
    # A model that takes its inputs as *inputs has one argument that holds them all.
    is_live = getattr(model, "names", None) is not None
    with torch.no_grad():
        return export(
            model, tuple(inputs.values()), dynamic_shapes=(shapes,) if is_live else shapes
        )


def write(exported: ExportedProgram, folder: Path) -> None:
    """Write the program."""
    torch.export.save(exported, folder / FILE)


def reader(folder: Path) -> Callable[[Mapping[str, Tensor]], Tensor]:
    """Return a function that answers inputs with the written file."""
    model = torch.export.load(folder / FILE).module()

    def answers(inputs: Mapping[str, Tensor]) -> Tensor:
        with torch.inference_mode():
            found: Tensor = model(*inputs.values())
        return found

    return answers
