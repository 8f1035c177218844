"""What `nasgen bench --json` says of searches with a predictor, as lines beside local search.

`claims.py` names the commands. Features that were made for a table have its name; all others are
generic, as those of anybody's own space are, and have goals.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from line import Json, Line, wide

# Measured apart from this code with 100 seeds, at 50 and 100 queries: the mean best c10v_valid_200,
# and the mean c10_test_200 of the network that had it.
INDEPENDENT = {
    "val": {
        "local": {"50": 91.43, "100": 91.56},
        "aging": {"50": 91.09, "100": 91.46},
    },
    "test": {
        "random": {"50": 93.64, "100": 93.79},
        "aging": {"50": 93.86, "100": 94.22},
        "local": {"50": 94.16, "100": 94.31},
    },
}
N_INDEPENDENT = 100
MEASURED = ("nasbench201", "c10v_valid_200")  # what these are of
PARTS = {"val": "validation", "test": "test"}
JUDGED = ("50", "100")  # queries at which generic features have goals

# Comparisons of features: name -> bench, the features beside `paths`, file of rows, signal.
COMPARISONS = {
    "bench-paths-c10": ("nasbench201", "nasbench201", "nb201", ""),
    "bench-paths-c100": ("nasbench201", "nasbench201", "nb201", "c100_valid_12ep"),
    "bench-paths-in16": ("nasbench201", "nasbench201", "nb201", "in16_valid_12ep"),
    "bench-paths-macro": ("nasbench-macro", "nasbench-macro", "macro", ""),
    "bench-paths-macro1": ("nasbench-macro", "nasbench-macro", "macro1", "test_acc1"),
    "bench-paths-mlp": ("examples/mlp_digits.py", "structural", "mlp", ""),
}
COMMANDS = {
    name: f"nasgen bench {bench} --algorithms random,aging,local,genetic+rank:{beside},"
    f"genetic+rank:paths --seeds 500 --queries 30,50,100{f' --signal {signal}' * bool(signal)} "
    f"--rows runs/{rows}.jsonl --json"
    for name, (bench, beside, rows, signal) in COMPARISONS.items()
}


def bench(found: Sequence[Any]) -> Iterator[Line]:
    """Read searches with a predictor beside local search, validation."""
    for result in found:
        own = result["algorithms"]
        has_goals = _is_measured(result)
        about = f"{result['bench']}, {result['seeds']} seeds: "
        for name in (n for n in own if "+" in n and "minus_local" in own[n]):
            for q, gain in _known(own[name]["minus_local"]["val"], JUDGED):
                means = [own[n]["val"][q]["mean"] for n in (name, "local")]
                yield Line(
                    f"{about}`{name}` minus local search at {q} queries, validation",
                    f"{means[0]:.2f} − {means[1]:.2f} %, paired {wide(gain)}",
                    *_above_zero(gain, has_goals),
                )
            needed = [own[n]["queries_to_optimum"] for n in (name, "local")]
            medians = [f"> {n['within']}" if n["median"] is None else f"{n['median']:g}"
                       for n in needed]  # fmt: skip
            ratio = needed[0]["of_local"]
            yield Line(
                f"{about}median queries to the optimum, `{name}` against local search",
                f"{medians[0]} against {medians[1]}" + (f", {ratio:.2f} ×" if ratio else ""),
                "≤ 0.8 ×" if has_goals else "",
                ratio is not None and ratio <= 0.8 if has_goals else None,
            )
        yield from _independent(result, about, "val")
        yield from _independent(result, about, "test")


def features(found: Sequence[Any]) -> Iterator[Line]:
    """Read searches with features of both kinds: what is reported of the networks they found."""
    for result in found:
        own, reported = result["algorithms"], result["reported"]
        about = f"{result['bench']}, searched {result['signal']}, {result['seeds']} seeds: "
        for name, values in own.items():
            last = max(values["test"], key=int)
            means = " / ".join(_mean(at) for at in values["test"].values())
            yield Line(
                f"{about}`{name}`, {reported} at {' / '.join(values['test'])} queries, and share "
                f"of searches at the optimum by {last}",
                f"{means} %, {values['p_optimum'][last]:.2f}",
            )
        for name in (n for n in own if "+" in n and "minus_local" in own[n]):
            is_generic = name.partition(":")[2] not in ("", result["bench"])
            for q, gain in _known(own[name]["minus_local"]["test"]):
                yield Line(
                    f"{about}`{name}` minus local search at {q} queries, {reported}",
                    f"paired {wide(gain)}",
                    *_above_zero(gain, is_generic and q in JUDGED),
                )
            last = max(own[name]["test"], key=int)
            hits, locals_ = (own[n]["p_optimum"][last] for n in (name, "local"))
            if is_generic:
                yield Line(
                    f"{about}share of searches at the optimum by {last} queries, `{name}` against "
                    "local search",
                    f"{hits:.2f} against {locals_:.2f}", "not below", hits >= locals_,
                )  # fmt: skip
        yield from _independent(result, about, "test")
        yield from _by_other_code(result, about)


def _is_measured(result: Json) -> bool:
    return (result["bench"], result["signal"]) == MEASURED


def _above_zero(gain: Json, has_goal: bool) -> tuple[str, bool | None]:
    """Return goal and whether a paired difference reaches it; one seed cannot tell."""
    if not has_goal:
        return "", None
    return "interval above 0", None if gain["ci95"] is None else gain["mean"] - gain["ci95"] > 0


def _known(found: Json, queries: Collection[str] | None = None) -> list[tuple[str, Json]]:
    """Return (queries, what was found by then) of those that some search has a score of."""
    wanted = found if queries is None else queries
    return [(q, at) for q, at in found.items() if q in wanted and at["mean"] is not None]


def _mean(at: Json) -> str:
    return "–" if at["mean"] is None else f"{at['mean']:.2f}"


def _independent(result: Json, about: str, part: str) -> Iterator[Line]:
    """Yield what other code found with the same algorithms, validation or test, beside ours."""
    for name, theirs in INDEPENDENT[part].items() if _is_measured(result) else ():
        known = result["algorithms"].get(name, {part: {}})[part]
        for q, at in _known(known, theirs):
            # The other mean has an interval as well, of as many seeds as it was made of.
            wider = (1 + result["seeds"] / N_INDEPENDENT) ** 0.5
            noise = None if at["ci95"] is None else at["ci95"] * wider + 0.005
            yield Line(
                f"{about}`{name}` at {q} queries, {PARTS[part]}",
                f"{wide(at, '')} %",
                f"{theirs[q]:.2f} %, measured independently, within noise",
                None if noise is None else abs(at["mean"] - theirs[q]) <= noise,
            )


def _by_other_code(result: Json, about: str) -> Iterator[Line]:
    """Yield how many searches of `--rows` are of other code than summed them up, if any is."""
    made = result.get("code", {"present": "", "searches": {}})
    n, n_all = made["searches"].get(made["present"], 0), sum(made["searches"].values())
    if n < n_all:
        states = len(made["searches"])
        yield Line(
            f"{about}searches that other code made than the one that summed them up",
            f"{n_all - n} of {n_all}, {states} state{'' if states == 1 else 's'} of the code",
        )
