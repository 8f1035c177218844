"""The page as a whole."""

from __future__ import annotations

import ast
import base64
import hashlib
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from nasgen.report.page import WIDE, render
from nasgen.report.view import ReportView
from nasgen.settings.config import parse
from nasgen.settings.text import masked

VOID = {"meta", "br", "img"}
HOSTILE = "</title></script><script>alert('x')</script><img src=x onerror=\"alert(1)\">"


class Checker(HTMLParser):
    """Reads a page strictly: every tag is closed in order; collects what matters."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script", "template"):
            self.text += data


def check(html: str) -> Checker:
    """Return the parsed page after the checks that every page must pass."""
    page = Checker()
    page.feed(html)
    page.close()
    assert page.open == []
    assert not re.search(r"https?://|//[a-z]+\.|url\(|@import", html)
    names = [tag for tag, _ in page.tags]
    assert names.count("script") == names.count("style") == names.count("h1") == 1
    assert not {"img", "link", "iframe", "object", "embed", "form"} & set(names)
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    for tag, attributes in page.tags:
        assert "style" not in attributes, "the content security policy forbids inline styles"
        assert not any(name.startswith("on") for name in attributes)
        if tag in ("path", "circle", "rect", "text"):
            assert not re.search(r"nan|inf", " ".join(v or "" for v in attributes.values()))
        assert not {"src", "srcset", "data", "xlink:href"} & set(attributes)
        if "href" in attributes:
            assert (attributes["href"] or "")[1:] in ids
        if tag == "th":
            assert attributes.get("scope") in ("col", "row")
        if tag == "svg":
            assert attributes.get("aria-label") or attributes.get("aria-hidden") == "true"
    assert "nan" not in re.findall(r"[\w.-]+", page.text.lower())
    return page


@pytest.mark.parametrize(
    "shape",
    [
        {"n": 40},
        {"n": 40, "objectives": ("val_accuracy", "n_params")},
        {"n": 40, "objectives": ("val_accuracy", "n_params", "flops")},
        {"n": 0, "n_finish": 0},
        {"n": 10, "fail": 1.1, "n_finish": 0},
        {"n": 1, "fail": 0.0, "n_finish": 0},
        {"n": 20, "ensemble": None, "classes": (), "machine": {}, "versions": {}},
        {"n": 20, "best": None},
        {"n": 20, "best": {"trial": 12345, "test_accuracy": None}},
    ],
)
def test_every_shape_of_run_gives_a_sound_page(make_view: Any, shape: dict[str, Any]) -> None:
    page = check(render(make_view(**shape)))
    assert "Search history" in page.text
    assert "nasgen resume" in page.text


def test_the_key_numbers_are_on_the_page(make_view: Any) -> None:
    view = make_view(40)
    text = check(render(view)).text.replace("\u202f", " ")
    best = 100 * view.best["val_accuracy"]
    assert f"{best:.2f} %" in text
    assert "86.60 %" in text  # the ensemble's test accuracy
    assert "1 h 53 min" in text
    assert 'nasgen.load("runs/cifar10-night")' in text
    assert "import nasgen" in text
    assert "[algorithm]" in text


def test_a_missing_test_accuracy_is_a_dash(make_view: Any) -> None:
    view = make_view(20)
    html = render(replace(view, best={**view.best, "test_accuracy": None}, ensemble=None))
    check(html)
    assert "<dt>test accuracy</dt><dd>–</dd>" in html


@pytest.mark.parametrize(("gap", "said"), [(0.031, "+3.1"), (-0.2, "−20.0"), (None, None)])
def test_the_rows_that_chose_are_expected_to_be_too_good_not_said_to_be(
    make_view: Any, gap: float | None, said: str | None
) -> None:
    view = make_view(24)
    on = {"part": "validation", "rows": 144, "by": "accuracy"}
    ensemble = {**view.ensemble, "method": "greedy", "selected_on": on, "gap": gap}
    html = render(replace(view, ensemble=ensemble)).replace("\u202f", " ")
    assert "on 144 validation images, by accuracy: a result on rows that chose is expected" in html
    assert "too good" not in html
    assert (f"which chose nothing, is {said}" in html) == (said is not None)
    assert ("above 0 where it is better" in html) == (said is not None)


def test_what_differed_when_a_run_was_resumed_is_said(make_view: Any) -> None:
    said = "Threads a trial were 1, are 2."
    assert "What may have changed results" not in render(make_view(20))
    assert said in check(render(replace(make_view(20), cautions=(said,)))).text


def test_hostile_names_and_messages_are_text(make_view: Any) -> None:
    view = make_view(30)
    bad = HOSTILE
    outline = {
        "nodes": [
            {"tag": 1, "op": "input"},
            {"tag": 3, "op": bad, "params": {bad: bad}},
            {"tag": 4, "op": bad, "label": bad},
            {"tag": 2, "op": "output"},
        ],
        "edges": [[0, 1], [1, 2], [2, 3]],
    }
    trials = [
        replace(
            t,
            operator=bad + str(t.seq % 3),
            outline=outline,
            key=bad + t.key,
            failure=bad,
            failure_kind=t.failure_kind and bad,
            objectives={},
        )
        for t in view.trials
    ]
    hostile = ReportView(
        run=bad,
        title=bad,
        config=parse({"data": {"source": bad}, "space": {"name": bad}}),
        trials=trials,
        best=view.best,
        ensemble={"members": [{"run": bad, "trial": bad, "weight": 0.5}]},
        population=[1],
        n_filtered=0,
        wall_s=1.0,
        train_s=1.0,
        directions={bad: "maximize"},
        operator_failures={bad: {"duplicate": 1}},
        machine={bad: [bad]},
        versions={bad: bad},
        classes=(bad,),
        data_summary=bad,
    )
    html = render(hostile)
    page = check(html)
    assert html.count("<script") == 1
    assert "alert('x')" in page.text  # shown, not run


def test_an_unreadable_outline_costs_its_drawing_only(make_view: Any) -> None:
    view = make_view(20)
    page = check(
        render(replace(view, trials=[replace(t, outline={"nodes": "?"}) for t in view.trials]))
    )
    assert "cannot be drawn" in page.text


def test_a_population_that_was_never_full_is_not_counted(make_view: Any) -> None:
    view = make_view(5, n_finish=0)
    assert "networks at the end" in check(render(view)).text
    assert "networks at the end" not in check(render(replace(view, population=[]))).text


def test_the_policy_allows_exactly_the_style_and_script_of_the_page(make_view: Any) -> None:
    html = render(make_view(5, n_finish=0))
    policy = next(
        a["content"] or "" for t, a in check(html).tags if t == "meta" and "http-equiv" in a
    )
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        found = re.search(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        assert found is not None
        digest = base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_three_thousand_trials_stay_under_three_megabytes_and_say_what_is_left_out(
    make_view: Any,
) -> None:
    view = make_view(60)
    search = [t for t in view.trials if t.phase == "search"]
    trials = [
        replace(search[i % len(search)], seq=i, generation=i // 16, parents=()) for i in range(3000)
    ]
    html = render(replace(view, trials=trials, best={**view.best, "trial": 40}))
    page = check(html)
    assert len(html.encode()) < 3_000_000
    assert "dots are left out" in page.text
    assert "--history --json" in page.text


def test_passwords_of_the_ledger_are_masked(make_view: Any) -> None:
    view = make_view(5, n_finish=0)
    config = parse({"store": {"ledger": "postgresql://anna:s3cret@db:5432/x?password=hush"}})
    html = render(replace(view, config=config))
    assert "s3cret" not in html
    assert "anna" not in html
    assert "hush" not in html
    assert "db:5432" in html
    assert masked("sqlite:///ledger.db") == "sqlite:///ledger.db"


def test_the_same_run_gives_the_same_page(make_view: Any) -> None:
    view = make_view(30)
    assert render(view) == render(view)


def test_the_report_loads_no_heavy_library() -> None:
    code = (
        "import sys, nasgen.report.page\n"
        "print([m for m in ('torch', 'deap', 'optuna', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ast.literal_eval(done.stdout) == []


def test_what_can_be_scrolled_shows_it_and_drawings_fit_their_cards(make_view: Any) -> None:
    html = render(make_view(40))
    page = check(html)
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)
    assert style is not None
    rules = re.findall(r"^([^{}@\n]+) \{([^{}]*)\}", style[1], re.MULTILINE)
    shaded = next(names for names, rule in rules if "var(--shade)" in rule)
    regions = [a for _, a in page.tags if "scrollable" in (a.get("aria-label") or "")]
    assert len(regions) >= 5
    for attributes in regions:
        assert f".{(attributes['class'] or '').split()[0]}" in shaded.split(", ")
    assert "Scroll sideways" in style[1]  # on screens that are narrower than a chart
    dag = "".join(rule for names, rule in rules if names.startswith(".dag"))
    assert "max-height" not in dag
    assert "max-width: 100%" in dag
    least = re.search(r"\.cards \{[^}]*minmax\(min\(100%, (\d+)px\)", style[1])
    assert least is not None
    assert int(least[1]) - 34 > WIDE  # borders and padding; what is wider gets a whole row
