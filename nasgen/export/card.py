"""The words of an export: README.md with a card in the Hub's format, example.py.

Text that a run has stored, such as the names of classes, stands in literals and tables alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from torch import Tensor

from nasgen.data.columns import MISSING, named
from nasgen.evaluation.feeds.base import stored_of
from nasgen.export.subject import Subject, printable
from nasgen.store.folder import versions
from nasgen.store.trial import DISTILLED

Json = Mapping[str, Any]
# (form, task) -> what the Hub calls it; sequences of tokens that have texts are "text".
PIPELINES: Final = {
    ("image", "classification"): "image-classification",
    ("table", "classification"): "tabular-classification",
    ("table", "regression"): "tabular-regression",
    ("text", "classification"): "text-classification",
}
MEANINGS: Final = {
    ("image", "x"): "pixels as the data set has them, before any scaling",
    ("table", "numbers"): "the columns of numbers in their order, NaN where one is missing",
    ("table", "codes"): "the columns of texts in their order: place in the code table, else -1",
    ("sequence", "x"): "tokens, or vectors of features; what lies behind a length is not read",
    ("sequence", "lengths"): "steps of each sequence, at least 1",
}
VOCABULARY: Final = (
    'tokens: the place of each text in the list "vocabulary" of model.json; what lies behind a '
    "length is not read"
)
EXAMPLE: Final = '''"""Answers {what}: python example.py"""

import json
from pathlib import Path

import torch
{imports}

HERE = Path(__file__).parent
RECORD = json.loads((HERE / "model.json").read_text(encoding="utf-8"))
EXAMPLES = RECORD["examples"]{rows}

if __name__ == "__main__":
    with torch.inference_mode():
        answers = load(HERE)(**{given})
    for i, {each}:
        {shown}
    off = (answers - torch.tensor(EXAMPLES["answers"])).abs().max()
    print(f"largest difference from the answers at the export: {{off:.1g}}")
'''
TENSORS: Final = """
STORED = tensors(HERE / "examples.safetensors")
ROWS = {name.removeprefix("inputs."): rows for name, rows in STORED.items()}
"""
ENCODED: Final = '''

def encoded(rows):
    """Return rows, mappings from a column's name to its cell, as tensors that the model takes."""
    found = plain(rows)
    return {
        i["name"]: torch.tensor(found[i["name"]], dtype=getattr(torch, i["dtype"])).reshape(
            len(rows), i["shape"][1]
        )
        for i in RECORD["inputs"]
    }
'''
ENCODER: Final = '''"""Makes numbers of a table's rows for the model; needs numpy and no torch.

    (answers,) = session.run(None, encoded(ROWS))  # session: an onnxruntime.InferenceSession

model.json beside this file has the columns and the code tables of texts.
"""

import json
from pathlib import Path

RECORD = json.loads((Path(__file__).parent / "model.json").read_text(encoding="utf-8"))
CLASSES = RECORD["classes"]
ROWS = RECORD["examples"]["rows"]  # mappings from a column's name to its cell


def encoded(rows):
    """Return the inputs of the model by name, as numpy arrays with an entry a row."""
    import numpy

    found = plain(rows)
    return {
        i["name"]: numpy.array(found[i["name"]], dtype=i["dtype"]).reshape(
            len(rows), i["shape"][1]
        )
        for i in RECORD["inputs"]
    }


def plain(rows):
    """Return the same as lists: numbers, and the places of texts in the code tables."""
    kinds = {"number": [], "text": []}
    for name, kind in RECORD["columns"]:
        kinds[kind].append(name)
    tables = dict(zip(kinds["text"], RECORD["codes"], strict=True))
    return {
        "numbers": [[number(row, name) for name in kinds["number"]] for row in rows],
        "codes": [[code(tables[name], row[name]) for name in tables] for row in rows],
    }


def number(row, name):
    """Return a cell as a number, NaN where it is missing."""
    cell = row[name]
    if cell is None or str(cell).strip().lower() in RECORD["missing"]:
        return float("nan")
    try:
        found = float("inf" if "_" in str(cell) else cell)
    except (TypeError, ValueError, OverflowError):
        found = float("inf")
    if abs(found) == float("inf"):
        raise ValueError(f"column {name!r}: expected a finite number or None, got {cell!r}")
    return found


def code(table, cell):
    """Return the place of a text in its code table, -1 for one that training has not seen."""
    text = "" if cell is None else str(cell).strip()
    text = "" if text.lower() in RECORD["missing"] else text
    return table.index(text) if text in table else -1
