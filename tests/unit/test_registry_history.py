"""The champions of the past: promotion, rollback, crashes between two writes, long histories."""

from __future__ import annotations

import json

from lakescore.registry.history import (
    MAX_CHARACTERS,
    after_promotion,
    before,
    read_history,
    write_history,
)


def test_rollback_walks_back_through_every_promotion():
    history = ()
    for outgoing in (None, "1", "2"):
        history = after_promotion(history, outgoing)
    assert history == ("1", "2")
    target, history = before(history, "3")
    assert (target, history) == ("2", ("1",))
    target, history = before(history, "2")
    assert (target, history) == ("1", ())
    assert before(history, "1") == (None, ())


def test_crash_between_history_and_alias_costs_no_champion():
    written_but_alias_not_moved = after_promotion(("1",), "2")
    promoted_again = after_promotion(written_but_alias_not_moved, "2")
    assert promoted_again == ("1", "2")
    assert before(written_but_alias_not_moved, "2") == ("1", ())


def test_history_keeps_the_newest_versions_within_the_narrowest_tag_limit():
    versions = [str(number) for number in range(1, 1001)]
    text = write_history(versions)
    assert len(text) <= MAX_CHARACTERS
    kept = read_history(text)
    assert kept == tuple(versions[-len(kept) :])
    assert len(kept) > 100


def test_a_tag_that_someone_else_wrote_is_no_history():
    assert read_history(None) == ()
    assert read_history("not json") == ()
    assert read_history(json.dumps({"a": 1})) == ()
