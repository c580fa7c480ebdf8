"""How feature columns are called in frames and batches.

A frame of the SQL stage holds kept columns under their own names and features under a prefix,
so that a passed-through `carrier` and a feature `carrier` both exist. The encoded matrix, where
there are only features, has the plain names.
"""

from __future__ import annotations

#: Put before a feature's name wherever it stands beside the columns of the source.
FEATURE_PREFIX = "_f_"


def feature_column(name: str) -> str:
    """The column that holds a feature in the SQL stage's frame."""
    return FEATURE_PREFIX + name


def feature_name(column: str) -> str:
    """The inverse of `feature_column`."""
    return column.removeprefix(FEATURE_PREFIX)
