"""LightGBM text models of any origin are checked before native code reads them."""

from __future__ import annotations

import lightgbm
import numpy as np
import pytest

from lakescore.errors import ModelBroken, ModelNotFound, UsageError
from lakescore.matrix import Task
from lakescore.models.lightgbm.booster import gain_shares, rewritten, rounds
from lakescore.models.lightgbm.scorer import LightGBMScorer
from lakescore.models.lightgbm.text import read_model_text

RANDOM = np.random.default_rng(0)
MATRIX = np.column_stack([RANDOM.normal(size=400), RANDOM.integers(0, 40, 400), np.zeros(400)])
LABELS = (MATRIX[:, 0] + (MATRIX[:, 1] % 3 == 0) > 0.5).astype(float)


def train(objective: str = "binary", trees: int = 4, labels=LABELS, **options) -> lightgbm.Booster:
    rows = lightgbm.Dataset(
        MATRIX, labels, feature_name=["x", "city", "unused"], categorical_feature=[1]
    )
    options = {"objective": objective, "num_leaves": 5, "verbosity": -1, "num_threads": 1} | options
    return lightgbm.train(options, rows, num_boost_round=trees)


@pytest.fixture(scope="module")
def text() -> str:
    return train(cat_smooth=1, min_data_per_group=5).model_to_string()


def test_the_description_is_that_of_the_model(text):
    model = read_model_text(text, "here")

    assert model.feature_names == ("x", "city", "unused")
    assert len(model.trees) == 4
    assert model.task is Task.BINARY
    assert not model.is_linear


def test_objectives_say_the_task():
    assert read_model_text(train("regression").model_to_string(), "").task is Task.REGRESSION
    assert read_model_text(train("cross_entropy").model_to_string(), "").task is Task.BINARY


def test_a_foreign_model_file_scores_as_lightgbm_does(tmp_path):
    model = train()
    model.save_model(tmp_path / "model.txt")
    scorer = LightGBMScorer.from_model_file(tmp_path / "model.txt")

    assert scorer.columns == ("x", "city", "unused")
    assert np.array_equal(scorer.predict(MATRIX), model.predict(MATRIX))


def test_a_cut_within_trees_or_parameters_is_noticed(text, tmp_path):
    lines = text.splitlines(keepends=True)
    trees_end, parameters = lines.index("end of trees\n"), lines.index("parameters:\n")
    ends = [*range(0, trees_end + 1, 3), *range(parameters + 1, len(lines) - 4, 20)]
    for end in ends:
        path = tmp_path / "model.txt"
        path.write_text("".join(lines[:end]))

        with pytest.raises(ModelBroken, match="not a whole LightGBM text model"):
            LightGBMScorer.from_model_file(path)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("Tree=2", "Tree=3", "tree 2 is missing"),
        ("max_feature_idx=2", "max_feature_idx=5", "names 3 columns and states 6"),
        ("max_feature_idx=2", "max_feature_idx=-1", "states 0"),
        ("split_feature=", "split_feature=9 ", "splits"),
        ("left_child=1", "left_child=77", "do not form a tree"),
        ("right_child=", "right_child=-9 ", "splits"),
        ("num_class=1", "num_class=3", "states 3 classes and 1 trees an iteration"),
        ("leaf_value=", "leaf_value=nan ", "lacks leaf values"),
        ("leaf_value=-0", "leaf_value=-1_0", "no list of numbers"),
        ("cat_boundaries=0", "cat_boundaries=7", "category tables"),
    ],
)
def test_a_contradiction_is_named(text, old, new, words):
    assert old in text
    with pytest.raises(ModelBroken, match=words):
        read_model_text(text.replace(old, new, 1), "here")


def test_a_split_on_a_column_that_is_not_there_is_refused(text):
    first = next(line for line in text.splitlines() if line.startswith("split_feature="))
    damaged = text.replace(first, first[:-1] + "3", 1)

    with pytest.raises(ModelBroken, match="a column that it does not have"):
        read_model_text(damaged, "here")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("threshold", "nan", "no number"),
        ("leaf_value", "nan", "no number"),
        ("decision_type", "12", "a kind of missing values that there is not"),
        ("left_child", "0", "do not form a tree"),
    ],
)
def test_a_value_that_no_tree_has_is_refused(text, key, value, words):
    line = next(line for line in text.splitlines() if line.startswith(f"{key}="))
    damaged = text.replace(line, " ".join([*line.split(" ")[:-1], value]), 1)

    with pytest.raises(ModelBroken, match=words):
        read_model_text(damaged, "here")


def test_trees_of_several_classes_come_in_whole_rounds():
    text = train("multiclass", labels=MATRIX[:, 1] % 3, num_class=3).model_to_string()
    last = text.index("Tree=11\n")
    sizes = next(line for line in text.splitlines() if line.startswith("tree_sizes="))
    cut = text[:last] + text[text.index("end of trees") :]
    cut = cut.replace(sizes, sizes.rpartition(" ")[0])

    with pytest.raises(ModelBroken, match="its 11 trees are no whole iterations of 3"):
        read_model_text(cut, "here")


def test_a_multiclass_model_is_refused_for_what_it_is(tmp_path):
    model = train("multiclass", labels=MATRIX[:, 1] % 3, num_class=3)
    model.save_model(tmp_path / "model.txt")

    with pytest.raises(UsageError, match="the model has 3 outputs; of models that were trained"):
        LightGBMScorer.from_model_file(tmp_path / "model.txt")


def test_a_missing_or_binary_file_is_told_apart(tmp_path):
    (tmp_path / "model.bin").write_bytes(b"\xff\xfe\x00")

    with pytest.raises(ModelNotFound, match="no such file"):
        LightGBMScorer.from_model_file(tmp_path / "nothing.txt")
    with pytest.raises(ModelBroken, match="cannot be read as text"):
        LightGBMScorer.from_model_file(tmp_path / "model.bin")


def test_a_model_of_single_leaves_scores_the_mean(tmp_path):
    model = train("regression", labels=np.full(400, 2.5) + 1e-30)
    scorer = LightGBMScorer(("x", "city", "unused"), model.model_to_string())

    assert np.array_equal(scorer.predict(MATRIX), model.predict(MATRIX))
    assert gain_shares(scorer.model_text, scorer.columns) == {}


def test_a_cut_after_a_round_predicts_as_that_round(text):
    cut = rewritten(text, 2)

    assert rounds(cut) == 2
    assert np.array_equal(
        LightGBMScorer(("x", "city", "unused"), cut).predict(MATRIX),
        lightgbm.Booster(model_str=text).predict(MATRIX, num_iteration=2),
    )


def test_gain_shares_name_used_columns_only(text):
    shares = gain_shares(text, ("x", "city", "unused"))

    assert set(shares) == {"x", "city"}
    assert sum(shares.values()) == pytest.approx(1.0)
