"""The mutations of the commit protocol still fit the code that they change."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

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
