"""A session for a run: the platform's own where there is one, a lean local one otherwise."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakescore.config.settings import Settings
from lakescore.errors import EnvironmentProblem
from lakescore.session.class_archive import archive_options
from lakescore.session.ivy import spark_home
from lakescore.session.jars import DELTA, ensure_jars, needed_jars, spark_line
from lakescore.session.java import Java, find_java

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

#: What makes the same SQL give the same rows on every platform.
PINS = {"spark.sql.session.timeZone": "UTC", "spark.sql.ansi.enabled": "false"}

DELTA_EXTENSION = "io.delta.sql.DeltaSparkSessionExtension"
DELTA_CATALOG = "org.apache.spark.sql.delta.catalog.DeltaCatalog"
_DELTA_CONF = {
    "spark.sql.extensions": DELTA_EXTENSION,
    "spark.sql.catalog.spark_catalog": DELTA_CATALOG,
}

#: A run of some minutes never earns back most of what the optimising compiler does for it: with
#: ten times its thresholds (and a collector without concurrent threads), the demo takes a third
#: less time. `spark.driver.extraJavaOptions` of the environment stands in place of these.
_SHORT_RUN_JVM = (
    "-XX:+UseParallelGC -XX:Tier4InvocationThreshold=50000 -XX:Tier4MinInvocationThreshold=6000 "
    "-XX:Tier4CompileThreshold=150000 -XX:Tier4BackEdgeThreshold=400000"
)

#: A JVM over memory in pages of 4 KiB loses a tenth of its time to looking them up, inside a
#: virtual machine. An option of Linux alone: asked for where the kernel has them to give.
_HUGE_PAGES = "-XX:+UseTransparentHugePages"
_HUGE_PAGES_GIVEN = Path("/sys/kernel/mm/transparent_hugepage/enabled")

#: What Spark remembers of past queries for a web page that is off: a thousand plans otherwise.
_SHORT_MEMORY = {
    "spark.ui.retainedJobs": "50",
    "spark.ui.retainedStages": "50",
    "spark.ui.retainedTasks": "1000",
    "spark.sql.ui.retainedExecutions": "50",
}

#: A dying process closes its sockets before it can be seen to have ended.
_ENDING_SECONDS = 1.0

_QUIET_LOG = Path(__file__).with_name("log4j2.properties")


def spark_session(settings: Settings, app_name: str) -> SparkSession:
    """Return the session that a run uses, pinned to UTC and non-ANSI SQL.

    databricks: the platform's session, with nothing else set. spark-submit: what spark-submit
    gives, with Delta's SQL settings. local: an active session when it has Delta, else a new one.
    Raises EnvironmentProblem when Java, jars or Delta are missing.
    """
    if settings.platform == "databricks":
        session = _active_session() or _builder(app_name, {}).getOrCreate()
    elif settings.platform == "spark-submit":
        session = _submitted_session(settings, app_name)
    else:
        session = _local_session(settings, app_name)
    pin_session(session)
    return session


def pin_session(spark: SparkSession) -> None:
    """Set what every run pins on a session that somebody else started."""
    for key, value in PINS.items():
        if spark.conf.get(key) != value:
            spark.conf.set(key, value)


def lost_session() -> EnvironmentProblem | None:
    """What to say when the Java process that this one started has ended; None while it runs."""
    pyspark = sys.modules.get("pyspark")
    gateway = None if pyspark is None else pyspark.SparkContext._gateway
    java = getattr(gateway, "proc", None)
    if java is None:
        return None
    try:
        java.wait(_ENDING_SECONDS)
    except subprocess.TimeoutExpired:
        return None
    return EnvironmentProblem(
        f"the Java process of the Spark session ended (exit code {java.returncode})",
        hint="it was killed, perhaps for its memory (spark.driver_memory); running again is safe",
    )


def local_conf(settings: Settings) -> dict[str, str]:
    """The lean settings of a session on one machine; `settings.spark.conf` comes last."""
    spark = settings.spark
    conf = {
        **_shared_conf(settings),
        "spark.driver.memory": spark.driver_memory,
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        **_SHORT_MEMORY,
        "spark.sql.shuffle.partitions": str(spark.shuffle_partitions or 4),
        "spark.databricks.delta.snapshotPartitions": str(spark.delta_snapshot_partitions or 2),
        # VACUUM lists folders in this many tasks; Spark's own default, 10,000, takes minutes here.
        "spark.sql.sources.parallelPartitionDiscovery.parallelism": "8",
        "spark.sql.warehouse.dir": _warehouse(settings),
        **spark.conf,
    }
    options = [f'"-Dlog4j2.configurationFile={_QUIET_LOG.as_uri()}"', *_huge_pages()]
    options.append(conf.get("spark.driver.extraJavaOptions", _SHORT_RUN_JVM))
    return conf | {"spark.driver.extraJavaOptions": " ".join(options)}


def _huge_pages() -> list[str]:
    try:
        given = "[never]" not in _HUGE_PAGES_GIVEN.read_text()
    except OSError:
        given = False
    return [_HUGE_PAGES] if given else []


def _shared_conf(settings: Settings) -> dict[str, str]:
    return {
        **PINS,
        **_DELTA_CONF,
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.sql.execution.arrow.maxRecordsPerBatch": str(settings.scoring.batch_rows),
        # The default, INT96, is written at half the speed and has no statistics in Parquet.
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
        # A native crash in a Python worker then names the Python line.
        "spark.python.worker.faulthandler.enabled": "true",
    }


def _warehouse(settings: Settings) -> str:
    root = settings.lake.root or "."
    if "://" in root:
        return f"{root.rstrip('/')}/_lakescore/warehouse"
    return str(Path(root).absolute() / "_lakescore" / "warehouse")


def _local_session(settings: Settings, app_name: str) -> SparkSession:
    session = _active_session()
    if session is not None:
        return _with_delta(session)
    jars = ensure_jars(needed_jars())
    conf = local_conf(settings)
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    # LightGBM's threads otherwise spin while they wait, and starve whatever shares the cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if _jvm_is_up():
        _add_to_driver(jars)
    else:
        java = find_java()
        os.environ["JAVA_HOME"] = str(java.home)
        os.environ["SPARK_HOME"] = str(spark_home())
        conf |= _class_path(conf, java, jars)
    builder = _builder(app_name, conf).master(settings.spark.master or "local[*]")
    return _with_delta(_own(builder))


def _class_path(conf: Mapping[str, str], java: Java, jars: Sequence[Path]) -> dict[str, str]:
    """The jars on the class path of the JVM to be started, and its archive of their classes."""
    path, options = "spark.driver.extraClassPath", "spark.driver.extraJavaOptions"
    given = [conf[path]] if path in conf else []
    return {
        path: os.pathsep.join([*map(str, jars), *given]),
        options: " ".join([conf[options], *archive_options(java, jars)]),
    }


def _submitted_session(settings: Settings, app_name: str) -> SparkSession:
    """Cluster sizes are spark-submit's and the cluster's: only SQL settings are set here."""
    session = _active_session()
    if session is not None:
        return _with_delta(session)
    conf = _shared_conf(settings) | settings.spark.conf
    if settings.spark.shuffle_partitions:
        conf["spark.sql.shuffle.partitions"] = str(settings.spark.shuffle_partitions)
    if settings.spark.delta_snapshot_partitions:
        conf["spark.databricks.delta.snapshotPartitions"] = str(
            settings.spark.delta_snapshot_partitions
        )
    return _with_delta(_own(_builder(app_name, _beside_submitted(conf))))


def _beside_submitted(conf: dict[str, str]) -> dict[str, str]:
    """Keep the extensions that spark-submit names beside Delta's."""
    from pyspark import SparkConf

    given = SparkConf().get("spark.sql.extensions", "") or ""
    names = [name for name in given.split(",") if name and name != DELTA_EXTENSION]
    return conf | {"spark.sql.extensions": ",".join([*names, DELTA_EXTENSION])}


