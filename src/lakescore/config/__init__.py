"""Configuration: what to run, validated before Spark starts. Pure Python."""
