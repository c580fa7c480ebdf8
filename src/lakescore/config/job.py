"""How a workload runs as jobs of a scheduler: `job`, over the environment's `job_defaults`."""

from __future__ import annotations

import re
from typing import Literal
from zoneinfo import available_timezones

from pydantic import Field, field_validator, model_validator

from lakescore.config.base import ConfigModel, Duration, Identifier
from lakescore.config.forms import as_list

#: Seconds, minutes, hours, day of month, month, day of week, and perhaps a year.
_CRON = re.compile(r"[0-9A-Za-z*/,?#-]+( [0-9A-Za-z*/,?#-]+){5,6}")
_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


class JobSpec(ConfigModel):
    """Schedules, cluster and notifications of the jobs that `lakescore bundle` writes."""

    train: str | None = Field(
        default=None, description="Quartz cron of the training; absent: started by hand."
    )
    score: str | None = Field(
        default=None,
        description="Quartz cron of the scoring, or `on_update`: whenever the source table is "
        "updated. Absent: started by hand.",
    )
    maintain: str | None = Field(
        default="0 0 5 1 * ?", description="Quartz cron of `maintain`; monthly when absent."
    )
    time_zone: str = Field(default="UTC", description="Of the schedules.")
    timeout: Duration = Field(default="4 hours", validate_default=True, description="Of a run.")
    warn_after: Duration | None = Field(
        default=None, description="A run that takes longer is told to `notify`."
    )
    notify: tuple[str, ...] = Field(default=(), description="E-mail addresses, told of failures.")
    tags: dict[str, str] = Field(default={}, description="Of the jobs, beside the workload's name.")
    runtime: str = Field(
        default="16.4.x-cpu-ml-scala2.12",
        description="Databricks runtime: with machine learning, Spark 3.5 and Scala 2.12.",
    )
    workers: int | None = Field(
        default=None, ge=1, description="Of the cluster; absent: the bundle's variable `workers`."
    )
    node_type: str | None = Field(
        default=None, description="Absent: the bundle's variable `node_type`."
    )
    package: str | None = Field(
        default=None,
        description="What installs lakescore: a wheel (`….whl`), or a requirement for pip. Absent: "
        "in a checkout of lakescore the wheel that it builds, else the version at hand.",
    )
    policy: str | None = Field(default=None, description="Id of a cluster policy.")
    pool: str | None = Field(default=None, description="Id of an instance pool.")
    share: Identifier | None = Field(
        default=None, description="Workloads that name the same job run as tasks of one job each."
    )

    _lists = field_validator("notify", mode="before")(as_list)

    @field_validator("train", "maintain")
    @classmethod
    def _is_cron(cls, value: str | None) -> str | None:
        words = (value or "").split(" ")
        if value is not None and not (_CRON.fullmatch(value) and "?" in (words[3], words[5])):
            raise ValueError(
                "is a Quartz cron of six or seven words, such as 0 0 2 * * ?, with a ? for the "
                "day of the month or of the week"
            )
        return value

    @field_validator("time_zone")
    @classmethod
    def _is_a_zone(cls, value: str) -> str:
        if value not in available_timezones():
            raise ValueError(f"there is no time zone '{value}'; write one such as Europe/Berlin")
        return value

    @model_validator(mode="after")
    def _fit_together(self) -> JobSpec:
        if self.warn_after is not None and self.warn_after >= self.timeout:
            raise ValueError("warn_after must be shorter than timeout, or it is never told")
        if self.pool is not None and self.node_type is not None:
            raise ValueError("a pool has its own node_type: name one of them")
        return self

    @field_validator("score")
    @classmethod
    def _is_cron_or_trigger(cls, value: str | None) -> str | None:
        return value if value == ON_UPDATE else cls._is_cron(value)

    @field_validator("notify")
    @classmethod
    def _are_addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := [one for one in value if not _ADDRESS.fullmatch(one)]:
            raise ValueError(f"is no e-mail address: {', '.join(wrong)}")
        return value

    def over(self, defaults: JobSpec) -> JobSpec:
        """These settings, and those of `defaults` for what is not said here; tags are added up."""
        said = {name: getattr(self, name) for name in self.model_fields_set}
        both = {**defaults.model_dump(include=defaults.model_fields_set), **said}
        if "node_type" in said:
            both.pop("pool", None)
        if "pool" in said:
            both.pop("node_type", None)
        if "tags" in both:
            both["tags"] = {**defaults.tags, **self.tags}
        return JobSpec.model_validate(both)


ON_UPDATE: Literal["on_update"] = "on_update"
