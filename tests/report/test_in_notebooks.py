"""What notebooks show of a run, a network, an ensemble and a genotype needs no page around it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import nasgen
from nasgen.genotypes import Draft, drawing
from nasgen.search_spaces.dag_cnn import DagCnn
from tests.progress.test_notebook import SETTINGS

CSS = (Path(nasgen.__file__).parent / "report" / "page.css").read_text()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    x, folder = np.random.default_rng(0).normal(size=(60, 3)), tmp_path_factory.mktemp("shown")
    tables = {**SETTINGS, "store": {"keep_weights": "all"}}
    return nasgen.run(tables, data=(x, np.arange(60) % 2), out=folder / "a <run> & more")


def parsed(html: str) -> ElementTree.Element:
    """Return what is shown as a tree: it is well formed, without style sheets and scripts."""
    assert not re.search(r"<(style|script|link)|\son\w+=", html)
    return ElementTree.fromstring(html)


def boxes(tree: ElementTree.Element) -> list[ElementTree.Element]:
    return [g for g in tree.iter("g") if g.get("class", "").startswith("box ")]


def test_a_genotype_is_drawn_with_its_colours_within() -> None:
    dag = DagCnn().sample(np.random.default_rng(0))
    tree = parsed(dag._repr_html_())
    assert len(boxes(tree)) == len(dag.vertices)
    for box in boxes(tree):
        rect, text = box.find("rect"), box.find("text")
        assert rect is not None
        assert text is not None
        assert rect.get("fill") != rect.get("stroke") == text.get("fill")
    edges = [path for path in tree.iter("path") if path.get("class", "").startswith("edge")]
    assert {edge.get("fill") for edge in edges} == {"none"}
    assert drawing.describe(dag.outline()) in "".join(tree.itertext())


def test_what_is_dead_is_dashed() -> None:
    draft = Draft()
    conv = draft.add("conv", [draft.input], channels=48, kernel=5)
    draft.add("<b>pool", [conv])
    draft.connect(conv, draft.output)
    tree = parsed(draft.freeze()._repr_html_())
    dashed = [e for e in tree.iter() if e.get("stroke-dasharray")]
    assert len(dashed) == 2  # the pool and its edge


def test_colours_are_those_of_the_page_in_the_light() -> None:
    light = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", CSS.split("@media")[0]))
    light |= {"skip": light["surface"], "skip-ink": light["quiet"]}
    for css, (ground, ink) in drawing.PLAIN.items():
        name = css.removeprefix("op-")
        assert (ground, ink) == (light[name], light[f"{name}-ink"])
    assert light["muted"] == drawing.EDGE


def test_a_network_and_an_ensemble_show_their_members(run: Any) -> None:
    network = run.network(0)
    assert network.genotype.key == network.trial.key
    assert len(boxes(parsed(network.genotype._repr_html_()))) > 0
    text = "".join(parsed(network._repr_html_()).itertext())
    assert network.name in text
    assert f"val_accuracy {network.trial.metrics['val_accuracy']:.6g}" in text
    both = type(run.ensemble)((run.network(0), run.network(1)), (0.75, 0.25))
    tree = parsed(both._repr_html_())
    words = "".join(tree.itertext())
    assert "ensemble of 2 networks, mean of probabilities" in words
    assert words.index("share 0.75") < words.index("share 0.25")
    assert len(list(tree.iter("svg"))) == 2


def test_a_run_shows_its_results_and_its_best_network(run: Any) -> None:
    tree = parsed(run._repr_html_())
    rows = {row[0].text: "".join(row[1].itertext()) for row in tree.iter("tr")}
    assert rows["trials"] == "2 complete"
    assert rows["best network"].startswith(f"trial {run.best.seq}: ")
    assert "test accuracy" in rows["best network"]
    assert rows["report"] == str(run.report_path)
    assert len(list(tree.iter("svg"))) == 1


def test_one_network_of_a_run_is_shown_where_it_is_named(run: Any) -> None:
    other = next(trial for trial in run.trials if trial.seq != run.best.seq)
    tree = parsed(nasgen.load(f"{run.path}:{other.seq}")._repr_html_())
    rows = {row[0].text: "".join(row[1].itertext()) for row in tree.iter("tr")}
    assert rows[f"trial {other.seq}"].startswith("validation accuracy ")
    assert f"trial {other.seq}" in "".join(next(tree.iter("figcaption")).itertext())


def test_a_run_that_cannot_be_read_says_why(run: Any, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(run.path, tmp_path / "copy")
    (tmp_path / "copy" / "ledger.db").unlink()
    tree = parsed(nasgen.load(tmp_path / "copy")._repr_html_())
    (row,) = tree.iter("tr")
    assert row[0].text == "not read"
    assert "ledger" in "".join(row[1].itertext())
