"""Every layer, and networks of every search space, are exported in every format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nasgen import registry
from nasgen.data.columns import numbered
from nasgen.evaluation.feeds.image import ImageFeed
from nasgen.evaluation.feeds.sequence import SequenceFeed
from nasgen.evaluation.feeds.table import TableFeed
from nasgen.evaluation.tasks.classification import Classification
from nasgen.evaluation.transform import Transform
from nasgen.export.folder import FORMATS, Rows, write
from nasgen.export.subject import Live, Member, Subject
from nasgen.genotypes import Genotype, Outline
from nasgen.layers.base import find_layer
from nasgen.phenotype.network import build
from nasgen.search_spaces.blueprint import INPUT, Blueprint, Step

N_CLASSES = 3
SHAPES = {1: (4,), 2: (5, 6), 3: (2, 9, 8)}
SETTINGS: Mapping[str, Any] = {
    "channels": 6,
    "kernel": 3,
    "classes": N_CLASSES,
    "height": 4,
    "width": 4,
}
SPACES = {
    "dag-cnn": {"max_channels": 16}, "inception": {"width": 8, "max_channels": 32}, "mlp": {},
    "nasbench201": {"channels": 4},
    "nasbench-macro": {"channels": 4},
    "recurrent": {"widths": (4, 6), "embedding": 5, "directions": "both"},
    "random-graph-rnn": {"most": 12}, "random-graph-mlp": {"most": 12},
}  # fmt: skip


class _NoGenotype:
    """Stands for the genotype of a network that was made of steps."""

    def outline(self) -> Outline:
        return Outline((), ())

    def to_json(self) -> dict[str, Any]:
        return {}


def feed_of(shape: tuple[int, ...]) -> Any:
    if len(shape) == 3:
        ones = np.ones(shape[0], np.float32)
        return ImageFeed(shape, "float32", 0.1 * ones, 1.5 * ones)
    if len(shape) == 2:
        ones = np.ones(shape[0], np.float32)
        return SequenceFeed(0, shape[1], 0.1 * ones, 1.5 * ones)
    ones = np.ones(shape[0])
    return TableFeed(numbered(shape[0]), (), 0.1 * ones, 1.5 * ones, 0 * ones, ones > 1)


def raw_of(shape: tuple[int, ...], n: int = 6) -> Any:
    rng = np.random.default_rng(0)
    if len(shape) == 2:
        x = rng.normal(size=(n, *shape[::-1])).astype(np.float32)
        return {"x": x, "lengths": rng.integers(1, shape[1] + 1, n)}
    return rng.normal(size=(n, *shape)).astype(np.float32 if len(shape) == 3 else np.float64)


def subject_of(blueprint: Blueprint, genotype: Any = None) -> Subject:
    network = build(blueprint, seed=1).train()
    feed = feed_of(blueprint.input_shape)
    transform = Transform(
        {1: "table", 2: "sequence", 3: "image"}[len(blueprint.input_shape)], feed,
        "classification", Classification(N_CLASSES), ("a", "b", "c"),
    )  # fmt: skip
    member = Member(network, genotype or _NoGenotype(), 1.0)
    subject = Subject((member,), transform)
    with torch.no_grad():  # statistics of norms that are no zeros and ones
        for _ in range(30):
            Live(subject, tuple(subject.inputs(raw_of(blueprint.input_shape, 16)))).train()(
                *subject.inputs(raw_of(blueprint.input_shape, 16)).values()
            )
    network.eval()
    return subject


def answers_of(subject: Subject, raw: Any) -> Any:
    inputs = subject.inputs(raw)
    with torch.inference_mode():
        return Live(subject, tuple(inputs)).eval()(*inputs.values()).numpy()


def exported(subject: Subject, folder: Path, formats: tuple[str, ...] = FORMATS) -> dict[str, Any]:
    raw = raw_of(subject.members[0].blueprint.input_shape)
    expected = answers_of(subject, raw)
    assert np.ptp(expected, axis=0).max() > 1e-4  # not the same for all rows
    rows = Rows(raw, expected, np.zeros(len(expected), np.int64))
    written = write(subject, rows, folder, formats)
    assert written.refused == {}
    return written.record["formats"]


class Steps:
    """Blueprints made step by step."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape, self.steps, self.here = shape, [], {INPUT: shape}

    def add(self, layer: str, *inputs: str, others: tuple[str, ...] = (), **params: Any) -> str:
        shapes = tuple(self.here[name] for name in inputs)
        name = f"{layer.replace('-', '_')}_{len(self.steps)}"
        out = tuple(find_layer(layer).out_shape(params, shapes))
        step = Step(name, layer, "vertex", len(self.steps), inputs, tuple(sorted(params.items())),
                    shapes, out, others=others)  # fmt: skip
        self.steps.append(step)
        self.here[name] = out
        return name

    def blueprint(self) -> Blueprint:
        return Blueprint(self.shape, N_CLASSES, tuple(self.steps))


