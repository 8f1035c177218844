"""Plain PyTorch: model.py, which imports torch alone, and weights.safetensors.

The text is made of what is in the networks, never of what a run has stored as text: names of
classes and columns are written as literals, and comments have nothing in them that could end them.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from nasgen.errors import StoreError
from nasgen.export.joined import Named
from nasgen.export.source import Sources, UnheldError, literal, renamed
from nasgen.export.subject import PROBABILITIES, TINY, Subject, Unit
from nasgen.registry import code
from nasgen.store import tensors

NAME: Final = "python"
MODEL, WEIGHTS = "model.py", "weights.safetensors"
HEAD: Final = '''"""{what}

Needs torch alone. `load()` returns the trained model, which takes rows as the data set has them:
{inputs}
and returns {answers}.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CLASSES = {classes}
INPUTS = {names}  # names of the arguments of `Model.forward`, in their order
'''
LOAD: Final = '''

def load(folder: str | Path | None = None) -> Model:
    """Return the trained model in evaluation mode; `folder` holds weights.safetensors."""
    model = Model()
    place = Path(__file__).parent if folder is None else Path(folder)
    model.load_state_dict(tensors(place / "weights.safetensors"))
    return model.eval()


KINDS = {"F32": torch.float32, "F64": torch.float64, "F16": torch.float16, "I64": torch.int64,
         "I32": torch.int32, "U8": torch.uint8, "BOOL": torch.bool}  # fmt: skip


