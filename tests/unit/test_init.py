"""What `init` refuses before Spark starts, and the configuration that `demo` finds after it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lakescore.cli.app import run
from lakescore.config.loader import load_workload
from lakescore.workflows.demo.demo import prepare_conf


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"name": "my-churn"}, ("'my-churn' cannot be a name", "lakescore init my_churn")),
        ({"name": "2013"}, ("no digit first", "lakescore init _2013")),
        ({"name": "taken"}, ("the workload exists already", "taken.yml")),
        ({"--from": "nothing.csv"}, ("there is no such file", "nothing.csv")),
        ({"--from": "rows.txt"}, ("cannot be told from their name", "rows.txt")),
        ({"--key": "y"}, ("a column stands twice among --key and --label",)),
    ],
)
def test_what_cannot_be_a_workload_is_refused_and_nothing_is_written(
    tmp_path: Path, monkeypatch, capsys, changed: dict[str, str], says: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("rows.csv", "rows.txt"):
        (tmp_path / name).write_text("id,y\n1,0\n")
    taken = tmp_path / "conf" / "workloads" / "taken.yml"
    taken.parent.mkdir(parents=True)
    taken.write_text("name: taken\n")
    given = {"name": "churn", "--from": "rows.csv", "--label": "y", "--key": "id", **changed}
    before = sorted(tmp_path.rglob("*"))
    name = given.pop("name")
    assert run(["init", name, *(word for pair in given.items() for word in pair)]) == 2
    message = capsys.readouterr().err
    for words in says:
        assert words in message
    assert sorted(tmp_path.rglob("*")) == before
    assert taken.read_text() == "name: taken\n"


def test_the_demo_finds_its_workloads_beside_those_of_ones_own(tmp_path: Path) -> None:
    own = tmp_path / "conf" / "workloads" / "arrival_delay.yml"
    own.parent.mkdir(parents=True)
    own.write_text("name: arrival_delay\n")
    assert prepare_conf(tmp_path / "conf") == tmp_path / "conf"
    assert load_workload(tmp_path / "conf", "flight_delays").trains
    assert own.read_text() == "name: arrival_delay\n"
    assert not (tmp_path / "conf" / "local.yml").exists()
