"""The network of [origin]: read, checked against the search space, given tags of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nasgen import genotypes
from nasgen.errors import ConfigError, IllegalGenotypeError
from nasgen.genotypes import Genotype
from nasgen.search_spaces.base import SearchSpace


def read(file: str, space: SearchSpace, space_name: str) -> Genotype:
    """Return the network of a file with provisional tags.

    Raises ConfigError when it cannot be read or is not legal in the search space.
    """
    here = f"origin.genotype: {file}"
    try:
        data = json.loads(Path(file).expanduser().read_text(encoding="utf-8"))
        found: Any = data.get("genotype", data) if isinstance(data, dict) else None
        genotype = genotypes.read(found)  # which refuses what is no mapping
    except OSError as error:
        raise ConfigError(f"{here} cannot be read ({error.strerror or error}).") from None
    except ValueError as error:
        raise ConfigError(
            f"{here}: expected the JSON of a genotype or of a trial (`nasgen show RUN --trial N "
            f"--json`), but {error}"
        ) from None
    try:
        return space.adopt(genotype)
    except IllegalGenotypeError as error:
        raise ConfigError(f"{here} is not legal in the space '{space_name}': {error}") from None
