"""Morphisms preserve the function, exactly, and what they add learns at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st

from nasgen import registry
from nasgen.errors import IllegalGenotypeError, IncompatibleError, NotApplicable
from nasgen.genotypes import Child, Dag, Draft, tags
from nasgen.layers.base import Shape
from nasgen.operators import morphism
from nasgen.operators.morphism.branch import branch_beside, branch_into_concat
from nasgen.operators.morphism.kernel import enlarge_kernel
from nasgen.operators.morphism.net2net_deepen import net2net_deepen_after
from nasgen.operators.morphism.net2net_widen import net2net_widen_to
from nasgen.operators.morphism.r2r_deepen import r2r_deepen_after
from nasgen.operators.morphism.r2r_widen import r2r_widen_to
from nasgen.operators.morphism.skip import skip_between
from nasgen.operators.morphism.zero_widen import zero_widen_to
from nasgen.phenotype.heredity import inherit
from nasgen.phenotype.network import build
from nasgen.search_spaces.dag_cnn import DagCnn
from nasgen.testing.preservation import TOLERANCE, draw_images, gaps, in_mode, pair, randomised

PRESERVING = [e.name for e in morphism.ENTRIES if e.options.get("preserves", True)]
SHAPE = (3, 10, 10)


def random_graph(space: DagCnn, rng: np.random.Generator) -> Dag | None:
    """Return a graph of any layers of the space wired at random, or None when it is not legal."""
    draft = Draft()
    here = [draft.input]
    for _ in range(int(rng.integers(2, 10))):
        op = space.layers[int(rng.integers(len(space.layers)))]
        most = min(3, len(here)) if space.layer(op).merges else 1
        sources = rng.permutation(here[-4:])[: int(rng.integers(1, most + 1))].tolist()
        drawn = space.random_vertex_params(op, rng)
        if "channels" in drawn:
            drawn["channels"] = (2, 3, 4, 4)[int(rng.integers(4))]
        here.append(draft.add(op, sources, **drawn))
    draft.connect(here[-1], draft.output)
    draft.prune()
    dag = draft.freeze()
    return None if space.problems(dag) else dag.mint(3, 0)


def apply(name: str, parent: Dag, space: DagCnn, seed: int, trial: int = 1) -> Child:
    """Return a child as the search gets it: through JSON, with its tags final."""
    child = registry.resolve("morphisms", name)(parent, space, np.random.default_rng(seed))
    plan = json.loads(json.dumps(child.plan))
    return Child(Dag.from_json(child.genotype.to_json()), plan).mint(3, trial)


def chain(*channels: int, op: str = "conv") -> Dag:
    draft = Draft()
    here = draft.input
    for n in channels:
        kernel = {} if op == "linear" else {"kernel": 3}
        here = draft.add(op, [here], channels=n, **kernel)
    draft.connect(here, draft.output)
    return draft.freeze().mint(3, 0)


def inner(dag: Dag, op: str, nth: int = 0) -> int:
    return [v.tag for v in dag.inner if v.op == op][nth]


def preserved(
    space: DagCnn, parent: Dag, child: Child, shape: Shape = SHAPE, seed: int = 0
) -> bool:
    found = gaps(space, parent, child.mint(3, 1), shape, seed)
    assert set(found) == {"training", "evaluation"}
    return max(found.values()) <= TOLERANCE


# ---- the function ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRESERVING)
def test_a_morphism_finds_a_place_in_many_graphs(space: DagCnn, name: str) -> None:
    n_applied, seeds = 0, iter(range(60))
    while n_applied < 15:  # of 60
        seed = next(seeds)
        parent = random_graph(space, np.random.default_rng(seed))
        assert parent is not None
        with suppress(NotApplicable):
            n_applied += apply(name, parent, space, seed) is not None


@pytest.mark.parametrize("name", PRESERVING)
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_any_graph_computes_the_same_after_any_morphism(
    space: DagCnn, name: str, seed: int
) -> None:
    parent = random_graph(space, np.random.default_rng(seed))
    assume(parent is not None)
    assert parent is not None
    try:
        child = apply(name, parent, space, seed)
    except NotApplicable:
        reject()
    assert space.problems(child.genotype) == []
    assert child.genotype.key != parent.key
    for shape in (SHAPE, (1, 8, 12)):
        assert preserved(space, parent, child, shape, seed % 1000)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_row_of_morphisms_computes_the_same_as_the_first_parent(space: DagCnn, seed: int) -> None:
    rng = np.random.default_rng(seed)
    first = parent = random_graph(space, rng)
    assume(parent is not None)
    assert first is not None
    assert parent is not None
    blueprint = space.blueprint(parent, SHAPE, 5)
    old = new = randomised(blueprint, seed % 1000).double()
    n_applied = 0
    for trial, name in enumerate(rng.permutation(PRESERVING)[:5].tolist(), 1):
        try:
            child = apply(name, parent, space, seed, trial)
        except NotApplicable:
            continue
        n_applied += 1
        after = space.blueprint(child.genotype, SHAPE, 5)
        grown = build(after, trial).double()
        inherit(grown, after, [(blueprint, new.state_dict())], child.plan)
        parent, blueprint, new = child.genotype, after, grown
    assume(n_applied >= 2)
    images = draw_images(SHAPE, 1)
    for training in (True, False):
        with torch.no_grad():
            expected, got = (in_mode(network, training)(images) for network in (old, new))
        assert (expected - got).abs().max() <= TOLERANCE * max(1, expected.abs().max())


def test_random_padding_grows_alike_but_changes_the_function(space: DagCnn) -> None:
    parent = chain(4, 4)
    children = [apply("random-pad", parent, space, seed) for seed in range(8)]
    assert all(child.plan == {} for child in children)
    assert not any(preserved(space, parent, child) for child in children)
    ops = {tuple(v.op for v in child.genotype.inner) for child in children}
    assert len(ops) > 1  # some were widened, some deepened
    for child in children:
        old, new = (net.state_dict() for net in pair(space, parent, child, SHAPE))
        name = "steps.conv_0.conv.weight"
        assert torch.equal(new[name][:4], old[name])


# ---- learning --------------------------------------------------------------------------------


def residual_and_concat() -> Dag:
    """conv 4; conv 4 + shortcut; two branches of 3 and 4; conv 5."""
    draft = Draft()
    first = draft.add("conv", [draft.input], channels=4, kernel=3)
    second = draft.add("conv", [first], channels=4, kernel=3)
    total = draft.add("sum", [first, second])
    left = draft.add("conv", [total], channels=3, kernel=3)
    right = draft.add("conv", [draft.add("skip", [total])], channels=4, kernel=1)
    joined = draft.add("concat", [left, right])
    draft.connect(draft.add("conv", [joined], channels=5, kernel=3), draft.output)
    return draft.freeze().mint(3, 0)


GROWING: dict[str, Callable[[Dag, DagCnn], Child]] = {
    "r2r widen": lambda dag, space: r2r_widen_to(dag, space, inner(dag, "conv"), 8),
    "zero widen": lambda dag, space: zero_widen_to(dag, space, inner(dag, "conv"), 7),
    "net2net widen": lambda dag, space: net2net_widen_to(
        dag, space, inner(dag, "conv"), 7, np.random.default_rng(0)
    ),
    "r2r deepen": lambda dag, space: r2r_deepen_after(dag, space, inner(dag, "concat")),
    "deepen linear": lambda dag, space: net2net_deepen_after(dag, space, inner(dag, "sum")),
    "deepen conv-relu": lambda dag, space: net2net_deepen_after(
        dag, space, inner(dag, "concat"), "conv-relu", 5
    ),
    "branch in a concat": lambda dag, space: branch_into_concat(
        dag, space, inner(dag, "concat"), dag.inputs(inner(dag, "concat"))[0], 6
    ),
    "branch beside": lambda dag, space: branch_beside(dag, space, inner(dag, "conv", 1), 5),
    "kernel": lambda dag, space: enlarge_kernel(dag, space, inner(dag, "conv", 1), 7),
    "skip": lambda dag, space: skip_between(dag, space, dag.input.tag, inner(dag, "concat")),
}


@pytest.mark.parametrize("kind", GROWING)
def test_explicit_growth_keeps_the_function_and_in_float32_to_rounding(
    space: DagCnn, kind: str
) -> None:
    parent = residual_and_concat()
    child = GROWING[kind](parent, space)
    assert preserved(space, parent, child)
    assert max(gaps(space, parent, child, SHAPE, dtype=torch.float32).values()) <= 1e-5


@pytest.mark.parametrize("kind", GROWING)
def test_new_weights_learn_within_two_steps_and_copies_part(space: DagCnn, kind: str) -> None:
    parent = residual_and_concat()
    child = GROWING[kind](parent, space).mint(3, 1)
    _, network = pair(space, parent, child, SHAPE, seed=1)
    images, labels = draw_images(SHAPE, 2), torch.arange(4)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    moved = {name: torch.zeros_like(p, dtype=torch.bool) for name, p in before.items()}
    known = {t for v in parent.vertices for t in (v.tag, *tags.expand(v.channel_tags))}
    new_steps = [
        s.name for s in network.blueprint.steps if s.role == "vertex" and s.tag not in known
    ]
    optimizer = torch.optim.AdamW(network.train().parameters(), lr=0.01, weight_decay=0.0)
    for step in range(2):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(images), labels).backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None
            moved[name] |= parameter.grad != 0
            # One side of what is new may be silent in the first step, never both for ever.
            assert moved[name].any() or (step == 0 and name.split(".")[1] in new_steps)
        optimizer.step()
    n_new = n_still = 0
    for name, by in network.tagged.items():
        for axis, mine in enumerate(by):
            if name not in before or mine is None:
                continue
            whole = kind == "kernel" or name.split(".")[1] in new_steps
            new = mine if whole else mine[~np.isin(mine, list(known))]
            for i in np.flatnonzero(np.isin(mine, new)).tolist():
                n_new += 1
                n_still += not bool(moved[name].select(axis, i).any())
    assert n_new > 0
    assert n_still <= 0.1 * n_new  # a ReLU may be shut for a channel by chance
    weight = {s.tag: network.get_parameter(f"steps.{s.name}.conv.weight") for s in
              network.blueprint.steps if s.layer == "conv"}  # fmt: skip
    made, read = weight[inner(parent, "conv")], weight[inner(parent, "conv", 1)].transpose(0, 1)
    for rows in (made.detach(), read.detach()):
        for i, j in combinations(range(len(rows)), 2):
            assert not torch.allclose(rows[i], rows[j])
            assert not torch.allclose(rows[i], -rows[j])


# ---- what is written --------------------------------------------------------------------------


def test_twins_are_equal_as_made_and_opposite_as_read(space: DagCnn) -> None:
    parent = residual_and_concat()
    first, second = inner(parent, "conv"), inner(parent, "conv", 1)
    child = r2r_widen_to(parent, space, first, 8).mint(3, 1)
    # The residual sum ties both convolutions; nothing else changes its width.
    widths = [v.get("channels") for v in child.genotype.inner]
    assert widths == [8 if v.tag in (first, second) else v.get("channels") for v in parent.inner]
    _, network = pair(space, parent, child, SHAPE)
    state = network.state_dict()
    for name in (
        "conv.weight",
        "norm.weight",
        "norm.bias",
        "norm.running_mean",
        "norm.running_var",
    ):
        for step in ("conv_0", "conv_1"):
            rows = state[f"steps.{step}.{name}"]
            assert torch.equal(rows[4:6], rows[6:8])
    readers = state["steps.conv_1.conv.weight"]
    assert torch.equal(readers[:, 4:6], -readers[:, 6:8])
    assert readers[:, 4:6].abs().min() > 0


def test_net2net_divides_readers_by_the_replicas_of_their_own_source(space: DagCnn) -> None:
    parent = chain(4, 5)
    first = inner(parent, "conv")
    rng = np.random.default_rng(0)
    child = net2net_widen_to(parent, space, first, 10, rng, noise=0.0).mint(3, 1)
    old, new = (net.state_dict() for net in pair(space, parent, child, SHAPE))
    made, was = new["steps.conv_0.conv.weight"], old["steps.conv_0.conv.weight"]
    originals = [int((was == row).flatten(1).all(1).nonzero()) for row in made]
    counts = torch.tensor([originals.count(i) for i in originals], dtype=torch.float64)
    assert len(set(counts.tolist())) > 1
    expected = old["steps.conv_1.conv.weight"][:, originals] / counts.view(1, -1, 1, 1)
    assert torch.allclose(new["steps.conv_1.conv.weight"], expected, rtol=1e-15)


def test_an_identity_has_its_one_in_the_middle(space: DagCnn) -> None:
    parent = chain(3)
    child = net2net_deepen_after(parent, space, inner(parent, "conv"), "conv-relu", 5).mint(3, 1)
    _, network = pair(space, parent, child, SHAPE)
    weight = network.state_dict()["steps.conv_relu_1.conv.weight"]
    expected = torch.zeros_like(weight)
    expected[range(3), range(3), 2, 2] = 1
    assert torch.equal(weight, expected)
    assert not network.state_dict()["steps.conv_relu_1.conv.bias"].any()


def test_a_channel_read_twice_has_an_identity_for_each_time(space: DagCnn) -> None:
    draft = Draft()
    a = draft.add("conv", [draft.input], channels=3, kernel=3)
    both = draft.add("concat", [a, draft.add("skip", [a])])
    last = draft.add("concat", [a, both])
    draft.connect(draft.add("conv", [last], channels=4, kernel=3), draft.output)
    parent = draft.freeze().mint(3, 0)
    for vertex in (inner(parent, "concat"), inner(parent, "concat", 1), inner(parent, "skip")):
        child = net2net_deepen_after(parent, space, vertex)
        assert preserved(space, parent, child)


def test_a_projection_follows_what_it_is_summed_with(space: DagCnn) -> None:
    draft = Draft()
    a = draft.add("conv", [draft.input], channels=3, kernel=3)
    b = draft.add("conv", [a], channels=6, kernel=3)
    draft.connect(draft.add("sum", [a, b]), draft.output)
    parent = draft.freeze().mint(3, 0)
    wide, narrow = inner(parent, "conv", 1), inner(parent, "conv")
    rng = np.random.default_rng(1)
    for child in (
        r2r_widen_to(parent, space, wide, 8),
        zero_widen_to(parent, space, wide, 9),
        net2net_widen_to(parent, space, wide, 9, rng),
        r2r_widen_to(parent, space, narrow, 5),
        r2r_deepen_after(parent, space, narrow),
    ):
        assert preserved(space, parent, child)
    # At the width of its partner the projection would be dropped.
    with pytest.raises(NotApplicable, match="the decoder would drop a 'project' step"):
        zero_widen_to(parent, space, narrow, 6)


def test_a_concat_inside_a_sum_is_widened_at_equal_places(space: DagCnn) -> None:
    draft = Draft()
    a = draft.add("conv", [draft.input], channels=2, kernel=3)
    b = draft.add("conv", [a], channels=4, kernel=3)
    c = draft.add("conv", [b], channels=6, kernel=3)
    total = draft.add("sum", [draft.add("concat", [a, b]), c])
    draft.connect(draft.add("depthwise", [total], kernel=3), draft.output)
    parent = draft.freeze().mint(3, 0)
    first, third = inner(parent, "conv"), inner(parent, "conv", 2)
    child = r2r_widen_to(parent, space, first, 4)
    assert preserved(space, parent, child)
    old, new = (dag.vertex(third).channel_tags for dag in (parent, child.genotype))
    # The partner's new channels lie behind its second one, beside those of the concat.
    kept = [i for i, t in enumerate(tags.expand(new)) if t in tags.expand(old)]
    assert kept == [0, 1, 4, 5, 6, 7]


# ---- refusals --------------------------------------------------------------------------------


@pytest.mark.parametrize("op", ["over-channels", "in-pairs", "neighbours", "dropped"])
def test_what_mixes_channels_stops_widening_but_not_deepening(space: DagCnn, op: str) -> None:
    space = DagCnn(
        max_channels=24, widths=(2, 4, 6, 8), min_depth=1, layers=["conv", "linear", "sum", op]
    )
    draft = Draft()
    a = draft.add("conv", [draft.input], channels=4, kernel=3)
    kernel = {"kernel": 3} if op == "in-pairs" else {}
    draft.connect(draft.add(op, [a], **kernel), draft.output)
    parent = draft.freeze().mint(3, 0)
    copied = partial(net2net_widen_to, rng=np.random.default_rng(0))
    for widen in (r2r_widen_to, copied, zero_widen_to):
        with pytest.raises(NotApplicable, match=rf"'{op}'.*does not promise"):
            widen(parent, space, inner(parent, "conv"), 6)
    child = r2r_deepen_after(parent, space, inner(parent, op))
    # In training each network drops what it draws.
    modes = {"evaluation"} if op == "dropped" else {"evaluation", "training"}
    found = gaps(space, parent, child.mint(3, 1))
    assert max(found[mode] for mode in modes) <= TOLERANCE


def test_the_image_is_never_widened(space: DagCnn) -> None:
    draft = Draft()
    a = draft.add("conv", [draft.input], channels=3, kernel=3)
    draft.connect(draft.add("sum", [a, draft.input]), draft.output)
    parent = draft.freeze().mint(3, 0)
    with pytest.raises(NotApplicable, match="the image's own channels"):
        zero_widen_to(parent, space, inner(parent, "conv"), 4)
    with pytest.raises(NotApplicable, match="as many channels as the image"):
        r2r_deepen_after(parent, space, inner(parent, "sum"))


def test_a_cap_is_not_added(space: DagCnn) -> None:
    draft = Draft()
    a = draft.add("conv", [draft.input], channels=12, kernel=3)
    b = draft.add("conv", [a], channels=12, kernel=3)
    draft.connect(draft.add("concat", [a, b]), draft.output)
    parent = draft.freeze().mint(3, 0)
    with pytest.raises(NotApplicable, match="would add a 'cap' step"):
        r2r_widen_to(parent, space, inner(parent, "conv"), 14)
    assert preserved(space, parent, net2net_deepen_after(parent, space, inner(parent, "concat")))


def test_a_norm_is_no_identity(space: DagCnn) -> None:
    parent = chain(4, 4)
    with pytest.raises(IncompatibleError, match="norm subtracts the batch's mean"):
        net2net_deepen_after(parent, space, inner(parent, "conv"), "conv")
    with pytest.raises(NotApplicable, match="may give negative values"):
        net2net_deepen_after(
            chain(4, op="linear"), space, inner(chain(4, op="linear"), "linear"), "conv-relu"
        )


def test_an_operator_says_why_it_has_nothing_to_do() -> None:
    bare = DagCnn(layers=("conv", "max_pool"), max_channels=4, kernels=(3,), min_depth=1)
    parent = chain(4)
    widening = ("r2r-widen", "r2r-widen-all", "zero-widen", "net2net-widen")
    reasons = dict.fromkeys(widening, "as wide as it may be") | {
        "r2r-deepen": "no layer 'linear'",
        "r2r-inception": "no layer 'linear'",
        "net2net-deepen": "none of the layers linear, conv-relu",
        "branch": "no layer 'linear'",
        "kernel": "no kernel that can grow",
        "skip": "no layer 'linear'",
        "random-pad": "no layer 'linear'|as wide",
    }
    for name, reason in reasons.items():
        with pytest.raises(NotApplicable, match=reason):
            registry.resolve("morphisms", name)(parent, bare, np.random.default_rng(0))
    assert set(reasons) == set(registry.names("morphisms"))


CALLS: list[tuple[Callable[[Dag, DagCnn], Any], type[Exception], str]] = [
    (lambda d, s: r2r_widen_to(d, s, 99, 8), IllegalGenotypeError, "no vertex carries"),
    (lambda d, s: r2r_deepen_after(d, s, 99), IllegalGenotypeError, "no vertex carries"),
    (
        lambda d, s: skip_between(d, s, 99, inner(d, "sum")),
        IllegalGenotypeError,
        "no vertex carries",
    ),
    (lambda d, s: r2r_widen_to(d, s, inner(d, "conv"), 3), IncompatibleError, "more than 4"),
    (lambda d, s: r2r_widen_to(d, s, inner(d, "conv"), 25), IncompatibleError, "at most 24"),
    (lambda d, s: r2r_widen_to(d, s, inner(d, "conv"), 7), IncompatibleError, "in pairs"),
    (lambda d, s: zero_widen_to(d, s, inner(d, "sum"), 7), IncompatibleError, "owns no channels"),
    (lambda d, s: zero_widen_to(d, s, d.input.tag, 7), NotApplicable, "an inner vertex"),
    (lambda d, s: r2r_deepen_after(d, s, d.output.tag), NotApplicable, "an inner vertex"),
    (lambda d, s: r2r_deepen_after(d, s, inner(d, "sum"), 2), IncompatibleError, "kernel of"),
    (lambda d, s: r2r_deepen_after(d, s, inner(d, "sum"), 3, 5), IncompatibleError, "even number"),
    (
        lambda d, s: r2r_deepen_after(d, s, inner(d, "sum"), op="max_pool"),
        IncompatibleError,
        "conv",
    ),
    (
        lambda d, s: r2r_deepen_after(d, s, inner(d, "sum"), op="cnv"),
        NotApplicable,
        "no layer 'cnv'",
    ),
    (lambda d, s: enlarge_kernel(d, s, inner(d, "conv"), 3), IncompatibleError, "a larger kernel"),
    (lambda d, s: enlarge_kernel(d, s, inner(d, "sum"), 3), IncompatibleError, "of none"),
    (
        lambda d, s: skip_between(d, s, inner(d, "sum"), inner(d, "conv")),
        IncompatibleError,
        "comes before",
    ),
    (
        lambda d, s: branch_into_concat(d, s, inner(d, "concat"), inner(d, "sum"), 4),
        IncompatibleError,
        "an input of",
    ),
    (
        lambda d, s: branch_into_concat(d, s, inner(d, "concat"), inner(d, "conv", 2), 0),
        IncompatibleError,
        "expected 1..24",
    ),
    (lambda d, s: branch_beside(d, s, inner(d, "sum")), IncompatibleError, "expected one input"),
    (
        lambda d, s: net2net_deepen_after(d, s, inner(d, "sum"), "conv-relu", 4),
        IncompatibleError,
        "kernel of",
    ),
]


@pytest.mark.parametrize(("call", "error", "text"), CALLS, ids=[c[2] for c in CALLS])
def test_explicit_choices_that_cannot_be_are_refused(
    space: DagCnn, call: Callable[[Dag, DagCnn], Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        call(residual_and_concat(), space)


def test_draft_widen_keeps_old_channels_in_their_order() -> None:
    parent = chain(5)
    vertex = parent.inner[0]
    draft = parent.edit()
    first = draft.widen(vertex.tag, {0: 2, 4: 1})
    old, new = tags.expand(vertex.channel_tags), tags.expand(draft.vertex(vertex.tag).channel_tags)
    assert new == [old[0], first[0], first[0] + 1, *old[1:], first[4]]
    assert draft.vertex(vertex.tag).channels == 8
    more = draft.widen(vertex.tag, {1: 1})
    assert tags.expand(draft.vertex(vertex.tag).channel_tags)[2] == more[1]
    for wrong in ({99: 1}, {0: 0}):
        with pytest.raises(IllegalGenotypeError, match="expected places in"):
            draft.widen(vertex.tag, wrong)
