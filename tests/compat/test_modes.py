"""The writes that scoring modes are made of, on the oldest stack: replaceWhere and MERGE."""

from __future__ import annotations

from tests.integration.test_scoring_modes import (
    test_a_backfill_replaces_its_range_as_of_the_progress,
    test_an_upsert_follows_the_source_by_key,
    test_upsert_policies_mark_keep_and_scope,
)

__all__ = [
    "test_a_backfill_replaces_its_range_as_of_the_progress",
    "test_an_upsert_follows_the_source_by_key",
    "test_upsert_policies_mark_keep_and_scope",
]
