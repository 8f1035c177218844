"""Trained networks as users hold them: how they print, and what they say about new rows."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

import nasgen
from nasgen.runs.combining import combine_runs
from nasgen.settings.ensemble import Ensemble

ROWS = "size,town,y\n" + "".join(
    f"{i % 7},{('Ulm', 'Kiel')[i % 2]},{('a', 'b')[i % 2]}\n" for i in range(80)
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> nasgen.Run:
    folder = tmp_path_factory.mktemp("trained")
    (folder / "rows.csv").write_text(ROWS)
    tables = {
        "data": {"source": f"csv:{folder / 'rows.csv'}?target=y"},
        "algorithm": {"name": "random"},
        "training": {"epochs": 0.5},
        "execution": {"executor": "serial"},
        "budget": {"trials": 3},
        "finish": {"networks": 0},
    }
    return nasgen.run(tables, out=folder / "run")


def test_a_trained_network_prints_as_what_it_is_and_not_as_its_whole_trial(run: nasgen.Run) -> None:
    network = run.network()
    assert repr(network) == f"TrainedNetwork(run='run', trial={network.trial.seq})"


@pytest.mark.parametrize("kind", ["network", "ensemble"])
def test_a_new_category_is_said_once_a_call_at_the_line_that_asks(
    run: nasgen.Run, kind: str
) -> None:
    found = run.network() if kind == "network" else combine_runs([run], Ensemble(name="average"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            found.predict([{"size": 1, "town": "Bonn"}, {"size": 2, "town": "Bonn"}])
        found.predict([{"size": 1, "town": "Ulm"}])
    assert len(caught) == 2
    assert all("column 'town': 'Bonn' did not occur" in str(w.message) for w in caught)
    assert {Path(w.filename) for w in caught} == {Path(__file__)}
