"""Spark per platform: which Java and jars start it, and the settings that every run pins."""

from lakescore.session.start import PINS, lost_session, pin_session, spark_session

__all__ = ["PINS", "lost_session", "pin_session", "spark_session"]
