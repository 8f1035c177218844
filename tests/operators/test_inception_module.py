"""The inception module of growth: several branches, each of which is heard as zero at first."""

from __future__ import annotations

import pytest
import torch

from nasgen.errors import IncompatibleError, NotApplicable
from nasgen.genotypes import Dag, Draft
from nasgen.operators.morphism.r2r_inception import r2r_inception_after
from nasgen.search_spaces.dag_cnn import DagCnn
from nasgen.search_spaces.graph import GraphSpace
from nasgen.search_spaces.inception import Inception
from nasgen.testing.preservation import TOLERANCE, draw_images, gaps, pair

SHAPE = (3, 10, 10)


def parent_of(kernel: int = 3) -> Dag:
    draft = Draft()
    conv = draft.add("conv", [draft.input], channels=8, kernel=kernel)
    draft.connect(draft.add("conv", [conv], channels=8, kernel=kernel), draft.output)
    return draft.freeze().mint(3, 0)


@pytest.mark.parametrize(
    ("space", "kernels", "n_branches"),
    [(Inception(), [1, 1, 1, 1, 3, 5], 4), (DagCnn(max_depth=20), [3, 5], 4)],
)
def test_each_branch_is_there_and_their_joint_output_is_zero(
    space: GraphSpace, kernels: list[int], n_branches: int
) -> None:
    parent = parent_of()
    vertex = parent.inner[0].tag
    child = r2r_inception_after(parent, space, vertex, 4).mint(3, 1)
    assert max(gaps(space, parent, child, SHAPE).values()) <= TOLERANCE
    added = [v for v in child.genotype.inner if v.tag not in {w.tag for w in parent.inner}]
    assert sorted(dict(v.params)["kernel"] for v in added if v.op == "conv") == kernels
    (concat,) = (v.tag for v in added if v.op == "concat")
    assert len(child.genotype.inputs(concat)) == n_branches

    # What the concat gives is not zero, what its reader makes of it is; and all of it can learn.
    network = pair(space, parent, child, SHAPE)[1]
    maps: dict[str, torch.Tensor] = {}
    steps = {step.tag: step.name for step in network.blueprint.steps}
    (reader,) = child.genotype.outputs(concat)
    for tag in (concat, reader):
        network.steps[steps[tag]].register_forward_hook(
            lambda module, inputs, output, tag=tag: maps.update({tag: output})
        )
    network(draw_images(SHAPE, 0)).square().sum().backward()
    assert maps[concat].abs().mean() > 0.01
    assert maps[reader].abs().max() <= TOLERANCE
    grads = [p.grad for n, p in network.named_parameters() if n.endswith("weight") and p.dim() == 4]
    assert all(g is not None and bool(g.abs().sum() > 0) for g in grads)


def test_a_branch_of_an_odd_width_is_refused() -> None:
    parent = parent_of()
    with pytest.raises(IncompatibleError, match="even number of channels"):
        r2r_inception_after(parent, Inception(), parent.inner[0].tag, 3)
    bare = DagCnn(layers=("conv", "linear", "sum", "concat", "max_pool"), kernels=(7,))
    parent = parent_of(kernel=7)
    with pytest.raises(NotApplicable, match="kernel of 3 or 5"):
        r2r_inception_after(parent, bare, parent.inner[0].tag, 4)
