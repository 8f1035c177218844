"""One door for everything that has a name: built-ins, plug-in files and installed plug-ins.

Built-ins are rows (`ENTRIES`) in the light `__init__.py` of their family, resolved when first used,
so listing names imports no heavy library. A plug-in is a Python file or an installed module that
uses the decorators below; `nasgen.<decorator>` re-exports them.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any, TypeVar

from nasgen.errors import IncompatibleError, UnknownNameError, suggest
from nasgen.registry import plugins

T = TypeVar("T")

# Group -> the light module that lists the group's built-ins.
FAMILIES: dict[str, str] = {
    "genotypes": "nasgen.genotypes",
    "search_spaces": "nasgen.search_spaces",
    "mutations": "nasgen.operators.mutation",
    "crossovers": "nasgen.operators.crossover",
    "morphisms": "nasgen.operators.morphism",
    "matings": "nasgen.operators.mating",
    "prunings": "nasgen.operators.pruning",
    "environments": "nasgen.operators.environment",
    "algorithms": "nasgen.engine.algorithms",
    "selections": "nasgen.engine.selections",
    "predictors": "nasgen.predictors",
    "features": "nasgen.predictors.features",
    "ensembles": "nasgen.ensembles",
    "layers": "nasgen.layers",
    "scores": "nasgen.evaluation.scores",
    "objectives": "nasgen.evaluation.objectives",
    "feeds": "nasgen.evaluation.feeds",
    "tasks": "nasgen.evaluation.tasks",
    "datasets": "nasgen.data",
    "executors": "nasgen.execution",
    "stoppers": "nasgen.stoppers",
    "benches": "nasgen.bench",
}
GROUPS = tuple(FAMILIES)
FORMER = {"pruners": "stoppers"}  # what older versions called a group

# The parameters that a plain-function member must take, in order; operators': see `parameters`.
SIGNATURES: dict[str, tuple[str, ...]] = {
    "objectives": ("measured",),
    "scores": ("probe",),
    "predictors": ("seed",),
    "datasets": ("rest",),
    "benches": (),
}
# Group -> the class whose subclasses its members are, as dotted paths are checked.
CONTRACTS: dict[str, tuple[str, str]] = {
    "search_spaces": ("nasgen.search_spaces.base", "SearchSpace"),
    "environments": ("nasgen.operators.environment.base", "Environment"),
    "algorithms": ("nasgen.engine.algorithms.base", "Algorithm"),
    "layers": ("nasgen.layers.base", "Layer"),
    "feeds": ("nasgen.evaluation.feeds.base", "Feed"),
    "tasks": ("nasgen.evaluation.tasks.base", "Task"),
    "ensembles": ("nasgen.ensembles.base", "EnsembleMethod"),
    "executors": ("nasgen.execution.base", "Executor"),
    "stoppers": ("nasgen.stoppers.base", "Stopper"),
}
# Group of operators -> how many parents its members take, from and to, unless they say otherwise.
PARENTS = {
    "mutations": (1, 1),
    "morphisms": (1, 1),
    "prunings": (1, 1),
    "crossovers": (2, 2),
    "matings": (2, 2),
}
MOST_PARENTS = 64
# Where its members may run: "driver", where candidates are made, or "worker", where weights are.
# The first is meant when they say nothing.
PLACES = {
    "mutations": ("driver", "worker"),
    "morphisms": ("driver",),
    "prunings": ("worker",),
    "crossovers": ("driver",),
    "matings": ("worker",),
}
SCOPES = ("tensor", "network")
# Groups of which workers need nothing; operators say for themselves where they run.
IN_DRIVER = (
    "algorithms", "selections", "predictors", "features", "scores", "ensembles", "executors",
    "benches",
)  # fmt: skip
# Group -> what its members may require; all that a member requires is given to it.
MATERIALS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(PARENTS, ("weights", "support", "predictions")),
    "matings": ("weights", "support", "predictions", "ranks"),
    "prunings": ("weights", "support", "predictions", "curvature", "inputs"),
    "selections": ("predictions", "support"),
    "predictors": ("scores", "trainings"),
    "features": ("data", "facts", "space"),
}
ANY_GENOTYPE = "nasgen.genotypes.base:Genotype"
# What operators in the worker are given that no trial keeps: it is known, or measured there.
COMPUTED = ("ranks", "curvature", "inputs")
POSITIONAL = ("weights", "support")  # which operators in the worker take as arguments anyway
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")

# Group -> section of the config whose further keys are options of the member that it names.
CONFIGURED = {
    "search_spaces": "space", "environments": "environment", "algorithms": "algorithm",
    "stoppers": "stopping", "ensembles": "ensemble",
}  # fmt: skip
ENGINE_ARGUMENTS = ("population", "seed", "direction")  # which are no options


@dataclass(frozen=True)
class Entry:
    """One registered member.

    `target` is "package.module:object" (resolved lazily) or the object itself. `accepts` is the
    type of genotypes that an operator or feature set works on, the name of a kind of them, or
    "package.module:Type"; "" means graphs (see `nasgen.genotypes.kinds.accepted`). `requires` is
    what it needs beyond genotypes (such as "weights", see `MATERIALS`).
    Of operators only: `n_parents`, a number or (fewest, most); `runs_in`, "driver" or "worker"; and
    in the worker `scope`, called for each "tensor" or once for the "network". `entries` fills in
    what the group says where they are left out. `space`, "package.module:Type" or a type, is the
    search space that an operator in the driver needs, because it asks it for more than
    `SearchSpace` promises; "" means any with the genotypes that it accepts. An operator may be a
    class, whose instances are called: its parameters are options in [algorithm.operators.NAME].
    """

    name: str
    target: str | Any
    summary: str = ""
    reference: str = ""
    accepts: str | type = ""
    requires: tuple[str, ...] = ()
    n_parents: int | tuple[int, int] | None = None
    runs_in: str = ""
    scope: str = ""
    space: str | type = ""
    origin: str = "built-in"
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def arity(self) -> tuple[int, int]:
        """The fewest and the most parents that an operator takes."""
        n = self.n_parents
        return n if isinstance(n, tuple) else (n or 1, n or 1)


def entries(group: str) -> dict[str, Entry]:
    """Return name -> entry of what can be named now: built-ins first, then plug-ins.

    See `nasgen.registry.plugins` for which of these are visible.
    """
    return built_in(_checked(group)) | plugins.visible(group)


def usual(group: str) -> dict[str, Entry]:
    """Return name -> entry of what takes part without being named, such as in an empty table.

    Not so built-ins with options={"usual": False}.
    """
    own = built_in(_checked(group)).items()
    return {n: e for n, e in own if e.options.get("usual", True)} | plugins.usual(group)


def _checked(group: str) -> str:
    if group not in FAMILIES:
        raise UnknownNameError(
            f"registry group '{group}' does not exist{suggest(FORMER.get(group, group), GROUPS)} "
            f"Groups: {', '.join(GROUPS)}."
        )
    return group


@cache
def built_in(group: str) -> dict[str, Entry]:
    """Return name -> entry of nasgen's own members of a group."""
    found = getattr(importlib.import_module(FAMILIES[group]), "ENTRIES", ())
    return {entry.name: completed(group, entry) for entry in found}


