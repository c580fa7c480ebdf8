"""The environment: what differs between a laptop, a cluster and Databricks (conf/ENV.yml)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from lakescore.config.base import ConfigModel
from lakescore.config.job import JobSpec


class LakeSettings(ConfigModel):
    """Where tables live: under one root folder, or in a catalog."""

    root: str | None = Field(default=None, description="Folder or URL; table a.b is ROOT/a/b.")
    catalog: str | None = Field(default=None, description="Tables are names; a.b is CATALOG.a.b.")

    @model_validator(mode="after")
    def _one_of(self) -> LakeSettings:
        if (self.root is None) == (self.catalog is None):
            raise ValueError("set exactly one of lake.root and lake.catalog")
        return self

    @model_validator(mode="after")
    def _holds_no_secret(self) -> LakeSettings:
        _refuse_secret("root", self.root)
        return self


class RegistrySettings(ConfigModel):
    """The MLflow registry. Aliases and names are the registry's own."""

    uri: str = Field(description="MLflow registry URI, like sqlite:///lake/mlflow.db.")
    artifacts: str | None = Field(default=None, description="Where a local registry keeps files.")
    experiment: str = Field(default="lakescore", description="MLflow experiment of the runs.")
    model_prefix: str = Field(default="", description="Put before a workload's name.")
    champion_alias: str = Field(default="champion", description="The version that scores.")
    challenger_alias: str = Field(default="challenger", description="The version trained last.")
    timeout_seconds: int = Field(default=30, ge=1, description="Deadline of one call.")

    @model_validator(mode="after")
    def _aliases_differ(self) -> RegistrySettings:
        if self.champion_alias == self.challenger_alias:
            raise ValueError("champion_alias and challenger_alias must differ")
        return self


class SparkSettings(ConfigModel):
    """How to start a session where the platform has not started one."""

    master: str | None = Field(default=None, description="Like local[*]; absent: the platform's.")
    driver_memory: str = Field(default="1g", description="Heap of a session started here.")
    shuffle_partitions: int | None = Field(default=None, ge=1, description="Absent: Spark's own.")
    delta_snapshot_partitions: int | None = Field(
        default=None, ge=1, description="Absent: Delta's own (50)."
    )
    conf: dict[str, str] = Field(default={}, description="Any further Spark settings.")

    @field_validator("conf", mode="before")
    @classmethod
    def _values_are_text(cls, value: Any) -> Any:
        """Spark takes text: ``false`` and ``8`` need no quotes."""
        if not isinstance(value, dict):
            return value
        return {key: _as_text(item) for key, item in value.items()}


class ScoringSettings(ConfigModel):
    """How batches are scored."""

    batch_rows: int = Field(default=65_536, ge=1, description="Rows in one Arrow batch.")
    road: Literal["auto", "general"] = Field(
        default="auto",
        description="`auto`: tasks read the source's files themselves where they can; `general`: "
        "Spark always does. `lakescore plan` says which, and why.",
    )


class Settings(ConfigModel):
    """One environment: conf/base.yml, overlaid by conf/ENV.yml, overlaid by `--set`."""

    platform: Literal["local", "spark-submit", "databricks"] = Field(
        default="local", description="Who starts Spark."
    )
    lake: LakeSettings
    registry: RegistrySettings
    spark: SparkSettings = SparkSettings()
    scoring: ScoringSettings = ScoringSettings()
    runs: str = Field(description="Folder of run results and reports.")
    staging: str = Field(
        description="Folder for staged rows; a run removes its own, and those of runs that died."
    )
    job_defaults: JobSpec = Field(
        default=JobSpec(), description="Of the jobs of all workloads, see `lakescore bundle`."
    )

    @model_validator(mode="after")
    def _holds_no_secret(self) -> Settings:
        for name in ("runs", "staging"):
            _refuse_secret(name, getattr(self, name))
        return self


def _refuse_secret(name: str, url: str | None) -> None:
    """URLs are shown in messages, reports and the history of tables. Raises ValueError."""
    scheme, _, rest = (url or "").partition("://")
    user = rest.rpartition("@")[0]
    if "?" in rest or ":" in user or (user and scheme.lower().startswith("s3")):
        raise ValueError(
            f"the URL of {name} must hold no key, token or password; give them to the storage in "
            "spark.conf, by ${env:NAME}"
        )


def _as_text(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, (int, float)) else value
