"""Presets, and the papers whose comparison `nasgen reproduce` runs."""

from collections.abc import Mapping
from pathlib import Path

from nasgen.errors import ConfigError, suggest

PRESETS = Path(__file__).parent

# What is reproduced -> function of a `Request` that returns a `Reproduction`, see `base`.
REPRODUCTIONS: Mapping[str, str] = {
    "shafiee2016": "nasgen.papers.shafiee2016:reproduce",
    "chung2017": "nasgen.papers.chung2017:reproduce",
    "chung2018": "nasgen.papers.chung2018:reproduce",
    "stier2021-priors": "nasgen.papers.stier2021_priors:reproduce",
    "painter2018": "nasgen.papers.painter2018:reproduce",
    "stier2021-nas": "nasgen.papers.stier2021_nas:reproduce",
    "stier2021-pruning": "nasgen.papers.stier2021_pruning:reproduce",
    "stier2021-rnn": "nasgen.papers.stier2021_rnn:reproduce",
}


def presets() -> dict[str, Path]:
    """Return name -> file of the presets that ship with nasgen."""
    return {path.stem: path for path in sorted(PRESETS.glob("*.toml"))}


def preset(name: str) -> Path:
    """Return the file of a preset; ConfigError names the nearest one."""
    found = presets()
    if name not in found:
        raise ConfigError(
            f"preset '{name}' does not exist{suggest(name, found)} Presets: {', '.join(found)}."
        )
    return found[name]


def preset_summary(path: Path) -> str:
    """Return the first comment line of a preset."""
    first = path.read_text(encoding="utf-8").splitlines()[0]
    return first.removeprefix("#").strip()
