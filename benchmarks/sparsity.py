"""What the commands about pruning, recurrent networks and random graphs print, as lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from line import Line

MASKED, LOOP, FASTER = 1.05, 10.0, 2.0
FEW_LEFT, SEEDS, SAFE = 1 / 56, 3, 0.98  # share of LeNet-300-100, seeds, test accuracy

# Reproduction -> (its command, the document that has all of its figures).
REPRODUCED = {
    "stier2021-pruning": (
        "nasgen reproduce stier2021-pruning --scale paper --data mnist:DATA/mnist --seed 0 "
        "--seed 1 --seed 2 --quiet --json",
        "PRUNING",
    ),
    "stier2021-rnn": ("nasgen reproduce stier2021-rnn --scale goals --quiet --json", "PRUNING"),
    # Every matrix and rate, before and after training, with fewer strings and one seed.
    "stier2021-rnn-quick": (
        "nasgen reproduce stier2021-rnn --scale quick --quiet --json",
        "PRUNING",
    ),
    "stier2021-priors": (
        "nasgen reproduce stier2021-priors --scale goals --quiet --json",
        "PRIORS",
    ),
}


def curvature(found: list[Any]) -> Iterator[Line]:
    """Read benchmarks/curvature.py."""
    for row in found:
        days = row["double_backward_s"] / 86_400
        yield Line(
            f"second derivatives by the {row['weights']:,} weights of {row['network']} over "
            f"{row['images']:,} images, {row['threads']} threads",
            f"{row['seconds']:.2f} s (a double backward pass a weight: {days:.1f} days)",
            f"≤ {row['goal_s']:g} s",
            row["seconds"] <= row["goal_s"],
        )


def lenet_pruned(found: list[Any]) -> Iterator[Line]:
    """Read benchmarks/lenet_pruned.py: the mean over seeds, each at a 56th of the weights."""
    dense = [row["dense"]["test_accuracy"] for row in found]
    tests = [row["pruned"]["test_accuracy"] for row in found]
    left = max(row["pruned"]["left"] / row["dense"]["left"] for row in found)
    mean = sum(tests) / len(tests)
    yield Line(
        f"LeNet-300-100 with 1/{1 / left:.0f} of its weights, `nasgen prune` with settings of its "
        f"own, {len(tests)} seeds: test accuracy",
        f"{100 * mean:.2f} % ({100 * min(tests):.2f} to {100 * max(tests):.2f}; before pruning "
        f"{100 * sum(dense) / len(dense):.2f})",
        f"≥ {100 * SAFE:.1f} % at 1/56",
        mean >= SAFE and left <= FEW_LEFT * 1.001 and len(tests) >= SEEDS,
    )


def abreast(found: list[Any]) -> Iterator[Line]:
    """Read benchmarks/abreast.py."""
    for row in found:
        about = f"{row['cell']}, batches of {row['batch']}: a step of training, of a graph"
        yield Line(
            f"{about} among {row['graphs']} side by side, of a dense LSTM of as many weights",
            f"{row['of_dense']:.2f} × ({row['abreast_20_ms']:.1f} and {row['dense_lstm_ms']:.1f} "
            f"ms; 8 side by side {row['abreast_8_ms']:.1f} ms)",
            f"≤ {row['goal']:g} ×",
            row["of_dense"] <= row["goal"],
        )
        yield Line(f"{about} alone, with {row['layers']:g} layers", f"{row['alone_ms']:.1f} ms")


def recurrent(found: list[Any]) -> Iterator[Line]:
    """Read benchmarks/recurrent.py."""
    for row in found:
        answered, trained = row["batch"]
        answer, step = row["answer_ms"], row["step_ms"]
        dense, left = row["units"]
        ratio = answer["dense"] / answer["compacted"]
        has_goal = row["cell"] in ("gru", "lstm")
        yield Line(
            f"{row['cell']}, {left} of {dense} units left: times as fast compacted as dense, batch "
            f"{answered}, {row['threads']} thread",
            f"{ratio:.2f} × ({answer['dense']:.1f} and {answer['compacted']:.1f} ms)",
            f"≥ {FASTER:g} ×" if has_goal else "",
            ratio >= FASTER if has_goal else None,
        )
        masked = step["masked"] / step["unmasked"]
        yield Line(
            f"{row['cell']}, batch {trained}: a step of training with masks, of one without",
            f"{masked:.2f} × ({step['masked']:.1f} and {step['unmasked']:.1f} ms)",
            f"≤ {MASKED:g} ×",
            masked <= MASKED,
        )
        loop = step["loop"] / step["masked"]
        yield Line(
            f"{row['cell']}, batch {trained}: a step with masks, times as fast as cells in a loop",
            f"{loop:.1f} × ({step['loop']:.1f} ms)",
            f"≥ {LOOP:g} ×",
            loop >= LOOP,
        )
