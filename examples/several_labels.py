"""A task of its own: several labels a picture, with its loss, its metrics and its first objective.

    nasgen check several_labels.py
    nasgen search --data pairs --plugin several_labels.py

`pairs` are two handwritten digits side by side; the labels say which of the ten digits are in the
picture, and a network answers with a probability for each.
"""

import numpy as np

import nasgen


@nasgen.objective("val_f1", options={"direction": "maximize", "unit": "fraction", "metric": "f1"})
def val_f1(measured):
    """Harmonic mean of precision and recall of all labels of the validation rows."""
    return float(measured.metrics["val_f1"])


@nasgen.dataset("pairs", options={"example": ""})
def pairs(rest):
    """pairs: 1,200 pictures of 8x16, two digits of scikit-learn each."""
    from sklearn.datasets import load_digits

    images, digits = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    both = rng.integers(0, len(images), (1200, 2))
    x = np.concatenate(np.split(images[both].reshape(1200, 2, 8, 8), 2, axis=1), axis=3)
    x = np.round(x * (255 / 16)).astype(np.uint8)
    y = np.zeros((1200, 10), np.uint8)
    y[np.arange(1200)[:, None], digits[both]] = 1
    names = tuple("0123456789")
    return nasgen.Dataset("pairs", x[:1000], y[:1000], x[1000:], y[1000:], names, task="labels")


@nasgen.task("labels", options={"objective": "val_f1"})
class Labels(nasgen.Task):
    """Targets are (N, k) of 0 and 1, predictions (N, k) probabilities."""

    metrics = ("f1", "exact", "loss")
    metric = "f1"
    direction = "maximize"

    def __init__(self, n_labels):
        self.n_labels = n_labels

    @classmethod
    def fit(cls, dataset, rows):
        return cls(dataset.targets.shape[1])

    def state(self):
        return {"n_labels": self.n_labels}, {}

    @classmethod
    def restore(cls, facts, arrays):
        return cls(facts["n_labels"])

    @property
    def n_outputs(self):
        return self.n_labels

    def prepared(self, targets):
        return targets.astype(np.float32)

    def loss(self, outputs, targets, smoothing=0.0):
        import torch.nn.functional as F

        aims = targets * (1 - smoothing) + smoothing / 2
        return F.binary_cross_entropy_with_logits(outputs.float(), aims)

    def predictions(self, outputs):
        return outputs.sigmoid()

    def standalone(self):  # the same for `nasgen export`
        from torch import nn

        return nn.Sigmoid()

    def measured(self, predictions, targets):
        said, wanted = predictions > 0.5, targets > 0
        p = np.clip(predictions.astype(np.float64), 1e-12, 1 - 1e-12)
        return {
            "f1": float(2 * (said & wanted).sum() / max(1, said.sum() + wanted.sum())),
            "exact": float((said == wanted).all(axis=1).mean()),
            "loss": float(-np.where(wanted, np.log(p), np.log(1 - p)).mean()),
        }

    def correct(self, predictions, targets):
        return ((predictions > 0.5) == (targets > 0)).all(axis=1)

    def decided(self, predictions):
        return predictions > 0.5
