"""An export in the way of the Hugging Face Hub; nothing here uses the network."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nasgen.errors import MissingExtraError, StoreError
from tests.export.conftest import Case


@pytest.fixture
def model() -> Any:
    hub = pytest.importorskip("huggingface_hub", reason="the extra nasgen[hub] brings it")
    assert hub.ModelHubMixin
    from nasgen.export.hub import HubModel

    return HubModel


def test_an_export_is_loaded_and_saved_as_models_of_the_hub_are(
    model: Any, cases: dict[str, Case], tmp_path: Path
) -> None:
    case = cases["images"]
    found = model.from_pretrained(case.folder)
    x = case.run.dataset.x_test[:20]
    np.testing.assert_allclose(found.predict_proba(x), case.original.predict_proba(x), atol=1e-4)
    found.save_pretrained(tmp_path / "copy")
    names = {file.name: file.read_bytes() for file in case.folder.iterdir()}
    assert {file.name: file.read_bytes() for file in (tmp_path / "copy").iterdir()} == names
    again = model.from_pretrained(tmp_path / "copy")
    assert again.predict_names(x) == found.predict_names(x)
    assert again.classes == case.original.classes
    again.save_pretrained(tmp_path / "copy")  # onto itself
    assert {file.name: file.read_bytes() for file in (tmp_path / "copy").iterdir()} == names


def test_what_is_no_export_is_one_sentence(model: Any, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"model\.json cannot be read"):
        model.from_pretrained(tmp_path)


def test_a_config_of_somebody_names_no_plug_in(
    model: Any, cases: dict[str, Case], tmp_path: Path
) -> None:
    """The mixin hands what config.json says to parameters; code is run by who calls alone."""
    model.from_pretrained(cases["table"].folder).save_pretrained(tmp_path / "copy")
    mark, code = tmp_path / "mark", tmp_path / "evil.py"
    code.write_text(f"import pathlib; pathlib.Path({str(mark)!r}).write_text('run')\n")
    config = {"plugins": [str(code)], "exported": "x", "kwargs": {"plugins": [str(code)]}}
    (tmp_path / "copy" / "config.json").write_text(json.dumps(config))
    model.from_pretrained(tmp_path / "copy")
    assert not mark.exists()
    model.from_pretrained(tmp_path / "copy", plugins=[code])
    assert mark.exists()


def test_without_the_extra_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.delitem(sys.modules, "nasgen.export.hub", raising=False)
    found = importlib.import_module("nasgen.export.hub").HubModel
    for call in (lambda: found.from_pretrained("x"), lambda: found(None)):
        with pytest.raises(MissingExtraError, match=r"pip install 'nasgen\[hub\]' brings it"):
            call()
    monkeypatch.delitem(sys.modules, "nasgen.export.hub")
