"""Environments: which synapses of a mated stock survive; see `base`. The papers' factors F, R."""

from nasgen.registry import Entry

_HERE = "nasgen.operators.environment"
_SHAFIEE = "Shafiee 2016, equations 3 to 5"

ENTRIES: tuple[Entry, ...] = (
    Entry(
        "literal",
        f"{_HERE}.literal:Literally",
        "the equations as they stand: fixed factors, so far fewer survive than the text says",
        reference=_SHAFIEE,
    ),
    Entry(
        "factor",
        f"{_HERE}.factor:Factor",
        "one factor a level, solved for the wanted number: most likely what the papers did",
        reference=f"{_SHAFIEE}; Chung 2017, equation 6",
    ),
    Entry(
        "normaliser",
        f"{_HERE}.normaliser:Normaliser",
        "the equations' free normalisers Z and z, solved: more selective where over half survives",
        reference=f"{_SHAFIEE}; Chung 2017, equation 6",
    ),
    Entry(
        "rank",
        f"{_HERE}.rank:Rank",
        "the wanted number with the best scores: magnitude, layer-adaptive (LAMP), or loss",
        reference="Lee 2021; Kool 2019; Zhu 2017",
    ),
    Entry(
        "random",
        f"{_HERE}.random:Random",
        "all equally likely, as many as the others keep: the control",
        reference="Stier 2021, section 4.1",
    ),
)
