"""The command line without Spark: help, usage errors, output rules, entry points."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lakescore.cli import entry_points
from lakescore.cli.app import run


def test_importing_lakescore_brings_in_neither_pyspark_nor_mlflow() -> None:
    code = (
        "import sys, lakescore, lakescore.cli.app, lakescore.config.loader; "
        "print(sorted({'pyspark', 'mlflow', 'pandas', 'lightgbm', 'pyarrow'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_unknown_command_and_option_are_usage_errors(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["scroe", "churn"]) == 2
    assert run(["score", "churn", "--no-such-option"]) == 2
    assert "no-such-option" in capsys.readouterr().err


def test_score_without_a_name_says_what_to_give(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["score"]) == 2
    message = capsys.readouterr()
    assert "name a workload, or several with --select" in message.err
    assert message.out == ""


def test_validate_prints_json_on_stdout_only(tmp_path: Path, capsys) -> None:
    workloads = tmp_path / "workloads"
    workloads.mkdir()
    (workloads / "churn.yml").write_text(
        "name: churn\nsource: {table: t, key: id}\nlabel: y\nfeatures: all\nsplit: random\n"
        "candidates: [lightgbm]\ntags: nightly\n"
    )
    assert run(["validate", "churn", "--json", "--conf", str(tmp_path)]) == 0
    message = capsys.readouterr()
    assert json.loads(message.out) == {"valid": ["churn"]}
    assert message.err == ""
    assert run(["validate", "--select", "tag:nightly", "--conf", str(tmp_path)]) == 0


def test_validate_checks_candidates_and_metrics_without_an_engine(tmp_path: Path, capsys) -> None:
    workloads = tmp_path / "workloads"
    workloads.mkdir()
    (workloads / "churn.yml").write_text(
        "name: churn\nsource: {table: t, key: id}\nlabel: y\nfeatures: all\nsplit: random\n"
        "candidates: [lihgtgbm]\n"
    )
    assert run(["validate", "churn", "--conf", str(tmp_path)]) == 2
    assert "did you mean 'lightgbm'" in capsys.readouterr().err


@pytest.mark.parametrize("of", ["workload", "settings", "run-result", "report"])
def test_schema_of_every_file_is_json(of: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schema", "--of", of]) == 0
    assert json.loads(capsys.readouterr().out)["type"] == "object"


def test_entry_point_returns_zero_and_leaves_only_on_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[list[str]] = []

    def answer(code: int):
        def fake(argv: list[str]) -> int:
            seen.append(argv)
            return code

        return fake

    monkeypatch.setattr("lakescore.cli.app.run", answer(0))
    assert entry_points.score(["--workload", "churn", "--env", "databricks"]) == 0
    assert seen == [["score", "churn", "--env", "databricks"]]
    monkeypatch.setattr("lakescore.cli.app.run", answer(1))
    with pytest.raises(SystemExit) as left:
        entry_points.train(["--workload", "churn"])
    assert left.value.code == 1


def test_json_log_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    import logging

    from lakescore.cli.logs import start_logging

    start_logging("json")
    logging.getLogger("lakescore").info("fitted %s", "lightgbm")
    line = json.loads(capsys.readouterr().err)
    assert (line["level"], line["message"]) == ("info", "fitted lightgbm")
    logging.getLogger("lakescore").handlers.clear()
