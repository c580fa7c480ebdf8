"""What empties payloads and retries refused rows, on the oldest stack: UPDATE and MERGE."""

from __future__ import annotations

from tests.integration.test_quarantine import (
    test_a_deleted_row_takes_every_payload_of_its_key_along,
    test_a_retry_merges_in_upsert_and_leaves_the_others_as_they_were,
    test_old_payloads_are_emptied_but_for_what_a_backfill_reads,
)

__all__ = [
    "test_a_deleted_row_takes_every_payload_of_its_key_along",
    "test_a_retry_merges_in_upsert_and_leaves_the_others_as_they_were",
    "test_old_payloads_are_emptied_but_for_what_a_backfill_reads",
]
