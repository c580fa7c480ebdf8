"""How good a model is: metrics on all rows, intervals, segments, gates, the report."""
