"""Saved scorers that are not what they were are refused."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from lakescore.errors import MissingExtra, ModelBroken
from lakescore.hashing import json_sha256
from lakescore.models import load_scorer, save_scorer
from lakescore.models.prior import PriorScorer


@pytest.fixture
def folder(tmp_path):
    save_scorer(PriorScorer(("a", "b"), 0.25), tmp_path / "scorer")
    return tmp_path / "scorer"


def rewrite_header(folder, **changes):
    """Change the description and seal it again, as a later version might have written it."""
    header = json.loads((folder / "scorer.json").read_text())
    del header["sha256"]
    header |= changes
    header["sha256"] = json_sha256(header)
    (folder / "scorer.json").write_text(json.dumps(header))


def test_an_altered_file_is_named(folder):
    (folder / "prior.json").write_text('{"columns": ["a", "b"], "value": 0.99}')

    with pytest.raises(ModelBroken, match=r"prior\.json is altered"):
        load_scorer(folder)


def test_a_missing_file_is_named(folder):
    (folder / "prior.json").unlink()

    with pytest.raises(ModelBroken, match=r"prior\.json is missing"):
        load_scorer(folder)


def test_a_file_that_does_not_belong_is_named(folder):
    (folder / "extra.bin").write_bytes(b"x")

    with pytest.raises(ModelBroken, match=r"extra\.bin is unknown"):
        load_scorer(folder)


def test_an_altered_description_is_refused(folder):
    text = (folder / "scorer.json").read_text()
    (folder / "scorer.json").write_text(text.replace('"b"', '"c"'))

    with pytest.raises(ModelBroken, match="altered after it was saved"):
        load_scorer(folder)


@pytest.mark.parametrize("text", ["", "[]", "null", "3", '{"format": 1}', "\x00"])
def test_an_unreadable_description_is_refused(folder, text):
    (folder / "scorer.json").write_text(text)

    with pytest.raises(ModelBroken, match="truncated or altered"):
        load_scorer(folder)


def test_a_folder_without_a_scorer_is_refused(tmp_path):
    with pytest.raises(ModelBroken, match=r"no scorer\.json"):
        load_scorer(tmp_path)


def test_a_newer_format_asks_for_an_upgrade(folder):
    rewrite_header(folder, format=2)

    with pytest.raises(ModelBroken, match=r"format 2.*reads up to 1") as caught:
        load_scorer(folder)
    assert caught.value.hint == "upgrade lakescore"


def test_an_unknown_kind_is_refused(folder):
    rewrite_header(folder, kind="priors")

    with pytest.raises(ModelBroken, match="no scorer is called 'priors'") as caught:
        load_scorer(folder)
    assert "did you mean 'prior'" in caught.value.hint


def test_columns_other_than_described_are_refused(folder):
    rewrite_header(folder, columns=["a", "z"])

    with pytest.raises(ModelBroken, match="columns are not those of its description"):
        load_scorer(folder)


def test_a_folder_that_holds_something_is_not_overwritten(folder):
    with pytest.raises(FileExistsError):
        save_scorer(PriorScorer(("a",), 1.0), folder)

    assert load_scorer(folder).columns == ("a", "b")


def test_a_net_is_read_without_its_engine_and_scored_with_the_advice_to_install_it(
    tmp_path, monkeypatch
):
    from lakescore.models.deep.scorer import OnnxScorer

    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    save_scorer(OnnxScorer(("x",), b"a graph"), tmp_path)
    loaded = load_scorer(tmp_path)

    assert loaded == OnnxScorer(("x",), b"a graph")
    with pytest.raises(MissingExtra, match=r"'onnxruntime'.*\n.*lakescore\[onnx\]"):
        loaded.predict(np.zeros((1, 1)))
