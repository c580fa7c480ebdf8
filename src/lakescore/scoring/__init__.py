"""Runs models over rows: the model package, Arrow batches, Spark transforms."""
