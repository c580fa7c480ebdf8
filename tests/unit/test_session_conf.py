"""What a local session is started with."""

from __future__ import annotations

from pathlib import Path

import pytest

from lakescore.config.settings import Settings, SparkSettings
from lakescore.session import start
from lakescore.session.start import PINS, local_conf


def with_spark(settings: Settings, **spark: object) -> Settings:
    return settings.model_copy(update={"spark": SparkSettings(**spark)})


def test_pins_cannot_be_lost_among_lean_defaults(settings: Settings) -> None:
    assert PINS.items() <= local_conf(settings).items()


def test_nothing_listens_beyond_this_machine(settings: Settings) -> None:
    conf = local_conf(settings)
    assert conf["spark.driver.bindAddress"] == conf["spark.driver.host"] == "127.0.0.1"
    assert conf["spark.ui.enabled"] == "false"


def test_settings_of_the_environment_win_over_the_lean_ones(settings: Settings) -> None:
    conf = local_conf(
        with_spark(
            settings,
            driver_memory="3g",
            shuffle_partitions=16,
            conf={"spark.ui.enabled": True, "spark.driver.extraJavaOptions": "-Da=b"},
        )
    )
    assert conf["spark.driver.memory"] == "3g"
    assert conf["spark.sql.shuffle.partitions"] == "16"
    assert conf["spark.ui.enabled"] == "true"
    options = conf["spark.driver.extraJavaOptions"]
    assert "log4j2.properties" in options
    assert options.endswith(" -Da=b")


def test_the_jvm_is_tuned_for_short_runs_unless_told_otherwise(settings: Settings) -> None:
    lean = local_conf(with_spark(settings))["spark.driver.extraJavaOptions"]
    assert "-XX:+UseParallelGC" in lean
    told = {"spark.driver.extraJavaOptions": "-XX:+UseG1GC"}
    assert "Parallel" not in local_conf(with_spark(settings, conf=told))[next(iter(told))]


@pytest.mark.parametrize(
    ("given", "asked"), [("always [madvise] never", True), ("always madvise [never]", False)]
)
def test_huge_pages_are_asked_for_where_the_kernel_gives_them(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, asked: bool
) -> None:
    kernel = tmp_path / "enabled"
    kernel.write_text(given)
    monkeypatch.setattr(start, "_HUGE_PAGES_GIVEN", kernel)
    options = local_conf(settings)["spark.driver.extraJavaOptions"]
    assert ("TransparentHugePages" in options) is asked


def test_warehouse_lies_in_the_lake(settings: Settings, tmp_path: Path) -> None:
    expected = tmp_path / "lake" / "_lakescore" / "warehouse"
    assert local_conf(settings)["spark.sql.warehouse.dir"] == str(expected)


def test_warehouse_of_a_remote_lake_keeps_its_address(settings: Settings) -> None:
    lake = settings.lake.model_copy(update={"root": "hdfs://name/lake/"})
    conf = local_conf(settings.model_copy(update={"lake": lake}))
    assert conf["spark.sql.warehouse.dir"] == "hdfs://name/lake/_lakescore/warehouse"