def completed(group: str, entry: Entry) -> Entry:
    """Return an entry with its group's defaults; IncompatibleError for what cannot be.

    That is: requiring what nobody can give, and for operators a wrong number of parents, place or
    scope.
    """
    who = f"{group} '{entry.name}'"
    given: Any = entry.requires  # which plug-in authors may write as one text
    required = (given,) if isinstance(given, str) else tuple(given)
    known = MATERIALS.get(group, ())
    for name in required:
        if name not in known:
            all_known = f"Known: {', '.join(known)}." if known else f"{group} require nothing."
            raise IncompatibleError(
                f"{who} requires '{name}', which nothing can give{suggest(name, known)} {all_known}"
            )
    if group not in PARENTS:
        if wrong := [n for n in ("n_parents", "runs_in", "scope") if getattr(entry, n)]:
            raise IncompatibleError(f"{who}: '{wrong[0]}' is for operators alone; leave it out.")
        return replace(entry, requires=required)
    runs_in = entry.runs_in or PLACES[group][0]
    scope = entry.scope or ("" if runs_in == "driver" else SCOPES[0])
    scopes = ("",) if runs_in == "driver" else SCOPES
    for what, value, valid in (("runs_in", runs_in, PLACES[group]), ("scope", scope, scopes)):
        if value not in valid:
            if valid == ("",):
                raise IncompatibleError(f"{who}: 'scope' is for operators that run in the worker.")
            expected = " or ".join(repr(v) for v in valid)
            raise IncompatibleError(f"{who}: expected {what} = {expected}, got {value!r}.")
    n = PARENTS[group] if entry.n_parents is None else entry.n_parents
    pair = (n, n) if isinstance(n, int) else tuple(n) if isinstance(n, tuple | list) else ()
    least, most = {"matings": (1, MOST_PARENTS), "crossovers": (2, MOST_PARENTS)}.get(group, (1, 1))
    if (
        len(pair) != 2
        or not all(type(i) is int for i in pair)
        or not least <= pair[0] <= pair[1] <= most
    ):
        expected = f"a number of {least} to {most}, or (fewest, most)" if most > 1 else "1"
        raise IncompatibleError(f"{who}: expected n_parents = {expected}, got {n!r}.")
    # Weights may be those of any genotype.
    accepts = entry.accepts or (ANY_GENOTYPE if runs_in == "worker" else "")
    return replace(
        entry,
        accepts=accepts,
        requires=required,
        n_parents=(pair[0], pair[1]),
        runs_in=runs_in,
        scope=scope,
    )


