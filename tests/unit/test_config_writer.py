"""A rendered workload is short, and loads back as what was asked for."""

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakescore.config.loader import load_workload
from lakescore.config.workload import RandomSplit, TimeSplit, Workload
from lakescore.config.writer import render_workload
from lakescore.config.yaml_tree import TreeReader

FACTS = {
    "name": "churn",
    "table": "bronze.churn",
    "key": ["id"],
    "label": "y",
    "time_column": None,
    "split_days": None,
    "candidates": ["lightgbm", "logistic_regression", "prior"],
    "predictions_table": "gold.churn_predictions",
}
DAYS = (date(2013, 9, 30), date(2013, 10, 31), date(2013, 11, 30))


def load(text: str, folder: Path) -> Workload:
    (folder / "workloads").mkdir()
    (folder / "workloads" / "churn.yml").write_text(text, encoding="utf-8")
    return load_workload(folder, "churn")


def test_a_rendered_workload_loads_and_is_under_fifteen_lines(tmp_path):
    text = render_workload(**FACTS)
    assert text == (
        "name: churn\n"
        "source: {table: bronze.churn, key: id}\n"
        "label: y\n"
        "features: all\n"
        "split: random\n"
        "candidates: [lightgbm, logistic_regression, prior]\n"
        "predictions: {table: gold.churn_predictions}\n"
    )
    workload = load(text, tmp_path)
    assert workload.features == "all"
    assert workload.split == RandomSplit()
    assert workload.predictions.table == "gold.churn_predictions"


def test_a_time_column_gives_a_split_by_time(tmp_path):
    text = render_workload(**{**FACTS, "time_column": "Flight Day", "split_days": DAYS})
    assert len(text.splitlines()) < 15
    split = load(text, tmp_path).split
    assert isinstance(split, TimeSplit)
    assert split.by == "`Flight Day`"
    assert (split.train_until, split.validation_until, split.test_until) == DAYS


@pytest.mark.parametrize("column", ["true", "a: b", "no", "1e3", "- x", "it's", 'a "b"', "a\\b"])
def test_odd_column_names_are_quoted(tmp_path, column):
    workload = load(render_workload(**{**FACTS, "key": [column, "x"]}), tmp_path)
    assert workload.source.key == (column, "x")


@settings(max_examples=80, deadline=None)
@given(st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=12))
def test_any_label_column_comes_back_as_itself(column):
    text = render_workload(**{**FACTS, "label": column})
    workload = Workload.model_validate(TreeReader("x", {}).read(text).plain())
    assert workload.label.expression == "`" + column.replace("`", "``") + "`"
