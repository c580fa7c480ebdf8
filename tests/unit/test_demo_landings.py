"""How the demo cuts December into landings."""

from __future__ import annotations

from collections import Counter
from datetime import date

import pytest

from lakescore.workflows.demo.landings import HISTORY, december


@pytest.mark.parametrize(("replay", "landings"), [(False, 4), (True, 31)])
def test_every_day_of_december_is_in_one_landing(replay: bool, landings: int) -> None:
    found = december(replay=replay)
    days = Counter(day for landing in found for day in landing.days)
    assert len(found) == landings
    assert sorted(days) == [date(2013, 12, day) for day in range(1, 32)]
    assert set(days.values()) == {1}


def test_history_ends_where_december_begins() -> None:
    assert (HISTORY.first, HISTORY.last) == (None, date(2013, 11, 30))
    assert not HISTORY.days
