"""The main job: `lakescore demo` over a few thousand of the real flights, twice."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from datetime import date
from pathlib import Path

import pandas as pd
import pytest
from pyspark.sql import functions as F

from benchmarks.champion_scores import main as champion_scores
from lakescore.config.loader import load_settings, shipped_conf
from lakescore.workflows.demo import flights
from tests.churn import Project

#: December's landings: the days that the few flights have of it.
LANDINGS = {
    "december 1 to 28": [date(2013, 12, day) for day in (7, 17, 27)],
    **{f"2013-12-{day}": [date(2013, 12, day)] for day in (29, 30, 31)},
}
#: Flights of December 2013.
DECEMBER = 28_135
_SMALL = {"backend": "native", "num_iterations": 15, "num_leaves": 15, "min_data_in_leaf": 50,
          "learning_rate": 0.2}  # fmt: skip
#: What a few hundred test rows can show.
_LENIENT = {"replicates": 50, "max_calibration_error": 0.5}


@pytest.fixture
def few_flights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """Every fourth flight of three days a month, in place of the package's data."""
    package, few = flights.package_folder(), tmp_path / "few"
    shutil.copytree(package, few, ignore=shutil.ignore_patterns("*.zip"))
    rows = pd.read_csv(package / "flights.csv.zip", dtype=str, keep_default_na=False)
    day = rows["day"].astype(int)
    kept = rows[day.isin([7, 17, 27]) | ((rows["month"] == "12") & (day > 28))].iloc[::4]
    with zipfile.ZipFile(few / "flights.csv.zip", "w") as archive:
        archive.writestr("flights.csv", kept.to_csv(index=False))
    monkeypatch.setattr(flights, "package_folder", lambda: few)
    return kept


@pytest.fixture
def demo(project: Project) -> Project:
    """A project with the demo's own workload, its trees fewer."""
    shipped = (shipped_conf() / "workloads" / "flight_delays.yml").read_text(encoding="utf-8")
    before, _, rest = shipped.partition("candidates:\n")
    _, _, after = rest.partition("promotion:")
    own = f"candidates: {json.dumps([{'lightgbm': _SMALL}])}\ngate: {json.dumps(_LENIENT)}\n"
    small = f"{before}{own}promotion:{after}"
    (project.conf / "workloads" / "flight_delays.yml").write_text(small, encoding="utf-8")
    return project


def _runs(project: Project) -> list[dict]:
    """The results of all runs, oldest first."""
    files = Path(project.settings.runs).glob("*/*/result.json")
    found = [json.loads(file.read_text()) for file in files]
    return sorted(found, key=lambda run: run["started_at"])


def test_demo_makes_a_champion_scores_december_as_it_lands_and_then_finds_all_done(
    demo: Project, few_flights: pd.DataFrame, capsys
) -> None:
    assert demo.run("demo") == 0
    said = capsys.readouterr().out
    ingest, train, *scores = runs = _runs(demo)
    _says_what_ran(said, runs, demo)
    assert (ingest["status"], train["status"]) == ("DONE", "PROMOTED")
    assert ingest["counts"]["rows"] == (few_flights["month"] != "12").sum()
    assert {score["status"] for score in scores} == {"DONE"}

    _read_nothing_of_december(demo, train)
    _predicted_once_by_landing(demo, scores, few_flights)
    assert demo.rows("bronze.arrivals").count() == len(few_flights)
    _champion_is_compared_by_the_scores_of_the_table(demo, few_flights)
    before = demo.state()["commits"]
    capsys.readouterr()

    assert demo.run("demo") == 0
    said = capsys.readouterr().out
    again = _runs(demo)[len(runs) :]
    _says_what_ran(said, again, demo)
    assert [run["status"] for run in again] == [
        "NOTHING_TO_DO", "ALREADY_DONE", *["NOTHING_TO_DO"] * 4,
    ]  # fmt: skip
    assert demo.state()["commits"] == before


