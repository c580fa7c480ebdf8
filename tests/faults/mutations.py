"""Each rule of the commit protocol left out once: the named tests must fail on every mutation.

`python -m tests.faults.mutations [NAME…]` first runs every named test on the code as it is, where
it must pass. Then it copies the tree, changes the text of one rule in the copy, and runs the tests
that are to catch it there. Prints one line a mutation; the exit code is 1 when one was not caught.
A mutation whose text is not found exactly once is refused: the code moved on, and so must it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[2]
#: One test a JVM: compiling code well never pays.
_QUICK_JVM = "-XX:TieredStopAtLevel=1"
_COPIED = ("src", "tests", "conf", "pyproject.toml")
_COMMITS, _WRITES = "src/lakescore/lake/commits.py", "src/lakescore/lake/writes.py"
_PINS, _PLAN = "src/lakescore/workflows/pins.py", "src/lakescore/workflows/plan.py"
_ROWS, _STAGING = "src/lakescore/workflows/scored_rows.py", "src/lakescore/lake/staging.py"
_CASES = "tests/integration/test_protocol_cases.py"
_TWINS = "tests/integration/test_lake_commits.py::test_of_twins_planned_from_one_state_one_wins"


@dataclass(frozen=True)
class Edit:
    """`old`, found exactly once in `file`, becomes `new`."""

    file: str
    old: str
    new: str

    def apply(self, tree: Path) -> None:
        path = tree / self.file
        text = path.read_text(encoding="utf-8")
        found = text.count(self.old)
        if found != 1:
            raise SystemExit(f"{self.file}: found {found} times, not once:\n{self.old}")
        path.write_text(text.replace(self.old, self.new), encoding="utf-8")


@dataclass(frozen=True)
class Mutation:
    """What is left out, and the tests of which at least one must fail then."""

    name: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]


MUTATIONS = (
    Mutation(
        "no transaction identifier",
        (
            Edit(
                _WRITES,
                """        .option("txnAppId", fields["app_id"])
        .option("txnVersion", fields["commit_seq"])
""",
                "",
            ),
        ),
        (_TWINS,),
    ),
    Mutation(
        "no transaction identifier of a MERGE",
        (
            Edit(
                _WRITES,
                """    session.conf.set(f"{_MERGE_ID}.txnAppId", fields["app_id"])
    session.conf.set(f"{_MERGE_ID}.txnVersion", str(fields["commit_seq"]))
""",
                "",
            ),
        ),
        (f"{_CASES}::test_a_merge_planned_before_its_twins_does_not_bring_a_deleted_row_back",),
    ),
    Mutation(
        "txnVersion is the source's end version",
        (
            Edit(
                _WRITES,
                '.option("txnVersion", fields["commit_seq"])',
                '.option("txnVersion", fields["source_version"])',
            ),
        ),
        (_TWINS,),
    ),
    Mutation(
        "predictions before quarantine",
        (
            Edit(_COMMITS, "        judged = self._judge(staged, plan, attempt_id)\n", ""),
            Edit(_COMMITS, '"purges": judged.purges,', '"purges": 0,'),
            Edit(
                _COMMITS,
                "        if outcome.commit is not None:\n            if plan.part is None",
                "        judged = self._judge(staged, plan, attempt_id)\n"
                "        if outcome.commit is not None:\n            if plan.part is None",
            ),
        ),
        (f"{_CASES}::test_predictions_stay_unwritten_when_the_quarantine_cannot_be_written",),
    ),
    Mutation(
        "no check after a silent skip",
        (
            Edit(
                _WRITES,
                "                return WriteOutcome(winner=commit)",
                "                return WriteOutcome(commit=commit)",
            ),
        ),
        (_TWINS,),
    ),
    Mutation(
        "a backfill reads the source's head",
        (
            Edit(
                _PLAN,
                "at = progress.source_version if request.is_at_progress else None",
                "at = None",
            ),
        ),
        (f"{_CASES}::test_rows_that_land_during_a_backfill_are_left_to_the_next_run",),
    ),
    Mutation(
        "an unpinned context",
        (
            Edit(
                _PINS,
                "{name: snapshot.read(spark) for name",
                "{name: snapshot.table.read(spark) for name",
            ),
        ),
        (f"{_CASES}::test_a_context_that_changes_after_the_plan_is_read_as_planned",),
    ),
    Mutation(
        "counts by an accumulator",
        (
            Edit(
                _ROWS,
                "        found = survey(landed, key, where)\n",
                """        from dataclasses import replace

        counted = landed.sparkSession.sparkContext.accumulator(0)
        found = replace(survey(landed, key, where), read=counted)

        def counting(batches):
            for batch in batches:
                counted.add(batch.num_rows)
                yield batch

        landed = landed.mapInArrow(counting, landed.schema)
""",
            ),
            Edit(
                _STAGING,
                '    scored.write.mode("overwrite").parquet(folder)\n',
                '    scored.write.mode("overwrite").parquet(folder)\n'
                '    read = getattr(read, "value", read)\n',
            ),
        ),
        (
            "tests/faults/test_executors.py::test_shuffled_rows_lost_with_an_executor_are_made_again",
        ),
    ),
)


def run(name: str, edits: Sequence[Edit], tests: Sequence[str]) -> str:
    """What pytest says of the tests on a copy of the tree with these edits."""
    with TemporaryDirectory(prefix="lakescore-mutation-") as folder:
        tree = Path(folder)
        for copied in _COPIED:
            copy = shutil.copytree if (ROOT / copied).is_dir() else shutil.copyfile
            copy(ROOT / copied, tree / copied)
        for edit in edits:
            edit.apply(tree)
        ended = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-rfEs", "-p", "no:cacheprovider", *tests],
            check=False,
            cwd=tree,
            env={**os.environ, "PYTHONPATH": str(tree / "src"), "JDK_JAVA_OPTIONS": _QUICK_JVM},
            capture_output=True,
            text=True,
        )
        if ended.returncode not in (0, 1):
            raise SystemExit(f"{name}: the tests did not run\n{ended.stdout[-3000:]}")
        return ended.stdout


def failed(summary: str) -> list[str]:
    """The failed tests that pytest's last lines name."""
    return re.findall(r"^FAILED (\S+)", summary, re.MULTILINE)


def not_passed(summary: str) -> list[str]:
    """The failed, broken and skipped ones."""
    return re.findall(r"^(?:FAILED|ERROR|SKIPPED) (?:\[\d+\] )?(\S+)", summary, re.MULTILINE)


def refuse_failing(mutations: Sequence[Mutation]) -> None:
    """A test that fails (or does not run) on the code as it is would catch any mutation."""
    tests = sorted({test for mutation in mutations for test in mutation.tests})
    failing = not_passed(run("no mutation", (), tests))
    if failing:
        raise SystemExit(f"these do not pass without any mutation: {', '.join(failing)}")


def main(names: Sequence[str]) -> int:
    """Run the mutations whose name holds one of `names` (all without any)."""
    chosen = [m for m in MUTATIONS if not names or any(name in m.name for name in names)]
    refuse_failing(chosen)
    escaped = 0
    for mutation in chosen:
        started = time.monotonic()
        caught_by = failed(run(mutation.name, mutation.edits, mutation.tests))
        escaped += not caught_by
        caught = f"caught by {', '.join(caught_by)}" if caught_by else "NOT CAUGHT"
        print(f"{mutation.name}: {caught} ({time.monotonic() - started:.0f} s)", flush=True)
    print(f"mutations: {len(chosen) - escaped} of {len(chosen)} caught")
    return 1 if escaped or not chosen else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
