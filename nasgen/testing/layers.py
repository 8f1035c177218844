"""The contract of a layer: its shapes are true, its axes exist, gradients flow, twins inherit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nasgen import registry
from nasgen.errors import IncompatibleError
from nasgen.genotypes import Dag, Draft, tags
from nasgen.genotypes.tags import Ranges
from nasgen.layers import DECODER_ONLY
from nasgen.layers.base import Layer, Shape, axis
from nasgen.phenotype.heredity import align, inherit
from nasgen.phenotype.network import PREFIX, build, roles, tensor_tags
from nasgen.search_spaces.blueprint import INPUT, Blueprint, Step
from nasgen.search_spaces.dag_cnn import DagCnn
from nasgen.search_spaces.graph import GraphSpace
from nasgen.search_spaces.mlp import Mlp
from nasgen.testing.base import Contract, Outcome, examine_all

# (C, H, W) that occur: images, down to 2 x 2 behind pools, a row of a table, odd sizes.
MAPS: tuple[Shape, ...] = (
    (12, 2, 2), (1, 3, 5), (3, 1, 16), (1, 8, 8), (12, 8, 8), (3, 16, 16), (12, 28, 28),
    (3, 32, 32), (1, 64, 64),
)  # fmt: skip
SEQUENCES: tuple[Shape, ...] = ((3, 7), (1, 16), (12, 64), (5, 300))
ROWS: tuple[Shape, ...] = ((12,), (1,), (3,), (200,))
GIVEN = {1: ROWS, 2: SEQUENCES, 3: MAPS}  # by `Layer.ranks`
OPEN = {"channels": (5, 12), "classes": (2, 10)}  # tried where a domain leaves the values open
N_SETTINGS = 6  # of the small maps; a larger one gets the first and the last
SMALL = 256  # values of a map
TWINS = 10**6  # between the tag of a channel and that of the first twin behind it
SCALARS = (bool, int, float, str)


@dataclass(frozen=True)
class Case:
    """One layer with settings and inputs; `shapes` are (C, H, W), one an input."""

    layer: Layer
    params: Mapping[str, Any]
    shapes: tuple[Shape, ...]

    def __str__(self) -> str:
        return f"settings {dict(self.params)}, inputs {list(self.shapes)}"

    @property
    def out_shape(self) -> Shape:
        return self.layer.out_shape(self.params, self.shapes)

    def module(self, seed: int = 0) -> nn.Module:
        """Return the built module, its weights drawn from `seed` alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.layer.build(self.params, self.shapes, self.out_shape)

    def images(self, n: int) -> list[Tensor]:
        """Return one (n, C, H, W) tensor for each input, always the same."""
        draw = torch.Generator().manual_seed(1)
        return [torch.randn((n, *shape), generator=draw) for shape in self.shapes]


def check(group: str, name: str) -> Outcome:
    """Apply every rule to a layer."""
    return examine_all(RULES, group, name)


def find(name: str) -> Layer:
    """Return the registered layer."""
    layer: Layer = registry.resolve("layers", name)()
    return layer


def cases(name: str, smallest: int = 1, largest: int = 4096) -> Iterator[Case]:
    """Yield settings and inputs as the decoder could bring them, H * W within the limits.

    Sequences and rows of numbers are tried whatever the limits.
    """
    layer = find(name)
    for shape in (shape for rank in layer.ranks for shape in GIVEN[rank]):
        if len(shape) == 3 and not smallest <= prod(shape[1:]) <= largest:
            continue
        settings = _settings(layer, shape[1:])
        if prod(shape) > SMALL:
            settings = settings[:2]
        for params, shapes in product(settings, _inputs(layer, *shape)):
            yield Case(layer, params, shapes)


