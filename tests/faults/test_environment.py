"""What surrounds a run breaks: the message says so, nothing is half-written, a rerun is right."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from lakescore.cli import main
from lakescore.lake import staging
from lakescore.registry.calls import MlflowCalls
from lakescore.workflows import score as scoring
from tests.conftest import settings_under
from tests.faults.lives import Project
from tests.faults.processes import START_SECONDS, Command
from tests.faults.tally import OUT, Tally
from tests.linear import COEFFICIENTS, NAME, PREDICTION_TIME, READINGS, day, register_versions

pytestmark = [pytest.mark.spark, pytest.mark.slow]

#: So many rows do not fit into so many bytes.
LARGE, ROOM = 20_000, 96 * 1024


@pytest.fixture
def make(spark, registered: Path, tmp_path: Path) -> Callable[..., Project]:
    def project(**predictions: Any) -> Project:
        return Project.make(spark, tmp_path, registered, {"mode": "append", **predictions})

    return project


@pytest.fixture
def fails(
    capfd: pytest.CaptureFixture[str], tally: Tally, request: pytest.FixtureRequest
) -> Callable[..., str]:
    """`lakescore score` must fail with these words and leave what is visible as it was.

    Counted as a fault of the test, with the rows to which it did no harm.
    """

    def run(project: Project, *says: str, options: tuple[str, ...] = ()) -> str:
        before = sorted(project.visible())
        capfd.readouterr()
        code = main(["score", NAME, *options, "--conf", str(project.root / "conf")])
        message = capfd.readouterr().err
        assert code == 1, message
        for words in (*says, "->"):
            assert words in message
        assert "Traceback" not in message
        assert "defect of lakescore" not in message
        tally.fault(request.node.originalname.removeprefix("test_"))
        tally.compare(len(before), project.visible(), before)
        return message

    return run


def _scored(project: Project) -> None:
    """A rerun makes everything right."""
    project.life.score()
    assert sorted(project.visible()) == sorted(project.oracle.state())
    assert project.staged() == []


def _calls_of_a_command(project: Project, calls: list[str]) -> list[str]:
    """What `lakescore score` asks of the registry, in order, as it adds to `calls`."""
    calls.clear()
    assert main(["score", NAME, "--conf", str(project.root / "conf")]) == 0
    assert len(calls) > 1
    return list(calls)


def _with_news(project: Project) -> None:
    """One commit is there, and rows that the next run has to score."""
    project.oracle.judge(project.land(), project.champion)
    project.life.score()
    project.oracle.judge(project.land(), project.champion)


@contextmanager
def mounted(folder: Path, *how: str) -> Iterator[None]:
    """Mount over the folder for the time of the block.

    Where that is not allowed a run that counts faults fails; any other test run skips.
    """
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", *how, str(folder)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        unable = pytest.fail if OUT in os.environ else pytest.skip
        unable(f"needs the right to mount (root has it): {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("where", ["_lakescore/staging", "scores_quarantine", "scores", "."])
def test_a_full_disk_stops_the_run_and_nothing_is_lost(make, fails, where: str) -> None:
    project = make()
    _with_news(project)
    folder = project.root / "lake" / where
    kept = project.root / "kept"
    shutil.copytree(folder, kept)
    with mounted(folder, "-t", "tmpfs", "-o", "size=8m", "tmpfs"):
        shutil.copytree(kept, folder, dirs_exist_ok=True)
        filler = folder / ".filler"
        _fill(filler)
        fails(project, "the disk is full")
        filler.unlink()
        _scored(project)


@pytest.mark.parametrize("mode", ["append", "upsert"])
def test_a_disk_that_fills_up_in_the_middle_of_a_write_is_told(make, fails, mode: str) -> None:
    """There is room for the commit's log and not for all of its rows."""
    project = make(mode=mode)
    _with_news(project)
    project.oracle.judge(project.land(LARGE), project.champion)
    table = project.root / "lake" / "scores"
    kept = project.root / "kept"
    shutil.copytree(table, kept)
    with mounted(table, "-t", "tmpfs", "-o", "size=8m", "tmpfs"):
        shutil.copytree(kept, table, dirs_exist_ok=True)
        filler = table / ".filler"
        _fill(filler)
        with filler.open("r+b") as file:
            file.truncate(filler.stat().st_size - ROOM)
        fails(project, "the disk is full")
        assert any(path.stat().st_size for path in table.glob("*.parquet") if _is_new(path, kept))
        filler.unlink()
        _scored(project)


def _is_new(path: Path, kept: Path) -> bool:
    return not (kept / path.name).exists()


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


