"""The page: what the template needs, as text and drawings. One file, no request to anywhere."""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import PurePath
from typing import Any

from jinja2 import Environment, StrictUndefined, Template

from nasgen.errors import NasgenError
from nasgen.genotypes import Outline, drawing
from nasgen.report import (
    answers,
    costs,
    figures,
    gains,
    generations,
    lineage,
    numbers,
    opened,
    tables,
    training,
)
from nasgen.report.view import ReportView
from nasgen.settings.text import masked
from nasgen.settings.writing import to_toml
from nasgen.store.trial import Trial

N_ROWS = 800  # trials of the long table
WIDE = 420  # pixels from which a drawing gets a whole row
N_FRONT = 16  # rows of a front's table
N_MACHINE_TEXT = 300  # letters of one line about the machine


def render(view: ReportView) -> str:
    """Return the HTML of a run's report: inline CSS, SVG and script, nothing loaded from outside.

    Text of the run (names of plug-ins, messages, the config) is escaped; the content security
    policy allows this page's own style and script by their digests and nothing else. Passwords in
    the ledger's URL are masked.
    """
    style, script = _resource("page.css"), _resource("page.js")
    return _template().render(
        v=view,
        style=style,
        script=script,
        policy="; ".join(
            (
                "default-src 'none'",
                "img-src data:",  # pictures of the data set, which are in the page
                f"style-src '{_digest(style)}'",
                f"script-src '{_digest(script)}'",
                "base-uri 'none'",
                "form-action 'none'",
            )
        ),
        **_headline(view),
        **_charts(view),
        synthesis=generations.section(view),
        answered=_answered(view),
        opened=opened.packed(view),
        interval=_interval(view),
        costs=costs.section(view),
        commands=view.commands,
        operators=tables.operator_rows(view),
        failures=tables.failure_rows(view.trials),
        n_drawn_instead=sum(t.operator == "sample" and bool(t.fell_back_from) for t in view.trials),
        shown=_architectures(view),
        members=_members(view),
        listing=(listing := _listing(view)),
        listed={row["t"].seq for row in listing["rows"]},
        toml=masked(to_toml(view.config)),
        machine=_lines(view.machine),
        versions=_lines(view.versions),
        path=json.dumps(view.run, ensure_ascii=False),
        shell_path=shlex.quote(view.run),
    )


@cache
def _template() -> Template:
    return _environment().from_string(_resource("page.html.j2"))


@cache
def _resource(name: str) -> str:
    text = files("nasgen.report").joinpath(name).read_text(encoding="utf-8")
    return "\n".join(text.splitlines()) + "\n"


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def _environment() -> Environment:
    env = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    env.filters |= {
        "quantity": lambda value, name: numbers.quantity(name, value),
        "percent": lambda value: numbers.quantity("rate", value),
        "exact": numbers.exact,
        "duration": numbers.duration,
        "change": lambda value, name: numbers.change(name, value),
        "words": numbers.words,
        "sentence": lambda text: text[:1].upper() + text[1:],
    }
    return env


def _headline(view: ReportView) -> dict[str, Any]:
    best, ensemble = view.best or {}, view.ensemble or {}
    first = view.objectives[0]
    trial = tables.best_trial(view)
    goal = tables.value(trial, first) if trial else None
    sizes = [
        (numbers.words(name), numbers.quantity(name, best[name]))
        for name in ("n_params", "flops", "latency_ms")
        if numbers.number(best.get(name)) is not None
    ]
    measured = {f"{part}_metric": f"{part}_{view.metric}" for part in ("val", "test")}
    shown = {*measured.values(), "n_params", "flops", "latency_ms"}
    if goal is not None and first not in shown:
        sizes.insert(0, (numbers.words(first), numbers.quantity(first, goal)))
    return {
        "best": best,
        "ensemble": ensemble,
        **measured,
        "unit": view.unit,
        "part": "test" if view.has_test else "validation",
        "sizes": sizes,
        "states": tables.states(view.trials),
        "evolution": gains.sentence(view.evolution),
        "first": first,
        "speedup": view.train_s / view.wall_s if view.wall_s > 0 else None,
    }


def _interval(view: ReportView) -> Callable[[str, Any], str]:
    """Return what writes the 95 % interval of an accuracy: "88.0 – 93.6 %", "" for other names."""

    def written(name: str, value: Any) -> str:
        found = numbers.number(value)
        return answers.interval(name, found, view.n_rows(name))

    return written


def _answered(view: ReportView) -> list[dict[str, Any]]:
    """Return what is drawn of the answers to test rows: for each heading, by whom."""
    groups: dict[str, dict[str, Any]] = {}
    for name, found in view.answers.items():
        said = name
        if found.counts:
            n = f"{numbers.exact(found.n_right)} of {numbers.exact(found.n_rows)}"
            within = answers.interval("accuracy", found.n_right / found.n_rows, found.n_rows)
            said = f"{name}: {n} {found.unit} right, 95{numbers.GAP}% interval {within}"
        for heading, drawn in answers.parts(found):
            group = groups.setdefault(heading, {"heading": heading, "columns": []})
            group["columns"].append((said if heading == next(iter(groups)) else name, drawn))
            group["is_wide"] = found.is_wide
    return list(groups.values())


