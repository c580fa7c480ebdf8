"""Algorithms: candidates fit on Spark, scorers predict anywhere. Importing it imports no engine."""

from lakescore.models.catalogue import candidate, candidates, check_parameters, check_task
from lakescore.models.storage import load_scorer, save_scorer

__all__ = [
    "candidate",
    "candidates",
    "check_parameters",
    "check_task",
    "load_scorer",
    "save_scorer",
]
