"""Which backend fits LightGBM here, and why."""

from __future__ import annotations

import platform
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from lakescore.errors import EnvironmentProblem, MissingExtra
from lakescore.models.base import Backend
from lakescore.models.engines import engine_words

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

#: What SynapseML's LightGBM jar has a native library for.
_PLATFORMS = {("Linux", "x86_64"), ("Darwin", "x86_64"), ("Windows", "AMD64")}


def choose_backend(
    wanted: Literal["auto", "synapse", "native"], spark: SparkSession | None = None
) -> Backend:
    """synapse where it can load, else native, unless one is `wanted`.

    Without `spark` the jars are not looked at. Raises MissingExtra or EnvironmentProblem when
    synapse is wanted and cannot load.
    """
    if wanted == "native":
        return Backend("native", "chosen in the workload")
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
