"""An algorithm says whether its run stands for the best network or for the last one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

import nasgen
from nasgen.errors import ConfigError
from nasgen.runs import offered

WORST = '''
from typing import ClassVar

from nasgen.engine.algorithms.base import Generational


class Worst(Generational):
    """Draws networks and ends with the worst of them."""

    made_for_the_last: ClassVar[bool] = {is_last}

    def breed(self, rng):
        return [self.toolbox.sample(self.generation) for _ in range(3)]

    def survive(self, offspring, rng):
        return sorted(offspring, key=lambda one: one.fitness.wvalues)[:1]
'''


@pytest.mark.parametrize("is_last", [True, False])
def test_a_plug_in_algorithm_says_which_network_its_run_stands_for(
    is_last: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = f"ends_with_the_worst_{is_last}"
    (tmp_path / f"{module}.py").write_text(WORST.format(is_last=is_last))
    monkeypatch.syspath_prepend(str(tmp_path))
    settings: dict[str, Any] = {
        "algorithm": {"name": f"{module}:Worst", "population": 3},
        "space": {"name": "dag-cnn", "max_channels": 8, "max_vertices": 5},
        "training": {"epochs": 0.5}, "budget": {"trials": 3}, "finish": {"networks": 0},
        "execution": {"executor": "serial"}, "predictor": {"name": "none"},
    }  # fmt: skip
    made = nasgen.run(settings, out=tmp_path / "run")
    del sys.modules[module]
    run = nasgen.load(made.path)
    ranked = [trial.seq for trial in run.ranked]
    wanted = ranked[-1] if is_last else ranked[0]
    assert run.record["population"] == [ranked[-1]] != [ranked[0]]
    assert run.trial().seq == run.summary["best"]["trial"] == wanted
    assert offered.candidates(run)[0].seq == wanted
    assert module not in sys.modules, "reading a run imports no plug-in"
    with pytest.raises(ConfigError) as told:
        nasgen.resume(made.path, plugins=[module])
    assert ("go on from the network that it ended with" in str(told.value)) == is_last


def test_runs_of_before_say_nothing_and_end_as_they_did(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "algorithm": {"name": "prune", "target": 0.9, "first_epochs": 1.0, "epochs": 0.0},
        "origin": {"network": "lenet-300-100"}, "execution": {"executor": "serial"},
        "finish": {"networks": 0}, "predictor": {"name": "none"}, "store": {"keep_weights": "all"},
    }  # fmt: skip
    run = nasgen.run(settings, out=tmp_path / "run")
    record = run.folder.record()
    assert record.pop("made_for_the_last")
    run.folder.write_json("run.json", record)
    again = nasgen.load(run.path)
    assert [trial.seq for trial in again.ranked] == [0, 1]
    assert again.trial().seq == 1