def test_a_predictions_table_that_is_read_only_says_so(make, fails) -> None:
    """A read-only mount: permissions alone do not stop root."""
    project = make()
    _with_news(project)
    table = project.root / "lake" / "scores"
    with mounted(table, "--bind", str(table)):
        subprocess.run(["mount", "-o", "remount,ro,bind", str(table)], check=True)
        fails(project, "read-only")
    _scored(project)


def test_a_registry_that_stops_answering_at_any_call_is_given_up_at_the_deadline(
    make, fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make()
    _with_news(project)
    real, calls = MlflowCalls.__call__, []

    def counted(self: MlflowCalls, what: str, call: Any, *, seconds: float | None = None) -> Any:
        calls.append(what)
        if len(calls) == silent_from:
            released = threading.Event()
            return real(self, what, lambda _: released.wait(30), seconds=1)
        return real(self, what, call, seconds=seconds)

    monkeypatch.setattr(MlflowCalls, "__call__", counted)
    silent_from = 0
    needed = _calls_of_a_command(project, calls)
    project.oracle.judge(project.land(), project.champion)
    before = sorted(project.visible())
    for silent_from in range(1, len(needed) + 1):
        calls.clear()
        started = time.monotonic()
        message = fails(project, "no answer within 1 s")
        assert needed[silent_from - 1] in message
        assert time.monotonic() - started < 60
    assert sorted(project.visible()) == before
    calls.clear()
    silent_from = 0
    _scored(project)


@pytest.mark.parametrize("how", ["refused", "error 503"])
def test_a_registry_that_fails_at_any_call_stops_the_run(
    make, fails, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Refused connections, and answers of the server that it cannot serve now."""
    project = make()
    _with_news(project)
    calls, failing_from = [], 0
    real = MlflowCalls.__call__
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with _server(how) as address:

        def counted(self: MlflowCalls, what: str, call: Any, **options: Any) -> Any:
            calls.append(what)
            if len(calls) != failing_from:
                return real(self, what, call, **options)
            away = MlflowCalls(address, 5)
            return real(away, what, lambda client: client.search_registered_models(), seconds=20)

        monkeypatch.setattr(MlflowCalls, "__call__", counted)
        needed = _calls_of_a_command(project, calls)
        project.oracle.judge(project.land(), project.champion)
        for failing_from in range(1, len(needed) + 1):
            calls.clear()
            assert needed[failing_from - 1] in fails(project, " failed: ", address)
    calls.clear()
    failing_from = 0
    _scored(project)


@contextmanager
def _server(how: str) -> Iterator[str]:
    """An address of this machine at which every request fails."""
    if how == "refused":
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # bound, and nobody listens
            yield f"http://127.0.0.1:{taken.getsockname()[1]}"
        return

    class Unable(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(503)

        do_POST = do_GET

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Unable) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_an_alias_moved_during_a_run_changes_no_row_of_it(
    make, tally: Tally, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make()
    tally.fault("alias moved")
    _with_news(project)
    real = scoring.make_plan

    def then_promoted(*args: Any, **kwargs: Any) -> Any:
        plan = real(*args, **kwargs)
        project.promote_next()
        return plan

    monkeypatch.setattr(scoring, "make_plan", then_promoted)
    _scored(project)
    monkeypatch.undo()
    assert project.champion == "2"
    project.oracle.judge(project.land(), "2")
    _scored(project)


def test_a_truncated_model_is_refused_before_any_row_is_scored(
    spark, tmp_path: Path, fails
) -> None:
    own = tmp_path / "registry"
    own.mkdir()
    register_versions(settings_under(own))
    project = Project.make(spark, tmp_path, own, {"mode": "append"})
    _with_news(project)
    artefacts = [path for path in own.rglob("*.json") if path.stat().st_size > 100]
    kept = {path: path.read_bytes() for path in artefacts}
    for path, content in kept.items():
        path.write_bytes(content[: len(content) // 2])
    files = _files(tmp_path / "lake")
    with mock.patch.object(staging, "stage", side_effect=AssertionError("a row was read")):
        message = fails(project, "its files are not those that were registered")
    assert any(path.name in message for path in artefacts)
    assert _files(tmp_path / "lake") == files
    for path, content in kept.items():
        path.write_bytes(content)
    _scored(project)


def _files(lake: Path) -> list[Path]:
    """Those of the tables."""
    return sorted(path for path in lake.rglob("*") if "_lakescore" not in path.parts)


def test_a_truncated_source_file_is_named_and_scored_once_restored(make, fails) -> None:
    project = make()
    _with_news(project)
    files = Path(project.life.source.path or "").glob("*.parquet")
    newest = max(files, key=lambda path: path.stat().st_mtime_ns)
    content = newest.read_bytes()
    checksum = newest.with_name(f".{newest.name}.crc")
    checksum.unlink(missing_ok=True)
    newest.write_bytes(content[: len(content) // 2])
    fails(project, newest.name)
    newest.write_bytes(content)
    _scored(project)


def test_the_time_zone_of_the_machine_does_not_move_a_day(
    spark, registered, tmp_path, tally: Tally
) -> None:
    """Clocks that skip midnight, or an hour of the night: days and instants stay as they are."""
    tally.fault("time zones")
    moments = (
        "2024-03-10 02:30:00", "2024-09-08 00:30:00", "2024-11-03 01:30:00",
        "2024-01-01 00:00:00", "1970-01-01 00:00:00",
    )  # fmt: skip
    found = {}
    for zone in ("UTC", "America/Santiago", "America/New_York"):
        root = tmp_path / zone.replace("/", "-")
        project = Project.make(
            spark,
            root,
            registered,
            {"mode": "append", "passthrough": ["day", "at"], "where": "day >= DATE'1970-01-01'"},
        )
        rows = [(i, float(i), at) for i, at in enumerate(moments)]
        frame = spark.createDataFrame(rows, "id int, x double, text string")
        columns = ("id", "x", "to_date(text) AS day", "to_timestamp(text) AS at")
        frame.selectExpr(*columns).write.format("delta").save(project.life.source.path)
        with Command(root, ["score", NAME], {"TZ": zone}) as run:
            assert run.ended(START_SECONDS) == 0, run.said()
        scores = project.life.lake.table("scores").read(spark)
        kept = scores.selectExpr("id", "prediction", "string(day)", "string(at)").collect()
        found[zone] = sorted(map(tuple, kept))
    expected = [(i, 2.0 * i + 1, at[:10], at) for i, at in enumerate(moments)]
    assert found == dict.fromkeys(found, expected)


@pytest.mark.parametrize("conflicting", [False, True])
def test_one_key_with_95_percent_of_the_rows(make, tally: Tally, conflicting: bool) -> None:
    """Identical copies are one row; conflicting ones are all refused."""
    project, count = make(), LARGE
    tally.fault("skew by key")
    x = "double(id)" if conflicting else "1.0D"
    skewed = project.life.spark.range(count).selectExpr(
        "int(IF(id % 20 < 19, -7, id)) AS id",
        f"IF(id % 20 < 19, {x}, double(id)) AS x",
        "DATE'2024-01-01' AS day",
    )
    skewed.write.format("delta").save(project.life.source.path)
    counts = project.life.score().counts
    others = count // 20
    assert counts["read"] == count
    if conflicting:
        assert (counts["predicted"], counts["quarantined"]) == (others, count - others)
    else:
        assert (counts["predicted"], counts["quarantined"]) == (others + 1, 0)
        assert counts["duplicates"] == count - others - 1
    assert len(project.life.scores()) == counts["predicted"]


def test_95_percent_of_the_rows_meet_one_row_of_a_context(
    spark, registered_with_readings: Path, tmp_path: Path, tally: Tally
) -> None:
    project = Project.make(
        spark,
        tmp_path,
        registered_with_readings,
        {"mode": "append"},
        prediction_time=PREDICTION_TIME,
    )
    tally.fault("skew by context")
    life = project.life
    known = [(day(n), float(n), datetime(2024, 1, n, tzinfo=timezone.utc)) for n in range(1, 8)]
    readings = spark.createDataFrame(known, READINGS)
    readings.write.format("delta").save(life.lake.table("readings").path)
    skewed = spark.range(LARGE).selectExpr(
        "int(id) AS id",
        "1.0D AS x",
        "date_add(DATE'2024-01-01', int(IF(id % 20 < 19, 0, 1 + id div 20 % 6))) AS day",
    )
    skewed.write.format("delta").save(life.source.path)
    assert life.score().counts["predicted"] == LARGE
    scores = life.lake.table("scores").read(spark).groupBy("day")
    found = scores.agg({"id": "count", "prediction": "min"}).collect()
    a, b = COEFFICIENTS[0]
    for row in found:
        assert row["min(prediction)"] == a * row["day"].day + b
        share = 0.95 if row["day"] == day(1) else 0.05 / 6
        assert row["count(id)"] == pytest.approx(share * LARGE, abs=1)
    assert len(found) == 7


def test_an_empty_source_and_a_commit_without_rows_are_no_failure(make, tally: Tally) -> None:
    project = make()
    tally.fault("empty source")
    life = project.life
    life.append()
    assert life.score().counts["read"] == 0
    project.oracle.judge(project.land(), "1")
    _scored(project)
    life.sql("ALTER TABLE {t} SET TBLPROPERTIES (note = 'no row')")
    _scored(project)
    assert life.score().counts == {}
