"""Which backend fits LightGBM here, and why."""

from __future__ import annotations

import os
import platform
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from lakescore.errors import EnvironmentProblem, MissingExtra
from lakescore.models.base import Backend
from lakescore.models.engines import engine_words, is_local
from lakescore.models.lightgbm.settings import CELL_BYTES

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

#: What SynapseML's LightGBM jar has a native library for.
_PLATFORMS = {("Linux", "x86_64"), ("Darwin", "x86_64"), ("Windows", "AMD64")}


def choose_backend(
    wanted: Literal["auto", "synapse", "native"],
    spark: SparkSession | None = None,
    *,
    cells: int | None = None,
    native_gib: float = 0.0,
) -> Backend:
    """Unless one is `wanted`: native for a matrix that is small enough, else synapse, else native.

    Small enough is what one machine trains at once, with no row on the way through the JVM: at
    most `native_gib` GiB, and half of the machine's memory, on a local master. Without `spark`
    neither the master nor the jars are looked at. Raises MissingExtra or EnvironmentProblem when
    synapse is wanted and cannot load.
    """
    if wanted == "native":
        return Backend("native", "chosen in the workload")
    if wanted == "auto" and (small := _small_enough(spark, cells, native_gib)):
        return Backend("native", small)
    obstacle = _obstacle(spark)
    if obstacle is None:
        chosen = "chosen in the workload" if wanted == "synapse" else "SynapseML can load"
        return Backend("synapse", chosen if spark else f"{chosen}, if the session has its jars")
    if wanted == "auto":
        return Backend("native", f"SynapseML cannot load: {obstacle}")
    if not _has_package():
        raise MissingExtra("synapseml", extra="synapse", needed_for="backend: synapse")
    raise EnvironmentProblem(
        f"SynapseML cannot load: {obstacle}", hint="set backend: auto, or backend: native"
    )


def _small_enough(spark: SparkSession | None, cells: int | None, native_gib: float) -> str | None:
    """Why one process is to train; None where it is not."""
    if spark is None or cells is None or find_spec("lightgbm") is None or not is_local(spark):
        return None
    gib, most = cells * CELL_BYTES / 2**30, min(native_gib, _machine_gib() / 2)
    if gib > most:
        return None
    size = f"{gib:.2g} GiB" if gib >= 1 else f"{gib * 1024:.2g} MiB"
    return f"a matrix of {size}, and one process takes up to {most:.2g} GiB (native_gib)"


def _machine_gib() -> float:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    except (AttributeError, OSError, ValueError):  # not told on this platform
        return float("inf")


def _obstacle(spark: SparkSession | None) -> str | None:
    """Why SynapseML cannot load here; None when it can, as far as this can be seen."""
    if not _has_package():
        return "the Python package synapseml is not installed (extra 'synapse')"
    if (platform.system(), platform.machine()) not in _PLATFORMS:
        return f"it has no library for {platform.system()} {platform.machine()}"
    return None if spark is None else _jar_obstacle(spark)


@cache
def _has_package() -> bool:
    try:
        return find_spec("synapse.ml") is not None
    except ModuleNotFoundError:
        return False


def _jar_obstacle(spark: SparkSession) -> str | None:
    """Load the native library in the driver, as a fit would: a class that is there may still
    lack libgomp, or ask for a newer C library."""
    try:
        jvm = spark.sparkContext._jvm
        jvm.com.microsoft.azure.synapse.ml.lightgbm.LightGBMUtils.initializeNativeLibrary()
    except TypeError:  # py4j takes what is no class for a package, and cannot call it
        return "its jars are not on the session (spark.jars)"
    except Exception as error:
        return engine_words(error)
    return None
