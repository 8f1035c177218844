"""A baseline: a network that was only drawn, trained like a finalist, to compare the result with.

It is charged to the budget and chooses nothing: no ranking, archive, front or ensemble has it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from nasgen import seeding
from nasgen.engine.draws import drawn
from nasgen.errors import NasgenError
from nasgen.genotypes import Genotype
from nasgen.loop.gains import first_of
from nasgen.store.trial import BASELINE, Trial, recorded

if TYPE_CHECKING:
    from nasgen.loop.finish import Finish
    from nasgen.settings.fidelity import Fidelity

N_DRAWS: Final = 50  # until a network keeps the constraints that are known before training
DRAW_S: Final = 60.0  # that a search space may take for one


def asked(
    finish: Finish, finalists: Sequence[Trial], known: Collection[str], asked_after: int
) -> list[Trial]:
    """Return the baseline of a segment, if it is still to be trained: one trial or none.

    It is the first network that the search drew at random; where it drew none, because it began
    with designs or one network, a draw of the run's seed. None where that network is a finalist
    anyway, where no trial is left for it, and where there are no finalists.
    """
    trials, budget, plan = finish.trials, finish.budget, finish.plan
    begun = finish.all_begun
    if not budget.n_baselines or not (finalists or begun) or any(t.is_baseline for t in begun):
        return []
    n_done = sum(t.seq >= finish.n_before and t.state != "ESTIMATED" for t in trials.values())
    if budget.n_trials is not None and n_done + len(finalists) >= budget.n_trials:
        return []
    seq = len(trials) + len(finalists)
    threads = None if plan is None else plan.threads
    fidelity = replace(finish.constants.finish_fidelity, threads=threads)
    # A sparse network is what a pruning made of a random one.
    sampled = [t for t in trials.values() if t.operator == "sample" and not t.is_sparse]
    source = next((t for t in sampled if t.state == "COMPLETE"), None)
    if source is not None:
        if source.seq in {first_of(t, trials).seq for t in (*begun, *finalists)}:
            return []
        identity = finish.constants.identity(source.key, fidelity)
        found = replace(
            finish.copied(seq, source, identity, fidelity, asked_after), operator=BASELINE
        )
    else:
        genotype = _drawn(finish)
        if genotype is None:
            return []
        found = _of(finish, genotype, seq, fidelity, asked_after)
    return [] if found.identity in known else [found]


def _drawn(finish: Finish) -> Genotype | None:
    """Return a random network that keeps the constraints, None where the space gives none."""
    rng = seeding.generator(finish.constants.seed, "baseline")
    limit_s = min(DRAW_S, max(1.0, finish.budget.left_s))
    try:
        for _ in range(N_DRAWS):
            sample = partial(finish.space.sample, rng)
            genotype = drawn("sample", sample, finish.space, limit_s)
            if finish.violation(genotype) <= 0:
                return genotype
    except NasgenError:  # the search was possible without it
        pass
    return None


def _of(
    finish: Finish, genotype: Genotype, seq: int, fidelity: Fidelity, asked_after: int
) -> Trial:
    constants, minted = finish.constants, genotype.mint(finish.constants.seed, seq)
    return Trial(
        seq=seq,
        state="RUNNING",
        key=minted.key,
        identity=constants.identity(minted.key, fidelity),
        operator=BASELINE,
        **recorded(minted, finish.space),
        phase="finish",
        fidelity=fidelity,
        seed=seeding.integer(constants.seed, "trial", seq),
        asked_after=asked_after,
    )
