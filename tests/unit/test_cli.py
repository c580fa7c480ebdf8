"""The command line without Spark: help, usage errors, output rules, entry points."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lakescore.cli import entry_points
from lakescore.cli.app import run
from tests.conftest import settings_under


def test_importing_lakescore_brings_in_neither_pyspark_nor_mlflow() -> None:
    code = (
        "import sys, lakescore, lakescore.cli.app, lakescore.config.loader; "
        "print(sorted({'pyspark', 'mlflow', 'pandas', 'lightgbm', 'pyarrow'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("argv", [["--help"], ["train", "--help"], ["--version"]])
def test_help_loads_nothing_but_the_command_line(argv: list[str]) -> None:
    """Help in 0.3 s is no more than this: what is loaded decides how long it takes."""
    code = (
        f"import sys; from lakescore.cli.app import run; assert run({argv}) == 0; "
        "own = [name for name in sys.modules if name.startswith('lakescore.')]; "
        "print(*sorted({name.split('.')[0] for name in sys.modules}), *own, file=sys.stderr)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(found.stderr.split())
    heavy = {"pyspark", "mlflow", "pandas", "lightgbm", "pyarrow", "numpy", "sqlglot", "jinja2"}
    assert not loaded & (heavy | {"yaml", "rich"})
    rooms = {name.split(".")[1] for name in loaded if name.startswith("lakescore.")}
    assert rooms <= {"cli", "errors", "version"}


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


def test_quarantine_lists_what_is_refused_and_says_plainly_when_nothing_is(
    tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lakescore.cli.options import Project
    from lakescore.workflows.quarantine import RefusedRow, RefusedRows

    workloads = tmp_path / "workloads"
    workloads.mkdir()
    (workloads / "churn.yml").write_text(
        "name: churn\nsource: {table: t, key: id}\nmodel: models:/churn@champion\n"
        "predictions: {table: s}\n"
    )
    rows = [
        RefusedRow({"id": 7}, ["key name is null", "too [low]"], 2, 3, "2024-01-01 00:00:00Z", None)
    ]
    answers = [
        RefusedRows("churn", "s_quarantine"),
        RefusedRows("churn", "s_quarantine", 2, 4, {"too [low]": 2}, rows),
        RefusedRows("churn", "s_quarantine", 2, 4, {"too [low]": 2}, rows),
    ]
    limits = []

    def answer(spark, settings, workload, *, limit: int) -> RefusedRows:
        limits.append(limit)
        return answers.pop(0)

    monkeypatch.setattr(Project, "spark", lambda self, name: None)
    monkeypatch.setattr("lakescore.workflows.quarantine.quarantine_list", answer)
    conf = ["--conf", str(tmp_path)]
    assert run(["quarantine", "list", "churn", *conf]) == 0
    said = capsys.readouterr().out
    assert said == "nothing is refused: no row of s_quarantine is in force\n"
    assert run(["quarantine", "list", "churn", "--limit", "1", *conf]) == 0
    said = capsys.readouterr().out
    assert "churn  2 refused, standing for 4 rows of the source" in said
    assert '{"id": 7}  2024-01-01 00:00:00Z, source version 3, 2 copies' in said
    assert "key name is null; too [low]\n  payload purged" in said
    assert "the newest 1 of 2; more with --limit" in said
    assert "next: lakescore quarantine retry churn" in said
    assert run(["quarantine", "list", "churn", "--json", *conf]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["refused"], told["rows"][0]["key"]) == (2, {"id": 7})
    assert limits == [20, 1, 20]
    assert run(["quarantine", "list", "churn", "--limit", "0", *conf]) == 2
    assert run(["quarantine", "purge", "churn"]) == 2


def test_quarantine_retry_asks_for_the_day_and_prints_the_result(
    tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datetime import date

    from lakescore.cli.options import Project
    from lakescore.workflows.run_result import Status, recorded_run

    workloads = tmp_path / "workloads"
    workloads.mkdir()
    (workloads / "churn.yml").write_text(
        "name: churn\nsource: {table: t, key: id}\nmodel: models:/churn@champion\n"
        "predictions: {table: s}\n"
    )
    days = []

    def answer(spark, settings, workload, *, as_of: date):
        days.append(as_of)
        with recorded_run("quarantine_retry", workload.name, settings_under(tmp_path)) as result:
            result.details["reason"] = "nothing is refused"
            return result.finish(Status.NOTHING_TO_DO)

    monkeypatch.setattr(Project, "spark", lambda self, name: None)
    monkeypatch.setattr("lakescore.workflows.score.quarantine_retry", answer)
    command = ["quarantine", "retry", "churn", "--conf", str(tmp_path), "--as-of"]
    assert run([*command, "2024-01-31"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("NOTHING_TO_DO  quarantine_retry churn")
    assert "  nothing is refused\n" in said
    assert days == [date(2024, 1, 31)]
    assert run([*command, "soon"]) == 2
    assert "'soon' is not a day" in capsys.readouterr().err


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


def test_options_that_do_not_parse_are_a_json_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["score", "churn", "--no-such-option", "--log-format", "json"]) == 2
    (line,) = map(json.loads, capsys.readouterr().err.splitlines())
    assert (line["level"], line["kind"], line["exit_code"]) == ("error", "UsageError", 2)
    assert "no-such-option" in line["what"]


def test_each_problem_of_a_file_is_a_json_line(tmp_path: Path, capsys) -> None:
    workloads = tmp_path / "workloads"
    workloads.mkdir()
    file = workloads / "churn.yml"
    file.write_text("name: churn\nsource: {table: t}\nmodell: m\nmodel: models:/churn@champion\n")
    found = run(["score", "churn", "--log-format=json", "--conf", str(tmp_path)])
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert found == 2
    assert [(line["kind"], line["where"], line["what"]) for line in lines] == [
        ("ConfigError", f"{file}:2:9", "source: missing key key"),
        ("ConfigError", f"{file}:3:1", "unknown key 'modell'"),
    ]
    assert lines[1]["hint"].startswith("did you mean 'model'?")