def names(group: str) -> tuple[str, ...]:
    """Return the registered names of a group."""
    return tuple(entries(group))


def known(group: str, name: str) -> bool:
    """Tell whether a name, or a dotted path, stands for a member."""
    try:
        get(group, name)
    except (UnknownNameError, IncompatibleError):
        return False
    return True


def get(group: str, name: str) -> Entry:
    """Return one entry; an unknown name raises UnknownNameError with the nearest valid one.

    "package.module:object" names any object that Python can import, registered or not.
    """
    found = entries(group)
    if name in found:
        return found[name]
    singular = {"benches": "bench"}.get(group, group.removesuffix("s")).replace("_", " ")
    if ":" in name:
        own = next((e for e in built_in(group).values() if e.target == name), None)
        if own is not None:  # it says more about itself
            return replace(own, name=name)
        if not plugins.active().permits(name):
            raise UnknownNameError(
                f"{singular} '{name}' is a dotted path in the stored config of a run, which is "
                "imported only where its module is named again: --plugin "
                f"{name.partition(':')[0]}."
            )
        target = plugins.imported(name, singular)
        entry = next((e for e in found.values() if e.target is target), None)
        if entry is not None:
            return replace(entry, name=name)
        doc = (inspect.getdoc(target) or "").strip().splitlines()
        more = plugins.fields(group, target)
        made = completed(
            group, Entry(name, target, doc[0] if doc else "", origin=plugins.home(name), **more)
        )
        _check_kind(group, name, target)
        check_signature(group, name, target, made)
        return made
    missing = plugins.active().missing
    if missing:
        raise UnknownNameError(
            f"{singular} '{name}' came with a plug-in of the run: {' '.join(missing)}"
        )
    stored = plugins.active().is_stored
    raise UnknownNameError(
        f"{singular} '{name}' is not registered{suggest(name, found)} See `nasgen list {group}`."
        + (
            " If a script or a plug-in registers it, name the file: --plugin FILE."
            if stored
            else ""
        )
    )


