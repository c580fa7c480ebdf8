"""The Databricks bundle, held to what `bundle validate --strict` lets through."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from lakescore.session.jars import SYNAPSE
from tests.workspace import USER, empty_workspace

ROOT = Path(__file__).resolve().parents[2]
JOBS = sorted((ROOT / "resources").glob("*.job.yml"))


class StrictLoader(yaml.SafeLoader):
    """YAML that refuses a key written twice; the last one wins otherwise, in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        doubled = {key for key in keys if keys.count(key) > 1}
        assert not doubled, f"{node.start_mark}: {doubled} twice"
        return super().construct_mapping(node, deep)


def read(path: Path) -> dict[str, Any]:
    return yaml.load(path.read_text(), StrictLoader)


BUNDLE = read(ROOT / "databricks.yml")
RESOURCES = [read(path)["resources"] for path in sorted((ROOT / "resources").glob("*.yml"))]


def only_job(path: Path) -> tuple[str, dict[str, Any]]:
    (found,) = read(path)["resources"]["jobs"].items()
    return found


def tasks() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    for path in JOBS:
        name, job = only_job(path)
        for task in job["tasks"]:
            yield name, job, task


def test_every_workload_has_one_job_of_its_name() -> None:
    workloads = {path.stem for path in (ROOT / "conf" / "workloads").glob("*.yml")}
    assert {path.name.removesuffix(".job.yml") for path in JOBS} == workloads
    assert {only_job(path)[0] for path in JOBS} == workloads
    assert {task["python_wheel_task"]["named_parameters"]["workload"] for *_, task in tasks()} == (
        workloads
    )


def test_tasks_depend_on_tasks_and_run_on_clusters_that_exist() -> None:
    for name, job, task in tasks():
        keys = [each["task_key"] for each in job["tasks"]]
        assert len(keys) == len(set(keys)), name
        assert {each["task_key"] for each in task.get("depends_on", [])} <= set(keys), name
        clusters = {cluster["job_cluster_key"] for cluster in job["job_clusters"]}
        assert task["job_cluster_key"] in clusters, name


def test_entry_points_are_those_of_the_wheel() -> None:
    scripts = {point.name: point for point in distribution("lakescore").entry_points}
    for _, _, task in tasks():
        wheel_task = task["python_wheel_task"]
        assert wheel_task["package_name"] == "lakescore"
        assert callable(scripts[wheel_task["entry_point"]].load())


def test_libraries_are_the_tried_versions() -> None:
    locked = set(re.findall(r"^(\S+==\S+)", (ROOT / "requirements/dev.txt").read_text(), re.M))
    for _, _, task in tasks():
        for library in task["libraries"]:
            if "pypi" in library:
                assert library["pypi"]["package"] in locked
            elif "maven" in library:
                assert library["maven"]["coordinates"] == SYNAPSE["3.5"]
            else:
                assert library == {"whl": "../dist/*.whl"}


def test_cluster_is_a_runtime_that_synapseml_loads_on() -> None:
    cluster = BUNDLE["variables"]["cluster"]["default"]
    assert re.fullmatch(r"1[56]\.4\.x-cpu-ml-scala2\.12", cluster["spark_version"])
    assert "autoscale" not in cluster


def test_environment_file_reads_only_what_the_cluster_sets() -> None:
    read_there = re.findall(r"\$\{env:(\w+)\}", (ROOT / "conf" / "databricks.yml").read_text())
    assert set(read_there) == set(BUNDLE["variables"]["cluster"]["default"]["spark_env_vars"])


def test_references_lead_somewhere() -> None:
    text = "".join(
        path.read_text() for path in [ROOT / "databricks.yml", *(ROOT / "resources").glob("*.yml")]
    )
    assert set(re.findall(r"\$\{var\.(\w+)\}", text)) == set(BUNDLE["variables"])
    known = {(kind, name) for group in RESOURCES for kind, named in group.items() for name in named}
    assert set(re.findall(r"\$\{resources\.(\w+)\.(\w+)\.\w+\}", text)) <= known
    for pattern in BUNDLE["include"]:
        assert list(ROOT.glob(pattern))


def test_wheel_is_built_by_a_target_that_exists() -> None:
    command, target = BUNDLE["artifacts"]["lakescore"]["build"].split()
    assert command == "make"
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M)


def test_prod_runs_as_a_service_principal_and_dev_mode_may_pause() -> None:
    assert set(BUNDLE["targets"]) == {"dev", "staging", "prod"}
    assert "service_principal_name" in BUNDLE["targets"]["prod"]["run_as"]
    for path in JOBS:
        assert "pause_status" not in only_job(path)[1]["schedule"]


@pytest.fixture(scope="module")
def databricks() -> str:
    """The Databricks command: a tool of development alone, under its own licence."""
    command = os.environ.get("DATABRICKS_CLI") or shutil.which("databricks")
    if command is None:
        pytest.skip("no Databricks CLI: scripts/databricks_cli.sh builds it, where there is Go")
    return command


def test_files_fit_the_schema_of_the_databricks_command(databricks: str) -> None:
    text = subprocess.run(
        [databricks, "bundle", "schema"], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout
    # Its patterns use classes that Python's expressions do not know.
    text = text.replace(r"[\\p{L}\\p{N}]", r"[^\\W_]").replace(r"\\p{L}", r"[^\\W\\d_]")
    for path in [ROOT / "databricks.yml", *sorted((ROOT / "resources").glob("*.yml"))]:
        jsonschema.validate(read(path), json.loads(text))


@pytest.mark.parametrize("target", BUNDLE["targets"])
def test_every_target_is_valid(databricks: str, tmp_path: Path, target: str) -> None:
    for name in ("databricks.yml", "resources", "conf", "pyproject.toml"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
        copy(ROOT / name, tmp_path / name)
    for pattern in BUNDLE["sync"]["exclude"]:
        left_out = tmp_path / pattern.removesuffix("**")
        left_out.mkdir()
        (left_out / "file").touch()
    with empty_workspace() as address:
        done = subprocess.run(
            [databricks, "bundle", "validate", "--strict", "--target", target, "--output", "json"],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            cwd=tmp_path,
            env={
                "HOME": str(tmp_path),
                "PATH": os.environ["PATH"],
                "NO_COLOR": "1",
                "DATABRICKS_HOST": address,
                "DATABRICKS_TOKEN": "none",
                "DATABRICKS_CONFIG_FILE": str(tmp_path / "missing"),
                "DATABRICKS_BUNDLE_ENGINE": "direct",
                "DATABRICKS_CLI_DISABLE_TELEMETRY": "1",
                "DATABRICKS_CACHE_ENABLED": "false",
            },
        )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    told = json.loads(done.stdout)
    assert set(told["resources"]["jobs"]) == {only_job(path)[0] for path in JOBS}
    assert told["workspace"]["current_user"]["userName"] == USER
