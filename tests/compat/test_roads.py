"""Tasks that read the files themselves, on the oldest stack."""

from __future__ import annotations

from tests.contract.test_roads import (
    plain,
    test_refused_rows_and_copies,
    test_rows_of_several_files_one_of_them_older_than_a_column,
)

__all__ = [
    "plain",
    "test_refused_rows_and_copies",
    "test_rows_of_several_files_one_of_them_older_than_a_column",
]