'''


def has_columns(subject: Subject) -> bool:
    """Tell whether rows are those of a table, which people give by name."""
    return subject.transform.form == "table" and subject.reads is not None


def inputs(subject: Subject, given: Mapping[str, Tensor]) -> list[dict[str, Any]]:
    """Return what the model takes, an entry an argument: name, type, shape, meaning."""
    feed: Any = subject.transform.feed
    free, form = feed.free_axes, subject.transform.form
    vocabulary: tuple[str, ...] = getattr(feed, "vocabulary", ())
    found = []
    for name, tensor in given.items():
        shape: list[Any] = ["rows", *tensor.shape[1:]]
        for axis, counts in free.get(name, {}).items():
            shape[axis] = counts
        meaning = MEANINGS.get((form, name), "")
        if subject.reads is None:
            meaning = f"what the feed '{printable(form)}' makes of rows"
        if name == "x" and vocabulary:
            meaning = VOCABULARY
        kind = str(tensor.dtype).removeprefix("torch.")
        found.append({"name": name, "dtype": kind, "shape": shape, "meaning": meaning})
    return found


def answers(subject: Subject) -> str:
    """Return what the model answers, as the end of a sentence."""
    classes, task = subject.transform.classes, subject.transform.name
    if task == "classification":
        return f"the probabilities of {len(classes)} classes, (rows, {len(classes)})"
    if task == "regression":
        n = subject.transform.task.n_outputs
        return "values, (rows,)" if n == 1 else f"{n} values a row, (rows, {n})"
    return f"what the task '{printable(task)}' predicts for each row"


def version() -> str:
    """Return the version of nasgen."""
    return versions()["nasgen"]


def head(subject: Subject, given: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the words at the head of model.py."""
    n = len(subject.members)
    what = "A network" if n == 1 else f"{n} networks that answer together"
    lines = [
        f"    {i['name']}: {i['dtype']} ({', '.join(map(str, i['shape']))}), {i['meaning']}"
        for i in inputs(subject, given)
    ]
    return {
        "what": f"{what} for {printable(subject.transform.name)}, found by nasgen {version()}.",
        "inputs": "\n".join(lines),
        "answers": answers(subject),
    }


def example_rows(subject: Subject, raw: Any, n: int) -> list[dict[str, Any]] | None:
    """Return the first rows of a table as people give them; None for other forms."""
    if not has_columns(subject):
        return None
    feed: Any = subject.transform.feed
    stored = {name: part[:n] for name, part in stored_of(feed, raw).items()}
    cells = named(feed.columns, stored)
    return [{name: _cell(cells[name][i]) for name in cells} for i in range(n)]


def _cell(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def missing() -> list[str]:
    """Return the cells that say that nothing is known."""
    return list(MISSING)


def example(record: Json) -> str:
    """Return example.py."""
    is_table = record["examples"]["rows"] is not None
    imported = ["load"] if is_table else ["load", "tensors"]
    is_known, n = record["examples"]["targets"] is not None, len(record["examples"]["answers"])
    shown, target = "{answer.tolist()}", "{target}"
    before = ""
    if record["task"] == "classification":
        imported = ["CLASSES", *imported]
        before = "name, sure = CLASSES[int(answer.argmax())], float(answer.max())\n        "
        shown, target = "{name} ({sure:.3f})", "{CLASSES[target]}"
    shown += f", expected {target}" if is_known else ""
    lines = ["from encoder import ROWS, plain"] if is_table else []
    lines.append(f"from model import {', '.join(imported)}")
    return EXAMPLE.format(
        what=f"{n} {record['examples']['part']} rows{' of the data set' if is_known else ''}",
        each='(answer, target) in enumerate(zip(answers, EXAMPLES["targets"], strict=True))'
        if is_known
        else "answer in enumerate(answers)",
        imports="\n".join(lines),
        rows=(ENCODED if is_table else TENSORS).rstrip("\n"),
        given="encoded(ROWS)" if is_table else "ROWS",
        shown=f'{before}print(f"row {{i}}: {shown}")',
    )


def readme(record: Json) -> str:
    """Return README.md: a card, three lines that run the model, and where it comes from."""
    there = {name: of for name, of in record["formats"].items() if "file" in of}
    n, name = len(record["members"]), str(record.get("name", "network"))
    kind = "A network" if n == 1 else f"An ensemble of {n} networks"
    parts = [_front_matter(record, name), f"# {_inline(name)}", ""]
    parts += [
        f"{kind} for {_inline(record['task'])}, found by nasgen {version()} and exported "
        "to run without it. It takes",
        "",
        *(f"- `{i['name']}`: {i['dtype']} ({_shape(i)}), {_inline(i['meaning'])};"
          for i in record["inputs"]),
        "",
        f"and returns {_inline(record['answers'])}.",
    ]  # fmt: skip
    if "python" in there:
        parts += _code("In this folder, with torch alone:", _three_lines(record))
    names = ", ".join(i["name"] for i in record["inputs"])
    given = ", ".join(f'"{i["name"]}": {i["name"]}' for i in record["inputs"])
    onnx, program, imported = f"{{{given}}})", names, []
    arrays, tensors = _stand_ins(record, "numpy", '"{}"'), _stand_ins(record, "torch", "torch.{}")
    if record["examples"]["rows"] is not None:
        arrays, tensors = [], []
        onnx, program = "encoded(ROWS))", "*map(torch.from_numpy, encoded(ROWS).values())"
        imported = ["from encoder import ROWS, encoded  # ROWS: [{column: cell, ...}, ...]"]
    if "onnx" in there:
        parts += _code(
            "With ONNX Runtime, which needs no torch:",
            [*(["import numpy"] if arrays else []), "import onnxruntime", *imported, *arrays,
             'session = onnxruntime.InferenceSession("model.onnx")',
             f"(answers,) = session.run(None, {onnx}"],
        )  # fmt: skip
    if "torch" in there:
        parts += _code(
            "With torch.export, which needs no model.py:",
            ["import torch", *imported, *tensors, 'model = torch.export.load("model.pt2").module()',
             f"answers = model({program})"],
        )  # fmt: skip
    parts += [
        "",
        "## Formats",
        "",
        "| format | file | largest difference from the original |",
        "|---|---|---|",
    ]
    part = _inline(record["compared_on"]["part"])
    for form, of in record["formats"].items():
        figure = (
            f"{of['largest_difference']:.1e} on {of['rows']} {part} rows" if "file" in of else ""
        )
        parts.append(
            f"| {form} | {of.get('file') or 'not written: ' + _inline(of['refused'])} | {figure} |"
        )
    if reason := record["compared_on"]["reason"]:
        parts += ["", f"There were no test rows to compare on: {_inline(reason)}"]
    n_views = 1 + len(record["views"])
    if record.get("metrics"):
        parts += ["", "## Results", "", "| measure | part | value | rows |", "|---|---|---|---|"]
        for m in record["metrics"]:
            part = m["part"] if m["views"] == n_views else f"{m['part']}, one view of each row"
            cells = [_inline(m["name"]), _inline(part), f"{m['value']:.6g}"]
            parts.append(f"| {' | '.join(cells)} | {m.get('rows') or ''} |")
    parts += ["", "## Where it comes from", ""]
    parts += [f"- {_inline(line)}" for line in _origin(record)]
    return "\n".join(parts) + "\n"


def _three_lines(record: Json) -> Sequence[str]:
    if record["examples"]["rows"] is not None:
        return ["from example import ROWS, encoded", "from model import load",
                "print(load()(**encoded(ROWS)))  # ROWS: [{column: cell, ...}, ...]"]  # fmt: skip
    return ["from example import ROWS", "from model import load", "print(load()(**ROWS))"]


def _stand_ins(record: Json, library: str, kind: str) -> list[str]:
    """Return lines that make an array an input, of ones, where a reader puts rows of their own."""
    return [
        f"{i['name']} = {library}.ones("
        f"({', '.join('2' if isinstance(n, str) else str(n) for n in i['shape'])}"
        f"{',' if len(i['shape']) == 1 else ''}), dtype={kind.format(i['dtype'])})  # your rows"
        for i in record["inputs"]
    ]


def _origin(record: Json) -> list[str]:
    found = []
    for m in record["members"]:
        share = "" if len(record["members"]) == 1 else f", with the share {m['share']:.4g}"
        is_distilled = m.get("operator") == DISTILLED
        what = "distilled from" if is_distilled else f"trial {m.get('trial', '?')} of"
        line = f"{what} the run {m.get('run', '?')}{share}"
        if m.get("operator") and not is_distilled:
            parents = ", ".join(map(str, m.get("parents", ()))) or "none"
            line += f"; made by {m['operator']}, parents: {parents}"
        found.append(line)
    for key, words in (("data", "data"), ("command", "command"), ("made", "exported")):
        if record.get(key):
            value = record[key]
            found.append(f"{words}: {value.get('source') if isinstance(value, Mapping) else value}")
    return found


def _front_matter(record: Json, name: str) -> str:
    """Return the card's metadata, YAML in which each text is written as JSON has it."""
    form = "text" if record.get("vocabulary") else record["form"]
    task = PIPELINES.get((form, record["task"]))
    lines = ["---", "library_name: pytorch", "tags:", "- nasgen", "- neural-architecture-search"]
    if task:
        lines.append(f"pipeline_tag: {task}")
    n_views = 1 + len(record["views"])
    tested = [m for m in record.get("metrics", ()) if (m["part"], m["views"]) == ("test", n_views)]
    if tested and task:
        source = str((record.get("data") or {}).get("source", ""))
        kind = source.partition(":")[0]
        lines += [
            "model-index:",
            f"- name: {json.dumps(name)}",
            "  results:",
            f"  - task: {{type: {task}}}",
            f"    dataset: {{name: {json.dumps(source)}, type: {json.dumps(kind)}}}",
            "    metrics:",
            *(f"    - {{type: {json.dumps(m['name'])}, value: {m['value']:.6g}}}" for m in tested),
        ]
    return "\n".join([*lines, "---", ""])


def _code(words: str, lines: Sequence[str]) -> list[str]:
    return ["", words, "", "```python", *lines, "```"]


def _shape(entry: Json) -> str:
    return ", ".join(map(str, entry["shape"]))


def _inline(text: Any) -> str:
    """Return text that stays in its line and cell of a page of Markdown."""
    found = "".join(c if c.isprintable() else " " for c in str(text))
    for mark in "\\`|<[":
        found = found.replace(mark, f"\\{mark}")
    return found
