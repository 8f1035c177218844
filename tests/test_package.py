"""What the package promises as a whole: names, links, wheel, file sizes, registry rows."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import nasgen
from nasgen import papers, registry

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "nasgen"
LINKS = ("search_spaces", "operators", "predictors")
SOURCES = [
    path
    for folder in ("nasgen", "tests", "benchmarks", "examples")
    for path in sorted((ROOT / folder).rglob("*.py"))
]


def test_the_public_names_are_those_that_resolve() -> None:
    assert set(nasgen.__all__) == {*nasgen._NAMES, "__version__"}
    for name in nasgen.__all__:
        assert getattr(nasgen, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'serach'"):
        nasgen.serach  # noqa: B018


def test_no_module_hides_a_public_name() -> None:
    # Importing a module `nasgen.x` sets the attribute `x` of the package to the module.
    modules = {p.stem for p in PACKAGE.iterdir() if p.suffix == ".py" or p.is_dir()}
    # A package that can be called in the place of the decorator of its name hides nothing.
    hidden = [importlib.import_module(f"nasgen.{name}") for name in modules & set(nasgen._NAMES)]
    assert all(callable(module) for module in hidden)


@pytest.mark.parametrize("name", LINKS)
def test_the_folders_at_the_root_are_relative_links_into_the_package(name: str) -> None:
    link = ROOT / name
    assert link.is_symlink()
    assert link.readlink() == Path("nasgen") / name


def test_no_module_is_imported_through_the_links() -> None:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            modules = (
                [a.name for a in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom) and node.level == 0
                else []
            )
            for module in modules:
                assert module.split(".")[0] not in LINKS, f"{path}: import {module}"


def test_files_stay_readable() -> None:
    for path in SOURCES:
        assert len(path.read_text().splitlines()) <= 500, path
        assert path.name != "utils.py", path


def test_the_wheel_holds_the_package_alone(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="hatchling builds the wheel; `make test` installs it")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        check=True, capture_output=True, cwd=ROOT,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {n.split("/")[0] for n in names} == {
        "nasgen", f"nasgen-{nasgen.__version__}.dist-info"
    }  # fmt: skip
    for needed in (
        "report/page.html.j2", "report/page.css", "papers/demo.toml", "py.typed",
        "predictors/trainings.jsonl.gz",
    ):  # fmt: skip
        assert f"nasgen/{needed}" in names


@pytest.mark.parametrize("group", registry.GROUPS)
def test_every_row_of_the_registry_resolves_and_says_what_it_is(group: str) -> None:
    for name, entry in registry.entries(group).items():
        if entry.origin == "built-in":
            assert entry.summary, (group, name)
            assert registry.resolve(group, name) is not None


def test_no_generated_or_image_file_is_in_the_tree() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], capture_output=True, text=True, cwd=ROOT, check=False
    ).stdout.splitlines()
    # Networks that a reproduction trained are kept on purpose, as text.
    kept = {f"nasgen/papers/{name}.csv.gz" for name in papers.REPRODUCTIONS}
    # What a predictor knows of trainings on other image sets: genotypes and accuracies, as text.
    kept.add("nasgen/predictors/trainings.jsonl.gz")
    # Networks of a paper's own space, trained bit by bit, as text.
    kept.add("nasgen/papers/stier2021-space.csv.gz")
    # A table of trained networks, as text: what an example searches.
    kept.add("examples/mlp_digits.csv.gz")
    # Runs of an older version, which this one must read and go on with.
    kept |= {f"tests/store/old_runs/{name}/ledger.db" for name in ("genetic", "growth", "stopped")}
    generated = (".gz", ".bin", ".pt", ".pkl", ".db")
    assert not [n for n in listed if n.endswith(generated) and n not in kept]
