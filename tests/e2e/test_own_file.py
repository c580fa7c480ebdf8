"""A user's own Parquet file: every command that the README names, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.churn import Project, customers

WRITTEN = """\
name: churn
source: {table: churn, key: id}
label: churned
features: all
split: random
candidates: [lightgbm, logistic_regression]
predictions: {table: churn_predictions}
"""


@pytest.fixture
def say(project: Project, capsys) -> Callable[..., str]:
    """Run a command that must succeed; what it printed."""

    def run(*argv: str) -> str:
        capsys.readouterr()
        assert project.run(*argv) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    return run


def test_own_parquet_file_from_init_to_doctor(project: Project, say) -> None:
    workload = project.conf / "workloads" / "churn.yml"
    workload.unlink()
    file = project.root / "customers.parquet"
    customers(0, 400).to_parquet(file)

    said = say("init", "churn", "--from", str(file), "--label", "churned", "--key", "id")
    assert said.startswith("DONE  init churn")
    assert str(workload) in said and "next: lakescore train churn" in said
    assert workload.read_text() == WRITTEN
    assert project.rows("churn").count() == 400

    # With so few test rows a calibration is mostly noise: the README says to allow it more.
    lenient = ("--set", "gate.max_calibration_error=0.5")
    said = say("train", "churn", *lenient)
    assert said.startswith("DONE  train churn, model version 1")
    assert "test.average_precision" in said and "next: lakescore promote churn" in said
    assert project.aliases() == {"challenger": "1"}

    said = say("promote", "churn", *lenient)
    assert said.startswith("PROMOTED  promote churn, model version 1")
    assert "version 1 is champion" in said and "next: lakescore score churn" in said

    said = say("score", "churn")
    assert said.startswith("DONE  score churn, model version 1")
    assert any(line.split() == ["predicted", "400"] for line in said.splitlines())
    assert say("score", "churn").startswith("NOTHING_TO_DO  score churn")

    _says_what_is_there(say, project)


def _says_what_is_there(say: Callable[..., str], project: Project) -> None:
    head, line = say("status", "churn").splitlines()
    shown = dict(zip(head.split(), line.split(), strict=False))
    assert (shown["workload"], "NOTHING_TO_DO" in line) == ("churn", True)

    head, *lines = say("history", "churn").splitlines()
    assert head.split()[:4] == ["run", "workflow", "status", "model"]
    runs = [tuple(line.split()[1:3]) for line in lines]
    assert runs[:4] == [
        ("score", "NOTHING_TO_DO"), ("score", "DONE"), ("promote", "PROMOTED"), ("train", "DONE"),
    ]  # fmt: skip
    assert set(runs[4:]) == {("init", "DONE"), ("ingest", "DONE")}

    page = Path(say("report", "churn").strip())
    assert page.name == "report.html" and page.is_file()
    assert '"workload": "churn"' in say("report", "churn", "--json")

    head, *lines = say("preview", "churn", "--rows", "3").splitlines()
    assert len(lines) == 3
    assert {"id", "age", "spend", "plan"} <= set(head.split())

    checks = say("doctor").splitlines()
    assert all(line.startswith("ok ") for line in checks), checks
    assert any(str(project.root / "lake") in line for line in checks)
