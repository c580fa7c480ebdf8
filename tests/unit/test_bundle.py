"""The Databricks bundle: what `lakescore bundle` writes, and what it finds wrong."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from importlib.metadata import distribution
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import jsonschema
import pytest
import yaml

from lakescore.cli.app import flags_of, run
from lakescore.cli.entry_points import _as_options
from lakescore.cli.job_values import tell_job
from lakescore.config.job import JobSpec
from lakescore.config.workload import Workload
from lakescore.errors import ConfigError
from lakescore.workflows.bundle.check import RUNTIMES, check_bundle
from lakescore.workflows.bundle.files import job_files, write_bundle
from lakescore.workflows.bundle.jobs import PACKAGES, Deployment, jobs_of
from tests.workspace import USER, Workspace, empty_workspace

ROOT = Path(__file__).resolve().parents[2]
MAIN = Deployment(catalog="main")


def read(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text())


BUNDLE = read(ROOT / "databricks.yml")
RESOURCES = [read(path)["resources"] for path in sorted((ROOT / "resources").glob("*.yml"))]
DECLARED = {key for group in RESOURCES for key in group.get("jobs", {})}


def workload(name: str = "churn", **changes: Any) -> Workload:
    content = {
        "name": name,
        "source": {"table": "crm.customers", "key": "id"},
        "label": "churned",
        "features": "all",
        "split": "random",
        "candidates": ["lightgbm"],
        "promotion": "auto",
        "predictions": {"table": f"{name}_scores"},
        **changes,
    }
    return Workload.model_validate(content)


def tasks(job: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {task["task_key"]: task for task in job["tasks"]}


def packages(task: dict[str, Any]) -> set[str]:
    named = (one["pypi"]["package"] for one in task["libraries"] if "pypi" in one)
    return {name.partition("==")[0] for name in named}


# --- what is written


def test_the_files_of_this_project_are_what_its_workloads_say(capsys) -> None:
    assert run(["bundle", "--check", "--root", str(ROOT), "--conf", str(ROOT / "conf")]) == 0
    assert "nothing is wrong" in capsys.readouterr().out
    template = ROOT / "src/lakescore/workflows/bundle/templates"
    assert (ROOT / "databricks.yml").read_text() == (template / "databricks.yml").read_text()
    assert (ROOT / "resources/storage.yml").read_text() == (template / "storage.yml").read_text()


def test_a_workload_has_a_job_for_each_part_of_its_life() -> None:
    jobs = jobs_of([workload()], JobSpec(train="0 0 2 * * ?", score="on_update"), MAIN)
    assert list(jobs) == ["churn_train", "churn_score", "churn_maintain"]
    for job in jobs.values():
        assert job["max_concurrent_runs"] == 1
        assert job["queue"] == {"enabled": True}
        assert job["timeout_seconds"] == 4 * 3600
        assert job["tags"] == {"lakescore": "churn"}
        assert "pause_status" not in json.dumps(job)
    assert jobs["churn_train"]["schedule"] == {
        "quartz_cron_expression": "0 0 2 * * ?", "timezone_id": "UTC",
    }  # fmt: skip
    assert "schedule" not in jobs["churn_score"]
    assert jobs["churn_score"]["trigger"]["table_update"]["table_names"] == ["main.crm.customers"]
    assert tasks(jobs["churn_score"])["score"]["max_retries"] == 2
    assert jobs["churn_maintain"]["schedule"]["quartz_cron_expression"] == "0 0 5 1 * ?"


def test_what_passed_its_gate_is_promoted_in_a_task_of_its_own() -> None:
    jobs = jobs_of([workload()], JobSpec(), MAIN)
    found = tasks(jobs["churn_train"])
    assert list(found) == ["train", "passed", "promote"]
    assert found["train"]["python_wheel_task"]["named_parameters"]["no-promote"] == "true"
    assert found["passed"]["condition_task"] == {
        "op": "EQUAL_TO", "left": "{{tasks.train.values.promote}}", "right": "true",
    }  # fmt: skip
    assert found["promote"]["depends_on"] == [{"task_key": "passed", "outcome": "true"}]
    asked = found["promote"]["python_wheel_task"]["named_parameters"]
    assert asked["version"] == "{{tasks.train.values.version}}"

    by_hand = jobs_of([workload(promotion="manual")], JobSpec(), MAIN)
    assert list(tasks(by_hand["churn_train"])) == ["train"]


def test_a_range_is_backfilled_by_a_person_who_fills_in_its_ends() -> None:
    predictions = {"table": "t", "backfill_by": "id"}
    jobs = jobs_of([workload(predictions=predictions)], JobSpec(), MAIN)
    job = jobs["churn_backfill"]
    assert [one["name"] for one in job["parameters"]] == ["from", "to", "version"]
    assert "schedule" not in job
    asked = tasks(job)["backfill"]["python_wheel_task"]["named_parameters"]
    assert asked["from"] == "{{job.parameters.from}}"


def test_a_workloads_own_settings_go_over_the_defaults() -> None:
    defaults = JobSpec(
        train="0 0 2 * * ?", workers=4, policy="p1", notify=("a@x.org",), node_type="big",
        tags={"team": "lake", "lakescore": "mine"},
    )  # fmt: skip
    own = workload(job={"workers": 8, "pool": "pool-1", "tags": {"model": "churn"},
                        "warn_after": "1 hours", "time_zone": "Europe/Berlin"})  # fmt: skip
    jobs = jobs_of([own], defaults, MAIN)
    job = jobs["churn_train"]
    cluster = job["job_clusters"][0]["new_cluster"]
    assert (cluster["num_workers"], cluster["policy_id"]) == (8, "p1")
    assert cluster["instance_pool_id"] == "pool-1"
    assert "node_type_id" not in cluster
    assert job["tags"] == {"lakescore": "churn", "team": "lake", "model": "churn"}
    assert job["schedule"]["timezone_id"] == "Europe/Berlin"
    assert job["email_notifications"]["on_failure"] == ["a@x.org"]
    assert job["health"]["rules"][0]["value"] == 3600


def test_workloads_may_share_their_jobs() -> None:
    both = [workload("b", job={"share": "nightly"}), workload("a", job={"share": "nightly"})]
    found = jobs_of(both, JobSpec(score="0 0 3 * * ?"), MAIN)
    assert list(found) == ["nightly_train", "nightly_score", "nightly_maintain"]
    score = found["nightly_score"]
    assert list(tasks(score)) == ["a_score", "b_score"]
    assert {task["job_cluster_key"] for task in score["tasks"]} == {"main"}
    train = tasks(found["nightly_train"])
    assert train["a_passed"]["condition_task"]["left"] == "{{tasks.a_train.values.promote}}"
    # A fit may need every slot of the cluster.
    assert (train["b_train"]["depends_on"], train["b_train"]["run_if"]) == (
        [{"task_key": "a_train"}], "ALL_DONE",
    )  # fmt: skip

    apart = [workload("a", job={"share": "nightly", "workers": 2}), *both[:1]]
    with pytest.raises(ConfigError, match="a and b share the jobs 'nightly' and differ in workers"):
        jobs_of(apart, JobSpec(), MAIN)
    clash = [workload("nightly"), *both]
    with pytest.raises(ConfigError, match="'nightly' is the name of a workload, and of the jobs"):
        jobs_of(clash, JobSpec(), MAIN)


def test_clusters_bring_what_fits_the_candidates_and_what_scores_any_champion() -> None:
    scores = {"lightgbm", "llvmlite", "onnxruntime"}
    net = workload(candidates=["prior", {"deep_tabular": {"backend": "torch_distributor"}}])
    jobs = jobs_of([net], JobSpec(), MAIN)
    train = tasks(jobs["churn_train"])
    assert packages(train["train"]) == {*scores, "torch", "onnx", "onnxscript"}
    assert packages(train["promote"]) == scores
    assert packages(tasks(jobs["churn_score"])["score"]) == scores
    assert packages(tasks(jobs["churn_maintain"])["maintain"]) == set()
    trees = jobs_of([workload()], JobSpec(), MAIN)
    assert packages(tasks(trees["churn_train"])["train"]) == {*scores, "synapseml"}

    horovod = workload(candidates=[{"deep_tabular": {"backend": "horovod"}}])
    with pytest.raises(ConfigError, match=r"no Databricks runtime has Horovod beside"):
        jobs_of([horovod], JobSpec(), MAIN)


@pytest.mark.parametrize(
    ("table", "full"),
    [("c", "main.default.c"), ("crm.c", "main.crm.c"), ("other.crm.c", "other.crm.c")],
)
def test_a_job_is_started_by_the_table_that_the_lake_means(table: str, full: str) -> None:
    source = {"table": table, "key": "id"}
    jobs = jobs_of([workload(source=source)], JobSpec(score="on_update"), MAIN)
    assert jobs["churn_score"]["trigger"]["table_update"]["table_names"] == [full]


def test_a_path_starts_no_job() -> None:
    source = {"table": "/Volumes/a/b/c", "key": "id"}
    with pytest.raises(ConfigError, match="only a table of the catalog can start a job"):
        jobs_of([workload(source=source)], JobSpec(score="on_update"), MAIN)


def test_libraries_are_the_tried_versions() -> None:
    locked = {
        line.split()[0]
        for name in ("dev", "deep")
        for line in (ROOT / f"requirements/{name}.txt").read_text().splitlines()
        if "==" in line and not line.startswith(" ")
    }
    assert {f"{name}=={version}" for name, version in PACKAGES.items()} <= locked


@pytest.mark.parametrize(
    ("job", "message"),
    [
        ({"train": "every night"}, "is a Quartz cron of six or seven words"),
        ({"score": "0 2 * *"}, "is a Quartz cron of six or seven words"),
        ({"train": "0 0 2 * * *"}, r"with a \? for the day"),
        ({"train": "run it every single night please"}, "is a Quartz cron"),
        ({"time_zone": "Nowhere"}, "there is no time zone 'Nowhere'"),
        ({"warn_after": "5 hours"}, "warn_after must be shorter than timeout"),
        ({"pool": "p", "node_type": "n"}, "a pool has its own node_type"),
        ({"notify": "me"}, "is no e-mail address: me"),
        ({"workers": 0}, "greater than or equal to 1"),
        ({"cron": "0 0 2 * * ?"}, "Extra inputs are not permitted"),
    ],
)
def test_settings_that_mean_nothing_are_refused(job: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        workload(job=job)


def test_writing_changes_what_differs_and_leaves_what_is_its_owners(tmp_path: Path) -> None:
    first = job_files([workload("a"), workload("b")], JobSpec(), MAIN)
    made = write_bundle(tmp_path, first)
    assert set(made.written) == {*first, "databricks.yml", "resources/storage.yml"}
    assert write_bundle(tmp_path, first).written == ()

    (tmp_path / "databricks.yml").write_text("bundle: {name: mine}\n")
    (tmp_path / "resources/own.job.yml").write_text("resources: {}\n")
    second = job_files([workload("a", job={"workers": 3})], JobSpec(), MAIN)
    made = write_bundle(tmp_path, second)
    steps = ("maintain", "score", "train")
    assert made.written == tuple(f"resources/a_{step}.job.yml" for step in steps)
    assert made.removed == tuple(f"resources/b_{step}.job.yml" for step in steps)
    assert (tmp_path / "databricks.yml").read_text() == "bundle: {name: mine}\n"
    assert (tmp_path / "resources/own.job.yml").exists()


def test_text_that_looks_like_a_number_stays_text(tmp_path: Path) -> None:
    tags = {"cost": "0089", "exponent": "1e3", "octal": "0o17", "plain": "lake"}
    (text, *_) = job_files([workload(job={"tags": tags})], JobSpec()).values()
    for value in ("0089", "1e3", "0o17"):
        assert f"'{value}'" in text
    assert "plain: lake" in text


def test_a_project_of_workloads_alone_installs_lakescore_by_name(tmp_path: Path, capsys) -> None:
    conf = tmp_path / "settings"
    (conf / "workloads").mkdir(parents=True)
    shutil.copy(ROOT / "conf/workloads/flight_delays.yml", conf / "workloads")
    assert run(["bundle", "--conf", str(conf)]) == 0
    main = read(tmp_path / "databricks.yml")
    assert {"artifacts", "sync"} & main.keys() == set()
    job = read(tmp_path / "resources/flight_delays_score.job.yml")["resources"]["jobs"]
    task = job["flight_delays_score"]["tasks"][0]
    assert {"pypi": {"package": f"lakescore=={distribution('lakescore').version}"}} in (
        task["libraries"]
    )
    asked = task["python_wheel_task"]["named_parameters"]
    assert asked["conf"] == "${workspace.file_path}/settings"
    assert run(["bundle", "--conf", str(conf), "--check"]) == 0
    assert str(tmp_path) in capsys.readouterr().out


def test_nothing_is_written_for_the_shipped_or_an_empty_configuration(
    tmp_path: Path, capsys, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["bundle"]) == 2
    assert "there is no folder conf/ here" in capsys.readouterr().err
    (tmp_path / "conf/workloads").mkdir(parents=True)
    assert run(["bundle"]) == 2
    assert "there is no workload" in capsys.readouterr().err
    shutil.copy(ROOT / "conf/workloads/flight_delays.yml", tmp_path / "conf/workloads")
    (tmp_path / "elsewhere").mkdir()
    assert run(["bundle", "--root", "elsewhere"]) == 2
    assert "a deployed bundle would not have it" in capsys.readouterr().err
    assert not (tmp_path / "resources").exists()


# --- what is found wrong

OPTIONS = {f"lakescore-{step}": frozenset({"workload", "env", "conf", "log-format", more})
           for step, more in (("train", "no-promote"), ("promote", "version"), ("score", "full"),
                              ("maintain", "yes"))}  # fmt: skip


@pytest.fixture
def bundle(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    wanted = job_files([workload()], JobSpec())
    write_bundle(tmp_path, wanted)
    assert check_bundle(tmp_path, wanted, OPTIONS, date(2026, 11, 1)) == []
    return tmp_path, wanted


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("train", ("- task_key: passed\n              outcome", "- task_key: past\n              "
                 "outcome"), "promote: depends on past, which is no task"),
        ("train", ("task_key: passed\n          depends", "task_key: train\n          depends"),
         "two tasks are called train"),
        ("train", ("timeout_seconds: 14400", "timeout_seconds: 1\n      timeout_seconds: 2"),
         "timeout_seconds stands twice"),
        ("train", ("spark_version: 16.4.x-cpu-ml-scala2.12", "scale: {}"), "has no spark_version"),
        ("score", ("16.4.x-cpu-ml-scala2.12", "13.3.x-scala2.12"), "not known to run on 13.3.x"),
        ("train", ("16.4.x-cpu-ml-scala2.12", "16.4.x-cpu-ml-scala2.13"),
         "is of Scala 2.12, the cluster of 2.13"),
        ("train", ("com.microsoft.azure:synapseml-lightgbm_2.12:1.1.3", "synapseml-lightgbm"),
         "synapseml-lightgbm is no Maven coordinate"),
        ("train", ("no-promote:", "nopromote:"), "lakescore-train takes no --nopromote"),
        ("maintain", ("entry_point: lakescore-maintain", "entry_point: lakescore-clean"),
         "the wheel has no entry point lakescore-clean"),
        ("score", ("job_cluster_key: main\n          max_retries: 2", "job_cluster_key: big\n"
                 "          max_retries: 2"), "runs on big, which is no job cluster"),
        ("score", ("            - whl: ../dist/*.whl\n", ""),
         "score: has no wheel among its libraries"),
        ("main", ("resources/*.yml", "jobs/*.yml"), "include: jobs/*.yml matches no file"),
        ("main", ("    run_as:\n      service_principal_name: ${var.service_principal}\n", ""),
         "targets.prod runs as whoever deploys it"),
    ],
)  # fmt: skip
def test_what_the_databricks_command_lets_pass_is_found(bundle, file, change, message) -> None:
    root, wanted = bundle
    path = root / ("databricks.yml" if file == "main" else f"resources/churn_{file}.job.yml")
    before, after = change
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))
    found = [str(one) for one in check_bundle(root, wanted, OPTIONS, date(2026, 11, 1))]
    assert any(message in one for one in found), found
    if file != "main":
        assert any("is not what the workloads say" in one for one in found)


@pytest.mark.parametrize(
    "main",
    [
        "- a list",
        "include:\ntargets: {prod: }\nresources: {jobs: {other: }}",
        "resources: {jobs: {other: {tasks: , job_clusters: [{job_cluster_key: a, "
        "new_cluster: '${var.cluster}'}]}}}",
        "resources: {jobs: {other: {tasks: [{task_key: a, depends_on: [b], "
        "job_cluster_key: c, libraries: ['x']}, 7]}}}",
    ],
)
def test_a_bundle_of_any_shape_is_checked_without_a_crash(bundle, main: str) -> None:
    root, wanted = bundle
    (root / "databricks.yml").write_text(main)
    found = [str(one) for one in check_bundle(root, wanted, OPTIONS, date(2026, 11, 1))]
    assert any("databricks.yml" in one for one in found)


def test_what_is_not_lakescores_is_left_alone(bundle) -> None:
    """Another wheel, another runtime, a Java library, merged keys, a principal for all targets."""
    root, wanted = bundle
    text = (root / "databricks.yml").read_text()
    run_as = "    run_as:\n      service_principal_name: ${var.service_principal}\n"
    assert run_as in text
    text = text.replace(run_as, "") + "\nrun_as: {service_principal_name: x}\n"
    (root / "databricks.yml").write_text(text)
    (root / "resources/other.job.yml").write_text(
        "common: &common {max_retries: 1}\n"
        "resources:\n  jobs:\n    other:\n      job_clusters:\n"
        "        - {job_cluster_key: a, new_cluster: {spark_version: 17.3.x-scala2.13}}\n"
        "      tasks:\n        - <<: *common\n          task_key: t\n"
        "          job_cluster_key: a\n"
        "          python_wheel_task: {package_name: theirs, entry_point: main}\n"
        "          libraries: [{maven: {coordinates: 'mysql:mysql-connector-java:8.0.33'}}]\n"
    )
    assert check_bundle(root, wanted, OPTIONS, date(2026, 11, 1)) == []


def test_jobs_that_the_bundle_does_not_include_are_found(bundle) -> None:
    root, wanted = bundle
    path = root / "databricks.yml"
    path.write_text(path.read_text().replace("resources/*.yml", "resources/storage.yml"))
    (found,) = check_bundle(root, wanted, OPTIONS, date(2026, 11, 1))
    assert "include leaves out resources/churn_train.job.yml" in found.what


def test_a_runtime_past_its_support_is_named(bundle) -> None:
    root, wanted = bundle
    late = date(RUNTIMES["16.4"].year + 1, 1, 1)
    found = check_bundle(root, wanted, OPTIONS, late)
    assert {one.what for one in found} == {
        f"16.4.x-cpu-ml-scala2.12 is out of support since {RUNTIMES['16.4']}"
    }


def test_a_workload_without_a_job_and_a_job_without_a_workload_are_found(bundle) -> None:
    root, _ = bundle
    wanted = job_files([workload("other")], JobSpec())
    found = [str(one) for one in check_bundle(root, wanted, OPTIONS, date(2026, 11, 1))]
    assert any("resources/other_train.job.yml: is missing" in one for one in found)
    assert any(
        "resources/churn_score.job.yml: no workload asks for this job" in one for one in found
    )


def test_the_command_says_what_it_wrote_and_fails_a_check(tmp_path: Path, capsys) -> None:
    conf = tmp_path / "conf"
    (conf / "workloads").mkdir(parents=True)
    shutil.copy(ROOT / "conf/workloads/flight_delays.yml", conf / "workloads")
    arguments = ["bundle", "--conf", str(conf)]
    assert run([*arguments, "--check"]) == 1
    assert "resources/flight_delays_score.job.yml: is missing" in capsys.readouterr().out
    assert run(arguments) == 0
    assert "wrote    resources/flight_delays_score.job.yml" in capsys.readouterr().out
    assert run([*arguments, "--check", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


# --- what the jobs start


def test_named_parameters_become_options() -> None:
    given = ["--no-promote=true", "--full=false", "--resume=True", "--from=", "--to=false", "-x"]
    flags = flags_of("train") | flags_of("score")
    assert {"--no-promote", "--full", "--resume"} <= flags
    assert "--from" not in flags_of("backfill")
    assert _as_options(given, flags) == ["--no-promote", "--resume", "--to=false", "-x"]


@pytest.mark.parametrize(
    ("details", "told"),
    [
        ({"gate": {"passed": True}}, "true"),
        ({"gate": {"passed": False}}, "false"),
        ({"undecided": True}, "true"),
        ({"undecided": False}, "false"),
        ({}, "false"),
    ],
)
def test_a_training_tells_its_job_whether_there_is_something_to_promote(
    monkeypatch, details, told
) -> None:
    """Databricks' own module, as its documentation describes it."""
    values: dict[str, str] = {}
    setting = SimpleNamespace(set=lambda key, value: values.update({key: value}))
    module = ModuleType("pyspark.dbutils")
    module.DBUtils = lambda spark: SimpleNamespace(jobs=SimpleNamespace(taskValues=setting))
    monkeypatch.setitem(sys.modules, "pyspark.dbutils", module)
    tell_job(None, SimpleNamespace(details=details, model_version="7"))
    assert values == {"promote": told, "version": "7"}