def tensors(path: str | Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file: 8 bytes of length, a header in JSON, numbers."""
    data = bytearray(Path(path).read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    found = {}
    for name, entry in json.loads(data[8:start]).items():
        if name != "__metadata__":
            kind, shape = KINDS[entry["dtype"]], entry["shape"]
            part = data[start + entry["data_offsets"][0] : start + entry["data_offsets"][1]]
            flat = torch.frombuffer(part, dtype=kind) if part else torch.empty(0, dtype=kind)
            found[name] = flat.reshape(shape)
    return found
'''
PLAIN: Final = "    return model.eval()\n"
IN_ORDER: Final = """    # With the channels of a pixel side by side, convolutions are faster.
    return model.eval().to(memory_format=torch.channels_last)
"""
GIVEN: Final = frozenset({"torch", "nn", "F", "Tensor", "json", "Path", "annotations"})


def text(subject: Subject, inputs: Mapping[str, Tensor], head: Mapping[str, str]) -> str:
    """Return model.py; UnheldError says what of the networks it cannot hold.

    `inputs` are a few rows as the model takes them, `head` the words of the first lines.
    """
    sources = Sources()
    networks = [
        _network(f"Network{_number(subject, i)}", unit, sources)
        for i, unit in enumerate(subject.units)
    ]
    model = _model(subject, list(inputs), sources)
    lines = HEAD.format(
        classes=literal(list(subject.transform.classes)), names=literal(tuple(inputs)), **head
    )
    more = [line for name, line in sources.imports.items() if name not in GIVEN]
    if more:
        lines = lines.replace(
            "import torch\n", "".join(f"{line}\n" for line in more) + "import torch\n", 1
        )
    parts = [part.rstrip("\n") for part in sources.parts.values()]
    is_image = any(len(member.blueprint.input_shape) == 3 for member in subject.members)
    ending = LOAD.replace(PLAIN, IN_ORDER) if is_image else LOAD
    return "\n\n\n".join([lines.rstrip("\n"), *parts, *networks, model]) + "\n" + ending


def weights(subject: Subject) -> dict[str, Tensor]:
    """Return the tensors of the model under the names that they have in model.py."""
    found: dict[str, Tensor] = {}
    ends = {"transform": subject.reads, "answer": subject.transform.task.standalone()}
    for name, module in ends.items():
        if module is not None:
            state = module.state_dict()
            found |= {f"{name}.{to}": state[own] for own, to in renamed(module).items()}
    for i, unit in enumerate(subject.units):
        prefix, state = f"network{_under(_number(subject, i))}.", unit.member.network.state_dict()
        names = names_of(unit.member.network, unit.steps)
        found |= {prefix + to: state[own] for own, to in names.items()}
    return found


def names_of(network: Any, steps: Sequence[Named]) -> dict[str, str]:
    """Return the names of a network's tensors in nasgen -> those in its class of model.py.

    `steps` has the names of its steps there.
    """
    found: dict[str, str] = {}
    for step, name, _ in steps:
        found |= renamed(network.steps[step.name], f"steps.{step.name}.", f"{name}.")
    return found


def write(
    subject: Subject, folder: Path, inputs: Mapping[str, Tensor], head: Mapping[str, str]
) -> nn.Module:
    """Write model.py and the weights; return the model that this file makes.

    Raises UnheldError where model.py cannot hold it; the weights are written nevertheless.
    """
    tensors.save(folder / WEIGHTS, {n: t.numpy() for n, t in weights(subject).items()})
    written = text(subject, inputs, head)
    path = folder / MODEL
    try:
        path.write_text(written, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror or error}.") from None
    return opened(path, written)


def opened(path: Path, written: str) -> nn.Module:
    """Return the module that a model.py of our own makes; `written` is its text.

    It runs as it will for whoever opens the folder.
    """
    loader = code.Read("model", str(path), written.encode())
    spec = importlib.util.spec_from_file_location("model", path, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    model: nn.Module = module.load()
    return model


def _number(subject: Subject, i: int) -> str:
    return str(i + 1) if len(subject.units) > 1 else ""


def _network(name: str, unit: Unit, sources: Sources) -> str:
    """Return the class of one network: one line a layer where it is made, one where it answers."""
    made, ran, member, n = [], [], unit.member, len(unit.places)
    shape = ", ".join(map(str, member.blueprint.input_shape))
    gives = f"(B, {member.blueprint.n_classes}) outputs"
    what = f"(B, {shape}) inputs as the transform gives them -> {gives}"
    if n > 1:
        what = f"{n} networks, {member.network.words}: (B, {shape}) -> (B, {n}, outputs)"
    last_reader = {s: step.name for step in member.blueprint.steps for s in step.inputs}
    last_reader |= dict.fromkeys(unit.ends, "")  # they are returned
    variable = {"input": "x"}
    for step, own, words in unit.steps:
        module = member.network.steps[step.name]
        try:
            made.append(
                f"self.{own} = {sources.expression(module)}" + (f"  # {words}" if words else "")
            )
        except UnheldError as error:
            raise UnheldError(f"layer '{step.layer}', {_place(module)}, {error}") from None
        read = [variable[source] for source in step.inputs]
        read += [f"{n}={n}" for n in (o.removeprefix("input.") for o in step.others)]
        free = [variable[s] for s in step.inputs if last_reader[s] == step.name]
        variable[step.name] = free[0] if free else own
        ran.append(f"{variable[step.name]} = self.{own}({', '.join(read)})")
    others = "".join(f", {name}: Tensor | None = None" for name in member.wanted)
    last = [variable[end] for end in unit.ends]
    returned = last[0] if len(last) == 1 else f"torch.cat(({', '.join(last)}), 1)"
    returned += f".unflatten(1, ({n}, -1))" if n > 1 else ""
    return "\n".join(
        [
            f"class {name}(nn.Module):",
            f'    """{what}."""',
            "",
            "    def __init__(self) -> None:",
            "        super().__init__()",
            *(f"        {line}" for line in made),
            "",
            f"    def forward(self, x: Tensor{others}) -> Tensor:",
            *(f"        {line}" for line in ran),
            f"        return {returned}",
        ]
    )


def _place(module: nn.Module) -> str:
    """Return where the source of a module is."""
    kind = type(module)
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    return f"whose source is {kind.__qualname__} in {file or kind.__module__}"


def _model(subject: Subject, names: Sequence[str], sources: Sources) -> str:
    """Return the class that goes from raw rows to answers."""
    task = subject.transform.task.standalone()
    if task is None:
        raise UnheldError(f"the task '{subject.transform.name}' has no `standalone`")
    made, x = [], names[0]
    n_views = 1 + len(subject.views) if subject.shows is not None else 1
    body = []
    if subject.reads is not None:
        made.append(f"self.transform = {sources.expression(subject.reads)}")
        body.append(f"x = self.transform({', '.join(names)})")
        x = "x"
    if subject.shows is not None:
        made.append(f"self.views = {sources.expression(subject.shows)}")
        body.append(f"x = self.views({x})")
        x = "x"
    own = [_number(subject, i) for i in range(len(subject.units))]
    made += [f"self.network{_under(n)} = Network{n}()" for n in own]
    made.append(f"self.answer = {sources.expression(task)}")
    called = [""] * len(subject.members)
    for n, unit in zip(own, subject.units, strict=True):
        more = [f"{o}={o}" for o in unit.member.wanted if o in names]
        outputs = f"self.network{_under(n)}({', '.join([x, *more])})"
        if len(unit.places) > 1:
            body.append(f"outputs{_under(n)} = {outputs}")
        for i, place in enumerate(unit.places):
            part = outputs if len(unit.places) == 1 else f"outputs{_under(n)}[:, {i}]"
            called[place] = f"self.answered({part})"
    body += _mixed(subject, called)
    answered = ["return self.answer(outputs)"]
    if n_views > 1:
        answered = [
            "p = self.answer(outputs)",
            f"return p.reshape({n_views}, -1, *p.shape[1:]).mean(0)  # over the views",
        ]
    arguments = ", ".join(f"{name}: Tensor" for name in names)
    return "\n".join(
        [
            "class Model(nn.Module):",
            '    """Rows as the data set has them -> answers."""',
            "",
            "    def __init__(self) -> None:",
            "        super().__init__()",
            *(f"        {line}" for line in made),
            "",
            f"    def forward(self, {arguments}) -> Tensor:",
            *(f"        {line}" for line in body),
            "",
            "    def answered(self, outputs: Tensor) -> Tensor:",
            '        """Return probabilities or values for the outputs of a network."""',
            *(f"        {line}" for line in answered),
        ]
    )


def _under(number: str) -> str:
    return f"_{number}" if number else ""


def _mixed(subject: Subject, called: Sequence[str]) -> list[str]:
    """Return the lines that combine the answers of the networks by their shares."""
    shares = [m.share for m in subject.members]
    if subject.mixed == PROBABILITIES:
        terms = (
            called
            if len(called) == 1
            else [f"{s!r} * {c}" for s, c in zip(shares, called, strict=True)]
        )
        if subject.temperature == 1.0 and len(called) == 1:
            return [f"return {called[0]}"]
        lines = [f"p = {terms[0]}", *(f"p = p + {term}" for term in terms[1:])]
        if subject.temperature == 1.0:
            return [*lines, "return p"]
        return [
            *lines,
            f"return (p.clamp(min={TINY!r}).log() / {subject.temperature!r}).softmax(1)",
        ]
    logs = [f"{s!r} * {c}.clamp(min={TINY!r}).log()" for s, c in zip(shares, called, strict=True)]
    lines = [f"logits = {logs[0]}", *(f"logits = logits + {log}" for log in logs[1:])]
    return [*lines, f"return (logits / {subject.temperature!r}).softmax(1)"]


def answers(model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
    """Return what a model says to inputs in the order of its arguments."""
    with torch.inference_mode():
        found: Tensor = model(*inputs.values())
    return found
