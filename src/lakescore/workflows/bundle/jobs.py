"""The jobs of workloads as a bundle declares them: plain data, the same from the same conf/.

A workload has up to four jobs: training and promotion, scoring, a backfill that a person starts,
and maintenance. Scoring is exactly once, so its tasks are retried; a training that has nothing new
to learn registers nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from lakescore.config.job import ON_UPDATE, JobSpec
from lakescore.config.workload import Workload
from lakescore.errors import ConfigError
from lakescore.lake.tables import qualified
from lakescore.session.jars import SYNAPSE

Job = dict[str, Any]

#: What a cluster needs beside the wheel, in the versions that are tried: those of requirements/.
PACKAGES = {
    "lightgbm": "4.7.0",
    "llvmlite": "0.44.0",
    "onnx": "1.23.2",
    "onnxruntime": "1.32.0",
    "onnxscript": "0.7.2",
    "synapseml": "1.1.3",
    "torch": "2.13.0",
}
_SCORES = ("lightgbm", "llvmlite", "onnxruntime")
_SYNAPSE, _NETS = ("synapseml",), ("torch", "onnx", "onnxscript")
_CLUSTER = "main"
#: What the environment file reads of a cluster's environment, as the bundle says it.
ENVIRONMENT = {
    "LAKESCORE_CATALOG": "${var.catalog}",
    "LAKESCORE_SCHEMA": "${resources.schemas.lakescore.name}",
}
#: What `make package` leaves, as a job file names it.
WHEEL = "../dist/*.whl"
#: Seconds between the end of a failed task and its retry, and between two starts on updates.
_RETRY_SECONDS, _UPDATE_SECONDS = 60, 300


@dataclass(frozen=True)
class Deployment:
    """What all jobs of a bundle have in common.

    `env` and `conf` are what the commands are given, `library` is what installs lakescore, and
    `catalog` is that of all tables.
    """

    env: str = "databricks"
    conf: str = "${workspace.file_path}/conf"
    library: str = WHEEL
    catalog: str = ENVIRONMENT["LAKESCORE_CATALOG"]


HERE = Deployment()


@dataclass(frozen=True)
class _Member:
    """A workload with its merged settings."""

    workload: Workload
    spec: JobSpec
    where: Deployment

    @property
    def group(self) -> str:
        """What its jobs are called by: workloads that share them have one name for it."""
        return self.spec.share or self.workload.name

    def key(self, step: str) -> str:
        """The key of a task: of one workload alone it is the step's name."""
        return f"{self.workload.name}_{step}" if self.spec.share else step


def jobs_of(
    workloads: Iterable[Workload], defaults: JobSpec, where: Deployment = HERE
) -> dict[str, Job]:
    """The jobs by their keys, those of a workload together.

    Raises ConfigError for workloads that share jobs and do not agree on schedule or cluster, and
    for a net that Horovod is to train: no Databricks runtime has Horovod beside our PyTorch.
    """
    groups: dict[str, list[_Member]] = {}
    for workload in sorted(workloads, key=lambda one: one.name):
        member = _Member(workload, workload.job.over(defaults), where)
        _refuse_horovod(member)
        groups.setdefault(member.group, []).append(member)
    for name, members in groups.items():
        _refuse_disagreement(name, members)
    jobs: dict[str, Job] = {}
    for name, members in sorted(groups.items()):
        jobs |= _jobs(name, members)
    return jobs


def _jobs(name: str, members: Sequence[_Member]) -> dict[str, Job]:
    spec = members[0].spec
    trains = [one for one in members if one.workload.trains]
    scores = [one for one in members if one.workload.predictions is not None]
    by_range = [one for one in scores if _backfill_by(one) is not None]
    jobs: dict[str, Job] = {}
    if trains:
        tasks = _one_by_one([_training(one) for one in trains])
        jobs[f"{name}_train"] = _job(name, "train", spec, spec.train, tasks)
    if scores:
        job = _job(name, "score", spec, spec.score, [_scoring(one) for one in scores])
        if spec.score == ON_UPDATE:
            tables = sorted({_full_name(one) for one in scores})
            job["trigger"] = {
                "table_update": {
                    "table_names": tables,
                    "min_time_between_triggers_seconds": _UPDATE_SECONDS,
                }
            }
        job["parameters"] = [{"name": "full", "default": "false"}]
        jobs[f"{name}_score"] = job
        maintained = [_task(one, "maintain", {"yes": "true"}, retries=1) for one in scores]
        jobs[f"{name}_maintain"] = _job(name, "maintain", spec, spec.maintain, maintained)
    for one in by_range:
        asked = {key: f"{{{{job.parameters.{key}}}}}" for key in ("from", "to", "version")}
        job = _job(one.workload.name, "backfill", spec, None, [_task(one, "backfill", asked)])
        job["parameters"] = [{"name": key, "default": ""} for key in asked]
        jobs[f"{one.workload.name}_backfill"] = job
    return jobs


def _job(name: str, step: str, spec: JobSpec, when: str | None, tasks: list[Job]) -> Job:
    job: Job = {"name": f"lakescore {name} {step}", "tags": {**spec.tags, "lakescore": name}}
    if when is not None and when != ON_UPDATE:
        job["schedule"] = {"quartz_cron_expression": when, "timezone_id": spec.time_zone}
    job |= {
        "max_concurrent_runs": 1,
        "queue": {"enabled": True},
        "timeout_seconds": int(spec.timeout.total_seconds()),
    }
    if spec.notify:
        job["email_notifications"] = {"on_failure": list(spec.notify)}
    if spec.warn_after is not None:
        seconds = int(spec.warn_after.total_seconds())
        rule = {"metric": "RUN_DURATION_SECONDS", "op": "GREATER_THAN", "value": seconds}
        job["health"] = {"rules": [rule]}
        if spec.notify:
            told = "on_duration_warning_threshold_exceeded"
            job["email_notifications"][told] = list(spec.notify)
    job["job_clusters"] = [{"job_cluster_key": _CLUSTER, "new_cluster": _cluster(spec)}]
    job["tasks"] = tasks
    return job


