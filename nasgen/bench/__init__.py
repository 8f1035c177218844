"""Searches on tables: accuracies are looked up instead of trained, so a benchmark takes seconds.

`nasgen bench` plays the same search loop as a real run, with its ledger in memory.
"""
