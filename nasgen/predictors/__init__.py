"""Surrogates that judge candidates before they are trained."""

from nasgen.registry import Entry

ENTRIES = (
    Entry(
        "ridge",
        "nasgen.predictors.ridge:ridge",
        "Bayesian linear regression: reliable with few trials, fits in milliseconds",
        reference="MacKay 1992",
    ),
    Entry(
        "forest",
        "nasgen.predictors.forest:Forest",
        "random forest: finds interactions, reliable from twenty trials on",
        reference="Breiman 2001",
    ),
    Entry(
        "adaboost",
        "nasgen.predictors.adaboost:AdaBoost",
        "boosted trees that put weight on what was predicted badly, as in the paper",
        reference="Drucker 1997; Stier 2021, section 4.4",
    ),
    Entry(
        "boosting",
        "nasgen.predictors.boosting:Boosting",
        "gradient boosting, bagged for an uncertainty: strong from a hundred trials on",
        reference="Friedman 2001",
    ),
    Entry(
        "gp",
        "nasgen.predictors.gp:gp",
        "Gaussian process: smooth, with a good uncertainty, up to some 500 trials",
        reference="Rasmussen 2006; Salinas 2020",
    ),
    Entry(
        "rank",
        "nasgen.predictors.rank:rank",
        "linear, learns the order of trials instead of their values: robust to outliers",
        reference="van der Waerden 1952",
    ),
    Entry(
        "pairwise",
        "nasgen.predictors.pairwise:pairwise",
        "linear, learns from pairs which of two trials is better: the whole order before the top",
        reference="Bradley 1952; Joachims 2002",
    ),
    Entry(
        "ensemble",
        "nasgen.predictors.ensemble:Ensemble",
        "the mean of ridge, rank, gp, forest and boosting",
        reference="White 2021b",
    ),
    Entry(
        "transfer",
        "nasgen.predictors.transfer:Transfer",
        "knows trainings on other image sets before the first one, then learns from the run too",
        reference="Friedman 2001; MacKay 1992",
        requires=("trainings",),
    ),
    Entry(
        "zero-cost",
        "nasgen.predictors.zero_cost:ZeroCost",
        "no model: the score of the untrained network that predictor.score names",
        reference="Abdelfattah 2021",
        requires=("scores",),
    ),
)
