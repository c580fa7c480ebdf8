"""The generated reference pages say what the code says, and hashes what the configuration is."""

import re

import pytest
import typer

from lakescore.cli.app import app
from lakescore.config.hashes import TRAINING_SECTIONS, config_hash
from lakescore.config.refused import REFUSED_FUNCTIONS
from lakescore.config.workload import Source, Workload
from lakescore.evaluation.report import Report
from lakescore.models.catalogue import candidates
from lakescore.workflows.run_result import RunResult
from tests.scripts import load_script

reference = load_script("reference")
reference_pages = reference.reference_pages


@pytest.mark.parametrize("name", sorted(reference_pages()))
def test_generated_pages_are_up_to_date(name):
    written = (reference.FOLDER / name).read_text(encoding="utf-8")
    assert written == reference_pages()[name], "run: make docs"


def test_every_candidate_and_its_parameters_are_described():
    page = reference_pages()["candidates.md"]
    for name, one in candidates().items():
        section = page.partition(f"## `{name}`")[2].partition("\n## ")[0]
        assert all(f"| `{key}` |" in section for key in one.parameters_type.model_fields)


def test_every_key_and_every_refused_function_is_described():
    pages = reference_pages()
    for name in (*Workload.model_fields, *Source.model_fields):
        assert f"| `{name}` |" in pages["workload.md"]
    for name in REFUSED_FUNCTIONS:
        assert f"`{name}`" in pages["expressions.md"]


def test_every_command_has_a_section_with_its_options():
    page = reference_pages()["commands.md"]
    for name in typer.main.get_command(app).commands:
        assert f"## `lakescore {name}" in page
    train = page.partition("## `lakescore train ")[2].partition("\n## ")[0]
    assert {"`--sample`", "`--no-promote`", "`--require-promotion`"} <= set(train.split())
    assert "| 2 | the command line" in page and "| `LeakRefused` | 2 |" in page


def test_every_key_of_the_json_files_is_described():
    pages = reference_pages()
    for name in RunResult.model_fields:
        assert f"| `{name}` |" in pages["run-result.md"]
    for name in Report.model_fields:
        assert f"| `{name}` |" in pages["report.md"]
    linked = set(re.findall(r"\]\(#(\w+)\)", pages["report.md"]))
    assert linked <= {one.lower() for one in re.findall(r"^## (\w+)$", pages["report.md"], re.M)}


def test_pages_are_written_to_a_folder(tmp_path):
    written = reference.write_reference(tmp_path / "reference")
    assert {file.name for file in written} == reference_pages().keys()


def workload(**changes: object) -> Workload:
    sections = {
        "name": "churn",
        "source": {"table": "t", "key": "id"},
        "label": "y",
        "features": {"a": "a", "b": "b + 1"},
        "split": "random",
        "candidates": [{"prior": {"x": 1, "y": 2}}],
    }
    return Workload.model_validate({**sections, **changes})


def test_the_training_hash_sees_what_training_depends_on_and_no_spelling():
    known = config_hash(workload(), TRAINING_SECTIONS)
    spelled_out = {"features": ["a", {"b": "b + 1"}], "candidates": [{"prior": {"y": 2, "x": 1}}]}
    spelled_out["features"][0] = {"a": {"expression": "a"}}
    assert config_hash(workload(**spelled_out), TRAINING_SECTIONS) == known
    assert config_hash(workload(description="new", tags="x"), TRAINING_SECTIONS) == known
    source = {"table": "t", "key": "id"}
    fresh = {"freshness": {"column": "at", "error_after": "1 day"}, "unique_within": "1 day"}
    assert config_hash(workload(source={**source, **fresh}), TRAINING_SECTIONS) == known
    typed = {**source, "columns": {"a": "integer not null"}}
    assert config_hash(workload(source=typed), TRAINING_SECTIONS) != known
    assert config_hash(workload(seed=8), TRAINING_SECTIONS) != known
    assert config_hash(workload(features={"b": "b + 1", "a": "a"}), TRAINING_SECTIONS) != known


def test_a_hash_of_an_unknown_section_is_a_mistake():
    with pytest.raises(ValueError, match="sede"):
        config_hash(workload(), {"sede"})
