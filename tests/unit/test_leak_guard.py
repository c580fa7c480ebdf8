"""Leaks planted in declarations, and what is said of each."""

from __future__ import annotations

import pytest

from lakescore.config.workload import Context, Feature, Label, Source
from lakescore.errors import LeakRefused
from lakescore.features.leak_guard import refuse_leaks

SOURCE = {
    "table": "flights",
    "key": "id",
    "prediction_time": "scheduled - INTERVAL 2 HOURS",
    "known_at": "published",
    "columns_known_at": {"arr_delay": "landed", "dep_time": "departed"},
}
OVER_TIME = {"on": "origin", "known_at": "known_at", "lookback_window": "3 hours"}


def context(**changes):
    return Context.model_validate({"table": "weather", "latest": ["temp"], **OVER_TIME, **changes})


def refused(
    *, source=SOURCE, label="arr_delay >= 15", features=("distance",), contexts=(), where=None
):
    """The message of a workload with these sections."""
    with pytest.raises(LeakRefused) as caught:
        check(source=source, label=label, features=features, contexts=contexts, where=where)
    assert caught.value.exit_code == 2
    return str(caught.value)


def check(
    *, source=SOURCE, label="arr_delay >= 15", features=("distance",), contexts=(), where=None
):
    refuse_leaks(
        source=Source.model_validate(source),
        contexts=dict(contexts),
        features=[Feature(name=f"f{i}", expression=sql) for i, sql in enumerate(features)],
        label=None if label is None else Label.model_validate(label),
        scored_where=where,
    )


def test_features_known_at_the_prediction_time_pass():
    contexts = {
        "weather": context(),
        "planes": Context.model_validate(
            {"table": "planes", "on": "tail", "static": True, "latest": ["seats"]}
        ),
        "delays": context(table="flights", known_at="landed", latest=["arr_delay"]),
    }
    check(
        features=["distance / 2", "temp", "hour(scheduled)"],
        contexts=contexts,
        where="distance > 0",
    )


def test_the_label_as_a_feature_is_refused():
    said = refused(
        source={**SOURCE, "columns_known_at": {}}, features=["distance", "`Arr_Delay` + 1"]
    )
    assert "feature 'f1'" in said
    assert "reads 'Arr_Delay': the label is made of it" in said


def test_a_column_known_later_is_refused_with_the_column_that_says_so():
    said = refused(features=["coalesce(dep_time, 0)"])
    assert "`coalesce(dep_time, 0)` reads 'dep_time': it becomes known later, at 'departed'" in said


def test_the_time_at_which_a_column_becomes_known_is_refused():
    assert "reads 'departed': it says when 'dep_time' became known" in refused(
        features=["unix_timestamp(departed)"]
    )


@pytest.mark.parametrize(
    ("place", "sections"),
    [
        ("source.prediction_time", {"source": {**SOURCE, "prediction_time": "landed"}}),
        ("predictions.where", {"where": "dep_time IS NOT NULL"}),
        ("context 'w' (weather)", {"contexts": {"w": context(on={"dep_time": "hour"})}}),
    ],
)
def test_late_columns_are_refused_outside_features_too(place, sections):
    assert place in refused(**sections)


def test_a_scope_may_ask_for_rows_that_have_no_label_yet():
    check(source={**SOURCE, "columns_known_at": {}}, label="left", where="left IS NULL")


def test_the_labels_own_table_as_a_static_lookup_is_refused():
    label = {"column": "late", "table": "arrivals", "on": "id"}
    static = Context.model_validate(
        {"table": "Arrivals", "on": "id", "static": True, "latest": ["gate"]}
    )
    said = refused(label=label, contexts={"gates": static})
    assert "context 'gates' (Arrivals): it is a static lookup, but the label is in it" in said


def test_a_table_read_over_time_elsewhere_is_refused_as_a_static_lookup():
    static = Context.model_validate(
        {"table": "weather", "on": "origin", "static": True, "latest": {"other": "wind"}}
    )
    said = refused(contexts={"weather": context(), "wind": static})
    assert "static lookup, but the context 'weather' reads it by 'known_at'" in said


def test_a_context_whose_known_at_is_an_expression_is_refused():
    said = refused(contexts={"w": context(known_at="known_at - INTERVAL 1 DAY")})
    assert "known_at is a column, and `known_at - INTERVAL 1 DAY` is an expression" in said


def test_late_columns_of_the_source_taken_by_the_rows_own_time_are_refused():
    early = context(table="flights", known_at="published", latest={"last_delay": "arr_delay"})
    said = refused(contexts={"delays": early})
    assert "it reads 'arr_delay' by 'published', but that becomes known at 'landed'" in said
    assert "set known_at to landed" in said


def test_the_labels_columns_taken_by_another_time_are_refused():
    label = {"column": "late", "table": "arrivals", "on": "id", "known_at": "landed"}
    contexts = {
        "a": context(
            table="arrivals", latest={}, aggregates={"share": {"avg": "late", "over": "1 hour"}}
        )
    }
    assert "reads 'late' by 'known_at', but that becomes known at 'landed'" in refused(
        label=label, contexts=contexts
    )


def test_the_labels_columns_with_no_time_at_all_are_refused():
    contexts = {"d": context(table="flights", latest={"last_delay": "arr_delay"})}
    said = refused(source={**SOURCE, "columns_known_at": {}}, contexts=contexts)
    assert "nothing says when that becomes known" in said


def test_a_model_without_a_label_is_checked_as_well():
    assert "at 'departed'" in refused(label=None, features=["dep_time"])