def resolve(group: str, name: str) -> Any:
    """Return the object behind a name, importing it on first use and checking its signature."""
    scope = plugins.active()
    if scope.version != plugins.version[0]:
        scope.looked_up.clear()
        scope.version = plugins.version[0]
    key = (group, name)
    if key not in scope.looked_up:
        target = (entry := get(group, name)).target
        if isinstance(target, str):
            target = plugins.imported(target, group)
        check_signature(group, name, target, entry)
        scope.looked_up[key] = target
    return scope.looked_up[key]


def function(group: str, name: str, given: Mapping[str, Any] | None = None) -> Callable[..., Any]:
    """Return an operator to call. One that is a class is made with its options, `given`."""
    target: Any = resolve(group, name)
    if inspect.isclass(target):
        target = target(**(given or {}))
    made: Callable[..., Any] = target
    return made


def section(group: str, name: str) -> str | None:
    """Return the section of the config that has a member's options; None: it takes none."""
    if group in PARENTS:
        return f"algorithm.operators.{name}" if inspect.isclass(resolve(group, name)) else None
    return CONFIGURED.get(group)


def parameters(group: str, entry: Entry) -> list[tuple[str, ...]]:
    """Return the parameters that a member is called with, one tuple a number of parents.

    Those behind "*" are given by name. No tuple: members of the group are no plain functions.
    """
    if group not in PARENTS:
        return [SIGNATURES[group]] if group in SIGNATURES else []
    if entry.runs_in == "worker":
        more = tuple(name for name in entry.requires if name not in POSITIONAL)
        taken: dict[str, tuple[str, ...]] = {
            "matings": ("name", "weights", "supports", "rng"),
            "prunings": ("name", "weight", "support", "budget", "rng"),
            "mutations": ("name", "weight", "support", "rng"),
        }
        return [(*taken[group], *(("*", *more) if more else ()))]
    given = ("*", "given") if entry.requires else ()
    return [
        (*(("parent",) if n == 1 else _ordinals(n)), "space", "rng", *given)
        for n in sorted(set(entry.arity))
    ]


def _ordinals(n: int) -> tuple[str, ...]:
    return tuple(ORDINALS[i] if i < len(ORDINALS) else f"parent_{i + 1}" for i in range(n))


def check_signature(group: str, name: str, target: Any, entry: Entry | None = None) -> None:
    """Raise IncompatibleError when a function member does not take its family's parameters.

    `entry` (default: the group's defaults) says how many parents and what else it is given.
    """
    entry = completed(group, entry or Entry(name, target))
    if group in PARENTS and inspect.isclass(target):  # its instances are called
        own = next((vars(c)["__call__"] for c in target.__mro__ if "__call__" in vars(c)), None)
        target = target if own is None else partial(own, None)
    for expected in parameters(group, entry):
        if not callable(target):
            raise IncompatibleError(
                f"{group} '{name}': expected a function of ({', '.join(expected)}), "
                f"got {type(target).__name__}."
            )
        star = expected.index("*") if "*" in expected else len(expected)
        try:
            signature = inspect.signature(target)
        except (TypeError, ValueError):  # of builtins, which say nothing of their parameters
            raise IncompatibleError(
                f"{group} '{name}': expected a function of ({', '.join(expected)}), got {target!r}."
            ) from None
        try:
            signature.bind(*expected[:star], **dict.fromkeys(expected[star + 1 :]))
        except TypeError:
            raise IncompatibleError(
                f"{group} '{name}': expected a function of ({', '.join(expected)}), "
                f"got {signature}. Change its parameters to match."
            ) from None


