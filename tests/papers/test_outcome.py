"""What a reproduction begins and ends with: data that are found, figures beside the paper's."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from nasgen.errors import ConfigError
from nasgen.papers import REPRODUCTIONS, chung2017, outcome, painter2018, shafiee2016
from nasgen.papers.base import Request, find, scale_of
from nasgen.papers.outcome import Compared, Target


def asked(scale: str = "", data: str | None = None, seeds: tuple[int, ...] = ()) -> Request:
    return Request(scale, data, Path("out"), seeds)


def test_data_that_are_not_named_are_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NASGEN_DATA", str(tmp_path))
    (tmp_path / "fashion-mnist").mkdir()
    (tmp_path / "cifar-10-batches-bin").mkdir()
    request, _, source = scale_of(asked(), shafiee2016.SCALES)
    assert (request.scale, source) == ("quick", f"mnist:{tmp_path / 'fashion-mnist'}")
    (tmp_path / "mnist").mkdir()
    assert scale_of(asked(), shafiee2016.SCALES)[2] == f"mnist:{tmp_path / 'mnist'}"
    found = scale_of(asked(), painter2018.SCALES)[2]
    assert found == f"cifar10:{tmp_path / 'cifar-10-batches-bin'}"
    assert scale_of(asked("quick", "digits"), painter2018.SCALES)[2] == "digits"
    assert scale_of(asked("tiny"), painter2018.SCALES)[2] == "digits"


def test_without_any_data_the_smallest_scale_runs_on_digits_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    request = Request("", None, tmp_path, note=said.append)
    monkeypatch.delenv("NASGEN_DATA", raising=False)
    made, scale, source = scale_of(request, painter2018.SCALES)
    assert (made.scale, source) == ("tiny", "digits")
    assert scale is painter2018.SCALES["tiny"]
    assert "running the scale 'tiny' on digits" in said[0]
    assert "$NASGEN_DATA is not set" in said[0]
    with pytest.raises(ConfigError, match=r"cifar10:DIR.*digits"):
        scale_of(asked("paper"), painter2018.SCALES)
    monkeypatch.setenv("NASGEN_DATA", str(tmp_path))
    with pytest.raises(ConfigError, match="has no folder mnist or fashion-mnist"):
        scale_of(asked("quick"), shafiee2016.SCALES)
    with pytest.raises(ConfigError, match="did you mean 'quick'"):
        scale_of(asked("quik"), shafiee2016.SCALES)


def test_seeds_are_those_that_are_named_or_as_many_as_the_scale_has() -> None:
    assert scale_of(asked("tiny"), chung2017.SCALES)[0].seeds == (0,)
    assert scale_of(asked("paper", "digits"), chung2017.SCALES)[0].seeds == (0, 1, 2)
    assert scale_of(asked("paper", "digits", (7,)), chung2017.SCALES)[0].seeds == (7,)
    assert scale_of(asked("tiny"), painter2018.SCALES)[0].seeds == (0,)


def test_every_paper_is_found_and_has_the_three_scales() -> None:
    assert set(REPRODUCTIONS) >= {"shafiee2016", "chung2017", "chung2018", "painter2018"}
    for name in REPRODUCTIONS:
        module = __import__(find(name).__module__, fromlist=["SCALES"])
        scales = [scale for scale in module.SCALES if scale != "goals"]  # which only judges
        assert scales == ["tiny", "quick", "paper"]
        smallest = module.SCALES["tiny"].data.partition(":")[0]
        assert smallest in ("digits", "reber"), "no files are needed"


def test_figures_of_one_arm_and_setting_are_one_line_beside_the_papers() -> None:
    values = [0.91, 0.93, math.nan]
    compared = [
        Compared.of("a", "generation 1", "accuracy", 0.95, values),
        Compared.of("a", "generation 1", "size", None, [3]),
        Compared.of("a", "generation 2", "accuracy", None, []),
        Compared.of("a", "generation 2", "size", None, [143136]),
        Compared("b", "of 3", "error", None, "impossible"),
    ]
    first, second, targets = outcome.tables(
        compared, [Target.least("x", 2, 1.9999), Target.near("y", 5.2, 6.0, 0.2),
                   Target.least("z", 1, None)]
    )  # fmt: skip
    assert first.columns == ("arm", "setting", "accuracy", "size")
    assert first.rows[0] == ["a", "generation 1", "0.92 ± 0.1271 (paper 0.95)", "3"]
    assert first.rows[1] == ["a", "generation 2", "–", "143,136"]
    assert second.rows == [["b", "of 3", "impossible"]]
    assert [row[-1] for row in targets.rows] == ["no", "yes", "–"]
    assert outcome.markdown(second).splitlines() == [
        "| arm | setting | error |", "|---|---|---|", "| b | of 3 | impossible |",
    ]  # fmt: skip
