"""The contract of a layer: a kind of vertex, built-in or registered with `@nasgen.layer`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

from nasgen import registry
from nasgen.errors import IncompatibleError
from nasgen.genotypes.tags import Ranges

if TYPE_CHECKING:
    from torch import nn

ROLES = ("out", "in", "self")  # what an axis of a tensor may be, see `Layer.axes`
Shape = tuple[int, ...]  # channels or features first, then 0 to n spatial axes: (C, H, W), (F,)


def find_layer(name: str) -> Layer:
    """Return the registered layer of this name; raises UnknownNameError."""
    found: Layer = registry.resolve("layers", name)()
    return found


@lru_cache(maxsize=256)
def axis(text: str) -> tuple[str, int]:
    """Return (role, number of tiles) of an axis as `Layer.axes` writes it: "out*3" is ("out", 3).

    Raises IncompatibleError for anything else than "out", "in" or "self", with or without a number.
    """
    role, star, n = text.partition("*")
    if role not in ROLES or (star and not (n.isdecimal() and int(n) >= 1)):
        raise IncompatibleError(
            "expected an axis 'out', 'in' or 'self', with tiles as in 'out*3', or None, got "
            f"{text!r}."
        )
    return role, int(n or 1)


class Layer(ABC):
    """One kind of vertex: how many inputs, which settings, which shape, which module.

    Class attributes
    - `ranks`: numbers of axes that the shapes it takes may have: 3 for images (C, H, W), 2 for
      sequences (F, T), 1 for rows of numbers (F,). Default: images.
    - `merges`: False for exactly one input, True for one or more.
    - `align`: for merging layers, what the decoder makes equal before: "space" (H and W),
      "channels" (H, W and C), or "nothing".
    - `halves`: whether the map shrinks to half of its pixels or less (these count as stages).
    - `pools`: whether it computes its channels at the size of the map that it reads and pools them
      then, so that its operations are those of that map. Only beside `halves`.
    - `enlarges`: whether the map may become larger. Maps that are summed shrink to the smallest, so
      a shortcut around such a layer would change what it meets.
    - `domain`: setting -> legal values in ascending order. An empty tuple for "channels" means: the
      widths of the search space; the vertex then owns channel tags.
    - `axes`: parameter or buffer name in the module -> what each axis is: "out" (own channels),
      "in" (incoming channels), "self" (own channels of the step before, which a recurrent layer
      reads) or None. "out*3" stands for three tiles, one behind another, each as long as the
      channels: the gates of a GRU, whose weights are ("out*3", "in") and ("out*3", "self").
      Heredity aligns named axes by gene tag, tile by tile; a tensor that is not listed is inherited
      whole when its shape is unchanged.
    - `keeps_zero`: True promises what the removal of channels needs. A channel whose own rows are
      all 0 (or, in a layer without an "in" axis, whose incoming channels are all 0) is exactly 0,
      in training and in evaluation; incoming channels count only through tensors with an "in" axis
      where there are such; and a channel that is left out changes no other one.
    - `channelwise`: True promises that an outgoing channel is computed without a look at the
      others: from the rows of "out" tensors that are its own and from the incoming channels, which
      count linearly through a tensor with an "in" axis or, without one, channel by channel. No norm
      or softmax over channels, no dropout. Widening morphisms go through such layers alone. A
      depthwise convolution fits; one in larger groups does not, because its second axis means other
      channels in each group, which `axes` cannot say.
    - `sign`: "positive" if no output is ever negative, "kept" if none is while no input is, else
      "". An identity that ends in a ReLU is put behind outputs that are not negative alone.
    - `drawn`: "always"; "relabel" if a vertex may become one while none is inserted; "never" for
      layers that only morphisms and hand-made genotypes use.

    A `kernel` setting is the side of the unnamed trailing axes, padded by kernel // 2.

    A class without arguments; it must not import torch before `build`.
    """

    ranks: ClassVar[tuple[int, ...]] = (3,)
    merges: ClassVar[bool] = False
    align: ClassVar[str] = "space"
    halves: ClassVar[bool] = False
    pools: ClassVar[bool] = False
    enlarges: ClassVar[bool] = False
    domain: ClassVar[Mapping[str, tuple[Any, ...]]] = {}
    axes: ClassVar[Mapping[str, tuple[str | None, ...]]] = {}
    channelwise: ClassVar[bool] = False
    keeps_zero: ClassVar[bool] = False
    sign: ClassVar[str] = ""
    drawn: ClassVar[str] = "always"

    def out_shape(self, params: Mapping[str, Any], in_shapes: Sequence[Shape]) -> Shape:
        """Return the shape after the layer; inputs are aligned already. Default: unchanged.

        A layer with a `channels` setting has that many channels by default.
        """
        channels, *rest = in_shapes[0]
        return int(params.get("channels", channels)), *rest

    def out_tags(self, own: Ranges, in_tags: Sequence[Ranges]) -> Ranges:
        """Return the gene tags of the outgoing channels. Default: own, else its first input's."""
        return own or in_tags[0]

    def has(self, role: str) -> bool:
        """Tell whether a tensor has an axis of this role, "out", "in" or "self"."""
        return any(a and axis(a)[0] == role for roles in self.axes.values() for a in roles)

    @abstractmethod
    def build(
        self, params: Mapping[str, Any], in_shapes: Sequence[Shape], out_shape: Shape
    ) -> nn.Module:
        """Return the module; it is called with one (B, *shape) tensor for each input."""
