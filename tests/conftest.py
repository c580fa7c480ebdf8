"""What every test may ask for: one Spark session for the whole run, and a lake of its own."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from lakescore.config.settings import LakeSettings, RegistrySettings, Settings, SparkSettings
from tests.churn import Project, copy_project, customers, make_project

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from tests.linear import Life

#: Tests run each piece of code a few times: compiling it lightly takes less than half the time.
QUICK_JVM = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
#: The session of a whole suite lives long enough for the optimising compiler.
LONG_RUN_JVM = "-XX:+UseParallelGC"
#: For a handful of rows generating and compiling code takes longer than interpreting a plan does.
INTERPRETED = {
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
}


# How long an example takes says something about the machine, not about the code.
hypothesis.settings.register_profile("lakescore", deadline=None)
hypothesis.settings.load_profile("lakescore")


#: The files that take longest, longest first: begun last, one of them would run on alone.
LONGEST = (
    "test_story", "test_demo", "test_scoring_modes", "test_bad_input", "test_restore",
    "test_chunks", "test_quarantine", "test_maintain", "test_own_file", "test_modes",
)  # fmt: skip


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever asks for the session is a Spark test, marked or not; long files come first."""
    for item in items:
        if "spark" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.spark)
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


def settings_under(root: Path) -> Settings:
    """Local settings that keep everything under one folder."""
    return Settings(
        lake=LakeSettings(root=str(root / "lake")),
        registry=RegistrySettings(
            uri=f"sqlite:///{root / 'mlflow.db'}", artifacts=str(root / "mlflow-artifacts")
        ),
        spark=SparkSettings(
            master="local[2]",
            driver_memory=os.environ.get("LAKESCORE_TEST_MEMORY", "2g"),
            shuffle_partitions=2,
            delta_snapshot_partitions=2,
            conf={**INTERPRETED, "spark.driver.extraJavaOptions": LONG_RUN_JVM},
        ),
        runs=str(root / "lake" / "_lakescore" / "runs"),
        staging=str(root / "lake" / "_lakescore" / "staging"),
    )


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """The one session of the run: started by lakescore itself, as a user's is."""
    from lakescore.session import spark_session

    session = spark_session(settings_under(tmp_path_factory.mktemp("spark")), "lakescore tests")
    yield session
    session.stop()


@pytest.fixture(scope="module", autouse=True)
def plans_are_let_go() -> Iterator[None]:
    """Python's cycles hold query plans in the JVM, whose size Python does not know."""
    yield
    gc.collect()


@pytest.fixture
def lake_root(tmp_path: Path) -> Path:
    """The root folder of an empty lake."""
    root = tmp_path / "lake"
    root.mkdir()
    return root


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Local settings of their own for one test: lake, registry, runs and staging."""
    return settings_under(tmp_path)


@pytest.fixture
def project(tmp_path: Path, settings: Settings, spark: SparkSession) -> Project:
    """conf/, an own lake and registry, and the churn workload over no table yet."""
    return make_project(tmp_path, settings, spark)


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory: pytest.TempPathFactory, spark: SparkSession) -> Project:
    """300 customers landed and a champion trained on them: once for the whole run."""
    root = tmp_path_factory.mktemp("trained")
    project = make_project(root, settings_under(root), spark)
    project.land(customers(0, 300), "first")
    assert project.run("train", "churn") == 0
    assert project.aliases() == {"champion": "1", "challenger": "1"}
    return project


@pytest.fixture
def trained(trained_once: Project, tmp_path: Path, settings: Settings) -> Project:
    """A project of its own with 300 customers and a champion."""
    return copy_project(trained_once, tmp_path, settings)


@pytest.fixture(scope="session")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a registry with every version of the linear model: once for the whole run."""
    from tests.linear import register_versions

    root = tmp_path_factory.mktemp("linear")
    register_versions(settings_under(root))
    return root


@pytest.fixture
def life(
    spark: SparkSession, settings: Settings, tmp_path: Path, registered: Path
) -> Callable[..., Life]:
    """A factory: the linear workload with these predictions over an own, empty lake."""
    from tests.linear import Life, workload

    shutil.copyfile(registered / "mlflow.db", tmp_path / "mlflow.db")

    def make(
        *, feed: bool = True, source: dict[str, Any] | None = None, **predictions: Any
    ) -> Life:
        return Life(spark, settings, workload(predictions, **(source or {})), feed)

    return make