def settings_of(layer: str) -> Iterator[dict[str, Any]]:
    """Yield settings of a layer: those that branch, each way."""
    domain = find_layer(layer).domain
    plain = {n: SETTINGS.get(n, values[-1] if values else None) for n, values in domain.items()}
    yield plain
    for name, values in domain.items():
        if name not in ("channels", "kernel") and len(values) > 1:
            yield plain | {name: values[0]}


RECURRENT = ("rnn_tanh", "rnn_relu", "gru", "lstm")


def network_of(rank: int, left_out: tuple[str, ...] = ()) -> Blueprint:
    """Return one network with every layer that reads this number of axes, one behind another."""
    network, used = Steps(SHAPES[rank]), []
    here = INPUT
    for name in registry.names("layers"):
        rules = find_layer(name)
        if name in ("head", "resize", *left_out) or rank not in rules.ranks:
            continue
        for settings in settings_of(name):
            size = network.here[here]
            if len(size) != rank or min(size[1:], default=9) < 4:  # a pool has shrunk it
                here = INPUT
            before = [here, network.add("skip", here)] if rules.merges else [here]
            has_lengths = name in ("over_time", "last_step", *RECURRENT)
            others = ("input.lengths",) if has_lengths else ()
            made = network.add(name, *before, others=others, **settings)
            used.append(made)
            here = made
    if rank == 3:
        used.append(network.add("resize", INPUT, height=4, width=4))
        used.append(network.add("resize", INPUT, height=3, width=5))
    heads = [
        network.add("head", name, classes=N_CLASSES)
        for name in used
        if len(network.here[name]) in (1, 3) or rank == 2
    ]
    network.add("sum", *heads)
    return network.blueprint()


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_every_layer_is_exported(rank: int, tmp_path: Path) -> None:
    blueprint = network_of(rank, RECURRENT)
    # Dense layers are in the ONNX of tables, see test_exported_runs.
    exported(subject_of(blueprint), tmp_path / "out", ("python",) if rank == 1 else FORMATS)
    text = (tmp_path / "out" / "model.py").read_text()
    for step in blueprint.steps:
        assert f"self.{step.layer.replace('-', '_')}" in text


def test_recurrent_layers_are_exported_as_source_and_refused_elsewhere(tmp_path: Path) -> None:
    """torch.export would write them out step by step, for one length."""
    subject = subject_of(network_of(2))
    raw = raw_of(SHAPES[2])
    rows = Rows(raw, answers_of(subject, raw), np.zeros(6, np.int64))
    written = write(subject, rows, tmp_path / "out", FORMATS)
    assert set(written.refused) == {"onnx", "torch"}
    assert all("one length alone" in reason for reason in written.refused.values())
    assert written.record["formats"]["python"]["largest_difference"] < 1e-6


def test_no_layer_is_left_out() -> None:
    used = {step.layer for rank in SHAPES for step in network_of(rank).steps}
    assert used == {*registry.names("layers")}


@pytest.mark.parametrize("space", SPACES)
def test_networks_of_every_space_are_exported(space: str, tmp_path: Path) -> None:
    assert {*SPACES} == {
        e.name for e in registry.entries("search_spaces").values() if e.origin == "built-in"
    }
    found = registry.resolve("search_spaces", space)(**SPACES[space])
    shape = {1: SHAPES[1], 2: SHAPES[2], 3: (2, 8, 8)}[found.ranks[0]]
    for i in range(2):
        genotype: Genotype = found.sample(np.random.default_rng(i)).mint(0, i)
        subject = subject_of(found.blueprint(genotype, shape, N_CLASSES), genotype)
        exported(subject, tmp_path / f"{i}", ("python",))  # the others trace what python writes


def test_the_source_of_a_network_computes_what_the_network_does(tmp_path: Path) -> None:
    """The comparison at the export finds a wrong weight."""
    subject = subject_of(network_of(1))
    raw = raw_of(SHAPES[1])
    expected = answers_of(subject, raw) + 2e-4
    from nasgen.errors import EvaluationError

    with pytest.raises(EvaluationError, match=r"python: its answers differ .* by up to 0.0002"):
        write(subject, Rows(raw, expected, np.zeros(6)), tmp_path / "out", ("python",))
    assert not (tmp_path / "out").exists()
