"""A table is written only where Delta gives a version to one of two writers."""

from __future__ import annotations

import pytest

from lakescore.config.settings import LakeSettings, RegistrySettings, Settings
from lakescore.errors import ConfigError
from lakescore.lake.log_stores import check_log_store
from lakescore.lake.tables import Lake
from lakescore.workflows.ingest import ingest

pytestmark = pytest.mark.spark


def check(spark, root: str) -> None:
    check_log_store(spark, Lake(LakeSettings(root=root)).table("gold.scores"))


@pytest.mark.parametrize(
    "root",
    ["/data/lake", "lake", "file:/data", "hdfs://namenode/lake", "wasbs://box@here.example/lake",
     "abfss://box@here.example/lake", "gs://box/lake"],
)  # fmt: skip
def test_storages_that_tell_writers_apart_are_taken(spark, root):
    check(spark, root)


def test_s3_needs_a_store_for_several_drivers(spark):
    with pytest.raises(ConfigError, match="two runs at once would lose rows") as caught:
        check(spark, "s3a://box/lake")

    assert caught.value.where == "s3a://box/lake/gold/scores"
    assert "spark.delta.logStore.s3a.impl: io.delta.storage.S3DynamoDBLogStore" in str(caught.value)


def test_a_store_that_the_session_names_is_the_users_word(spark):
    spark.conf.set("spark.delta.logStore.s3a.impl", "io.delta.storage.S3DynamoDBLogStore")
    try:
        check(spark, "S3A://box/lake")
        with pytest.raises(ConfigError):
            check(spark, "s3://box/lake")
    finally:
        spark.conf.unset("spark.delta.logStore.s3a.impl")


def test_databricks_coordinates_commits_itself(spark, monkeypatch):
    monkeypatch.setenv("DATABRICKS_RUNTIME_VERSION", "16.4")
    check(spark, "s3://box/lake")


def test_a_scheme_that_delta_does_not_know_is_refused(spark):
    with pytest.raises(ConfigError, match="Delta takes no log store for ftp://") as caught:
        check(spark, "ftp://here.example/lake")

    assert "or use abfs, abfss, adl" in str(caught.value)


def test_a_copy_is_refused_before_a_file_is_read(spark, tmp_path):
    settings = Settings(
        lake=LakeSettings(root="s3a://box/lake"),
        registry=RegistrySettings(uri=f"sqlite:///{tmp_path}/registry.db"),
        runs=str(tmp_path / "runs"),
        staging=str(tmp_path / "staging"),
    )
    with pytest.raises(ConfigError, match="two runs at once would lose rows"):
        ingest(spark, settings, table="bronze.rows", source=str(tmp_path / "nothing.csv"))
