"""What a training run's report makes of what the run found."""

from __future__ import annotations

from lakescore.features.preprocessor import CategoricalFeature, NumericFeature, Preprocessor
from lakescore.workflows.training_report import _features


def test_features_are_told_as_the_preprocessor_found_them() -> None:
    age = NumericFeature("age", mean=40.0, low=18.0, high=90.0, present=95, infinite=2)
    plan = CategoricalFeature("plan", levels=("basic", "plus"), distinct=7, present=100)
    told = {one.feature: one for one in _features(Preprocessor((age, plan)), rows=100)}
    assert told["age"].nulls == 5
    assert (told["age"].mean, told["age"].minimum, told["age"].maximum) == (40.0, 18.0, 90.0)
    assert (told["plan"].kind, told["plan"].nulls, told["plan"].distinct) == ("categorical", 0, 7)
