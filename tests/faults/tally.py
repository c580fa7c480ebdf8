"""What the faults did to the rows, counted: for the make target's last lines and the docs.

`python -m tests.faults.tally FOLDER [PAGE]` adds up what the processes of a run left in FOLDER,
prints it, and writes it into PAGE between the two lines that hold its place. After a run at full
length (see `floors`) it ends with 1 and names what came too seldom.
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

from tests.faults.floors import CRASHES, FULL_LENGTH, RULES, crash_name, too_few

OUT = "LAKESCORE_FAULTS_OUT"
#: The suite that tells stories, and what each counter of a suite counts.
STORIES = "story"
_COUNTERS = ("faults", "drawn", "crashed", "runs", "rows")
_PLACE = re.compile(r"(<!-- faults: [^\n]* -->\n).*?(<!-- end of faults -->)", re.DOTALL)


class Tally:
    """Rows over all faults of one kind, how often each fault was injected, and each rule drawn.

    `drawn` are the steps of stories, as "kind of story: rule"; `crashed` where runs ended; `runs`
    how many scoring runs there were, those of one step or several.
    """

    kept: ClassVar[dict[str, Tally]] = {}

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.faults: Counter[str] = Counter()
        self.drawn: Counter[str] = Counter()
        self.crashed: Counter[str] = Counter()
        self.runs: Counter[str] = Counter()
        self.rows: Counter[str] = Counter(read=0, lost=0, doubled=0, wrong=0)
        self._lock = Lock()

    @classmethod
    def of(cls, module: str) -> Tally:
        """The one of a test module of this process."""
        kind = module.rpartition("test_")[2]
        return cls.kept.setdefault(kind, cls(kind))

    def fault(self, *names: str) -> None:
        self._add(self.faults, "all", *names)

    def drew(self, story: str, rule: str) -> None:
        """A step of a story, drawn by itself: what a rule does through another is not counted."""
        self._add(self.drawn, f"{story}: {rule}")

    def ran(self, runs: int = 1) -> None:
        """So many scoring runs were started."""
        self._add(self.runs, *["scoring runs"] * runs)

    def crash(self, point: str, mode: str) -> None:
        self._add(self.crashed, crash_name(point, mode))
        self.fault("crash")

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
        told = {"kind": self.kind, **{name: getattr(self, name) for name in _COUNTERS}}
        if OUT in os.environ:
            folder = Path(os.environ[OUT])
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{self.kind}-{uuid.uuid4().hex}.json").write_text(json.dumps(told))
        elif self.faults or self.drawn:
            print(f"\nfaults: {json.dumps(told)}")


#: Of one suite, by the names of _COUNTERS.
Counts = dict[str, Counter[str]]


def _added_up(folder: Path) -> dict[str, Counts]:
    """What every process told, by suite."""
    suites: dict[str, Counts] = {}
    for path in sorted(folder.glob("*.json")):
        told = json.loads(path.read_text())
        suite = suites.setdefault(told["kind"], {name: Counter() for name in _COUNTERS})
        for name in _COUNTERS:
            suite[name].update(told[name])
    return {name: suite for name, suite in suites.items() if suite["faults"] or suite["drawn"]}


def _by_rule(suite: Counts) -> Counter[str]:
    """How often each rule was drawn, over all kinds of stories; those never drawn with 0."""
    rules = Counter(dict.fromkeys(RULES, 0))
    for what, times in suite["drawn"].items():
        rules[what.rpartition(": ")[2]] += times
    return rules


def _lines(name: str, suite: Counts) -> Iterator[str]:
    counted = suite["drawn"] + suite["faults"] + suite["runs"]
    if name == STORIES:
        crashed = Counter(dict.fromkeys((crash_name(*pair) for pair in CRASHES), 0))
        crashed.update(suite["crashed"])
        rules = {f"rule {rule}": times for rule, times in _by_rule(suite).items()}
        counted = Counter({**counted, **rules, **crashed})
        counted["steps"] = sum(suite["drawn"].values())
    for what, times in sorted(counted.items()):
        yield f"{name:>12} {times:6d}  {what}"


def _table(suites: dict[str, Counts]) -> Iterator[str]:
    yield "| suite | faults injected | rows read | rows lost | rows doubled | rows wrong |"
    yield "|---|---|---|---|---|---|"
    for name, suite in suites.items():
        rows = suite["rows"]
        figures = (suite["faults"]["all"], rows["read"], rows["lost"], rows["doubled"])
        cells = " | ".join(f"{figure:,}" for figure in (*figures, rows["wrong"]))
        yield f"| {name} | {cells} |"


def _is_full_length() -> bool:
    asked = (os.environ.get(name, "0") for name in ("LAKESCORE_STORIES", "LAKESCORE_STEPS"))
    return all(int(found) >= least for found, least in zip(asked, FULL_LENGTH, strict=True))


def main(folder: str, page: str | None = None) -> int:
    suites = _added_up(Path(folder))
    for name, suite in suites.items():
        for line in _lines(name, suite):
            print(line)
    table = "\n".join(_table(suites))
    print(table)
    if page is not None:
        text = Path(page).read_text()
        Path(page).write_text(_PLACE.sub(rf"\g<1>{table}\n\g<2>", text))
    if not _is_full_length():
        return 0
    told = suites.get(STORIES, {name: Counter() for name in _COUNTERS})
    missed = list(too_few(_by_rule(told), told["crashed"], told["runs"]["scoring runs"]))
    for line in missed:
        print(f"too few: {line}")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
