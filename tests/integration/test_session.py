"""Sessions as users meet them. Each start of its own costs seconds, so each shows much at once."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from lakescore.config.settings import Settings
from lakescore.session import PINS, spark_session
from tests.conftest import QUICK_JVM

pytestmark = pytest.mark.spark

FIRST_START = """
import json, sys
from lakescore.config.settings import Settings
from lakescore.session import spark_session

spark = spark_session(Settings.model_validate_json(sys.argv[1]), "first start")
spark.range(3).write.format("delta").save(sys.argv[2])
context = spark.sparkContext
context.parallelize([1], 1).map(lambda x: x).collect()
json.dump({
    "rows": spark.read.format("delta").load(sys.argv[2]).count(),
    "heap": context._jvm.java.lang.Runtime.getRuntime().maxMemory(),
    "zone": spark.conf.get("spark.sql.session.timeZone"),
    "python": context.pythonExec,
    "address": context.getConf().get("spark.driver.host"),
}, sys.stdout)
"""

WITHOUT_DELTA = """
import sys
from pyspark.sql import SparkSession
from lakescore.config.settings import Settings
from lakescore.errors import EnvironmentProblem
from lakescore.session import spark_session

plain = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
settings = Settings.model_validate_json(sys.argv[1])
try:
    spark_session(settings, "no delta")
except EnvironmentProblem as problem:
    print(problem)
"""


def run(*command: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=300,
        check=True,
    )


def test_session_of_the_run_is_used_as_it_is(spark: SparkSession, settings: Settings) -> None:
    assert spark_session(settings, "a user's second call") is spark


def test_pins_are_put_back_on_a_session_that_changed_them(
    spark: SparkSession, settings: Settings
) -> None:
    spark.conf.set("spark.sql.session.timeZone", "America/New_York")
    spark.conf.set("spark.sql.ansi.enabled", "true")
    pinned = spark_session(settings, "again").conf
    assert {key: pinned.get(key) for key in PINS} == PINS


def test_databricks_session_gets_its_pins_and_nothing_else(
    spark: SparkSession, settings: Settings
) -> None:
    spark.conf.set("spark.sql.session.timeZone", "America/New_York")
    before = spark.sparkContext.getConf().getAll()
    found = spark_session(settings.model_copy(update={"platform": "databricks"}), "job")
    assert found is spark
    assert found.conf.get("spark.sql.session.timeZone") == "UTC"
    assert spark.sparkContext.getConf().getAll() == before


def test_first_start_is_silent_small_and_local(settings: Settings, tmp_path: Path) -> None:
    spark = settings.spark.model_copy(update={"driver_memory": "1g"})
    small = settings.model_copy(update={"spark": spark}).model_dump_json()
    done = run(
        sys.executable, "-c", FIRST_START, small, tmp_path / "t",
        PYSPARK_PYTHON="/bin/false", SPARK_HOME="/nowhere",
    )  # fmt: skip
    assert done.stderr == ""
    said = json.loads(done.stdout)
    assert said["rows"] == 3
    assert said["heap"] <= 1 << 30
    assert said["zone"] == "UTC"
    assert said["python"] == sys.executable
    assert said["address"] == "127.0.0.1"


def test_session_without_delta_is_refused_with_the_lines_to_add(
    settings: Settings,
) -> None:
    command = (sys.executable, "-c", WITHOUT_DELTA, settings.model_dump_json())
    done = run(*command, JDK_JAVA_OPTIONS=QUICK_JVM).stdout
    assert "the Spark session at hand has no Delta Lake" in done
    assert '.config("spark.jars.packages", "io.delta:delta-' in done
    assert '.config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")' in done


def test_spark_submit_needs_no_further_options(settings: Settings, tmp_path: Path) -> None:
    from lakescore.session.ivy import spark_home
    from lakescore.session.java import find_java

    job = tmp_path / "job.py"
    job.write_text(FIRST_START)
    done = run(
        spark_home() / "bin" / "spark-submit", "--conf", "spark.ui.enabled=false",
        job, settings.model_dump_json(), tmp_path / "t",
        JAVA_HOME=str(find_java().home), PYSPARK_PYTHON=sys.executable, JDK_JAVA_OPTIONS=QUICK_JVM,
    )  # fmt: skip
    said = json.loads(done.stdout[done.stdout.index("{") :])
    assert said["rows"] == 3
    assert said["zone"] == "UTC"


def test_a_connection_that_broke_with_its_jvm_prints_no_traceback(
    spark: SparkSession, capfd: pytest.CaptureFixture[str]
) -> None:
    context: Any = spark.sparkContext

    def fail(error: Exception) -> None:
        raise error

    for error in (EOFError(), ConnectionResetError(), ValueError("a wrong token")):
        try:
            fail(error)
        except Exception:
            context._accumulatorServer.handle_error(None, ("127.0.0.1", 0))
    printed = capfd.readouterr().err
    assert printed.count("Traceback") == 1
    assert "ValueError: a wrong token" in printed


def test_a_call_that_broke_with_its_jvm_is_not_logged_by_py4j(
    spark: SparkSession, caplog: pytest.LogCaptureFixture
) -> None:
    from py4j.protocol import Py4JNetworkError

    for error in (Py4JNetworkError("Answer from Java side is empty"), ValueError("another")):
        logging.error("Exception while sending command.", exc_info=error)
    assert [record.exc_info[0] for record in caplog.records] == [ValueError]
