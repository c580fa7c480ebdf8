"""An engine's failure is told in its own words."""

from __future__ import annotations

import pytest

from lakescore.errors import OneClassLabel, TrainingFailed
from lakescore.models.engines import in_engine_words

JAVA = """An error occurred while calling o12.fit.
: org.apache.spark.SparkException: Job aborted due to stage failure: Task 0 failed
\tat org.apache.spark.scheduler.DAGScheduler.failJobAndIndependentStages(DAGScheduler.scala:2898)
Caused by: java.lang.OutOfMemoryError: Java heap space
\tat java.base/java.util.Arrays.copyOf(Unknown Source)
"""


def test_the_innermost_java_cause_is_told_with_what_to_do():
    with pytest.raises(TrainingFailed) as caught, in_engine_words("random_forest"):
        raise RuntimeError(JAVA)

    assert caught.value.what == (
        "random_forest did not fit: java.lang.OutOfMemoryError: Java heap space"
    )
    assert "spark.driver_memory" in caught.value.hint
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_python_error_is_told_as_it_is():
    words = "lightgbm did not fit: bin size too small"
    with pytest.raises(TrainingFailed, match=words), in_engine_words("lightgbm"):
        raise ValueError("bin size too small")


def test_an_error_without_words_is_told_by_its_name():
    with pytest.raises(TrainingFailed) as caught, in_engine_words("prior"):
        raise KeyError
    assert caught.value.what == "prior did not fit: KeyError"


def test_our_own_errors_pass_unchanged():
    with pytest.raises(OneClassLabel), in_engine_words("prior"):
        raise OneClassLabel("all 1")
