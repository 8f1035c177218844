"""What operators on recurrent layers share: try an edit until the child is a legal, new network."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nasgen.errors import IllegalGenotypeError, NotApplicable
from nasgen.genotypes import Draft
from nasgen.genotypes.recurrent import Recurrent
from nasgen.search_spaces.recurrent import RecurrentSpace

N_TRIES = 10


def vary(
    parent: Recurrent,
    space: RecurrentSpace,
    rng: np.random.Generator,
    edit: Callable[[Draft, np.random.Generator], None],
) -> Recurrent:
    """Return the first legal child with a new key that `edit` makes of a copy of the parent.

    Raises NotApplicable when none of `N_TRIES` tries succeeds, and for a network whose units are
    joined one by one, of which layers are no free choice.
    """
    if parent.links is not None or parent.recurrent is not None:
        raise NotApplicable("its units are joined one by one.", kind="no_place")
    reason = "the child is the same network as its parent."
    for _ in range(N_TRIES):
        draft = parent.edit()
        try:
            edit(draft, rng)
            draft.prune()
            child = Recurrent.of(draft.freeze())
        except IllegalGenotypeError as error:
            reason = str(error)
            continue
        wrong = space.problems(child)
        if not wrong and child.key != parent.key:
            return child
        reason = wrong[0] if wrong else reason
    raise NotApplicable(f"no legal child in {N_TRIES} tries; the last: {reason}", kind="illegal")