def _settings(layer: Layer, size: tuple[int, ...]) -> list[dict[str, Any]]:
    halves = zip(("height", "width"), size, strict=False)
    open_values: dict[str, tuple[int, ...]] = {**OPEN, **{k: (max(1, n // 2),) for k, n in halves}}
    domain = {k: tuple(v) or open_values.get(k, ()) for k, v in layer.domain.items()}
    every = [dict(zip(domain, values, strict=True)) for values in product(*domain.values())]
    step = max(1, len(every) // N_SETTINGS)
    return [every[0], *every[-1:0:-step]][: N_SETTINGS + 1]


def _inputs(layer: Layer, c: int, *size: int) -> list[tuple[Shape, ...]]:
    if not layer.merges:
        return [((c, *size),)]
    if layer.align == "channels":
        return [((c, *size),) * n for n in (1, 2, 3)]
    if layer.align == "space":
        return [tuple((c + 2 * i, *size) for i in range(n)) for n in (1, 2, 3)]
    return [tuple((c + 2 * i, *(s + i for s in size)) for i in range(n)) for n in (1, 2, 3)]


# ---- rules -------------------------------------------------------------------------------------


def describes(name: str) -> Iterator[str]:
    """Its class attributes say what a layer can say."""
    target = registry.resolve("layers", name)
    derived = isinstance(target, type) and issubclass(target, Layer)
    yield "" if derived else "expected a class derived from nasgen.Layer."
    layer = find(name)
    known = layer.align in ("space", "channels", "nothing")
    yield "" if known else f"align: 'space', 'channels' or 'nothing', got {layer.align!r}."
    for setting, values in layer.domain.items():
        if not isinstance(values, tuple) or not all(isinstance(v, SCALARS) for v in values):
            yield f"domain['{setting}']: expected a tuple of numbers or texts, got {values!r}."
        elif not values and setting != "channels" and name not in DECODER_ONLY:
            yield f"domain['{setting}'] is empty; only 'channels' may be, for the space's widths."
        else:
            ordered = list(values) == sorted(set(values))
            yield (
                "" if ordered else f"domain['{setting}']: expected ascending values, got {values}."
            )
    for tensor, texts in layer.axes.items():
        try:
            for text in texts:
                _ = text is None or axis(text)
            yield ""
        except (IncompatibleError, AttributeError) as error:
            yield f"axes['{tensor}']: {error}"


def shapes(name: str) -> Iterator[str]:
    """`out_shape` is the shape of the tensor that comes out, in training and evaluation."""
    for case in cases(name):
        expected = case.out_shape
        n_axes = len(case.shapes[0])
        sound = isinstance(expected, tuple) and (len(expected) == n_axes or name in DECODER_ONLY)
        if not sound or not all(type(n) is int and n >= 1 for n in expected):
            yield f"{case}: out_shape must be {n_axes} integers >= 1, got {expected!r}."
            continue
        module = case.module()
        for training in (True, False):
            y = module.train(training)(*case.images(2))
            if tuple(y.shape) != (2, *expected):
                yield f"{case}: out_shape says {expected}, the module gives {tuple(y.shape[1:])}."
            else:
                finite = bool(torch.isfinite(y).all())
                yield "" if finite else f"{case}: the output holds NaN or infinite values."


def halving(name: str) -> Iterator[str]:
    """`halves` says whether a map of 32 x 32 loses half of its pixels or more."""
    if name in DECODER_ONLY:
        yield ""  # the decoder knows its own layers
        return
    for case in cases(name, smallest=1024):
        if len(case.shapes[0]) < 3:
            yield ""
            continue
        shrinks = 2 * prod(case.out_shape[1:]) <= min(prod(shape[1:]) for shape in case.shapes)
        same = shrinks == case.layer.halves
        yield "" if same else f"{case}: halves is {case.layer.halves}, out is {case.out_shape}."


def enlarging(name: str) -> Iterator[str]:
    """`enlarges` says whether a map may become larger."""
    for case in cases(name):
        into = [max(shape[i] for shape in case.shapes) for i in range(1, len(case.shapes[0]))]
        grows = any(out > n for out, n in zip(case.out_shape[1:], into, strict=False))
        fine = case.layer.enlarges or not grows
        yield "" if fine else f"{case}: out is {case.out_shape}, but `enlarges` is False."


def axes(name: str) -> Iterator[str]:
    """Every name in `axes` is a tensor of the module, its axes as long as the channels there."""
    missing = set(find(name).axes)
    for case in cases(name):
        module = case.module()
        missing -= set(module.state_dict())
        tensor_tags(*_one_step(name, case, module))  # raises what is wrong, by name
        yield ""
    names = ", ".join(case.module().state_dict()) or "none"
    yield f"axes names '{min(missing)}', no tensor of the module ({names})." if missing else ""


def _one_step(
    name: str, case: Case, module: nn.Module, twins: int = 0
) -> tuple[Blueprint, dict[str, Tensor]]:
    """Return a blueprint of the layer alone; the last channels of each range are `twins`."""

    def ranged(first: int, n: int) -> Ranges:
        return ((first, n - twins), (first + TWINS, twins)) if twins else ((first, n),)

    out = case.out_shape
    in_tags = tuple(ranged(1000 * i, shape[0]) for i, shape in enumerate(case.shapes))
    own = ranged(100_000, case.params["channels"]) if "channels" in case.params else ()
    out_tags = tuple(case.layer.out_tags(own, in_tags))
    if tags.count(out_tags) != out[0] or "classes" in case.params:
        out_tags = ((200_000, out[0]),)  # as the decoder does
    step = Step(
        name="it",
        layer=name,
        role="vertex",
        tag=1,
        inputs=(INPUT,) * len(case.shapes),
        params=tuple(sorted(case.params.items())),
        in_shapes=case.shapes,
        out_shape=out,
        in_tags=in_tags,
        out_tags=out_tags,
    )
    tensors = {f"{PREFIX}.it.{k}": v for k, v in module.state_dict().items()}
    return Blueprint(case.shapes[0], 2, (step,)), tensors


def channelwise(name: str) -> Iterator[str]:
    """What `channelwise` promises: twins that cancel change nothing, and stay twins behind it."""
    layer = find(name)
    if layer.drawn not in ("always", "relabel", "never"):
        yield f"drawn: 'always', 'relabel' or 'never', got {layer.drawn!r}."
    if not layer.channelwise:
        yield ""
        return
    for case in cases(name, smallest=16, largest=256):
        wide = _wider(case, 2)
        module, twin = case.module(1).double(), wide.module(2).double()
        old, weights = _one_step(name, case, module)
        new, fresh = _one_step(name, wide, twin, twins=2)
        known = {t for r in (*new.steps[0].in_tags, new.steps[0].out_tags) for t in tags.expand(r)}
        left = [t for t in known if t >= TWINS and t + 1 in known]
        plan = {
            "out": {str(t + 1): {"copy": t} for t in left},
            "in": {str(t + 1): {"negate": t} for t in left},
        }
        values, _ = align(new, fresh, [(old, weights)], plan)
        twin.load_state_dict({k.split(".", 2)[2]: v for k, v in values.items()})
        images = [x.double() for x in case.images(3)]
        more = [torch.cat([x, x[:, :1] * 0.7 + 0.3, x[:, :1] * 0.7 + 0.3], 1) for x in images]
        for training in (True, False):
            with torch.no_grad():
                expected, got = module.train(training)(*images), twin.train(training)(*more)
            out = tags.expand(new.steps[0].out_tags)
            same = [i for i, t in enumerate(out) if t < TWINS]
            pairs = [(out.index(t), out.index(t + 1)) for t in left if t in out]
            gap = float((got[:, same] - expected).abs().max())
            apart = max((float((got[:, a] - got[:, b]).abs().max()) for a, b in pairs), default=0.0)
            if gap > 1e-10:
                yield f"{case}: channelwise is True, but new channels that cancel changed the old."
            else:
                yield f"{case}: channelwise is True, but twins come apart." if apart > 1e-10 else ""


def keeps_zero(name: str) -> Iterator[str]:
    """What `keeps_zero` promises: a silent channel is exactly 0 and may be left out."""
    layer = find(name)
    if not layer.keeps_zero:
        yield ""
        return
    for case in cases(name, smallest=16, largest=256):
        wide = _wider(case, 1)
        small, large = case.module(1).double(), wide.module(2).double()
        new, tensors = _one_step(name, wide, large, twins=1)
        out = np.array(tags.expand(new.steps[0].out_tags))
        gone = out >= TWINS
        for full, axis_tags in tensor_tags(new, tensors).items():
            found = roles(new.steps[0], full.split(".", 2)[2], len(axis_tags))
            for i, (mine, role) in enumerate(zip(axis_tags, found, strict=True)):
                if mine is None or role is None or role[0] != "out":
                    continue
                if not full.rpartition(".")[2].startswith("running_"):
                    tensors[full].index_fill_(i, torch.from_numpy(np.flatnonzero(mine >= TWINS)), 0)
        old, fresh = _one_step(name, case, small)
        values, _ = align(old, fresh, [(new, tensors)], {})
        small.load_state_dict({k.split(".", 2)[2]: v for k, v in values.items()})
        images = [x.double() for x in case.images(3)]
        silent = not layer.has("out") or layer.merges  # else its own rows are what silences it
        more = [torch.cat([x, x[:, :1] * (0.0 if silent else 1.7)], 1) for x in images]
        if layer.has("in"):
            more = [torch.cat([x, torch.zeros_like(x[:, :1])], 1) for x in images]
        for training in (True, False):
            with torch.no_grad():
                expected, got = small.train(training)(*images), large.train(training)(*more)
            if bool(got[:, gone].any()):
                yield f"{case}: keeps_zero is True, but a channel without weights is not 0."
                continue
            gap = float((got[:, ~gone] - expected).abs().max())
            same = gap <= 1e-10
            yield "" if same else f"{case}: keeps_zero is True, but leaving one out changes others."


def _wider(case: Case, n: int) -> Case:
    """Return the case with n more channels in each input, and out where the layer owns them."""
    grown = dict(case.params)
    if case.layer.domain.get("channels") == ():
        grown["channels"] += n
    return Case(case.layer, grown, tuple((s[0] + n, *s[1:]) for s in case.shapes))


def signs(name: str) -> Iterator[str]:
    """What `sign` promises: "positive" outputs, or "kept" ones of inputs that are not negative."""
    sign = find(name).sign
    yield "" if sign in ("", "kept", "positive") else f"sign: 'positive', 'kept', '', got {sign!r}."
    if not sign:
        return
    for case in cases(name, smallest=16, largest=256):
        images = [x if sign == "positive" else x.abs() for x in case.images(3)]
        with torch.no_grad():
            least = float(case.module().train()(*images).min())
        yield "" if least >= 0 else f"{case}: sign is '{sign}', an output is {least:.3g}."


def gradients(name: str) -> Iterator[str]:
    """In training gradients reach every parameter and every input, and are finite."""
    for case in cases(name, smallest=64, largest=1024):
        module = case.module().train()
        images = [x.requires_grad_() for x in case.images(4)]
        with torch.random.fork_rng(devices=[]):  # what a dropout draws
            torch.manual_seed(2)
            y = module(*images)
        # Weighted by chance: the plain sum of a normalised map has no gradient.
        (y * torch.randn(y.shape, generator=torch.Generator().manual_seed(2))).sum().backward()
        given: list[tuple[str, Tensor]] = [
            (f"parameter '{k}'", p) for k, p in module.named_parameters() if p.requires_grad
        ]
        given += [(f"input {i}", x) for i, x in enumerate(images)]
        dead = [k for k, t in given if t.grad is None]
        bad = [k for k, t in given if t.grad is not None and not bool(torch.isfinite(t.grad).all())]
        still = [
            f"input {i}" for i, x in enumerate(images) if x.grad is not None and not x.grad.any()
        ]
        if dead or still:
            yield f"{case}: no gradient reaches {', '.join([*dead, *still])}."
        else:
            yield f"{case}: the gradient of {', '.join(bad)} is not finite." if bad else ""


def repeatable(name: str) -> Iterator[str]:
    """Built twice from one seed it is the same, tensor for tensor; from another it fits too."""
    for case in cases(name):
        first, again, other = (case.module(seed).state_dict() for seed in (0, 0, 1))
        shapes_of = [{k: tuple(v.shape) for k, v in state.items()} for state in (first, other)]
        if shapes_of[0] != shapes_of[1]:
            yield f"{case}: two builds have other tensors: {shapes_of[0]} and {shapes_of[1]}."
        else:
            same = all(torch.equal(first[k], again[k]) for k in first)
            yield "" if same else f"{case}: weights must come from torch's own generator alone."


def pure(name: str) -> Iterator[str]:
    """It leaves its inputs alone, which others may read, and judges each image by itself."""
    for case in cases(name):
        module = case.module().eval()
        with torch.no_grad():
            images = case.images(3)
            y = module(*images).clone()
            if not all(torch.equal(a, b) for a, b in zip(images, case.images(3), strict=True)):
                yield f"{case}: it changed its input; no inplace=True on what comes in."
                continue
            alone = module(*(x[:1] for x in case.images(3)))
        same = torch.allclose(alone, y[:1], rtol=1e-3, atol=1e-4)
        yield "" if same else f"{case}: in evaluation an image's result depends on the others."


def inherits(name: str) -> Iterator[str]:
    """In a network it trains on, and a twin that inherits all weights computes the same."""
    if name in DECODER_ONLY:
        yield ""  # no vertex may use it; every network holds a head
        return
    is_dense = 3 not in find(name).ranks
    plain, kind, shape = ("dense", Mlp, (20,)) if is_dense else ("conv", DagCnn, (3, 16, 16))
    space: GraphSpace = kind(layers=tuple(dict.fromkeys((plain, name))), min_depth=1)
    params = {k: v for k, v in _settings(find(name), shape[1:])[-1].items() if k != "channels"}
    if "channels" in find(name).domain:
        params["channels"] = (find(name).domain["channels"] or (8,))[-1]
    if "kernel" in params:
        params["kernel"] = space.domain(name)["kernel"][0]
    blueprint = space.blueprint(_around(name, params, plain), shape, 4)
    parent, child = build(blueprint, 1).train(), build(blueprint, 2)
    x = torch.randn((4, *shape), generator=torch.Generator().manual_seed(3))
    parent(x).sum().backward()
    report = inherit(child, blueprint, [(blueprint, parent.state_dict())], {})
    yield "" if not report.n_fresh else f"{report.n_fresh} values of a twin were not inherited."
    with torch.no_grad():
        same = torch.allclose(parent.eval()(x), child.eval()(x), atol=1e-6)
    yield "" if same else "a twin that inherited everything computes something else."


def _around(name: str, params: Mapping[str, Any], plain: str) -> Dag:
    """Return a network of plain layers around one vertex of the layer, its tags final."""
    draft = Draft()
    sized = {"channels": 8} | ({"kernel": 3} if plain == "conv" else {})
    sources: Sequence[int] = [
        draft.add(plain, [draft.input], **sized) for _ in range(2 if find(name).merges else 1)
    ]
    here = draft.add(name, sources, **params)
    draft.connect(draft.add(plain, [here], **sized), draft.output)
    return draft.freeze().mint(0, 0)


RULES = (
    describes, shapes, halving, enlarging, axes, channelwise, keeps_zero, signs, gradients,
    repeatable, pure, inherits,
)  # fmt: skip


class LayerContract(Contract):
    """Inherit and set `name`."""

    group = "layers"

    def test_its_class_attributes_are_sound(self) -> None:
        """merges, align, halves, domain, axes."""
        self.holds(describes)

    def test_its_out_shape_is_that_of_the_tensor(self) -> None:
        """For maps of 2 x 2 to 64 x 64 and every number of inputs."""
        self.holds(shapes)

    def test_it_says_whether_it_halves_the_map(self) -> None:
        """The decoder counts such layers as stages."""
        self.holds(halving)

    def test_it_says_whether_it_enlarges_the_map(self) -> None:
        """A shortcut that keeps the function relies on it."""
        self.holds(enlarging)

    def test_its_axes_are_tensors_of_the_module(self) -> None:
        """Heredity aligns them by gene tag."""
        self.holds(axes)

    def test_it_works_channel_by_channel_if_it_says_so(self) -> None:
        """Widening morphisms rely on it."""
        self.holds(channelwise)

    def test_its_silent_channels_may_be_left_out_if_it_says_so(self) -> None:
        """Pruning and compaction rely on it."""
        self.holds(keeps_zero)

    def test_its_outputs_have_the_sign_that_it_promises(self) -> None:
        """An identity that ends in a ReLU relies on it."""
        self.holds(signs)

    def test_gradients_flow(self) -> None:
        """To every parameter and every input."""
        self.holds(gradients)

    def test_a_seed_gives_one_module(self) -> None:
        """A fresh build has the same tensors."""
        self.holds(repeatable)

    def test_it_is_pure(self) -> None:
        """Inputs stay as they are; images do not see each other in evaluation."""
        self.holds(pure)

    def test_a_twin_inherits_its_weights(self) -> None:
        """All of them, and then computes the same."""
        self.holds(inherits)
