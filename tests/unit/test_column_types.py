"""Types as people write them, in the spelling of Spark's schemas; and what is no type."""

from __future__ import annotations

import pytest

from lakescore.config.column_types import canonical_type
from lakescore.config.rows import ColumnContract


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("", "must be a Spark type (known: array, bigint"),
        ("strng", "did you mean 'string'?"),
        ("decimal(50)", "a decimal has 1 to 38 digits"),
        ("decimal(4,5)", "a decimal has 1 to 38 digits"),
        ("decimal(4", "in {…} put a type with a comma in quotes"),
        ("int nul", "what is 'nul' after int?"),
        ("array", "array is written like array<int>"),
        ("map<string>", "map is written like map<string, int>"),
        ("struct<a>", "struct is written like struct<a: int>"),
        ("array<" * 5000 + ">" * 5000, "nested too deeply"),
    ],
)
def test_what_is_no_type_is_refused_in_plain_words(written: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        canonical_type(written)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("written", "kind", "nullable"),
    [
        ("double", "double", True),
        ("Integer NOT  NULL", "int", False),
        ("not null", None, False),
        ("array<int> not null ", "array<int>", False),
    ],
)
def test_a_column_is_declared_in_a_few_words(
    written: str, kind: str | None, nullable: bool
) -> None:
    assert ColumnContract.model_validate(written) == ColumnContract(type=kind, nullable=nullable)
