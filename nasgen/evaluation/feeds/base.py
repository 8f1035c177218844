"""The contract of a feed: how rows of one form of data become batches that networks read.

A feed is fitted once on the training part. What it learnt there (means, code tables) is kept with
the run, so that rows which come later are treated as the training data were.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from nasgen import registry
from nasgen.data import checks
from nasgen.errors import IncompatibleError
from nasgen.evaluation.recipe import Recipe
from nasgen.layers.base import Shape
from nasgen.settings.config import Training, parse
from nasgen.settings.prediction import Prediction

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from nasgen.data.base import Dataset
    from nasgen.evaluation.batches import Batches

Array = NDArray[Any]
MOST: Final = 2**26  # of anything that is counted along an axis: no memory holds more
Inputs = Mapping[str, Array]  # one entry a row along the first axis; "x" is the main input


class Stored(dict[str, Array]):
    """Rows as a data set holds them, which `Feed.read` need not read."""


class Feed(ABC):
    """Rows of one form of data, from what users have to what networks read.

    Three stages: *raw* rows, as a user has them; *stored* inputs, the arrays of the data set;
    *prepared* inputs, plain numbers, which stay in memory and of which `batch` makes what
    `Network.forward` gets.

    `free_axes` names the axes, beside that of the rows, along which the arrays of `numbers` may
    have any length in an exported network: name -> {axis: what it counts}.
    """

    free_axes: ClassVar[Mapping[str, Mapping[int, str]]] = {}

    @classmethod
    @abstractmethod
    def fit(cls, dataset: Dataset, rows: Array) -> Self:
        """Return the feed as the rows `rows` of the training part have it."""

    @classmethod
    @abstractmethod
    def restore(cls, facts: Mapping[str, Any], arrays: Mapping[str, Array]) -> Self:
        """Return the feed that `state` describes.

        What it gets was stored in a run, which may have been changed since: a ValueError says what
        was expected.
        """

    @abstractmethod
    def state(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Return (JSON, arrays) from which `restore` makes an equal feed."""

    @classmethod
    def settled(cls, training: Training, dataset: Dataset, rows: Array) -> dict[str, Any]:
        """Return settings of [training] that nobody has set and that training rows decide.

        A new run records them; it ends with an error where they are none, or set already. `rows`
        are those of the training part. Default: none.
        """
        return {}

    def begin(self, network: nn.Module) -> None:  # noqa: B027 - most feeds leave them
        """Change weights as they were drawn where what this feed gives asks for it.

        It is called before weights are inherited. Default: they stay.
        """

    @property
    @abstractmethod
    def input_shape(self) -> Shape:
        """Shape of one row of the main input as networks read it, channels or features first."""

    @abstractmethod
    def read(self, raw: Any) -> dict[str, Array]:
        """Return raw rows as stored inputs; raises DataError that says what was expected."""

    def remarks(self, stored: Inputs) -> list[str]:
        """Return a sentence about each thing in rows that training never saw. Default: none."""
        return []

    def prepared(self, stored: Inputs) -> dict[str, Array]:
        """Return stored inputs as numbers that `batch` reads. Default: as they are."""
        return dict(stored)

    @abstractmethod
    def batch(self, prepared: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return what a network reads of prepared rows, on their device; "x" is the main input."""

    def batches(
        self,
        prepared: Mapping[str, Tensor],
        targets: Tensor,
        rows: Tensor,
        batch_size: int,
        generator: torch.Generator,
        recipe: Recipe,
    ) -> Batches:
        """Return the shuffled batches of a training; a member that augments has its own."""
        from nasgen.evaluation.batches import Batches

        return Batches(self.batch, prepared, targets, rows, batch_size, generator)

    @classmethod
    def views(cls, recipe: Recipe) -> Sequence[Any]:
        """Return the views of a row over which predictions may be averaged, but for itself.

        Each is something that `viewed` takes. They are such as this recipe shows in training.
        Default: none.
        """
        return ()

    def viewed(self, batch: dict[str, Tensor], view: Any) -> dict[str, Tensor]:
        """Return what `batch` made as one of `views` shows it, in the same shapes."""
        return batch

    @property
    def rows_at_once(self) -> int:
        """Rows of a batch in evaluation: large, but bounded by memory."""
        return 512

    @abstractmethod
    def example(self) -> dict[str, Tensor]:
        """Return one row of zeros as a network reads it, to count operations and take times."""

    def drawn(self, n: int, rng: np.random.Generator) -> dict[str, Array] | None:
        """Return `n` random rows as stored inputs, like what it has learnt of the training rows.

        For checks of exported networks where no data are there. Default: None; it cannot draw any.
        """
        return None

    def numbers(self, stored: Inputs) -> dict[str, Array]:
        """Return stored inputs as arrays of numbers, one a parameter of `standalone`, in its order.

        Default: as they are.
        """
        return dict(stored)

    def standalone(self) -> nn.Module | None:
        """Return `prepared` and `batch` as one module that needs torch alone, for export.

        It takes the arrays of `numbers` as tensors and returns the network's main input; further
        inputs that networks read by name, such as "lengths", are those of `numbers`. See
        `evaluation.standalone`. Default: None; an exported network then begins with what `batch`
        returns.
        """
        return None

    def standalone_views(self, views: Sequence[Any]) -> nn.Module | None:
        """Return a module that shows a main input as it is, then in each of `views`.

        (B, ...) -> ((1 + len(views)) * B, ...). Default: None; exported networks then answer rows
        as they are.
        """
        return None

    def placed(self, network: nn.Module, device: torch.device) -> nn.Module:
        """Return the network on a device, in the memory order of its batches."""
        return network.to(device)


def settled_by(
    feed: Feed, form: str, training: Training, dataset: Dataset, rows: Array
) -> dict[str, Any]:
    """Return what `settled` of the feed of a form says, as values of settings of [training].

    Raises IncompatibleError for something else than a mapping and for a setting that somebody has
    set, ConfigError for what is no setting or no value of one.
    """
    found: Any = feed.settled(training, dataset, rows)
    who = f"feed '{form}': `settled`"
    if not isinstance(found, Mapping):
        raise IncompatibleError(
            f"{who} must return a dict of settings of [training], such as {{'flip': False}}, {{}} "
            f"for none; got {repr(found)[:100]}."
        )
    checked = parse({"training": found}, who).training
    given = [name for name, value in found.items() if value is not None]
    for name in given:
        if (own := getattr(training, name)) != Training.model_fields[name].default:
            raise IncompatibleError(
                f"{who} must return settings that nobody has set, got training.{name} = "
                f"{found[name]!r}, which is {own!r} already."
            )
    return {name: getattr(checked, name) for name in given}


def views_of(
    feed: type[Feed], training: Training, prediction: Prediction, shape: Shape
) -> Sequence[Any]:
    """Return the views beside the row itself over which a run's predictions are averaged."""
    if prediction.views == "none":
        return ()
    recipe = Recipe.of(training, shape)
    return feed.views(recipe if prediction.views == "auto" else replace(recipe, crop=0))


def stored(
    arrays: Mapping[str, Array], name: str, shape: tuple[int, ...], is_positive: bool = False
) -> Array:
    """Return one array of a feed's state; ValueError unless it has finite numbers of that shape."""
    found = np.asarray(arrays[name])
    if found.shape != shape or found.dtype.kind not in "fb" or not np.isfinite(found).all():
        raise ValueError(
            f"{name}: expected finite numbers of shape {shape}, got {found.dtype} {found.shape}"
        )
    if is_positive and not (found > 0).all():
        raise ValueError(f"{name}: expected numbers above 0, got {found.min()}")
    return found


def count(facts: Mapping[str, Any], name: str, least: int = 0) -> int:
    """Return one integer of a feed's state; ValueError unless it is one and not below `least`."""
    value = facts[name]
    if type(value) is not int or not least <= value <= MOST:
        raise ValueError(f"{name}: expected an integer from {least} to {MOST}, got {value!r}")
    return value


def stored_of(feed: Feed, raw: Any) -> Mapping[str, Array]:
    """Return raw rows, or those of a data set, as stored inputs; DataError for other rows."""
    return raw if isinstance(raw, Stored) else feed.read(checks.untensored(raw))


def named(name: str) -> type[Feed]:
    """Return the registered feed of a form of data; raises UnknownNameError."""
    found: type[Feed] = registry.resolve("feeds", name)
    return found
