"""What is measured is the mean of the last weights, norm statistics included: `training.average`.

Polyak averaging, in the place of airbench's Lookahead, which also trains on from the mean.
"""

from __future__ import annotations

from dataclasses import replace

from nasgen.evaluation.recipe import Recipe
from trainer.fixed import Fixed


class Trick(Fixed):
    option = "average_share"
    average_share = 0.05  # of the steps

    def make_recipe(self) -> Recipe:
        return replace(super().make_recipe(), average=self.average_share)
