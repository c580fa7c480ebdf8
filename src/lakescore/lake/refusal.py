"""What the contract says of a row, in one column: null for a valid row, JSON for a refused one.

A row's way through a scorer costs by the column, and nearly all rows are valid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from lakescore.config.base import quoted
from lakescore.lake.contract import CONTRACT_COLUMNS, COPIES, is_valid

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

REFUSAL = "_refusal"
_TOLD = (
    "_reasons array<string>, _copies bigint, _row_hash string, _content_hash string, "
    "_key string, _payload string"
)


def packed(judged: DataFrame, *, copies: bool = True) -> DataFrame:
    """The rows that `with_reasons` judged, with REFUSAL in place of CONTRACT_COLUMNS.

    COPIES stays beside it, unless no row stands for more than itself.
    """
    told = F.when(~is_valid(), F.to_json(F.struct(*CONTRACT_COLUMNS)))
    gone = [name for name in CONTRACT_COLUMNS if name != COPIES or not copies]
    return judged.withColumn(REFUSAL, told).drop(*gone)


def unpacked(rows: DataFrame) -> DataFrame:
    """The rows with CONTRACT_COLUMNS again, `_reasons` of valid ones null; REFUSAL stays."""
    told = F.from_json(F.col(REFUSAL), _TOLD)
    stated = [F.col(COPIES)] if COPIES in rows.columns else []
    copies = F.coalesce(*stated, told[COPIES], F.lit(1)).cast("bigint")
    columns = {name: copies if name == COPIES else told[name] for name in CONTRACT_COLUMNS}
    own = [F.col(quoted(name)) for name in rows.columns if name != COPIES]
    return rows.select(*own, *(column.alias(name) for name, column in columns.items()))
