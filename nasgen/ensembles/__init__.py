"""Combining trained networks: who takes part, with which share."""

from nasgen.registry import Entry

ENTRIES = (
    Entry(
        "greedy",
        "nasgen.ensembles.greedy:Greedy",
        "adds the network that improves the ensemble on validation rows most, with replacement",
        reference="Caruana 2004",
    ),
    Entry(
        "average",
        "nasgen.ensembles.average:Average",
        "every candidate with the same share",
        reference="Hansen & Salamon 1990",
    ),
    Entry(
        "weighted",
        "nasgen.ensembles.weighted:Weighted",
        "shares in inverse proportion to the validation loss",
        reference="Bates & Granger 1969",
    ),
    Entry(
        "stack",
        "nasgen.ensembles.stack:Stack",
        "shares by regression on validation rows, cross-fitted over folds",
        reference="Breiman 1996",
    ),
    Entry(
        "diverse",
        "nasgen.ensembles.diverse:Diverse",
        "equal shares of networks whose errors complement each other",
        reference="Painter 2018",
    ),
    Entry(
        "soup",
        "nasgen.ensembles.soup:Soup",
        "one network: the mean of the weights of relatives",
        reference="Wortsman 2022",
    ),
)
