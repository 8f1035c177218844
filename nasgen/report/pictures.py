"""Images of a data set on a page: as PNG inside the HTML, without any request."""

from __future__ import annotations

import base64

from markupsafe import Markup

from nasgen.genotypes.svg import element


def picture(png: bytes, description: str, side: int = 96) -> Markup:
    """Return an `<img>` of PNG bytes, `side` pixels high, with sharp pixels."""
    source = "data:image/png;base64," + base64.b64encode(png).decode()
    return element("img", src=source, alt=description, height=side, class_="pixels")
