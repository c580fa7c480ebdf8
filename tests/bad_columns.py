"""Columns, types and expressions that are not in the tables, and what is said of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.churn import WORKLOAD

_SOURCE, _SCORES = WORKLOAD["source"], WORKLOAD["predictions"]
_SPLIT = {"train_until": "2013-01-10", "validation_until": "2013-01-20", "test_until": "2013-01-28"}
_THEIRS = {"expression": "left", "table": "leavers", "on": "id"}
_KNOWN = "known: age, born, churned, id, plan, spend"
_PRESENT = "present: id, age, spend, plan, churned, born"
_NO_FUNCTION = (
    "[UNRESOLVED_ROUTINE] Cannot resolve function `no_such` on search path [`system`.`builtin`, "
    "`system`.`session`, `spark_catalog`.`default`]."
)


@dataclass(frozen=True)
class BadColumn:
    """Changes of the churn workload, and the message and exit code that they lead to.

    Over customers with the columns of `tests.churn` and `born`, and leavers (id, name, left).
    """

    changes: dict[str, Any]
    what: str
    hint: str
    code: int = 1

    @property
    def says(self) -> str:
        return f"{self.what}\n  -> {self.hint}"


#: Said by `validate --against-lake`.
TOLD_BY_VALIDATE = (
    BadColumn(
        {"features": ["age", "born"]},
        "feature 'born': ``born`` is date, not a number, boolean or string",
        "use a number of it, like `datediff(x, DATE'2000-01-01')` or `month(x)`",
    ),
    BadColumn(
        {"source": {**_SOURCE, "key": "customer"}},
        f"customers@2: missing: 'customer'; {_PRESENT}",
        _KNOWN,
    ),
    BadColumn(
        {"source": {**_SOURCE, "known_at": "seen"}},
        f"customers@2: missing: 'seen'; {_PRESENT}",
        f"did you mean 'spend'? {_KNOWN}",
    ),
    BadColumn(
        {"source": {**_SOURCE, "expectations": {"adult": "aged > 17"}}},
        "expectation 'adult' (customers@2): no column 'aged' for the expression: aged > 17",
        f"did you mean 'age'? {_KNOWN}",
    ),
    BadColumn(
        {"report": {"segments": ["plans"]}},
        f"customers@2: missing: 'plans'; {_PRESENT}",
        f"did you mean 'plan'? {_KNOWN}",
    ),
    BadColumn(
        {"label": {**_THEIRS, "known_at": "seen"}},
        "label.known_at (leavers@0): no column 'seen'",
        "known: id, left, name",
    ),
)

#: Said by `validate --against-lake` and by `train`.
TOLD_BY_TRAIN = (
    BadColumn(
        {"features": ["age", "spent"]},
        "feature 'spent': no column 'spent' for the expression: `spent`",
        f"did you mean 'spend'? {_KNOWN}",
    ),
    BadColumn(
        {"source": {**_SOURCE, "prediction_time": "borne"}},
        "source.prediction_time (customers@2): no column 'borne' for the expression: borne",
        f"did you mean 'born'? {_KNOWN}",
    ),
    BadColumn(
        {"label": "churn"},
        "label.expression (customers@2): no column 'churn' for the expression: `churn`",
        f"did you mean 'churned'? {_KNOWN}",
    ),
    BadColumn(
        {"label": "born", "features": ["age"]},
        "label: the label (`born`) is date, expected boolean, number or string",
        "write an expression: {expression: \"churned = 'yes'\"}",
    ),
    BadColumn(
        {"label": "no_such(plan)", "features": ["age"]},
        "label.expression (customers@2): Spark does not take the expression: no_such(plan)",
        _NO_FUNCTION,
        code=2,
    ),
    BadColumn(
        {"label": {**_THEIRS, "on": {"ident": "id"}}},
        "label.on, the source's side: no column 'ident'",
        _KNOWN,
    ),
    BadColumn(
        {"label": {**_THEIRS, "on": {"id": "ident"}}},
        "label.on (leavers@0): no column 'ident'",
        "known: id, left, name",
    ),
    BadColumn(
        {"label": {**_THEIRS, "on": {"id": "name"}}},
        "label.on (leavers@0): the source's 'id' is bigint, the label's 'name' is string",
        "give both one type where the tables are made; nothing is cast silently",
    ),
    BadColumn(
        {"label": {**_THEIRS, "expression": "gone > 0"}},
        "label.expression (leavers@0): no column 'gone' for the expression: gone > 0",
        "known: id, left, name",
    ),
    BadColumn(
        {"label": {"expression": "churned", "unlabelled_by": "outcome"}},
        "label.unlabelled_by (customers@2): no column 'outcome'",
        _KNOWN,
    ),
    BadColumn(
        {"split": {"by": "day", **_SPLIT}},
        "split.by (customers@2): no column 'day' for the expression: day",
        _KNOWN,
    ),
    BadColumn(
        {"split": {"by": "age", **_SPLIT}},
        "split.by (customers@2): `age` is double, not a date or timestamp",
        "make it one, like `to_date(x)` or `timestamp_seconds(x)`",
    ),
)

#: Said by `validate --against-lake` and by `score`.
TOLD_BY_SCORE = (
    BadColumn(
        {"predictions": {**_SCORES, "passthrough": ["plans"]}},
        f"customers@2: missing: 'plans'; {_PRESENT}",
        f"did you mean 'plan'? {_KNOWN}",
    ),
    BadColumn(
        {"predictions": {**_SCORES, "quarantine_mask": ["name"]}},
        f"customers@2: missing: 'name'; {_PRESENT}",
        _KNOWN,
    ),
    BadColumn(
        {"source": {**_SOURCE, "freshness": {"column": "loaded", "warn_after": "1 day"}}},
        "customers@2: missing: 'loaded' (source.freshness.column)",
        _KNOWN,
    ),
    BadColumn(
        {"predictions": {**_SCORES, "where": "ages > 17"}},
        "predictions.where (customers@2): no column 'ages' for the expression: ages > 17",
        f"did you mean 'age'? {_KNOWN}",
    ),
    BadColumn(
        {"predictions": {**_SCORES, "where": "age + 1"}},
        "predictions.where (customers@2): `age + 1` is double, not a condition",
        "compare it with something, like `status = 'open'`",
    ),
    BadColumn(
        {
            "source": {**_SOURCE, "columns_known_at": {"spend": "born"}},
            "features": ["age"],
            "predictions": {**_SCORES, "where": "spend > 0"},
        },
        "predictions.where: `spend > 0` reads 'spend': it becomes known later, at 'born'",
        "choose the rows by what is known by the prediction time",
        code=2,
    ),
)
