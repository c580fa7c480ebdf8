"""What the faults did to the rows, counted: for the make target's last lines and the docs.

`python -m tests.faults.tally FOLDER [PAGE]` adds up what the processes of a run left in FOLDER,
prints it, and writes it into PAGE between the two lines that hold its place.
"""

from __future__ import annotations

import json
import os
import re
import sys
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar

OUT = "LAKESCORE_FAULTS_OUT"
_PLACE = re.compile(r"(<!-- faults: [^\n]* -->\n).*?(<!-- end of faults -->)", re.DOTALL)


class Tally:
    """Rows over all faults of one kind, how often each fault was injected, and each rule drawn."""

    kept: ClassVar[dict[str, Tally]] = {}

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.faults: Counter[str] = Counter()
        self.drawn: Counter[str] = Counter()
        self.rows: Counter[str] = Counter(read=0, lost=0, doubled=0, wrong=0)
        self._lock = Lock()

    @classmethod
    def of(cls, module: str) -> Tally:
        """The one of a test module of this process."""
        kind = module.rpartition("test_")[2]
        return cls.kept.setdefault(kind, cls(kind))

    def fault(self, *names: str) -> None:
        self._add(self.faults, "all", *names)

    def drew(self, rule: str, *, runs: int) -> None:
        """A rule of a story, which starts so many scoring runs."""
        self._add(self.drawn, rule, *["scoring runs"] * runs)

    def read(self, rows: int) -> None:
        self._add(self.rows, read=rows)

    def compare(self, read: int, found: Iterable[Any], expected: Iterable[Any]) -> None:
        """Count, then assert: rows are (identity, value), predictions and refused rows alike.

        `read` is how many rows the run had to judge.
        """
        have, want = list(found), list(expected)
        ids, wanted = Counter(one for one, _ in have), Counter(one for one, _ in want)
        lost, doubled = sum((wanted - ids).values()), sum((ids - wanted).values())
        wrong = len(set(have) - set(want)) if not lost and not doubled else 0
        self._add(self.rows, read=read, lost=lost, doubled=doubled, wrong=wrong)
        assert (lost, doubled, wrong) == (0, 0, 0), (
            f"missing {list((wanted - ids).items())[:5]}, "
            f"too many {list((ids - wanted).items())[:5]}, "
            f"wrong {sorted(set(have) - set(want))[:5]}"
        )

    def _add(self, counter: Counter[str], *names: str, **times: int) -> None:
        """Stories are told in several threads."""
        with self._lock:
            counter.update(names)
            counter.update(times)

    def tell(self) -> None:
        """A line on stdout, or a file of its own in the folder that LAKESCORE_FAULTS_OUT names."""
        told = {"kind": self.kind, "faults": self.faults, "drawn": self.drawn, "rows": self.rows}
        if OUT in os.environ:
            folder = Path(os.environ[OUT])
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{self.kind}-{uuid.uuid4().hex}.json").write_text(json.dumps(told))
        elif self.faults or self.drawn:
            print(f"\nfaults: {json.dumps(told)}")


def _added_up(folder: Path) -> dict[str, dict[str, Counter[str]]]:
    """What every process told, by kind."""
    kinds: dict[str, dict[str, Counter[str]]] = {}
    for path in sorted(folder.glob("*.json")):
        told = json.loads(path.read_text())
        kind = kinds.setdefault(told["kind"], {})
        for name in ("faults", "drawn", "rows"):
            kind.setdefault(name, Counter()).update(told[name])
    return {name: kind for name, kind in kinds.items() if kind["faults"] or kind["drawn"]}


def _table(kinds: dict[str, dict[str, Counter[str]]]) -> Iterator[str]:
    yield "| suite | faults injected | rows read | rows lost | rows doubled | rows wrong |"
    yield "|---|---|---|---|---|---|"
    for name, kind in kinds.items():
        rows = kind["rows"]
        figures = (kind["faults"]["all"], rows["read"], rows["lost"], rows["doubled"])
        cells = " | ".join(f"{figure:,}" for figure in (*figures, rows["wrong"]))
        yield f"| {name} | {cells} |"


def main(folder: str, page: str | None = None) -> None:
    kinds = _added_up(Path(folder))
    for name, kind in kinds.items():
        for what, times in sorted((kind["drawn"] + kind["faults"]).items()):
            print(f"{name:>12} {times:6d}  {what}")
    table = "\n".join(_table(kinds))
    print(table)
    if page is not None:
        text = Path(page).read_text()
        Path(page).write_text(_PLACE.sub(rf"\g<1>{table}\n\g<2>", text))


if __name__ == "__main__":
    main(*sys.argv[1:])
