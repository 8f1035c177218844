"""What tricks of fast training are worth in nasgen's trainer, one file a trick; see `run.py`."""
