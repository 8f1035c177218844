"""The labelled paths of a network, each counted in the place that its hash names.

White 2021a (BANANAS) gives each possible path a place of its own, of which a space of free graphs
has too many; hashing needs no list of them (Weinberger 2009), so any genotype is read without its
space, from a file as well. Prefer `paths` in a search: what paths have in common is learnt from
fewer networks than which paths there are.
"""

from __future__ import annotations

import math
from collections import Counter
from hashlib import blake2b
from typing import ClassVar, Final, final

import numpy as np

from nasgen.genotypes import Genotype
from nasgen.predictors.base import Floats
from nasgen.predictors.features.paths import label, read

N_PLACES: Final = 48
MOST_KINDS: Final = 512  # of paths up to a vertex; those with the smallest hashes stay
LEVEL: Final = 1  # labels without the width
START: Final = b"\0" * 8


@final
class PathHashes:
    """Features of a genotype of any kind that has an outline, all finite and >= 0.

    | names | unit |
    |---|---|
    | path_0 .. path_47 | ln(1 + paths whose labels, in their order, hash to that place) |
    | n_paths | ln(1 + paths) |
    | n_kinds | paths with different labels |

    A label is an operation with its settings but the width; identities and sums have none. Of more
    than `MOST_KINDS` kinds of paths up to one vertex, those with the smallest hashes stand for all.
    """

    names: ClassVar[tuple[str, ...]] = (
        *(f"path_{i}" for i in range(N_PLACES)),
        "n_paths",
        "n_kinds",
    )

    def encode(self, genotype: Genotype) -> Floats:
        """Return the features in the order of `names`, float64 (50,)."""
        outline = genotype.outline()
        order, sources, labelled = read(outline)
        kinds: dict[int, Counter[bytes]] = {}
        for place in order:
            own: Counter[bytes] = Counter()
            if outline.nodes[place].op == "input":
                own[START] = 1
            for source in sources[place]:
                own.update(kinds[source])
            if place in labelled:
                name = label(outline.nodes[place], LEVEL).encode()
                own = Counter({_hashed(path + name): n for path, n in own.items()})
            if len(own) > MOST_KINDS:
                own = Counter({path: own[path] for path in sorted(own)[:MOST_KINDS]})
            kinds[place] = own
        found: Counter[bytes] = Counter()
        for place in order:
            if outline.nodes[place].op == "output":
                found.update(kinds[place])
        counts = [0] * N_PLACES
        for path, n in found.items():
            counts[int.from_bytes(path[:4], "big") % N_PLACES] += n
        logs = [math.log1p(n) if n < 1e300 else math.log(n) for n in (*counts, found.total())]
        return np.array([*logs, len(found)], dtype=np.float64)


def _hashed(text: bytes) -> bytes:
    return blake2b(text, digest_size=8).digest()
