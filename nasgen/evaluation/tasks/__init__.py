"""What networks are to answer: the loss, what their outputs mean, how they are measured.

An entry's option "objective" names the registered objective that a search optimises by default.
"""

from nasgen.registry import Entry

ENTRIES = (
    Entry(
        "classification",
        "nasgen.evaluation.tasks.classification:Classification",
        "one class a row: cross-entropy, probabilities, accuracy",
        options={"objective": "val_accuracy"},
    ),
    Entry(
        "regression",
        "nasgen.evaluation.tasks.regression:Regression",
        "one or several values a row: Huber loss, values in the targets' unit, RMSE",
        reference="Huber 1964",
        options={"objective": "val_rmse"},
    ),
)
