"""Surrogates that judge candidates before they are trained."""

from nasgen.registry import Entry

ENTRIES = (
    Entry(
        "ridge",
        "nasgen.predictors.ridge:ridge",
        "Bayesian linear regression: sound with few trials, fits in milliseconds",
        reference="MacKay 1992",
    ),
    Entry(
        "forest",
        "nasgen.predictors.forest:Forest",
        "random forest: sees interactions, wants some fifty trials or more",
        reference="Breiman 2001",
    ),
)
