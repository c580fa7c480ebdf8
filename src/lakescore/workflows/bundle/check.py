"""What is wrong with a bundle that `databricks bundle validate --strict` lets pass."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from lakescore.session.jars import SYNAPSE
from lakescore.workflows.bundle.files import MAIN, differing, stale

Known = Mapping[str, frozenset[str]]

#: Runtime -> the day on which Databricks ends its support. Only these are known to run lakescore.
RUNTIMES = {"15.4": date(2027, 8, 19), "16.4": date(2028, 5, 9)}
_RUNTIME = re.compile(r"(?P<line>\d+\.\d+)\.x(-cpu|-gpu)?(-ml|-photon)?-scala(?P<scala>\d+\.\d+)")
_MAVEN = re.compile(r"[^:\s]+:[^:\s]+:[^:\s]+")
_SCALA = re.compile(r"[^:]+:[^:]+_(?P<scala>2\.1\d):[^:]+")


@dataclass(frozen=True)
class Problem:
    """What is wrong, where, and what to do."""

    where: str
    what: str
    hint: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}\n  -> {self.hint}"


def check_bundle(
    root: Path, wanted: Mapping[str, str], options: Known, today: date
) -> list[Problem]:
    """Every problem of the bundle below `root`, whose job files should be `wanted`.

    `options` are those that an entry point of the wheel takes, by its name.
    """
    problems: list[Problem] = []
    for name in differing(root, wanted):
        there = (root / name).exists()
        what = "is not what the workloads say" if there else "is missing"
        problems.append(Problem(name, what, "lakescore bundle"))
    for name in stale(root, wanted):
        problems.append(Problem(name, "no workload asks for this job", "lakescore bundle"))
    files: dict[str, Any] = {}
    for path in [root / MAIN, *sorted(root.glob("resources/*.yml"))]:
        name = str(path.relative_to(root))
        if not path.exists():
            problems.append(Problem(name, "is missing", "lakescore bundle"))
            continue
        try:
            files[name] = yaml.load(path.read_text(encoding="utf-8"), _NoKeyTwice)  # noqa: S506 - a SafeLoader
        except yaml.YAMLError as error:
            problems.append(Problem(name, " ".join(str(error).split()), "correct the file"))
    for name in [name for name, content in files.items() if not isinstance(content, dict)]:
        problems.append(Problem(name, "is no mapping", "correct the file"))
        del files[name]
    if MAIN in files:
        problems += _main(root, files[MAIN], wanted)
    for name, content in files.items():
        for key, job in _mapping(_mapping(content.get("resources")).get("jobs")).items():
            problems += _job(f"{name}: {key}", _mapping(job), options, today)
    return problems


def _main(root: Path, main: Mapping[str, Any], wanted: Mapping[str, str]) -> Iterator[Problem]:
    included: set[Path] = set()
    for pattern in map(str, _list(main.get("include"))):
        matched = set(root.glob(pattern))
        included |= matched
        if not matched:
            yield Problem(MAIN, f"include: {pattern} matches no file", "correct the pattern")
    left_out = [name for name in wanted if (root / name).exists() and root / name not in included]
    if left_out:
        yield Problem(
            MAIN, f"include leaves out {', '.join(left_out)}", "include: [resources/*.yml]"
        )
    target = _mapping(_mapping(main.get("targets")).get("prod"))
    if target.get("mode") == "production" and not (_runs_as(target) or _runs_as(main)):
        yield Problem(
            MAIN,
            "targets.prod runs as whoever deploys it",
            "add run_as: {service_principal_name: …}",
        )


def _runs_as(content: Mapping[str, Any]) -> bool:
    return bool(_mapping(content.get("run_as")).get("service_principal_name"))


def _job(where: str, job: Mapping[str, Any], options: Known, today: date) -> Iterator[Problem]:
    clusters = {
        one.get("job_cluster_key"): _mapping(one.get("new_cluster"))
        for one in map(_mapping, _list(job.get("job_clusters")))
    }
    tasks = [_mapping(task) for task in _list(job.get("tasks"))]
    keys = [task.get("task_key") for task in tasks]
    for doubled in sorted({str(key) for key in keys if keys.count(key) > 1}):
        yield Problem(where, f"two tasks are called {doubled}", "give each its own task_key")
    for task in tasks:
        here = f"{where}.{task.get('task_key')}"
        for one in map(_mapping, _list(task.get("depends_on"))):
            if one.get("task_key") not in keys:
                what = f"depends on {one.get('task_key')}, which is no task"
                yield Problem(here, what, "correct it")
        cluster_key = task.get("job_cluster_key")
        if cluster_key is not None and cluster_key not in clusters:
            yield Problem(here, f"runs on {cluster_key}, which is no job cluster", "correct it")
        yield from _libraries(here, task, _scala(clusters.get(cluster_key, {})))
        yield from _ours(here, task, options)
    used = {task.get("job_cluster_key") for task in tasks if _is_ours(task)}
    for key, cluster in clusters.items():
        if key in used and cluster:  # an empty one is a reference to a variable
            yield from _runtime(f"{where}.job_clusters.{key}", cluster, today)


def _runtime(where: str, cluster: Mapping[str, Any], today: date) -> Iterator[Problem]:
    version = cluster.get("spark_version")
    if version is None:
        yield Problem(where, "has no spark_version", f"one of {', '.join(RUNTIMES)}")
        return
    if "${" in str(version):
        return
    found = _RUNTIME.fullmatch(str(version))
    line = found["line"] if found else None
    if line not in RUNTIMES:
        yield Problem(
            where,
            f"lakescore is not known to run on {version}",
            f"take one of {', '.join(f'{known}.x-cpu-ml-scala2.12' for known in RUNTIMES)}",
        )
    elif RUNTIMES[line] < today:
        yield Problem(
            where, f"{version} is out of support since {RUNTIMES[line]}", "take a newer one"
        )


def _scala(cluster: Mapping[str, Any]) -> str | None:
    found = _RUNTIME.fullmatch(str(cluster.get("spark_version")))
    return found["scala"] if found else None


def _libraries(where: str, task: Mapping[str, Any], scala: str | None) -> Iterator[Problem]:
    for library in map(_mapping, _list(task.get("libraries"))):
        coordinate = _mapping(library.get("maven")).get("coordinates")
        if coordinate is None:
            continue
        if not _MAVEN.fullmatch(str(coordinate)):
            yield Problem(where, f"{coordinate} is no Maven coordinate", "group:artifact:version")
        found = _SCALA.fullmatch(str(coordinate))
        if found and scala is not None and found["scala"] != scala:
            yield Problem(
                where,
                f"{coordinate} is of Scala {found['scala']}, the cluster of {scala}",
                f"take {SYNAPSE['3.5']} and a runtime of Scala 2.12",
            )


def _is_ours(task: Mapping[str, Any]) -> bool:
    return bool(_mapping(task.get("python_wheel_task")).get("package_name") == "lakescore")


def _ours(where: str, task: Mapping[str, Any], options: Known) -> Iterator[Problem]:
    """What a task that runs lakescore must have."""
    if not _is_ours(task):
        return
    libraries = [_mapping(one) for one in _list(task.get("libraries"))]
    packages = [str(_mapping(one.get("pypi")).get("package")) for one in libraries]
    installed = any("whl" in one for one in libraries) or any(
        package.startswith("lakescore") for package in packages
    )
    if not installed and "job_cluster_key" in task:
        yield Problem(where, "has no wheel among its libraries", "add whl: ../dist/*.whl")
    wheel = _mapping(task["python_wheel_task"])
    point = str(wheel.get("entry_point"))
    if point not in options:
        known = ", ".join(sorted(options))
        yield Problem(where, f"the wheel has no entry point {point}", f"one of {known}")
        return
    for name in _mapping(wheel.get("named_parameters")):
        if name not in options[point]:
            known = ", ".join(sorted(options[point]))
            yield Problem(where, f"{point} takes no --{name}", f"it takes {known}")


def _mapping(value: Any) -> Mapping[str, Any]:
    """The mapping, or an empty one for anything else: a reference, a list, nothing."""
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


class _NoKeyTwice(yaml.SafeLoader):
    """YAML that refuses a key written twice; the last one wins otherwise, in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        doubled = sorted({str(key) for key in keys if keys.count(key) > 1})
        if doubled:
            raise yaml.constructor.ConstructorError(
                None, None, f"{', '.join(doubled)} stands twice", node.start_mark
            )
        return super().construct_mapping(node, deep)
