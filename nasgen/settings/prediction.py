"""The settings of how a trained network answers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nasgen.settings.sections import Section

Views = Literal["auto", "mirror", "none"]


class Prediction(Section):
    """How trained networks answer once they are chosen: in tests, in ensembles, when asked."""

    views: Views = Field(
        "auto",
        description="average the predictions for several views of an image: auto: as it is and "
        "shifted by one pixel up-left and down-right, if [training] crop shifts images; each of "
        "them also mirrored, if [training] flip mirrors them | mirror: as it is and mirrored, if "
        "[training] flip mirrors images | none: the image as it is. A test "
        "takes as many times as long as there are views. Networks are compared and chosen on "
        "images as they are",
    )
