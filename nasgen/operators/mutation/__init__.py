"""Mutations: functions of (parent, space, rng) that return one changed genotype or `Child`.

Those that run in the worker change weights and supports instead; they take part only where they are
named.
"""

from nasgen.operators.needs import CELLS, GRAPHS, STACKS
from nasgen.registry import Entry

_HERE = "nasgen.operators.mutation"
_STIER = "Stier 2021, section 4.4"

ENTRIES = (
    Entry(
        "relabel",
        f"{_HERE}.relabel:relabel",
        "another operation or other settings for one vertex",
        reference=_STIER,
        accepts="dag",
        space=GRAPHS,
    ),
    Entry(
        "insert-subgraph",
        f"{_HERE}.insert_subgraph:insert_subgraph",
        "a chain, a parallel or a residual block of 1 to 3 vertices on an edge",
        reference=_STIER,
        accepts="dag",
        space=GRAPHS,
    ),
    Entry("remove", f"{_HERE}.remove:remove", "one vertex bypassed", accepts="dag", space=GRAPHS),
    Entry(
        "rewire",
        f"{_HERE}.rewire:rewire",
        "one edge moved to another source",
        accepts="dag",
        space=GRAPHS,
    ),
    Entry(
        "channels",
        f"{_HERE}.channels:channels",
        "one vertex a step wider or narrower, its kept channels keep their tags",
        accepts="dag",
        space=GRAPHS,
    ),
    Entry(
        "insert-skip",
        f"{_HERE}.insert_skip:insert_skip",
        "a shortcut from an earlier vertex, joined by a merging vertex",
        reference="He 2016",
        accepts="dag",
        space=GRAPHS,
    ),
    Entry(
        "relabel-edge",
        f"{_HERE}.relabel_edge:relabel_edge",
        "another operation on one edge of a cell",
        reference="White 2021",
        accepts="cell",
        space=CELLS,
    ),
    Entry(
        "rnn-cell",
        f"{_HERE}.rnn_cell:rnn_cell",
        "another kind of recurrent layer at one place",
        accepts="recurrent",
        space=STACKS,
    ),
    Entry(
        "rnn-units",
        f"{_HERE}.rnn_units:rnn_units",
        "one recurrent layer a step wider or narrower, kept units keep their tags",
        accepts="recurrent",
        space=STACKS,
    ),
    Entry(
        "rnn-layer",
        f"{_HERE}.rnn_layer:rnn_layer",
        "one recurrent layer inserted or removed",
        accepts="recurrent",
        space=STACKS,
    ),
    Entry(
        "rnn-skip",
        f"{_HERE}.rnn_skip:rnn_skip",
        "one connection between recurrent layers added or removed",
        accepts="recurrent",
        space=STACKS,
    ),
    Entry(
        "regrow",
        f"{_HERE}.regrow:Regrow",
        "some pruned synapses or kernels of a network come back, with the weight 0",
        reference="Mocanu 2018",
        runs_in="worker",
        options={"usual": False, "sparse": True},
    ),
)
