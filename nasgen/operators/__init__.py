"""Variation: pure functions of (parents, space, rng) that return a genotype or a `Child`.

They never change their input, draw only from `rng`, return only what the space calls legal, and
raise NotApplicable, with the reason, when there is nothing they can do.
"""
