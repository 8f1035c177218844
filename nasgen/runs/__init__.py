"""A run from outside: a config is read, a session works on a run, results are read."""
