"""An export in the way of the Hugging Face Hub: `from_pretrained`, `save_pretrained`.

Needs the extra `nasgen[hub]`. nasgen uploads nothing; `push_to_hub` is huggingface_hub's own.
"""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from nasgen.errors import MissingExtraError, StoreError
from nasgen.export import reading
from nasgen.export.reading import Exported

TAGS: Final = ("nasgen", "neural-architecture-search")


class _Missing:
    """Stands for the mixin of huggingface_hub where that is not installed."""

    def __init_subclass__(cls, **_: Any) -> None: ...

    def __new__(cls, *_: Any, **__: Any) -> NoReturn:
        raise MissingExtraError(
            "HubModel needs huggingface_hub: pip install 'nasgen[hub]' brings it. Without it, "
            "nasgen.load reads the folder of an export."
        )

    @classmethod
    def from_pretrained(cls, *_: Any, **__: Any) -> NoReturn:
        cls.__new__(cls)
        raise AssertionError  # not reached


def _mixin() -> Any:
    try:
        return importlib.import_module("huggingface_hub").ModelHubMixin
    except ImportError:
        return _Missing


class HubModel(_mixin(), library_name="nasgen", tags=[*TAGS]):  # type: ignore[misc, call-arg]
    """An exported network or ensemble as a model of the Hub.

        model = HubModel.from_pretrained("found")  # a folder of `nasgen export`, or a repository
        model.predict(rows)
        model.save_pretrained("copy")  # the folder, with its card

    Nothing of a folder or repository is executed or unpickled: see `nasgen.export.reading`.
    `from_pretrained(..., plugins=[...])` names files and modules whose layers it needs. `exported`
    is what `nasgen.load` returns.
    """

    def __init__(self, exported: Exported) -> None:
        self.exported = exported
        self._hub_mixin_config = None  # model.json says it all

    @property
    def classes(self) -> tuple[str, ...]:
        """Name of each class, in the order of `predict`; empty where the task has none."""
        return self.exported.classes

    def predict_proba(self, rows: Any) -> reading.Array:
        """Return the task's predictions of raw rows; see `Exported.predict_proba`."""
        return self.exported.predict_proba(rows)

    def predict(self, rows: Any) -> reading.Array:
        """Return the answer for each raw row: the place of the class in `classes`, or the value."""
        return self.exported.predict(rows)

    def predict_names(self, rows: Any) -> list[str]:
        """Return the name of the class of each raw row."""
        return self.exported.predict_names(rows)

    # ---- what huggingface_hub calls ----------------------------------------------------------

    def _save_pretrained(self, save_directory: Path) -> None:
        """Copy the files of the export; StoreError where that cannot be done."""
        source = self.exported.path
        if source is None:
            raise StoreError(
                "this export lies in memory alone; write it into a folder with `export` and load "
                "that with nasgen.load."
            )
        try:
            for file in sorted(p for p in source.iterdir() if p.is_file()):
                if file.resolve() != (save_directory / file.name).resolve():
                    shutil.copyfile(file, save_directory / file.name)
        except OSError as error:
            raise StoreError(
                f"cannot copy {source} to {save_directory}: {error.strerror or error}."
            ) from None

    @classmethod
    def _from_pretrained(
        cls, *, model_id: str, plugins: Sequence[Any] = (), **settings: Any
    ) -> HubModel:
        """Return the model in a folder, or in a repository of the Hub.

        `plugins` come from who calls: the mixin passes on what config.json says for parameters of
        `__init__` alone, which may be anybody's.
        """
        folder = Path(model_id)
        if not folder.is_dir():
            known = ("revision", "cache_dir", "force_download", "local_files_only", "token")
            given = {name: settings[name] for name in known if name in settings}
            hub: Any = importlib.import_module("huggingface_hub")
            folder = Path(hub.snapshot_download(repo_id=model_id, **given))
        return cls(reading.opened(folder, plugins))
