"""Torch modules as source text: the expression that makes one, and the classes that it needs.

A module of `torch.nn` is written by the arguments that it keeps as attributes of their names. The
class of any other module is copied with all that it uses of its file, as long as that needs nothing
beside torch and the standard library. What comes of it is never trusted: who uses it loads the
weights into it and compares its answers with the original's.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import math
import sys
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import suppress
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, Final

import torch
from torch import nn

# Arguments that may be one number for all axes.
BY_AXIS: Final = frozenset(
    {"kernel_size", "stride", "padding", "dilation", "output_padding", "output_size"}
)
# The signature of recurrent networks is *args, **kwargs.
RECURRENT: Final = (
    "input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional",
)  # fmt: skip
USUAL: Final = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0,
                "bidirectional": False}  # fmt: skip
# What files of torch modules call so, in functions too, where nothing tells what a name means.
USUAL_NAMES: Final = frozenset({"torch", "nn", "F"})
NEVER: Final = frozenset({"device", "dtype", "_weight", "_freeze"})
PLAIN: Final = (int, float, str, bool, type(None))
RESERVED: Final = frozenset({"Model", "load", "tensors", "CLASSES", "INPUTS"})  # in model.py


class UnheldError(Exception):
    """Why model.py cannot hold a module: the rest of a sentence, which begins with its name."""


class Sources:
    """What a file of modules needs beside `torch`, `nn` and `F`: imports, classes, constants."""

    def __init__(self) -> None:
        self.imports: dict[str, str] = {}  # name -> line
        self.parts: dict[str, str] = {}  # name -> text, what is needed first comes first
        self._things: dict[str, Any] = {}

    def expression(self, module: nn.Module) -> str:
        """Return the expression that makes a module of this kind; UnheldError says why none does.

        Its tensors are named in the order of the module's own, see `renamed`.
        """
        kind = type(module)
        if kind is nn.Sequential:
            return f"nn.Sequential({', '.join(map(self.expression, module.children()))})"
        is_own = kind.__module__.partition(".")[0] == "torch"
        if is_own and getattr(nn, kind.__name__, None) is not kind:
            raise UnheldError(f"is a {kind.__module__}.{kind.__name__}, not one of torch.nn")
        if not is_own:
            self.include(kind)
        name = f"nn.{kind.__name__}" if is_own else kind.__name__
        return f"{name}({', '.join(_arguments(module, is_own))})"

    def include(self, thing: Any) -> None:
        """Add the source of a class or function and of all that it uses; else UnheldError."""
        name = thing.__name__
        if name in self._things:
            if self._things[name] is not thing:
                raise UnheldError(f"uses another '{name}' than a layer before")
            return
        if name in RESERVED or name.startswith("Network"):
            raise UnheldError(f"is called '{name}', which model.py needs for itself")
        text, module = _source(thing)
        self._things[name] = thing
        tree, there = ast.parse(text), _there(thing, module)
        for imported in _imported(tree):
            if not _is_at_hand(imported):
                raise UnheldError(f"imports {imported}")
        for used in _used(tree):
            self._use(used, there)
        self.parts[name] = text

    def _use(self, name: str, there: Mapping[str, Any]) -> None:
        """Make a name known that a source uses; `there` is what names mean in its file."""
        if name not in there:
            if hasattr(builtins, name) or name in USUAL_NAMES:
                return
            raise UnheldError(f"uses '{name}', which is no global name of its file")
        value = there[name]
        if isinstance(value, ModuleType):
            if not _is_at_hand(value.__name__):
                raise UnheldError(f"needs {value.__name__}")
            self._import(name, f"import {value.__name__} as {name}", value)
        elif is_plain(value):
            self._constant(name, value)
        elif getattr(torch, name, None) is value:
            self._import(name, f"from torch import {name}", value)
        elif isinstance(value, type | FunctionType | BuiltinFunctionType):
            origin, own = str(value.__module__), value.__name__
            if _is_at_hand(origin):
                line = f"from {origin} import {own}" + ("" if own == name else f" as {name}")
                self._import(name, line, value)
            elif own != name or not _is_ours(origin):
                raise UnheldError(f"needs {origin}.{own}")
            else:
                self.include(value)
        else:
            raise UnheldError(f"uses '{name}', a {type(value).__name__} of its file")

    def _import(self, name: str, line: str, value: Any) -> None:
        self._claim(name, value)
        if name == line.removeprefix("import ").partition(" ")[0]:
            line = f"import {name}"
        self.imports[name] = line

    def _constant(self, name: str, value: Any) -> None:
        self._claim(name, value)
        self.parts[name] = f"{name} = {literal(value)}\n"

    def _claim(self, name: str, value: Any) -> None:
        if name in RESERVED or self._things.get(name, value) is not value:
            raise UnheldError(f"uses '{name}', which means something else in model.py")
        self._things[name] = value


def renamed(module: nn.Module, prefix: str = "", to: str = "") -> dict[str, str]:
    """Return the names of a module's tensors -> those that its written expression gives them.

    Modules of a sequence, which may have names, are numbered in what is written.
    """
    if type(module) is not nn.Sequential:
        return {prefix + name: to + name for name in module.state_dict()}
    found: dict[str, str] = {}
    for i, (name, child) in enumerate(module.named_children()):
        found |= renamed(child, f"{prefix}{name}.", f"{to}{i}.")
    return found


def is_plain(value: Any) -> bool:
    """Tell whether a value is made of numbers, texts and containers of them."""
    if isinstance(value, tuple | list):
        return all(map(is_plain, value))
    if isinstance(value, dict):
        return all(is_plain(key) and is_plain(of) for key, of in value.items())
    return isinstance(value, PLAIN)


def literal(value: Any) -> str:
    """Return the source of a plain value; UnheldError for one that has none."""
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    return repr(tuple(value)) if isinstance(value, torch.Size) else repr(value)


def _arguments(module: nn.Module, is_own: bool) -> list[str]:
    """Return the arguments with which a module was made, those that are usual left out."""
    if isinstance(module, nn.RNNBase) and is_own:
        usual: dict[str, Any] = {
            name: USUAL.get(name, inspect.Parameter.empty) for name in RECURRENT
        }
    else:
        parameters = list(inspect.signature(type(module).__init__).parameters.values())[1:]
        variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        usual = {p.name: p.default for p in parameters if p.kind not in variadic}
    found = []
    for name, default in usual.items():
        if name in NEVER:
            continue
        needed = default is inspect.Parameter.empty
        value = getattr(module, name, inspect.Parameter.empty)
        if value is inspect.Parameter.empty:
            if needed:
                raise UnheldError(f"does not keep its argument '{name}' as an attribute")
            continue
        if isinstance(default, bool) and (value is None or isinstance(value, torch.Tensor)):
            value = value is not None  # a bias
        if name in BY_AXIS and is_own:
            value = _one(value)
        if not is_plain(value):
            raise UnheldError(f"has an argument '{name}' that is no plain value")
        if not needed and (
            value == default or (default is None and _is_usual(module, name, value))
        ):
            continue
        found.append(literal(value) if needed else f"{name}={literal(value)}")
    return found


def _one(value: Any) -> Any:
    """Return one number for a tuple of equal ones."""
    if isinstance(value, tuple) and value and len(set(value)) == 1:
        return value[0]
    return value


def _is_usual(module: nn.Module, name: str, value: Any) -> bool:
    """Tell whether a value is what None, the default, stands for: pools move by their own size."""
    return name == "stride" and value == _one(getattr(module, "kernel_size", None))


def _source(thing: Any) -> tuple[str, ModuleType]:
    """Return the text of a class or function as it was executed, and the module of it."""
    module = sys.modules.get(thing.__module__)
    loader: Any = getattr(getattr(module, "__spec__", None), "loader", None)
    try:
        if module is None:
            raise OSError
        whole = loader.get_source(module.__name__) if hasattr(loader, "get_source") else None
        text = inspect.getsource(thing) if whole is None else _part(whole, thing.__qualname__)
    except (OSError, TypeError, ImportError, SyntaxError, LookupError):
        raise UnheldError("has no source that could be read") from None
    return textwrap.dedent(text), module


def _there(thing: Any, module: ModuleType) -> dict[str, Any]:
    """Return what names mean in the source of a class or function, wherever it was defined."""
    found = dict(vars(module))
    functions = [thing] if isinstance(thing, FunctionType) else vars(thing).values()
    for function in functions:
        if isinstance(function, FunctionType) and function.__closure__:
            for name, cell in zip(function.__code__.co_freevars, function.__closure__, strict=True):
                with suppress(ValueError):  # not set yet
                    found[name] = cell.cell_contents
    return found


def _part(text: str, qualified: str) -> str:
    """Return the lines of a class or function; LookupError where there is none of that name."""
    node: ast.AST = ast.parse(text)
    for name in qualified.split("."):
        if name == "<locals>":
            continue
        inner = [n for n in ast.walk(node) if getattr(n, "name", None) == name and _is_defined(n)]
        node = inner[-1]
    assert isinstance(node, ast.ClassDef | ast.FunctionDef)
    start = min([node.lineno, *(d.lineno for d in node.decorator_list)])
    return "".join(text.splitlines(keepends=True)[start - 1 : node.end_lineno])


def _is_defined(node: ast.AST) -> bool:
    return isinstance(node, ast.ClassDef | ast.FunctionDef)


def _used(tree: ast.AST) -> Iterator[str]:
    """Yield the names that a source takes from outside; annotations do not count."""
    bound: set[str] = set()
    loaded: dict[str, None] = {}
    for node in _but_annotations(tree):
        if isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Load):
                loaded[node.id] = None
            else:
                bound.add(node.id)
        elif isinstance(node, ast.ClassDef | ast.FunctionDef | ast.ExceptHandler):
            bound.add(str(node.name))
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.alias):
            bound.add((node.asname or node.name).partition(".")[0])
    yield from (name for name in loaded if name not in bound)


def _imported(tree: ast.AST) -> Iterator[str]:
    """Yield the modules that a source imports inside."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "its package"


def _but_annotations(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for name, field in ast.iter_fields(node):
        if name in ("annotation", "returns"):
            continue
        for child in field if isinstance(field, list) else [field]:
            if isinstance(child, ast.AST):
                yield from _but_annotations(child)


def _is_at_hand(module: str) -> bool:
    """Tell whether a module comes with torch or with Python."""
    root = module.partition(".")[0]
    return root == "torch" or root in sys.stdlib_module_names


def _is_ours(module: str) -> bool:
    """Tell whether a thing of a module may be copied: plug-ins', and what is written for it."""
    own = ("nasgen.layers.modules", "nasgen.evaluation.standalone", "nasgen.export.stacks")
    return module in own or module.partition(".")[0] != "nasgen"
