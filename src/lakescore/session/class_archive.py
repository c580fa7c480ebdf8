"""An archive of Spark's loaded classes, from which the JVM of a local session starts faster.

Java 17 can save the classes that a run has loaded and map them into later ones (JEP 350, dynamic
class-data sharing). An archive fits one Java and one class path only; the JVM checks that and,
where it does not fit, starts without it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from lakescore.cache_folder import cache_folder
from lakescore.session.ivy import spark_home
from lakescore.session.java import Java

log = logging.getLogger(__name__)

#: The first Java that saves the classes of a run, of those that Spark runs on.
_FIRST_JAVA = 17
_QUIET = ("-Xshare:auto", "-Xlog:cds=off", "-Xlog:cds+dynamic=off", "-Xlog:class+path=off")
_MAKE_SECONDS = 300
#: An archive takes 160 MB, and that of an environment that was installed anew is of no more use.
_KEPT_DAYS = 30


def archive_options(java: Java, jars: Sequence[Path]) -> list[str]:
    """JVM options that use the archive of this Java and these jars; none where there is none."""
    path = _path(java, jars)
    if not path.is_file():
        return []
    with suppress(OSError):
        os.utime(path)
    return [f'"-XX:SharedArchiveFile={path}"', *_QUIET]


def needs_archive(java: Java, jars: Sequence[Path]) -> bool:
    """Whether this Java can use an archive and has none yet."""
    return java.version >= _FIRST_JAVA and not _path(java, jars).is_file()


def make_archive(java: Java, jars: Sequence[Path]) -> bool:
    """Make the archive from a short run of half a minute; False where that does not work.

    Only speed depends on it, so a failure is a line in the log.
    """
    path = _path(java, jars)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".make-", dir=path.parent) as scratch:
        made = Path(scratch) / path.name
        failure = _run(Path(scratch) / "lake", made)
        if failure is None and made.is_file():
            made.rename(path)
            _remove_unused(path.parent)
            return True
    log.warning("sessions will start without archived classes: %s", failure or "none were saved")
    return False


def _path(java: Java, jars: Sequence[Path]) -> Path:
    release = java.home / "release"
    parts = [
        str(java.home),
        release.read_text() if release.is_file() else str(java.version),
        str(spark_home()),
        *map(_identity, sorted((spark_home() / "jars").iterdir())),
        *map(_identity, jars),
    ]
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    return cache_folder() / "classes" / f"{key}.jsa"


def _remove_unused(folder: Path) -> None:
    """Archives that no session has used for `_KEPT_DAYS`; another set-up may do so at once."""
    long_ago = time.time() - _KEPT_DAYS * 86_400
    for path in folder.glob("*.jsa"):
        with suppress(OSError):
            if path.stat().st_mtime < long_ago:
                path.unlink()


def _identity(jar: Path) -> str:
    """What the JVM knows a jar by: one that was installed anew does not fit the old archive."""
    stat = jar.stat()
    return f"{jar} {stat.st_size} {int(stat.st_mtime)}"


def _run(lake: Path, made: Path) -> str | None:
    """Warm up in a process of its own; what went wrong, or None."""
    command = [sys.executable, "-m", __name__, str(lake), str(made)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_MAKE_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return None if done.returncode == 0 else (done.stderr.strip().splitlines() or ["failed"])[-1]


def _warm_up(lake: str, made: str) -> None:
    """What nearly every run does: write a Delta table, read it, shuffle, look at its history."""
    from lakescore.config.settings import LakeSettings, RegistrySettings, Settings, SparkSettings
    from lakescore.session.start import spark_session

    options = " ".join([f'"-XX:ArchiveClassesAtExit={made}"', *_QUIET])
    settings = Settings(
        lake=LakeSettings(root=lake),
        registry=RegistrySettings(uri="sqlite://"),
        spark=SparkSettings(
            master="local[2]",
            driver_memory="1g",
            shuffle_partitions=2,
            conf={"spark.driver.extraJavaOptions": options},
        ),
        runs=lake,
        staging=lake,
    )
    spark = spark_session(settings, "lakescore set-up")
    table = f"{lake}/table"
    rows = spark.range(100).selectExpr("id", "id % 7 AS part", "CAST(id AS STRING) AS text")
    rows.write.format("delta").save(table)
    stored = spark.read.format("delta").load(table)
    stored.join(stored.groupBy("part").count(), "part").collect()
    for statement in ("HISTORY", "DETAIL"):
        spark.sql(f"DESCRIBE {statement} delta.`{table}`").collect()
    spark.stop()


if __name__ == "__main__":
    _warm_up(*sys.argv[1:])
