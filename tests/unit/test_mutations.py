"""The mutations of the commit protocol still fit the code that they change."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.faults import mutations
from tests.faults.mutations import MUTATIONS, ROOT, Mutation


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mutation_finds_its_place(mutation: Mutation, tmp_path: Path) -> None:
    for name in {edit.file for edit in mutation.edits}:
        copy = tmp_path / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, copy)
    for edit in mutation.edits:
        edit.apply(tmp_path)
    for test in mutation.tests:
        file, _, function = test.partition("::")
        assert f"def {function}(" in (ROOT / file).read_text(encoding="utf-8")


def test_a_test_that_fails_without_any_mutation_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def two_do_not_pass(*arguments: object) -> str:
        asked.append(arguments)
        return "FAILED tests/one.py::test_a - assert 0\nSKIPPED [1] tests/two.py:7: needs more"

    monkeypatch.setattr(mutations, "run", two_do_not_pass)
    with pytest.raises(SystemExit, match=r"tests/one.py::test_a, tests/two.py:7:"):
        mutations.main([])
    ((_, edits, tests),) = asked
    assert edits == ()
    assert list(tests) == sorted({test for mutation in MUTATIONS for test in mutation.tests})


def test_only_a_failed_test_catches_a_mutation() -> None:
    summary = """FAILED tests/a.py::test_one - assert 1 == 2
ERROR tests/b.py::test_two - RuntimeError
SKIPPED [1] tests/c.py:9: needs more
1 failed, 1 skipped, 1 error in 2.00s
"""
    assert mutations.failed(summary) == ["tests/a.py::test_one"]
    assert mutations.not_passed(summary) == [
        "tests/a.py::test_one", "tests/b.py::test_two", "tests/c.py:9:"
    ]  # fmt: skip
