"""Table names: what they resolve to, and which are refused."""

from __future__ import annotations

import pytest

from lakescore.config.settings import LakeSettings
from lakescore.errors import ConfigError
from lakescore.lake.tables import Lake

LAKE = Lake(LakeSettings(root="/data/lake"))
CATALOG = Lake(LakeSettings(catalog="prod"))


def test_dotted_name_is_a_folder_below_the_root():
    table = LAKE.table("gold.churn scores")
    assert table.path == "/data/lake/gold/churn scores"
    assert table.sql_name == "delta.`/data/lake/gold/churn scores`"
    assert table.identifier is None


def test_dotted_name_is_qualified_and_quoted_in_a_catalog():
    assert CATALOG.table("gold.churn-scores").sql_name == "`prod`.`gold`.`churn-scores`"
    assert CATALOG.table("scores").sql_name == "`prod`.`default`.`scores`"
    assert CATALOG.table("dev.gold.scores").sql_name == "`dev`.`gold`.`scores`"
    session = Lake(LakeSettings(catalog="spark_catalog"))
    assert session.table("gold.scores").sql_name == "`gold`.`scores`"
    assert session.table("spark_catalog.gold.scores").sql_name == "`gold`.`scores`"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("/else/where/t/", "/else/where/t"),
        ("abfss://c@a.dfs.core.windows.net/t", "abfss://c@a.dfs.core.windows.net/t"),
        ("bronze/./flights", "/data/lake/bronze/flights"),
    ],
)
def test_name_with_a_slash_or_scheme_is_a_path(name: str, path: str):
    assert LAKE.table(name).path == path


def test_root_with_a_scheme_stays_a_url():
    lake = Lake(LakeSettings(root="wasbs://lake@account/root/"))
    assert lake.table("a.b").path == "wasbs://lake@account/root/a/b"


@pytest.mark.parametrize(
    "name", ["a..b", ".a", "a.b.", "a.b.c.d", "", " ", "a`b", "a;b", "a\nb", "../x", "a/../../x"]
)
def test_unusable_names_are_refused(name: str):
    with pytest.raises(ConfigError):
        LAKE.table(name)


def test_a_path_that_leaves_the_lake_says_so():
    with pytest.raises(ConfigError, match=r"leads out of the lake \(/data/lake\)"):
        LAKE.table("bronze/../../secrets")


def test_relative_path_needs_a_root():
    with pytest.raises(ConfigError, match="tables of this environment are in a catalog"):
        CATALOG.table("bronze/flights")