def _charts(view: ReportView) -> dict[str, Any]:
    history, n_thinned, n_off = figures.history(view)
    best = tables.best_trial(view)
    family, n_ancestors, n_left = lineage.descent(view, best.seq) if best else (None, 0, 0)
    fronts = []
    for y, x in figures.pairs(view):
        chart, members, n_left_out = figures.pareto(view, y, x)
        fronts.append({"y": y, "x": x, "chart": chart, "n": len(members), "thinned": n_left_out})
    return {
        "history": history,
        "n_thinned": n_thinned,
        "n_off": n_off,
        "legend": _legend(view),
        "fronts": fronts,
        "front_table": _front_table(view),
        "curves": training.curves(view),
        "family": family,
        "n_ancestors": n_ancestors,
        "n_ancestors_left": n_left,
    }


def _legend(view: ReportView) -> list[tuple[str, str, int]]:
    counts: dict[str, int] = {}
    for trial in view.trials:
        if trial.phase == "search":
            counts[trial.operator] = counts.get(trial.operator, 0) + 1
    colour = figures.colours(view)
    return [(name, colour[name], counts[name]) for name in colour if name in counts]


def _front_table(view: ReportView) -> dict[str, Any]:
    """The front over all objectives; with one objective, over it and the number of parameters."""
    names = view.objectives if len(view.objectives) > 1 else (view.objectives[0], "n_params")
    names = tuple(dict.fromkeys(names))
    found = tables.points(view, names)
    members = tables.front(found, [view.maximizes(name) for name in names])
    extra = [n for n in view.sizes if n not in names]
    test = f"test_{view.metric}"
    tested = {row["trial"]: row.get(test) for row in view.front if row["trial"] in view.by_seq}
    if tested:  # what the search returns
        members, extra = list(tested), [test, *extra]

    def value(seq: int, name: str) -> float | None:
        return tested.get(seq) if name == test else tables.value(view.by_seq[seq], name)

    columns = (*names, *extra)
    rows = [
        {"trial": view.by_seq[seq], "values": [(name, value(seq, name)) for name in columns]}
        for seq in members[:N_FRONT]
    ]
    return {"names": names, "columns": columns, "rows": rows, "n": len(members)}


def _architectures(view: ReportView) -> list[dict[str, Any]]:
    best, within = tables.best_trial(view), _interval(view)
    cards = []
    for trial in tables.showpieces(view):
        facts = [
            (numbers.words(name), numbers.quantity(name, found), within(name, found))
            for name in dict.fromkeys((*view.objectives, *view.sizes))
            if (found := tables.value(trial, name)) is not None
        ]
        card = {
            "trial": trial,
            "is_best": trial is best,
            "facts": facts,
            "svg": None,
            "is_wide": False,
        }
        try:
            outline = Outline.from_json(trial.outline)
            sentence = drawing.describe(outline)
            svg, width = drawing.draw(outline, f"architecture of trial {trial.seq}: {sentence}")
            card |= {"sentence": sentence, "svg": svg, "is_wide": width > WIDE}
        except NasgenError as error:
            card["sentence"] = f"cannot be drawn: {error}"
        cards.append(card)
    return cards


def _members(view: ReportView) -> list[dict[str, Any]]:
    rows = []
    members: Sequence[Mapping[str, Any]] = (view.ensemble or {}).get("members") or ()
    heaviest = max((numbers.number(m.get("weight")) or 0.0 for m in members), default=0.0) or 1.0
    for member in members:
        own = member.get("run") in (None, "", view.run, PurePath(view.run).name)
        trial = view.by_seq.get(member.get("trial", -1)) if own else None
        weight = numbers.number(member.get("weight"))
        rows.append(
            {
                "run": "" if own else str(member.get("run")),
                "seq": member.get("trial"),
                "weight": weight,
                "share": 100 * (weight or 0.0) / heaviest,
                "trial": trial,
                "values": [
                    (name, tables.value(trial, name) if trial else None)
                    for name in dict.fromkeys((view.objectives[0], "n_params"))
                ],
            }
        )
    return sorted(rows, key=lambda r: -(r["weight"] or 0.0))


def _listing(view: ReportView) -> dict[str, Any]:
    columns = tuple(dict.fromkeys((*view.objectives, *view.sizes)))
    trials: Sequence[Trial] = view.trials
    if len(trials) > N_ROWS:
        keep = {t.seq for t in trials if t.phase == "finish"}
        keep |= {t.seq for t in [t for t in trials if t.state == "FAILED"][: N_ROWS // 8]}
        keep |= {t.seq for t in tables.rank(view, trials)[: N_ROWS // 2]}
        trials = tables.thinned(view, N_ROWS, keep)
    alive = set(view.population)
    rows = [
        {"t": t, "values": [(n, tables.value(t, n)) for n in columns], "alive": t.seq in alive}
        for t in trials
    ]
    return {"columns": columns, "rows": rows, "left": len(view.trials) - len(rows)}


def _lines(table: Mapping[str, Any]) -> list[tuple[str, str]]:
    def line(value: Any) -> str:
        text = value if isinstance(value, str) else json.dumps(value, default=str)
        return text if len(text) <= N_MACHINE_TEXT else text[: N_MACHINE_TEXT - 1] + "…"

    return [(str(name).replace("_", " "), line(value)) for name, value in table.items()]
