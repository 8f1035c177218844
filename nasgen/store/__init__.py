"""What a run remembers: the ledger (an Optuna study), the artifacts and the run folder."""
