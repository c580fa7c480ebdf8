"""The jobs as a cluster's scheduler starts them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lakescore.session.ivy import spark_home
from lakescore.session.java import find_java
from tests.churn import Project

pytestmark = [pytest.mark.spark, pytest.mark.slow]

JOBS = Path(__file__).parents[2] / "jobs"


def submit(project: Project, job: str, *argv: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "JAVA_HOME": str(find_java().home),
        "SPARK_HOME": str(spark_home()),
        "PYSPARK_PYTHON": sys.executable,
    }
    command = [f"{spark_home()}/bin/spark-submit", "--master", "local[2]", str(JOBS / job)]
    return subprocess.run(
        [*command, *argv, "--env", "local", "--conf", str(project.conf)],
        env=environment, cwd=project.root, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip


def test_a_job_scores_under_spark_submit_and_fails_with_an_exit_code(trained: Project) -> None:
    done = submit(trained, "score.py", "--workload", "churn", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout[done.stdout.index("{") :])
    assert (result["status"], result["counts"]["predicted"]) == ("DONE", 300)
    assert trained.rows("churn_scores").count() == 300

    failed = submit(trained, "score.py", "--workload", "chrun")
    assert failed.returncode != 0
    assert "unknown workload 'chrun'" in failed.stderr
