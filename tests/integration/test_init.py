"""`init` writes a workload that works, or nothing."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from lakescore.config.loader import load_workload
from tests.churn import Project, customers


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """200 customers in a file, with a label of words and the day on which each was seen."""
    rows = customers(0, 200)
    rows["left"] = rows.pop("churned").map({True: "yes", False: "no"})
    rows["seen"] = (pd.Timestamp("2013-01-01") + pd.to_timedelta(rows["id"], "D")).dt.date
    rows.to_parquet(tmp_path / "people.parquet")
    return tmp_path / "people.parquet"


def test_a_label_of_several_words_is_one_of_classes(project: Project, file: Path) -> None:
    argv = ("init", "people", "--from", str(file), "--label", "plan", "--key", "id")
    assert project.run(*argv) == 0
    workload = load_workload(project.conf, "people")
    assert workload.label.expression == "`plan`"
    assert [one.name for one in workload.candidates] == ["lightgbm"]
    assert project.run("validate", "people", "--against-lake") == 0


def test_a_label_of_two_words_is_refused_before_anything_is_copied(
    project: Project, file: Path, capsys
) -> None:
    def init(label: str) -> int:
        return project.run("init", "people", "--from", str(file), "--label", label, "--key", "id")

    before = project.state()
    written = project.conf / "workloads" / "people.yml"
    assert init("left") == 2
    message = capsys.readouterr().err
    assert "the label 'left' is text: 'no' or 'yes'" in message
    assert """--label "left = 'yes'\"""" in message
    assert init("lefd") == 1
    assert "there is no column 'lefd'" in (message := capsys.readouterr().err)
    assert "did you mean 'left'" in message
    assert init("seen") == 1
    assert "is date, expected boolean, number or string" in capsys.readouterr().err
    assert project.state() == before
    assert not written.exists()

    assert init("left = 'yes'") == 0
    assert project.rows("people").count() == 200
    workload = load_workload(project.conf, "people")
    assert workload.label.expression == "left = 'yes'"
    assert [one.name for one in workload.candidates] == ["lightgbm", "logistic_regression"]
    assert workload.split.by == "seen"
    last = [str(day)[:7] for day in (workload.split.train_until, workload.split.test_until)]
    assert last == ["2013-05", "2013-07"]
    assert project.run("validate", "people", "--against-lake") == 0