def _says_what_ran(said: str, runs: list[dict], project: Project) -> None:
    """The table has a line a run, with its status; then the places and the next commands."""
    steps = ["ingest january to november", "train", *(f"score {name}" for name in LANDINGS)]
    table, _, rest = said.strip().partition("\n\n")
    head, *lines = table.splitlines()
    assert head.split() == ["step", "status", "rows", "model", "seconds"]
    for line, step, run in zip(lines, steps, runs, strict=True):
        assert line.startswith(f"{step}  ")
        assert f"  {run['status']}  " in f"{line}  "
    places, _, commands = rest.partition("\n\nTry next:\n")
    for report in (run["artefacts"].get("report") for run in runs if run["workflow"] == "train"):
        assert report is None or (Path(report).is_file() and f"report       {report}" in places)
    assert f"lake         {project.settings.lake.root}" in places
    assert "predictions  gold.flight_delays_predictions" in places
    tried = [line.partition("#")[0].strip() for line in commands.splitlines()]
    assert tried == [
        "lakescore status", "lakescore score flight_delays", "lakescore train arrival_delay",
    ]  # fmt: skip


def _read_nothing_of_december(project: Project, train: dict) -> None:
    assert Path(train["artefacts"]["report"]).is_file()
    assert {pin["table"] for pin in train["pins"]} >= {"bronze.schedule", "bronze.arrivals"}
    days = {"bronze.schedule": "flight_date", "bronze.departures": "flight_date",
            "bronze.arrivals": "flight_date", "bronze.weather": "observed_on"}  # fmt: skip
    for pin in train["pins"]:
        if pin["table"] in days:
            rows = project.table(pin["table"]).read(project.spark, pin["version"])
            assert rows.agg(F.max(days[pin["table"]])).first()[0] <= date(2013, 11, 30)


def _predicted_once_by_landing(
    project: Project, scores: list[dict], few_flights: pd.DataFrame
) -> None:
    """Each commit holds the flights of its landing's days, and its run read no others."""
    predictions = project.rows("gold.flight_delays_predictions")
    rows = predictions.select("flight_id", "flight_date", "p_late", "_run_id", "_model_version")
    found = rows.toPandas()
    december = few_flights[few_flights["month"] == "12"]
    assert found["flight_id"].nunique() == len(found) == len(december)
    assert found["p_late"].between(0, 1, inclusive="neither").all()
    assert set(found["_model_version"]) == {"1"}
    for score, days in zip(scores, LANDINGS.values(), strict=True):
        own = found[found["_run_id"] == score["run_id"]]
        assert sorted(own["flight_date"].unique()) == days
        assert score["counts"]["predicted"] == len(own)
    assert [score["counts"]["read"] for score in scores[1:]] == [
        len(december[december["day"] == day]) for day in ("29", "30", "31")
    ]


def _champion_is_compared_by_the_scores_of_the_table(
    project: Project, few_flights: pd.DataFrame
) -> None:
    """What `make bench-flights` hands over: November too, December as predicted."""
    file = project.root / "champion.csv"
    champion_scores([str(file), "--conf", str(project.conf)])
    scored = pd.read_csv(file, float_precision="round_trip")
    months = few_flights["month"].value_counts()
    assert len(scored) == scored["flight_id"].nunique() == months["11"] + months["12"]
    predictions = project.rows("gold.flight_delays_predictions").select("flight_id", "p_late")
    both = scored.merge(predictions.toPandas(), on="flight_id", validate="1:1")
    assert len(both) == months["12"]
    assert (both["p_late_x"] == both["p_late_y"]).all()


def test_the_demo_starts_with_a_heap_of_one_gibibyte() -> None:
    assert load_settings(shipped_conf(), "local").spark.driver_memory == "1g"


@pytest.mark.slow
def test_the_whole_demo_passes_with_a_heap_of_one_gibibyte(tmp_path: Path) -> None:
    """As a newcomer's process starts it: all flights, nothing set, an empty folder."""
    environment = {name: value for name, value in os.environ.items() if "LAKESCORE" not in name}
    demo = subprocess.run(
        [sys.executable, "-m", "lakescore", "demo"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert demo.returncode == 0, demo.stderr
    files = sorted((tmp_path / "lake/_lakescore/runs").glob("*/*/result.json"))
    runs = sorted((json.loads(file.read_text()) for file in files), key=lambda r: r["started_at"])
    ingest, train, *scores = runs
    assert (ingest["status"], train["status"]) == ("DONE", "PROMOTED")
    assert [run["status"] for run in scores] == ["DONE"] * 4
    assert sum(run["counts"]["predicted"] for run in scores) == DECEMBER
