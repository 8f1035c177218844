"""Modules as source: the arguments they were made with, and the classes of plug-ins they need."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from nasgen.export.source import Sources, UnheldError, renamed

MODULES = [
    "nn.Conv2d(3, 8, 3, padding=1, bias=False)",
    "nn.Conv2d(4, 8, (3, 1), padding='same', groups=2)",
    "nn.Linear(3, 4)", "nn.Linear(3, 4, bias=False)", "nn.BatchNorm2d(8)",
    "nn.BatchNorm1d(8, eps=0.001, affine=False)", "nn.ReLU(inplace=True)", "nn.MaxPool2d(2)",
    "nn.MaxPool2d(3, stride=2, ceil_mode=True)", "nn.AvgPool2d(3, stride=1, padding=1)",
    "nn.AdaptiveAvgPool2d((3, 4))", "nn.LayerNorm((4, 4))", "nn.GroupNorm(2, 8)", "nn.GELU()",
    "nn.GRU(3, 4, batch_first=True)", "nn.LSTM(3, 4, num_layers=2, bidirectional=True)",
    "nn.Embedding(5, 3)", "nn.PReLU(4)", "nn.Dropout(0.1)", "nn.Identity()", "nn.Flatten()",
    "nn.ZeroPad2d((0, 1, 0, 1))", "nn.Softmax(dim=1)", "nn.Upsample(scale_factor=2.0)",
    "nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.ReLU()))",
]  # fmt: skip


@pytest.mark.parametrize("text", MODULES)
def test_a_module_is_written_by_its_arguments(text: str) -> None:
    module: nn.Module = eval(text, {"nn": nn})
    found = Sources().expression(module)
    again: nn.Module = eval(found, {"nn": nn})
    assert repr(again) == repr(module)
    assert {k: v.shape for k, v in again.state_dict().items()} == {
        k: v.shape for k, v in module.state_dict().items()
    }
    assert Sources().expression(again) == found


def test_what_is_usual_is_left_out() -> None:
    assert (
        Sources().expression(nn.Conv2d(3, 8, 3, padding=(1, 1))) == "nn.Conv2d(3, 8, 3, padding=1)"
    )
    assert Sources().expression(nn.MaxPool2d((2, 2))) == "nn.MaxPool2d(2)"
    assert Sources().expression(nn.Softmax(dim=1)) == "nn.Softmax(dim=1)"


def test_tensors_of_named_sequences_are_numbered() -> None:
    from collections import OrderedDict

    module = nn.Sequential(OrderedDict(conv=nn.Conv2d(1, 2, 3), norm=nn.BatchNorm2d(2)))
    names = renamed(module, "a.", "b.")
    assert names["a.conv.weight"] == "b.0.weight"
    assert names["a.norm.running_mean"] == "b.1.running_mean"
    again = eval(Sources().expression(module), {"nn": nn})
    assert list(names.values()) == [f"b.{name}" for name in again.state_dict()]


@pytest.fixture
def plugin(tmp_path: Path) -> Callable[[str], ModuleType]:
    """Make a module of a text."""
    made = []

    def make(text: str) -> ModuleType:
        name = f"plugin_{len(made)}_{tmp_path.name}"
        file = tmp_path / f"{name}.py"
        file.write_text(text)
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        made.append(name)
        return module

    yield make
    for name in made:
        del sys.modules[name]


HEAD = """
import math
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
import nasgen
"""
FORWARD = "\n    def forward(self, x):\n        "
HELD = {
    "alone": f"class Own(nn.Module):{FORWARD}return F.silu(x)\n",
    "with an argument": (
        "class Own(nn.Module):\n    def __init__(self, rate, kind='a'):\n"
        "        super().__init__()\n        self.rate, self.kind = rate, kind"
        f"{FORWARD}return x * self.rate if self.kind == 'a' else x\n"
    ),
    "with a function, a constant and a base": (
        "LEAST = (0.5, -1)\ndef cut(x):\n    return x.clamp(*sorted(LEAST))\n"
        f"class Base(nn.Module):{FORWARD}return cut(x) + math.pi\nclass Own(Base):\n    pass\n"
    ),
    "inside a function that imports": (
        "def make(n):\n    from torch import nn as inner\n    class Own(inner.Module):\n"
        "        def forward(self, x):\n            return inner.functional.relu(x) * n\n"
        "    return Own\nOwn = make(3)\n"
    ),
    "inside a function": (
        "def make():\n    class Own(nn.Module):\n        def forward(self, x):\n"
        "            return torch.relu(x)\n    return Own\nOwn = make()\n"
    ),
}
UNHELD = {
    "needs numpy": f"class Own(nn.Module):{FORWARD}return x * np.pi\n",
    "needs nasgen": f"class Own(nn.Module):{FORWARD}return nasgen.load(x)\n",
    "imports numpy": f"class Own(nn.Module):{FORWARD}import numpy\n        return x\n",
    "no global name": f"class Own(nn.Module):{FORWARD}return missing(x)\n",
    "does not keep its argument 'rate'": (
        "class Own(nn.Module):\n    def __init__(self, rate):\n        super().__init__()\n"
        f"        self.other = rate{FORWARD}return x\n"
    ),
    "a Tensor of its file": f"T = torch.ones(1)\nclass Own(nn.Module):{FORWARD}return x * T\n",
}


@pytest.mark.parametrize("name", HELD)
def test_the_class_of_a_plug_in_comes_along(name: str, plugin: Any) -> None:
    kind = plugin(HEAD + HELD[name]).Own
    module = kind(0.25) if name == "with an argument" else kind()
    sources = Sources()
    found = sources.expression(module)
    text = "\n".join([*sources.imports.values(), *sources.parts.values()])
    there: dict[str, Any] = {"torch": torch, "nn": nn}
    exec("import torch\nimport torch.nn.functional as F\nfrom torch import nn\n" + text, there)
    x = torch.linspace(-2, 2, 7)
    assert torch.equal(eval(found, there)(x), module(x))


@pytest.mark.parametrize("why", UNHELD)
def test_what_needs_more_than_torch_is_named(why: str, plugin: Any) -> None:
    kind = plugin(HEAD + UNHELD[why]).Own
    module = kind(2) if "rate" in why else kind()
    with pytest.raises(UnheldError, match=why):
        Sources().expression(module)