def _builder(app_name: str, conf: dict[str, str]) -> SparkSession.Builder:
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.appName(app_name)
    for key, value in conf.items():
        builder = builder.config(key, value)
    return builder


def _own(builder: SparkSession.Builder) -> SparkSession:
    """A new session, with two habits of PySpark's mended."""
    session = builder.getOrCreate()
    _remember_classes(session)
    _leave_lost_java_to_us(session)
    return session


def _remember_classes(session: SparkSession) -> None:
    """For each column expression PySpark has the JVM search its jars for the same classes."""
    jvm: Any = session.sparkContext._jvm
    for name in ("functions", "PythonUtils"):
        setattr(jvm, name, getattr(jvm, name))


def _leave_lost_java_to_us(session: SparkSession) -> None:
    """`lost_session` says that the Java process has died.

    PySpark's receiver of accumulator updates prints a traceback of the connection that broke, and
    py4j logs the one of a call that was under way, to the root logger.
    """
    receiver: Any = session.sparkContext._accumulatorServer
    print_traceback = receiver.handle_error

    def handle_error(*request: object) -> None:
        if not isinstance(sys.exc_info()[1], (EOFError, ConnectionError)):
            print_traceback(*request)

    receiver.handle_error = handle_error
    logging.getLogger().addFilter(tells_no_broken_call)


def tells_no_broken_call(record: logging.LogRecord) -> bool:
    """A filter: false for what py4j logs of a call whose connection broke."""
    from py4j.protocol import Py4JNetworkError

    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, Py4JNetworkError)


def _active_session() -> SparkSession | None:
    """The session of this thread, or the one that another thread of this process started."""
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    session = SparkSession.getActiveSession()
    if session is None and SparkContext._active_spark_context is not None:
        session = SparkSession.builder.getOrCreate()
    return session


def _with_delta(session: SparkSession) -> SparkSession:
    if DELTA_EXTENSION in session.conf.get("spark.sql.extensions", "") and _loads(DELTA_EXTENSION):
        return session
    settings = "\n     ".join(f'.config("{key}", "{value}")' for key, value in _DELTA_CONF.items())
    line = spark_line()
    raise EnvironmentProblem(
        "the Spark session at hand has no Delta Lake",
        hint=f"stop it (spark.stop()) and lakescore starts its own, or build it with\n"
        f'     .config("spark.jars.packages", "{DELTA.get(line, DELTA["3.5"])}")\n     {settings}',
    )


def _jvm_is_up() -> bool:
    """spark-submit started the JVM, or an earlier session of this process did."""
    from pyspark import SparkContext

    return SparkContext._gateway is not None or "PYSPARK_GATEWAY_PORT" in os.environ


def _add_to_driver(jars: list[Path]) -> None:
    """Put jars on the class path of a JVM that is up already, where `spark.jars` comes too late."""
    if _loads(DELTA_EXTENSION):
        return
    jvm = _gateway_jvm()
    loader = jvm.java.lang.Thread.currentThread().getContextClassLoader()
    for jar in jars:
        loader.addURL(jvm.java.net.URL(jar.as_uri()))


def _loads(java_class: str) -> bool:
    from py4j.protocol import Py4JJavaError

    jvm = _gateway_jvm()
    loader = jvm.java.lang.Thread.currentThread().getContextClassLoader()
    try:
        loader.loadClass(java_class)
    except Py4JJavaError:
        return False
    return True


def _gateway_jvm() -> Any:
    from pyspark import SparkContext

    SparkContext._ensure_initialized()
    return SparkContext._jvm
