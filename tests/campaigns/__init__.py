"""Campaigns: many seeded attempts to make nasgen fail, which count what became of each.

`make campaigns` runs them, `python -m tests.campaigns --help` explains them, and the tests run a
short version of each. `docs/reliability.md` says what the counts mean.

- `kills`: searches that are killed at random moments and resumed.
- `inputs`: damaged files, run folders and ledgers; nonsense from plug-ins and workers.
- `writes`: a disk that fails at one write after the other.
"""