def test_a_job_that_cannot_be_told_keeps_its_training(monkeypatch, caplog) -> None:
    module = ModuleType("pyspark.dbutils")
    monkeypatch.setitem(sys.modules, "pyspark.dbutils", module)
    module.DBUtils = lambda spark: SimpleNamespace()
    tell_job(None, SimpleNamespace(details={}, model_version=None))


def test_entry_points_are_those_of_the_wheel() -> None:
    scripts = {point.name: point for point in distribution("lakescore").entry_points}
    for group in RESOURCES:
        for job in group.get("jobs", {}).values():
            for task in job["tasks"]:
                if "python_wheel_task" in task:
                    assert callable(scripts[task["python_wheel_task"]["entry_point"]].load())


def test_environment_file_reads_only_what_the_cluster_sets() -> None:
    read_there = re.findall(r"\$\{env:(\w+)\}", (ROOT / "conf" / "databricks.yml").read_text())
    (job, *_) = RESOURCES[0]["jobs"].values()
    assert set(read_there) == set(job["job_clusters"][0]["new_cluster"]["spark_env_vars"])


def test_references_lead_somewhere() -> None:
    text = "".join(
        path.read_text() for path in [ROOT / "databricks.yml", *(ROOT / "resources").glob("*.yml")]
    )
    assert set(re.findall(r"\$\{var\.(\w+)\}", text)) == set(BUNDLE["variables"])
    known = {(kind, name) for group in RESOURCES for kind, named in group.items() for name in named}
    assert set(re.findall(r"\$\{resources\.(\w+)\.(\w+)\.\w+\}", text)) <= known


