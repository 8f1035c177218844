"""Search algorithms as ask / tell, one file each."""

from nasgen.registry import Entry

ENTRIES = (
    Entry(
        "lineage",
        "nasgen.engine.algorithms.lineage:Lineage",
        "for a time budget: one network is trained on while its children challenge it",
        reference="after Jaderberg 2017",
    ),
    Entry(
        "random",
        "nasgen.engine.algorithms.random:RandomSearch",
        "every candidate drawn from the search space: the baseline; with a time budget or rungs, "
        "successive halving",
    ),
    Entry(
        "genetic",
        "nasgen.engine.algorithms.genetic:Genetic",
        "generations: tournament parents, children join, the best survive",
        reference="Stier 2021, section 4.4",
    ),
    Entry(
        "aging",
        "nasgen.engine.algorithms.aging:Aging",
        "steady state: each child replaces the oldest individual",
        reference="Real 2019",
    ),
    Entry(
        "local",
        "nasgen.engine.algorithms.local:LocalSearch",
        "batches of neighbours of the current best, with restarts",
        reference="White 2021",
    ),
    Entry(
        "nsga2",
        "nasgen.engine.algorithms.nsga2:Nsga2",
        "several objectives: NSGA-II, or NSGA-III by survival = 'nsga3'",
        reference="Deb 2002",
    ),
    Entry(
        "nsga3",
        "nasgen.engine.algorithms.nsga3:Nsga3",
        "three objectives or more: NSGA-III, survivors close to spread reference points",
        reference="Deb & Jain 2014",
    ),
    Entry(
        "growth",
        "nasgen.engine.algorithms.growth:Growth",
        "one small network is grown: mutate members, train on from their weights, keep the best",
        reference="Painter 2018",
    ),
    Entry(
        "synthesis",
        "nasgen.engine.algorithms.synthesis:Synthesis",
        "a trained network gets smaller: children are sampled from the weights of their parents",
        reference="Shafiee 2016, Chung 2017, Chung 2018",
    ),
    Entry(
        "prune",
        "nasgen.engine.algorithms.prune:Prune",
        "one network loses weights step by step and is trained in between",
        reference="Stier 2021, section 4.1",
    ),
    Entry(
        "fixed",
        "nasgen.engine.algorithms.fixed:Fixed",
        "no search: trains the origin network, as often as asked",
    ),
)
