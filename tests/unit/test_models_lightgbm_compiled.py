"""The cache of compiled models: equal to the last bit, sealed, for this host alone."""

from __future__ import annotations

import fcntl
import json
import shutil
from dataclasses import replace

import lightgbm
import numpy as np
import pytest

from lakescore.models.lightgbm.booster import interpreted
from lakescore.models.lightgbm.compiled import CompileCache, local_cache, this_host
from lakescore.models.lightgbm.edge_rows import edge_rows
from lakescore.models.lightgbm.scorer import LightGBMScorer
from lakescore.models.lightgbm.text import read_model_text

RANDOM = np.random.default_rng(0)
MATRIX = np.column_stack([RANDOM.normal(size=600), RANDOM.integers(0, 50, 600)])
MATRIX[::7, 0] = np.nan
LABELS = (np.nan_to_num(MATRIX[:, 0]) + (MATRIX[:, 1] % 3 == 0) > 0.5).astype(float)


def model_text(trees: int = 3, **options) -> str:
    rows = lightgbm.Dataset(MATRIX, LABELS, categorical_feature=[1])
    options = {
        "objective": "binary",
        "num_leaves": 6,
        "min_data_per_group": 5,
        "cat_smooth": 1,
        "verbosity": -1,
        "num_threads": 1,
    } | options
    return lightgbm.train(options, rows, num_boost_round=trees).model_to_string()


@pytest.fixture(scope="module")
def text() -> str:
    """More trees than lleaves takes in one block by default."""
    return model_text(trees=40)


@pytest.fixture(scope="module")
def compiled_folder(text, tmp_path_factory):
    """One compiled model; tests that change it copy it first."""
    root = tmp_path_factory.mktemp("compiled")
    CompileCache(root, this_host()).compile("sha", text)
    return root


@pytest.fixture
def folder(compiled_folder, tmp_path):
    """A copy of the compiled model in a cache of its own."""
    return shutil.copytree(compiled_folder, tmp_path / "cache")


def cache(root) -> CompileCache:
    """As a process that starts sees it: nothing loaded yet."""
    return CompileCache(root, this_host())


def entry(root):
    (found,) = [path for path in root.iterdir() if path.is_dir()]
    return found


def test_compiled_predictions_are_lightgbms_to_the_last_bit(compiled_folder, text):
    compiled = cache(compiled_folder).load("sha")
    rows = np.ascontiguousarray(np.concatenate([MATRIX, edge_rows(read_model_text(text, ""))]))

    assert np.array_equal(compiled.predict(rows), interpreted(text, rows))


def test_a_scorer_uses_what_its_compile_made(text, tmp_path, monkeypatch):
    monkeypatch.setenv("LAKESCORE_CACHE", str(tmp_path))
    scorer = LightGBMScorer(("x", "city"), model_text())
    scorer.compile()
    assert local_cache().load(scorer.sha256) is not None

    monkeypatch.setattr(
        "lakescore.models.lightgbm.scorer.interpreted",
        lambda *_: pytest.fail("scored with LightGBM although compiled"),
    )
    assert len(scorer.predict(MATRIX)) == 600


def test_a_scorer_whose_cache_is_empty_scores_with_lightgbm(text, tmp_path, monkeypatch):
    monkeypatch.setenv("LAKESCORE_CACHE", str(tmp_path))
    scorer = LightGBMScorer(("x", "city"), text)

    assert np.array_equal(scorer.predict(MATRIX), interpreted(text, MATRIX))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("part", ["cpu", "features", "compiler"])
def test_what_another_host_compiled_is_not_loaded(folder, part):
    elsewhere = replace(this_host(), **{part: "another"})

    assert cache(folder).load("sha") is not None
    assert CompileCache(folder, elsewhere).load("sha") is None


def test_another_model_is_not_loaded(folder):
    assert cache(folder).load("another") is None


@pytest.mark.parametrize("name", ["model.o", "model.txt", "seal.json"])
def test_an_altered_file_is_not_loaded_but_compiled_again(folder, text, name):
    content = (entry(folder) / name).read_bytes()
    (entry(folder) / name).write_bytes(content[: len(content) // 2])
    fresh = cache(folder)
    assert fresh.load("sha") is None

    fresh.compile("sha", text)

    assert np.array_equal(fresh.load("sha").predict(MATRIX), interpreted(text, MATRIX))


def test_a_folder_that_others_may_write_is_not_loaded(folder):
    entry(folder).chmod(0o777)

    assert cache(folder).load("sha") is None


def test_nothing_is_compiled_while_another_process_compiles(tmp_path, text):
    with (tmp_path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        cache(tmp_path).compile("sha", text)

    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_what_a_killed_compile_left_is_removed(tmp_path):
    (tmp_path / ".compile-killed").mkdir()
    (tmp_path / ".compile-killed" / "model.o").write_bytes(b"half")

    cache(tmp_path).compile("sha", model_text(trees=1))

    assert [path.name for path in tmp_path.glob(".compile-*")] == []
    assert cache(tmp_path).load("sha") is not None


def test_a_second_compile_does_no_work(folder, text, monkeypatch):
    monkeypatch.setattr(
        "lakescore.models.lightgbm.compiled._fill", lambda *_: pytest.fail("compiled again")
    )

    cache(folder).compile("sha", text)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"zero_as_missing": True}, "test rows differ"),
        ({"linear_tree": True, "objective": "regression"}, "linear functions"),
    ],
)
def test_a_model_that_lleaves_scores_otherwise_is_never_used(tmp_path, options, words, monkeypatch):
    text = model_text(trees=5, **options)
    cache(tmp_path).compile("sha", text)

    assert cache(tmp_path).load("sha") is None
    assert words in json.loads((entry(tmp_path) / "seal.json").read_text())["not_used"]
    assert [path.name for path in entry(tmp_path).iterdir()] == ["seal.json"]
    monkeypatch.setattr(
        "lakescore.models.lightgbm.compiled._fill", lambda *_: pytest.fail("tried again")
    )
    cache(tmp_path).compile("sha", text)


def test_a_cache_folder_that_is_a_file_leaves_the_model_as_it_is(tmp_path, text):
    (tmp_path / "compiled").write_text("not a folder")

    cache(tmp_path / "compiled").compile("sha", text)

    assert cache(tmp_path / "compiled").load("sha") is None


def test_a_disk_that_is_nearly_full_leaves_the_model_as_it_is(tmp_path, text, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)

    cache(tmp_path).compile("sha", text)

    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_without_lleaves_nothing_is_compiled(tmp_path, text):
    without = CompileCache(tmp_path, None)
    without.compile("sha", text)

    assert without.load("sha") is None
    assert list(tmp_path.iterdir()) == []
