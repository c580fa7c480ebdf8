"""What the faults did to the rows, counted: for the make target's last lines and the docs."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any


class Tally:
    """Rows over all faults of one kind, and how often each fault was injected."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.faults: Counter[str] = Counter()
        self.rows: Counter[str] = Counter(read=0, lost=0, doubled=0, wrong=0)

    def fault(self, *names: str) -> None:
        self.faults["all"] += 1
        self.faults.update(names)

    def compare(self, read: int, found: Iterable[Any], expected: Iterable[Any]) -> None:
        """Count, then assert: rows are (identity, value), predictions and refused rows alike.

        `read` is how many rows the run had to judge.
        """
        have, want = list(found), list(expected)
        ids, wanted = Counter(one for one, _ in have), Counter(one for one, _ in want)
        lost, doubled = sum((wanted - ids).values()), sum((ids - wanted).values())
        wrong = len(set(have) - set(want)) if not lost and not doubled else 0
        self.rows.update(read=read, lost=lost, doubled=doubled, wrong=wrong)
        assert (lost, doubled, wrong) == (0, 0, 0), (
            f"missing {list((wanted - ids).items())[:5]}, "
            f"too many {list((ids - wanted).items())[:5]}, "
            f"wrong {sorted(set(have) - set(want))[:5]}"
        )

    def tell(self) -> None:
        """One line on stdout, and a section of the file that LAKESCORE_FAULTS_OUT names."""
        told = {self.kind: {"faults": dict(sorted(self.faults.items())), "rows": dict(self.rows)}}
        print(f"\nfaults: {json.dumps(told)}")
        name = os.environ.get("LAKESCORE_FAULTS_OUT")
        if name:
            path = Path(name)
            before = json.loads(path.read_text()) if path.exists() else {}
            path.write_text(json.dumps({**before, **told}, indent=2, sort_keys=True) + "\n")
