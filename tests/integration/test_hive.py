"""Ingest of tables of a real Hive metastore, over Derby; it needs a session of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import settings_under

pytestmark = pytest.mark.slow

#: Prints the exit code and the counts of every ingest.
LIFE = """
import contextlib, io, json, sys
from lakescore.cli.app import run
from lakescore.config.loader import load_settings
from lakescore.session import spark_session
from pathlib import Path

conf = sys.argv[1]
spark = spark_session(load_settings(Path(conf), "local"), "a metastore")

def ingest(table):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        command = ["ingest", f"bronze.{table}", "--from", f"hive:shop.{table}", "--json"]
        code = run([*command, "--conf", conf])
    counts = json.loads(out.getvalue())["counts"] if code == 0 else {}
    print(json.dumps([code, counts.get("found"), counts.get("added"), counts.get("rows")]))

spark.sql("CREATE DATABASE shop")
spark.sql("CREATE TABLE shop.visits (id INT) PARTITIONED BY (day DATE, shop STRING) STORED AS ORC")
spark.sql("INSERT INTO shop.visits PARTITION (day='2013-01-01', shop='a b') VALUES (1), (2)")
spark.sql("INSERT INTO shop.visits PARTITION (day='2013-01-02', shop='c') VALUES (3)")
ingest("visits")
spark.sql("INSERT INTO shop.visits PARTITION (day='2013-01-03', shop='c') VALUES (4)")
ingest("visits")
ingest("visits")
spark.sql("CREATE TABLE shop.plans (id INT) STORED AS TEXTFILE")
spark.sql("INSERT INTO shop.plans VALUES (1)")
ingest("plans")
ingest("plans")
spark.sql("INSERT INTO shop.plans VALUES (2)")
ingest("plans")
copy = spark.read.format("delta").load(sys.argv[2])
print(json.dumps(sorted([row.id, str(row.day), row.shop] for row in copy.collect())))
"""


def test_partitions_of_a_hive_table_come_in_once_each(tmp_path: Path) -> None:
    settings = settings_under(tmp_path)
    content = settings.model_dump(mode="json", exclude_defaults=True)
    content["spark"]["conf"] |= {
        "spark.sql.catalogImplementation": "hive",
        "spark.hadoop.javax.jdo.option.ConnectionURL":
            f"jdbc:derby:;databaseName={tmp_path / 'metastore'};create=true",
    }  # fmt: skip
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "local.yml").write_text(yaml.safe_dump(content), encoding="utf-8")
    copy = tmp_path / "lake" / "bronze" / "visits"
    done = subprocess.run(
        [sys.executable, "-c", LIFE, str(tmp_path / "conf"), str(copy)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *visits, plan, same_plan, more_plans, rows = map(json.loads, done.stdout.splitlines())
    assert visits == [[0, 2, 2, 3], [0, 3, 1, 1], [0, 3, 0, 0]]
    assert rows == [
        [1, "2013-01-01", "a b"], [2, "2013-01-01", "a b"], [3, "2013-01-02", "c"],
        [4, "2013-01-03", "c"],
    ]  # fmt: skip
    assert [plan, same_plan, more_plans[0]] == [[0, 1, 1, 1], [0, 1, 0, 0], 1]
    assert "the files of shop.plans changed since it was copied" in done.stderr
