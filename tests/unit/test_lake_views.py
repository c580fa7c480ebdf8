"""Which tables a view reads, by the text of its query."""

from __future__ import annotations

import pytest

from lakescore.lake.views import _base, names_in


@pytest.mark.parametrize(
    ("text", "tables"),
    [
        ("SELECT * FROM a JOIN s.b USING (id)", [("a",), ("s", "b")]),
        ("WITH c AS (SELECT * FROM a) SELECT * FROM c", [("a",), ("c",)]),
        ("SELECT 1 AS x UNION ALL SELECT id FROM delta.`/lake/t`", [("delta", "/lake/t")]),
        ("SELECT * FROM cat.s.t VERSION AS OF 3 WHERE id IN (SELECT id FROM b)", None),
        ("SELECT id, e FROM a LATERAL VIEW explode(xs) t AS e", [("a",)]),
        ("FROM a SELECT id", [("a",)]),
    ],
)
def test_every_table_of_a_query_is_named(text: str, tables: list[tuple[str, ...]] | None) -> None:
    found = names_in(text)
    assert found is not None
    assert list(found.tables) == (tables or [("b",), ("cat", "s", "t")])
    assert found.withs == (frozenset({"c"}) if text.startswith("WITH") else frozenset())


def test_what_is_no_table_is_told_apart() -> None:
    found = names_in("SELECT * FROM a, read_files('/in')")
    assert found is not None
    assert found.others == ("READ_FILES('/in')",)
    assert names_in("this is no query (") is None
    assert names_in("SHOW TABLES") is None


@pytest.mark.parametrize(
    ("parts", "identifier"),
    [
        (("t",), "`s`.`t`"),
        (("b", "t"), "`b`.`t`"),
        (("prod", "b", "t"), "`prod`.`b`.`t`"),
    ],
)
def test_a_name_is_completed_by_where_the_view_was_made(parts, identifier: str) -> None:
    assert _base(parts, "spark_catalog.s").identifier == identifier


def test_names_of_another_catalog_and_paths_stay_whole() -> None:
    assert _base(("t",), "prod.s").identifier == "`prod`.`s`.`t`"
    assert _base(("delta", "/lake/t"), "prod.s").path == "/lake/t"
