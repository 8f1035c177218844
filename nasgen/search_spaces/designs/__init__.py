"""Networks that are known to be good, by the kind of layers they are made of.

A first generation begins with them, so that a search starts from what hand-made networks agree on
and evolution has to be better than these.
"""
