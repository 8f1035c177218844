"""An operator of one's own: nasgen search --plugin examples/double_channels.py"""

import nasgen


@nasgen.mutation("double-channels")
def double_channels(parent, space, rng):
    """One convolution twice as wide."""
    convs = [v for v in parent.vertices if v.op == "conv"]
    if not convs:
        raise nasgen.NotApplicable("no convolution to widen")
    v = convs[rng.integers(len(convs))]
    return parent.change(v.tag, channels=min(2 * v.channels, space.max_channels))
