"""A table's columns against what a foreign model takes."""

from __future__ import annotations

import pytest

from lakescore.errors import ColumnMissing, TypeMismatch
from lakescore.registry.inputs import ANY, check_inputs


def test_missing_columns_are_all_named_with_the_closest_one_there():
    with pytest.raises(ColumnMissing) as caught:
        check_inputs(
            {"distance": "double", "hour": "bigint"}, {"distence": "double"}, where="model"
        )
    assert "distance, hour" in str(caught.value)
    assert "did you mean 'distence'?" in str(caught.value)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("double", "string"),
        ("int", "bigint"),
        ("float", "double"),
        ("string", "int"),
        ("timestamp", "string"),
        ("double", "array<double>"),
    ],
)
def test_a_type_that_would_need_a_cast_is_refused_by_name(wanted, found):
    with pytest.raises(TypeMismatch) as caught:
        check_inputs({"x": wanted}, {"x": found}, where="model")
    assert f"column 'x' is {found}; the model takes {wanted}" in str(caught.value)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("double", "bigint"),
        ("double", "boolean"),
        ("double", "decimal(10,2)"),
        ("bigint", "int"),
        ("timestamp", "date"),
        (ANY, "string"),
    ],
)
def test_widening_is_allowed(wanted, found):
    check_inputs({"x": wanted}, {"x": found, "other": "string"}, where="model")
