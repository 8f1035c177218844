"""The evolutionary engine on DEAP: individuals, selection, variation, algorithms, statistics.

This is the only room that imports deap.
"""
