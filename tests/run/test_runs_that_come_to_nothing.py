"""A run that an error ends before any result leaves nothing that stands in the way of the next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import nasgen
from nasgen.errors import OperatorError
from tests.run.test_prune import TINY, prune

pytestmark = pytest.mark.usefixtures("registry_restored")
PRUNING = """
import nasgen

@nasgen.pruning("mine")
def mine(name, weight, support, budget, rng):
    "{what}"
    {body}
"""
FAULTY = {
    "raises": "raise ValueError('no')",
    "keeps more than it may": "return support",
    "returns another shape": "return support.ravel()",
}
RIGHT = """found = support.copy().ravel()
    found[budget:] = False
    return found.reshape(support.shape)"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return nasgen.run(TINY, out=tmp_path_factory.mktemp("nothing") / "trained").path


def pruned(source: Any, out: Path, body: str, *options: Any) -> Any:
    file = out.parent / "mine.py"
    file.write_text(PRUNING.format(what="Of my own.", body=body))
    words = ("--method", "mine", "--plugin", file, "--target", 0.5, "--retrain", 0)
    return prune(source, out, *words, *options)


@pytest.mark.parametrize("fault", FAULTY)
def test_a_faulty_pruning_can_be_mended_and_the_command_typed_again(
    fault: str, trained: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    failed = pruned(f"{trained}:0", out, FAULTY[fault])
    assert failed.exit_code == 2, failed.output
    assert "pruning 'mine'" in failed.output
    assert "resume" not in failed.output
    assert not out.exists()
    again = pruned(f"{trained}:0", out, RIGHT)
    assert again.exit_code == 0, again.output
    assert [t.state for t in nasgen.load(out).trials] == ["COMPLETE"] * 2


def test_a_folder_of_before_stays(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    assert pruned(f"{trained}:0", out, FAULTY["raises"]).exit_code == 2
    assert list(out.iterdir()) == []
    (out / "note.txt").write_text("mine")
    assert pruned(f"{trained}:0", out, FAULTY["raises"]).exit_code == 2
    assert (out / "note.txt").read_text() == "mine"


def test_what_others_put_into_the_folder_stays(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    put = f"import pathlib; pathlib.Path({str(out / 'note.npz')!r}).touch(); raise ValueError('no')"
    assert pruned(f"{trained}:0", out, put).exit_code == 2
    assert [path.name for path in out.iterdir()] == ["note.npz"]


def test_a_network_that_was_trained_first_is_kept(tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ("--data", "digits", "--epochs", 0.5)
    failed = pruned("lenet-300-100", out, FAULTY["keeps more than it may"], *options)
    assert failed.exit_code == 2, failed.output
    assert "then resume the run" in failed.output
    (out.parent / "mine.py").write_text(PRUNING.format(what="Of my own.", body=RIGHT))
    run = nasgen.resume(out, plugins=[str(out.parent / "mine.py")])
    assert [t.state for t in run.trials] == ["COMPLETE"] * 2
    assert run.trial(0).attempt == 1


def test_a_search_whose_first_candidate_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "import nasgen\nfrom nasgen.search_spaces.dag_cnn import DagCnn\n\n"
        "@nasgen.search_space('mine')\nclass Mine(DagCnn):\n"
        "    'Of my own.'\n    def sample(self, rng):\n        raise ValueError('no')\n"
    )
    settings = {
        **TINY, "algorithm": {"name": "random"}, "origin": {}, "plugins": {"files": [str(file)]},
        "space": {"name": "mine"},
    }  # fmt: skip
    with pytest.raises(OperatorError, match="begin it again"):
        nasgen.run(settings, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