def _cluster(spec: JobSpec) -> Job:
    """Of a fixed size: a distributed fit cannot lose a worker."""
    cluster: Job = {"spark_version": spec.runtime}
    if spec.pool is not None:
        cluster["instance_pool_id"] = spec.pool
    else:
        cluster["node_type_id"] = spec.node_type or "${var.node_type}"
    if spec.policy is not None:
        cluster["policy_id"] = spec.policy
    return cluster | {
        "num_workers": spec.workers or "${var.workers}",
        "data_security_mode": "SINGLE_USER",
        "spark_env_vars": dict(ENVIRONMENT),
    }


def _training(member: _Member) -> list[Job]:
    """Train; then, where the workload promotes, promote what passed its gate."""
    if member.workload.promotion != "auto":
        return [_task(member, "train", {}, retries=1)]
    train, passed = member.key("train"), member.key("passed")
    decided = {
        "task_key": passed,
        "depends_on": [{"task_key": train}],
        "condition_task": {
            "op": "EQUAL_TO",
            "left": f"{{{{tasks.{train}.values.promote}}}}",
            "right": "true",
        },
    }
    version = {"version": f"{{{{tasks.{train}.values.version}}}}"}
    promote = _task(member, "promote", version, retries=1)
    promote["depends_on"] = [{"task_key": passed, "outcome": "true"}]
    return [_task(member, "train", {"no-promote": "true"}, retries=1), decided, promote]


def _one_by_one(trainings: Sequence[list[Job]]) -> list[Job]:
    """A fit may need every slot of the cluster, so each starts when the one before has ended."""
    for before, after in pairwise(trainings):
        after[0]["depends_on"] = [{"task_key": before[0]["task_key"]}]
        after[0]["run_if"] = "ALL_DONE"
    return [task for training in trainings for task in training]


def _scoring(member: _Member) -> Job:
    return _task(member, "score", {"full": "{{job.parameters.full}}"}, retries=2)


def _task(member: _Member, command: str, options: Mapping[str, str], *, retries: int = 0) -> Job:
    where = member.where
    said = {"workload": member.workload.name, "env": where.env, "conf": where.conf, **options}
    said["log-format"] = "json"
    task: Job = {"task_key": member.key(command), "job_cluster_key": _CLUSTER}
    if retries:
        waited = 1_000 * _RETRY_SECONDS
        task |= {"max_retries": retries, "min_retry_interval_millis": waited}
    return task | {
        "python_wheel_task": {
            "package_name": "lakescore",
            "entry_point": f"lakescore-{command}",
            "named_parameters": said,
        },
        "libraries": _libraries(member, command),
    }


def _libraries(member: _Member, command: str) -> list[Job]:
    """The package, what scores any model of ours, and what fits the workload's candidates.

    The champion may be of another kind than today's candidates.
    """
    names = {one.name for one in member.workload.candidates}
    fits = command == "train"
    packages: list[str] = [] if command == "maintain" else [*_SCORES]
    packages += _SYNAPSE if fits and "lightgbm" in names else ()
    packages += _NETS if fits and "deep_tabular" in names else ()
    library = member.where.library
    kind = {"whl": library} if library.endswith(".whl") else {"pypi": {"package": library}}
    found: list[Job] = [kind]
    found += [{"pypi": {"package": f"{name}=={PACKAGES[name]}"}} for name in packages]
    if "synapseml" in packages:
        found.append({"maven": {"coordinates": SYNAPSE["3.5"]}})
    return found


def _full_name(member: _Member) -> str:
    """The source as the catalog has it."""
    table = member.workload.source.table
    if "/" in table:
        raise ConfigError(
            f"'{table}' is a path, and only a table of the catalog can start a job",
            where=f"conf/workloads/{member.workload.name}.yml: job.score",
            hint="give `score` a Quartz cron in place of on_update",
        )
    return ".".join(qualified(member.where.catalog, table.split(".")))


def _backfill_by(member: _Member) -> str | None:
    predictions = member.workload.predictions
    return None if predictions is None else predictions.backfill_by


def _refuse_horovod(member: _Member) -> None:
    for one in member.workload.candidates:
        if one.name == "deep_tabular" and one.parameters.get("backend") == "horovod":
            raise ConfigError(
                "no Databricks runtime has Horovod beside the PyTorch that trains nets here",
                where=f"conf/workloads/{member.workload.name}.yml: candidates.deep_tabular.backend",
                hint="set backend: torch_distributor, or auto",
            )


def _refuse_disagreement(name: str, members: Sequence[_Member]) -> None:
    first = members[0]
    for other in members[1:]:
        if first.spec.share != other.spec.share:
            raise ConfigError(
                f"'{name}' is the name of a workload, and of the jobs that others share",
                where="job.share",
                hint="call the shared jobs otherwise",
            )
        differing = [
            field
            for field in JobSpec.model_fields
            if getattr(other.spec, field) != getattr(first.spec, field)
        ]
        if differing:
            raise ConfigError(
                f"{first.workload.name} and {other.workload.name} share the jobs '{name}' and "
                f"differ in {', '.join(differing)}",
                where="job",
                hint="say the same in both, or in job_defaults of conf/databricks.yml",
            )
