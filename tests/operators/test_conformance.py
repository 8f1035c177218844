"""The check passes every built-in and names what each kind of broken operator does wrong."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nasgen import registry
from nasgen.errors import IncompatibleError, NotApplicable, UnknownNameError
from nasgen.genotypes import Child, Dag, Draft, Vertex
from nasgen.operators import crossover, mating, morphism, mutation, pruning
from nasgen.operators.conformance import Report, check_operator
from nasgen.operators.mutation.channels import channels
from nasgen.registry.plugins import Scope
from nasgen.search_spaces.dag_cnn import DagCnn

SPACE = DagCnn()
Check = Callable[..., Report]


@pytest.fixture
def check() -> Iterator[Check]:
    """Register a function, check it on 20 cases, and forget it."""
    used: list[tuple[str, str]] = []

    def run(function: Callable[..., Any], group: str = "mutations") -> Report:
        name = f"test-{len(used)}"
        registry.register(group, name, function)
        used.append((group, name))
        return check_operator(group, name, SPACE, n=20)

    yield run
    for group, name in used:
        registry.unregister(group, name)


@pytest.mark.parametrize(
    ("group", "name"),
    [("mutations", e.name) for e in mutation.ENTRIES if e.accepts == "dag"]
    + [("morphisms", e.name) for e in morphism.ENTRIES if not e.requires]
    + [("crossovers", e.name) for e in crossover.ENTRIES if e.accepts == "dag"],
)
def test_every_built_in_operator_conforms(group: str, name: str) -> None:
    report = check_operator(group, name, SPACE, n=40, seed=1)
    assert report.problems == []
    assert report.warnings == []
    assert report.n_tried == 40
    assert report.n_new == report.n_children
    assert report.n_children + report.n_not_applicable >= 40


@pytest.mark.parametrize("family", [mutation, crossover, morphism, mating, pruning])
def test_every_entry_has_a_file_and_every_file_an_entry(family: Any) -> None:
    files = {p.stem for p in Path(family.__path__[0]).glob("*.py")} - {"__init__", "base"}
    targets = {str(e.target).partition(":")[0].rpartition(".")[2] for e in family.ENTRIES}
    assert targets == files


def only(report: Report) -> str:
    assert not report.ok
    assert len(report.problems) == 1
    return report.problems[0]


def test_an_illegal_child_is_reported_with_the_rule_and_a_counter_example(check: Check) -> None:
    def dead_end(parent: Dag, space: DagCnn, rng: np.random.Generator) -> Dag:
        draft = parent.edit()
        draft.add("skip", [draft.input])
        return draft.freeze()

    problem = only(check(dead_end))
    assert "no path from input to output" in problem
    assert "seed 0, case 0, first parent: 0 input; 1 conv " in problem


def test_an_operator_that_changes_its_input_is_reported(check: Check) -> None:
    def vandal(parent: Dag, space: DagCnn, rng: np.random.Generator) -> Dag:
        v = parent.vertices[-1]
        changed = Vertex(v.tag, v.op, (*v.params, (f"n{len(v.params)}", 1)))
        object.__setattr__(parent, "vertices", (*parent.vertices[:-1], changed))
        return channels(DagCnn().sample(rng), space, rng)

    assert any("changed its input" in p for p in check(vandal).problems)


def test_global_randomness_is_reported(check: Check) -> None:
    def careless(parent: Dag, space: DagCnn, rng: np.random.Generator) -> Dag:
        return channels(parent, space, np.random.default_rng(random.getrandbits(32)))

    assert "two results for one seed" in only(check(careless))


def test_a_wrong_return_type_is_reported(check: Check) -> None:
    def nothing(parent: Dag, space: DagCnn, rng: np.random.Generator) -> None:
        return None

    def single(first: Dag, second: Dag, space: DagCnn, rng: np.random.Generator) -> Dag:
        return first

    def none_at_all(
        first: Dag, second: Dag, space: DagCnn, rng: np.random.Generator
    ) -> tuple[Dag, ...]:
        return ()

    assert "expected a Dag or a Child, got NoneType" in only(check(nothing))
    assert "expected one or two children, got 0" in only(check(none_at_all, "crossovers"))
    assert check(single, "crossovers").problems == []  # a lone genotype is one child


def test_numpy_numbers_in_a_child_are_reported(check: Check) -> None:
    def choose(parent: Dag, space: DagCnn, rng: np.random.Generator) -> Dag:
        draft = parent.edit()
        target = draft.inputs(draft.output)[0]
        draft.insert((np.int64(target), draft.output), "conv", kernel=3, channels=8)
        draft.prune()
        return draft.freeze()

    assert any("int(...) on NumPy numbers" in p for p in check(choose).problems)


def test_invented_and_lost_gene_tags_are_reported(check: Check) -> None:
    def renumbered(parent: Dag, start: int) -> Dag:
        new = {v.tag: start + 1000 * i for i, v in enumerate(parent.vertices)}
        draft_vertices = tuple(
            Vertex(
                new[v.tag],
                v.op,
                v.params,
                ((new[v.tag] + 1, v.channels),) if v.channel_tags else (),
            )
            for v in parent.vertices
        )
        return Dag(draft_vertices, tuple((new[a], new[b]) for a, b in parent.edges))

    def inventing(parent: Dag, space: DagCnn, rng: np.random.Generator) -> Dag:
        return renumbered(channels(parent, space, rng), 10)

    def forgetting(parent: Dag, space: DagCnn, rng: np.random.Generator) -> Dag:
        return renumbered(channels(parent, space, rng), -(1 << 61))

    problems = check(inventing).problems
    assert any("invented the gene tag" in p for p in problems)
    assert any("invented channel tags" in p for p in problems)
    assert "kept no vertex's gene tag" in only(check(forgetting))


def test_a_plan_that_is_not_json_is_reported(check: Check) -> None:
    def planner(parent: Dag, space: DagCnn, rng: np.random.Generator) -> Child:
        return Child(channels(parent, space, rng), {"tags": {1, 2}})

    assert "plan that is not JSON" in only(check(planner))


def test_a_child_with_a_json_plan_conforms(check: Check) -> None:
    def planner(parent: Dag, space: DagCnn, rng: np.random.Generator) -> Child:
        return Child(channels(parent, space, rng), {"tags": {"1": {"fresh": True}}})

    assert check(planner).ok


def test_an_operator_that_never_applies_gets_a_warning(check: Check) -> None:
    def never(parent: Dag, space: DagCnn, rng: np.random.Generator) -> Dag:
        raise NotApplicable("not today.")

    report = check(never)
    assert report.ok
    assert report.n_not_applicable == report.n_tried == 20
    assert "NotApplicable in all 20" in report.warnings[0]


def test_an_operator_that_changes_nothing_gets_a_warning(check: Check) -> None:
    def clone(parent: Dag, space: DagCnn, rng: np.random.Generator) -> Dag:
        return parent

    report = check(clone)
    assert report.ok
    assert report.n_new == 0
    assert "no child differs" in report.warnings[0]


def test_an_exception_is_reported_with_the_line_in_the_users_file(tmp_path: Path) -> None:
    file = tmp_path / "my_ops.py"
    file.write_text(
        "from nasgen.registry import mutation\n"
        "\n"
        "@mutation('test-broken')\n"
        "def broken(parent, space, rng):\n"
        "    draft = parent.edit()\n"
        "    draft.vertex(12345)\n"
        "    return draft.freeze()\n"
    )
    with Scope([file]).load().active():
        problem = only(check_operator("mutations", "test-broken", SPACE, n=3))
    assert "IllegalGenotypeError: no vertex carries the gene tag 12345" in problem
    assert f"line 6 of {file}" in problem


def test_unknown_names_and_groups_that_cannot_be_fuzzed_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'relabel'"):
        check_operator("mutations", "relable", SPACE)
    with pytest.raises(IncompatibleError, match="others need weights"):
        check_operator("prunings", "magnitude", SPACE)


def test_a_draft_absorbs_a_final_vertex_with_provisional_channels_without_a_clash() -> None:
    other = Draft()
    tag = other.add("conv", [other.input], kernel=3, channels=8)
    other.connect(tag, other.output)
    minted = other.freeze().mint(0, 1)
    wide = minted.change(minted.inner[0].tag, channels=12)
    draft = Draft()
    draft.add("conv", [draft.input], kernel=3, channels=8)
    draft.absorb(wide.inner)
    tags_here = [t for v in draft.vertices for s, n in v.channel_tags for t in range(s, s + n)]
    assert len(set(tags_here)) == len(tags_here) == 20
