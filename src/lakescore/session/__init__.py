"""Spark per platform: which Java and jars start it, and the settings that every run pins."""

from lakescore.session.start import PINS, pin_session, spark_session

__all__ = ["PINS", "pin_session", "spark_session"]