def test_wheel_is_built_by_a_target_that_exists() -> None:
    command, target = BUNDLE["artifacts"]["lakescore"]["build"].split()
    assert command == "make"
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M)


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


@dataclass(frozen=True)
class Command:
    """The Databricks command over a copy of this project's bundle, and a workspace on loopback."""

    command: str
    root: Path
    workspace: Workspace

    def __call__(self, *words: str, target: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.command, "bundle", *words, "--target", target],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            cwd=self.root,
            env={
                "HOME": str(self.root),
                "PATH": os.environ["PATH"],
                "NO_COLOR": "1",
                "DATABRICKS_HOST": self.workspace.address,
                "DATABRICKS_TOKEN": "none",
                "DATABRICKS_CONFIG_FILE": str(self.root / "missing"),
                "DATABRICKS_BUNDLE_ENGINE": "direct",
                "DATABRICKS_CLI_DISABLE_TELEMETRY": "1",
                "DATABRICKS_CACHE_ENABLED": "false",
            },
        )

    def well(self, *words: str, target: str) -> str:
        done = self(*words, target=target)
        assert done.returncode == 0, done.stderr
        assert self.workspace.unknown == []
        return done.stdout + done.stderr


@pytest.fixture
def command(databricks: str, tmp_path: Path) -> Iterator[Command]:
    for name in ("databricks.yml", "resources", "conf", "pyproject.toml"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
        copy(ROOT / name, tmp_path / name)
    for pattern in BUNDLE["sync"]["exclude"]:
        left_out = tmp_path / pattern.removesuffix("**")
        left_out.mkdir()
        (left_out / "file").touch()
    # The wheel has a test of its own (tests/e2e/test_wheel.py); here it only has to be there.
    main = (tmp_path / "databricks.yml").read_text()
    (tmp_path / "databricks.yml").write_text(main.replace("build: make package", "build: 'true'"))
    (tmp_path / "dist").mkdir()
    with zipfile.ZipFile(tmp_path / "dist/lakescore-0.1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("lakescore/__init__.py", "")
    with empty_workspace() as workspace:
        yield Command(databricks, tmp_path, workspace)


@pytest.mark.parametrize("target", BUNDLE["targets"])
def test_every_target_is_valid(command: Command, target: str) -> None:
    done = command("validate", "--strict", "--output", "json", target=target)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    assert "Recommendation" not in done.stderr
    told = json.loads(done.stdout)
    assert set(told["resources"]["jobs"]) == DECLARED
    assert told["workspace"]["current_user"]["userName"] == USER


@pytest.mark.parametrize("target", BUNDLE["targets"])
def test_every_target_is_deployed_run_and_taken_away_again(command: Command, target: str) -> None:
    workspace = command.workspace
    command.well("deploy", target=target)
    prefix = "[dev someone] " if target == "dev" else ""
    names = {job["name"]: number for number, job in workspace.jobs.items()}
    assert set(names) == {f"{prefix}lakescore {key[::-1].replace('_', ' ', 1)[::-1]}"
                          for key in DECLARED}  # fmt: skip
    assert any(name.endswith("conf/workloads/flight_delays.yml") for name in workspace.files)
    assert any(name.endswith(".whl") for name in workspace.files)
    assert "0 to add, 0 to change, 0 to delete" in command.well("plan", target=target)
    assert "lakescore flight_delays score" in command.well("summary", target=target)

    started = command.well("run", "flight_delays_score", "--params", "full=true", target=target)
    assert "TERMINATED SUCCESS" in started
    scoring = names[f"{prefix}lakescore flight_delays score"]
    assert workspace.runs == [(scoring, {"full": "true"})]

    assert bool(workspace.grants) == (target == "prod")
    command.well("destroy", "--auto-approve", target=target)
    assert (workspace.jobs, workspace.data, workspace.files) == ({}, {}, {})


def test_only_prod_runs_as_the_service_principal(command: Command) -> None:
    for target in BUNDLE["targets"]:
        command.well("deploy", target=target)
        found = {json.dumps(job.get("run_as")) for job in command.workspace.jobs.values()}
        expected = {"service_principal_name": BUNDLE["variables"]["service_principal"]["default"]}
        assert found == {json.dumps(expected if target == "prod" else None)}
        command.well("destroy", "--auto-approve", target=target)
