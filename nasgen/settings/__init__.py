"""What a run is asked for: the config, what a trial may cost, what may be spent, what counts."""
