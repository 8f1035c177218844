"""Presets, and the papers whose comparison `nasgen reproduce` runs."""

from collections.abc import Mapping

# Name of the preset -> function of a `Request` that returns a `Reproduction`: `nasgen.papers.base`.
REPRODUCTIONS: Mapping[str, str] = {
    "painter2018": "nasgen.papers.painter2018:reproduce",
}
