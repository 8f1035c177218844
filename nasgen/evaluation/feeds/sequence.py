"""Sequences of unequal length: tokens (N, T) or vectors (N, T, F), with the length of each.

A batch is as long as its longest sequence; networks get the lengths besides and read nothing
behind them. Vectors are standardised by the features' mean and deviation over the steps of the
training part. A token that training has not seen has a number of its own, the last one; where
the data have a vocabulary, each of its tokens has its own, and others are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, final

import numpy as np
from numpy.typing import NDArray

from nasgen.data import forms, tokens
from nasgen.errors import DataError
from nasgen.evaluation.feeds.base import Array, Feed, Inputs, count, stored
from nasgen.layers.base import Shape

if TYPE_CHECKING:
    from torch import Tensor, nn

    from nasgen.data.base import Dataset

VALUES_AT_ONCE: Final = 4_000_000  # of a batch in evaluation


@final
class SequenceFeed(Feed):
    """`n_tokens` is the number of tokens that training knows, 0 for vectors.

    `mean` and `scale` are (F,) float32, empty for tokens; `longest` is the longest training
    sequence. `vocabulary` has the text of each token, `seen` (n_tokens,) says which of them
    training has seen. Networks read x as (B, F, T) float32 or (B, T) int64 in 0..`last`, and
    lengths (B,).
    """

    free_axes: ClassVar[Mapping[str, Mapping[int, str]]] = {"x": {1: "steps"}}

    def __init__(
        self,
        n_tokens: int,
        longest: int,
        mean: NDArray[np.float32],
        scale: NDArray[np.float32],
        vocabulary: tuple[str, ...] = (),
        seen: NDArray[np.bool_] | None = None,
    ) -> None:
        self.n_tokens, self.longest, self.mean, self.scale = n_tokens, longest, mean, scale
        self.vocabulary = vocabulary
        self.seen = np.ones(n_tokens, np.bool_) if seen is None else seen

    @classmethod
    def fit(cls, dataset: Dataset, rows: Array) -> Self:
        x, lengths = dataset.inputs["x"][rows], dataset.inputs["lengths"][rows]
        inside = np.arange(x.shape[1]) < lengths[:, None]
        longest, empty = int(lengths.max()), np.zeros(0, np.float32)
        if x.ndim == 2:
            words = dataset.vocabulary
            n_tokens = len(words) or int(x[inside].max()) + 1
            seen = np.bincount(x[inside], minlength=n_tokens) > 0 if words else None
            return cls(n_tokens, longest, empty, empty, words, seen)
        steps = x[inside].astype(np.float64)
        scale = steps.std(axis=0)
        scale[scale < 1e-6] = 1.0
        return cls(0, longest, steps.mean(axis=0).astype(np.float32), scale.astype(np.float32))

    @classmethod
    def restore(cls, facts: Mapping[str, Any], arrays: Mapping[str, Array]) -> Self:
        n_tokens, longest = count(facts, "n_tokens"), count(facts, "longest", 1)
        n = 0 if n_tokens else max(1, np.size(arrays["mean"]))
        mean, scale = stored(arrays, "mean", (n,)), stored(arrays, "scale", (n,), is_positive=True)
        if "vocabulary" not in facts:
            return cls(n_tokens, longest, mean, scale)
        words = tuple(str(text) for text in facts["vocabulary"])
        if len(words) != n_tokens or len(set(words)) != n_tokens:
            raise ValueError(f"vocabulary: expected {n_tokens} different texts, got {len(words)}")
        seen = stored(arrays, "seen", (n_tokens,)).astype(bool)
        return cls(n_tokens, longest, mean, scale, words, seen)

    def state(self) -> tuple[dict[str, Any], dict[str, Array]]:
        facts: dict[str, Any] = {"n_tokens": self.n_tokens, "longest": self.longest}
        learnt: dict[str, Array] = {"mean": self.mean, "scale": self.scale}
        if self.vocabulary:
            facts["vocabulary"], learnt["seen"] = list(self.vocabulary), self.seen
        return facts, learnt

    @property
    def last(self) -> int:
        """The largest number of a token that networks read."""
        return self.n_tokens - 1 if self.vocabulary else self.n_tokens

    @property
    def input_shape(self) -> Shape:
        """(F, T), where a token counts as a one-hot vector; networks read any T."""
        return (self.last + 1 if self.n_tokens else len(self.mean)), self.longest

    def begin(self, network: nn.Module) -> None:
        """Draw what stands for a token with a deviation of 1, as `torch.nn.Embedding` does.

        An embedding is drawn for vectors of F features, to each of which a step adds. A token is
        one of them alone, and what it adds would be sqrt(F) times too small: 11 times for ASCII.
        """
        from nasgen.layers.modules import Embedded

        embeddings = [m for m in network.modules() if isinstance(m, Embedded)]
        for module in embeddings if self.n_tokens else ():
            module.weight.detach().mul_(module.n_features**0.5)

    def read(self, raw: Any) -> dict[str, Array]:
        if self.vocabulary:
            raw = tokens.numbered("predict", "x", raw, self.vocabulary)
        found = forms.sequences("predict", "x", raw)
        forms.check("predict", "sequence", "x", found, len(found["lengths"]), (), "lengths")
        tokens.check("predict", "x", "sequence", found, self.vocabulary)
        x = found["x"]
        if (x.ndim == 2) != bool(self.n_tokens) or (x.ndim == 3 and x.shape[2] != len(self.mean)):
            wanted = "(B, T) integers" if self.n_tokens else f"(B, T, {len(self.mean)}) floats"
            raise DataError(
                f"expected sequences of {wanted} as the training data were, got {x.shape} "
                f"{x.dtype}."
            )
        return found

    def remarks(self, stored: Inputs) -> list[str]:
        if not self.n_tokens:
            return []
        x = stored["x"]
        inside = np.arange(x.shape[1]) < stored["lengths"][:, None]
        if self.vocabulary:
            there = np.unique(x[inside])
            unseen = [repr(self.vocabulary[t]) for t in there.tolist() if not self.seen[t]]
            shown = ", ".join(unseen[:4]) + (", ..." if unseen[4:] else "")
            text = f"tokens that did not occur in training ({shown}) are read, but untaught."
            return [text] if unseen else []
        strange = np.unique(x[inside & (x >= self.n_tokens)])
        if not strange.size:
            return []
        shown = ", ".join(str(t) for t in strange[:4].tolist())
        return [
            f"tokens that did not occur in training ({shown}{', ...' if strange[4:].size else ''}) "
            "are all read as one unknown token."
        ]

    def prepared(self, stored: Inputs) -> dict[str, Array]:
        x, lengths = stored["x"], stored["lengths"]
        inside = np.arange(x.shape[1]) < lengths[:, None]
        if self.n_tokens:
            x = np.where(inside, np.minimum(x, self.last), 0)
        else:
            x = np.where(inside[:, :, None], (x - self.mean) / self.scale, 0).astype(np.float32)
        return {"x": x, "lengths": lengths}

    def batch(self, prepared: dict[str, Tensor]) -> dict[str, Tensor]:
        lengths = prepared["lengths"]
        x = prepared["x"][:, : int(lengths.max())]
        return {"x": x if self.n_tokens else x.transpose(1, 2).contiguous(), "lengths": lengths}

    @property
    def rows_at_once(self) -> int:
        return max(16, min(1024, VALUES_AT_ONCE // (max(1, len(self.mean)) * self.longest)))

    def numbers(self, stored: Inputs) -> dict[str, Array]:
        lengths = np.asarray(stored["lengths"], dtype=np.int64)
        kind = np.int64 if self.n_tokens else np.float32
        return {"x": np.asarray(stored["x"], dtype=kind), "lengths": lengths}

    def drawn(self, n: int, rng: np.random.Generator) -> dict[str, Array]:
        """Return known tokens, or normal vectors, in sequences of any length up to the longest."""
        lengths = rng.integers(1, self.longest + 1, n)
        size = (n, int(lengths.max(initial=1)))
        if self.n_tokens:
            return {"x": rng.integers(0, self.n_tokens, size), "lengths": lengths}
        x = rng.standard_normal((*size, len(self.mean)), dtype=np.float32) * self.scale + self.mean
        return {"x": x, "lengths": lengths}

    def standalone(self) -> nn.Module:
        from nasgen.evaluation.standalone import Tokens, Vectors, filled

        if self.n_tokens:
            return Tokens(self.last)
        return filled(Vectors(len(self.mean)), mean=self.mean, deviation=self.scale)

    def example(self) -> dict[str, Tensor]:
        import torch

        lengths = torch.tensor([self.longest])
        if self.n_tokens:
            return {"x": torch.zeros((1, self.longest), dtype=torch.int64), "lengths": lengths}
        return {"x": torch.zeros((1, *self.input_shape)), "lengths": lengths}