def _check_kind(group: str, name: str, target: Any) -> None:
    """Raise IncompatibleError where a dotted path leads to a thing that no such member can be.

    A module that nobody has imported holds no class of which it could be a subclass.
    """
    if group not in CONTRACTS:
        if not callable(target):
            raise IncompatibleError(
                f"{group} '{name}': expected a function or a class, got {type(target).__name__}."
            )
        return
    module, contract = CONTRACTS[group]
    base = getattr(sys.modules.get(module), contract, None)
    if base is None or not (isinstance(target, type) and issubclass(target, base)):
        got = f"the class {target.__name__}" if isinstance(target, type) else type(target).__name__
        raise IncompatibleError(
            f"{group} '{name}': expected a subclass of {module}.{contract}, got {got}."
        )


def register(group: str, name: str, target: Any, **fields: Any) -> None:
    """Add a member; its signature is checked now and a name already taken is an error."""
    if not name or not isinstance(name, str):
        raise IncompatibleError(f"a {group} name must be a non-empty text, got {name!r}.")
    plugins.load_installed()
    known, origin = built_in(group) | plugins.taken(group), plugins.origin(target)
    if ":" in name:
        raise IncompatibleError(
            f"{group} '{name}' ({origin}): a name holds no colon, which dotted paths have."
        )
    if name in known:
        raise IncompatibleError(
            f"{group} '{name}' is already registered by {known[name].origin}; "
            f"{origin} must choose another name."
        )
    doc = (inspect.getdoc(target) or "").strip().splitlines()
    fields.setdefault("summary", doc[0] if doc else "")
    entry = completed(group, Entry(name=name, target=target, origin=origin, **fields))
    check_signature(group, name, target, entry)
    plugins.add(group, name, entry)


def unregister(group: str, name: str) -> None:
    """Remove a plug-in member (for tests and notebooks that define a member twice)."""
    plugins.remove(group, name)


def _decorator(group: str) -> Callable[..., Callable[[T], T]]:
    def named(name: str, **fields: Any) -> Callable[[T], T]:
        def mark(target: T) -> T:
            register(group, name, target, **fields)
            return target

        return mark

    named.__name__ = group
    named.__doc__ = (
        f"Register the decorated object in the group '{group}' under `name`; "
        "keywords: summary, reference, accepts, requires, options"
        + (", n_parents, runs_in, scope, space." if group in PARENTS else ".")
    )
    return named


mutation = _decorator("mutations")
crossover = _decorator("crossovers")
morphism = _decorator("morphisms")
mating = _decorator("matings")
pruning = _decorator("prunings")
environment = _decorator("environments")
layer = _decorator("layers")
objective = _decorator("objectives")
score = _decorator("scores")
predictor = _decorator("predictors")
stopper = _decorator("stoppers")
ensemble = _decorator("ensembles")
dataset = _decorator("datasets")
feed = _decorator("feeds")
task = _decorator("tasks")
search_space = _decorator("search_spaces")
genotype = _decorator("genotypes")
bench = _decorator("benches")


def options_of(target: Any) -> dict[str, inspect.Parameter]:
    """Return the options that a config may give a member of the `CONFIGURED` groups."""
    found = inspect.signature(target).parameters
    return {name: p for name, p in found.items() if name not in ENGINE_ARGUMENTS}


def documentation(group: str, name: str) -> str:
    """Return what a member's author wrote about it, and about options that it inherits.

    What its module says comes first, unless other members live there too.
    """
    target, home = resolve(group, name), plugins.home(get(group, name).target)
    shared = sum(plugins.home(entry.target) == home for entry in entries(group).values()) > 1
    texts = [None if shared else sys.modules[home].__doc__, target.__doc__]
    if inspect.isclass(target):
        quoted = [f"`{option}`" for option in options_of(target)]
        bases = [base.__doc__ or "" for base in target.__mro__[1:]]
        texts += [text for text in bases if any(q in text for q in quoted)]
    return "\n\n".join(inspect.cleandoc(text) for text in texts if text)


def described(group: str) -> list[Entry]:
    """Return the entries of a group with `target` as text, for `nasgen list`."""
    return [
        replace(
            e, target=e.target if isinstance(e.target, str) else getattr(e.target, "__name__", "?")
        )
        for e in entries(group).values()
    ]
