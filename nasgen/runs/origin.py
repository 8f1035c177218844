"""The network of [origin]: read, checked against the search space, given tags of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nasgen.errors import ConfigError
from nasgen.genotypes import Dag, Draft
from nasgen.search_spaces.base import SearchSpace
from nasgen.search_spaces.cells import CellSpace


def read(file: str, space: SearchSpace, space_name: str) -> Dag:
    """Return the network of a file with provisional tags.

    Raises ConfigError when it cannot be read or is not legal in the search space.
    """
    here = f"origin.genotype: {file}"
    try:
        data = json.loads(Path(file).expanduser().read_text(encoding="utf-8"))
        found: Any = data.get("genotype", data) if isinstance(data, dict) else None
        genotype = Dag.from_json(found)  # which refuses what is no mapping
    except OSError as error:
        raise ConfigError(f"{here} cannot be read ({error.strerror or error}).") from None
    except ValueError as error:
        raise ConfigError(
            f"{here}: expected the JSON of a genotype or of a trial (`nasgen show RUN --trial N "
            f"--json`), but {error}"
        ) from None
    wrong = space.problems(genotype)
    if wrong:
        raise ConfigError(f"{here} is not legal in the space '{space_name}': {wrong[0]}")
    # Tags of its own: those that another run gave may be given again here.
    if isinstance(space, CellSpace):
        return space.template.dag(space.template.ops(genotype))
    draft = Draft()
    tag = {genotype.input.tag: draft.input, genotype.output.tag: draft.output}
    for v in genotype.inner:
        tag[v.tag] = draft.add(v.op, [tag[s] for s in genotype.inputs(v.tag)], **dict(v.params))
    draft.connect(tag[genotype.inputs(genotype.output.tag)[0]], draft.output)
    return draft.freeze()
