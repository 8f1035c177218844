"""The search spaces that built-in operators need: they ask these for layers, widths and limits."""

from typing import Final

GRAPHS: Final = "nasgen.search_spaces.graph:GraphSpace"
CELLS: Final = "nasgen.search_spaces.cells:CellSpace"
STACKS: Final = "nasgen.search_spaces.recurrent:RecurrentSpace"
