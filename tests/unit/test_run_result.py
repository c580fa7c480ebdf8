"""The run result: written however a run ends, and read back."""

from __future__ import annotations

from pathlib import Path

import pytest

from lakescore.config.settings import LakeSettings, RegistrySettings, Settings
from lakescore.errors import EmptyTable
from lakescore.workflows.run_result import Status, read_results, recorded_run


def _settings(root: Path) -> Settings:
    return Settings(
        lake=LakeSettings(root=str(root)),
        registry=RegistrySettings(uri="sqlite://"),
        runs=str(root / "runs"),
        staging=str(root / "staging"),
    )


def test_result_is_written_when_the_run_is_done(tmp_path: Path) -> None:
    with recorded_run("score", "churn", _settings(tmp_path)) as run:
        with run.phase("plan"):
            pass
        run.finish(Status.NOTHING_TO_DO)
    (found,) = read_results(str(tmp_path / "runs"), "churn")
    assert found.status is Status.NOTHING_TO_DO
    assert found.run_id == run.run_id
    assert set(found.timings) == {"plan"}


def test_result_of_a_failed_run_names_the_error(tmp_path: Path) -> None:
    with pytest.raises(EmptyTable), recorded_run("train", "churn", _settings(tmp_path)):
        raise EmptyTable("the table has no rows", where="customers@3", hint="ingest some")
    (found,) = read_results(str(tmp_path / "runs"))
    assert found.status is Status.FAILED
    assert found.error == "customers@3: the table has no rows\n  -> ingest some"


def test_unreadable_results_do_not_hide_the_others(tmp_path: Path) -> None:
    with recorded_run("score", "churn", _settings(tmp_path)) as run:
        run.finish(Status.DONE)
    broken = tmp_path / "runs" / "churn" / "20000101T000000Z-000000"
    broken.mkdir()
    (broken / "result.json").write_text('{"half": ')
    assert [result.run_id for result in read_results(str(tmp_path / "runs"))] == [run.run_id]


def test_results_of_a_newer_lakescore_are_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with recorded_run("score", "churn", _settings(tmp_path)) as run:
        run.finish(Status.DONE)
    newer = tmp_path / "runs" / "churn" / "20990101T000000Z-000000"
    newer.mkdir()
    text = run.model_copy(update={"format": 2}).model_dump_json()
    (newer / "result.json").write_text(text)
    with caplog.at_level("WARNING", logger="lakescore"):
        assert [result.run_id for result in read_results(str(tmp_path / "runs"))] == [run.run_id]
    assert "1 run results were written by a newer lakescore" in caplog.text
