"""Ingest: an append-only Delta copy of files or of a Hive table, each part exactly once."""
