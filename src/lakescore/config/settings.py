"""The environment: what differs between a laptop, a cluster and Databricks (conf/ENV.yml)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from lakescore.config.base import ConfigModel


class LakeSettings(ConfigModel):
    """Where tables live: under one root folder, or in a catalog."""

    root: str | None = Field(default=None, description="Folder or URL; table a.b is ROOT/a/b.")
    catalog: str | None = Field(default=None, description="Tables are names; a.b is CATALOG.a.b.")

    @model_validator(mode="after")
    def _one_of(self) -> LakeSettings:
        if (self.root is None) == (self.catalog is None):
            raise ValueError("set exactly one of lake.root and lake.catalog")
        return self


class RegistrySettings(ConfigModel):
    """The MLflow registry. Aliases and names are the registry's own."""

    uri: str
    artifacts: str | None = Field(default=None, description="Where a local registry keeps files.")
    experiment: str = "lakescore"
    model_prefix: str = Field(default="", description="Put before a workload's name.")
    champion_alias: str = "champion"
    challenger_alias: str = "challenger"
    timeout_seconds: int = Field(default=30, ge=1)


class SparkSettings(ConfigModel):
    """How to start a session where the platform has not started one."""

    master: str | None = None
    driver_memory: str = "1g"
    shuffle_partitions: int | None = Field(default=None, ge=1)
    delta_snapshot_partitions: int | None = Field(default=None, ge=1)
    conf: dict[str, str] = {}


class ScoringSettings(ConfigModel):
    """How batches are scored."""

    batch_rows: int = Field(default=65_536, ge=1, description="Rows in one Arrow batch.")
    compile: Literal["auto", "always", "never"] = "auto"
    compile_min_rows: int = Field(
        default=1_000_000, ge=0, description="`auto` compiles trees from this many rows on."
    )


class Settings(ConfigModel):
    """One environment: conf/base.yml, overlaid by conf/ENV.yml, overlaid by `--set`."""

    platform: Literal["local", "spark-submit", "databricks"] = "local"
    lake: LakeSettings
    registry: RegistrySettings
    spark: SparkSettings = SparkSettings()
    scoring: ScoringSettings = ScoringSettings()
    runs: str = Field(description="Folder of run results and reports.")
    staging: str = Field(description="Folder for staged rows; emptied by each run.")
