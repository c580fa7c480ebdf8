"""Models that exist already are told apart without being loaded."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import yaml

from lakescore.errors import ModelBroken, ModelNotFound, ModelNotTrusted, UsageError
from lakescore.registry.foreign import Runner, open_model

TEXT = """tree
version=v4
num_class=1
num_tree_per_iteration=1
label_index=0
max_feature_idx=1
objective=binary sigmoid:1
feature_names=distance hour
feature_infos=[0:10] [0:23]
tree_sizes=60

Tree=0
num_leaves=1
leaf_value=0.5

end of trees

pandas_categorical:null
"""


class Bomb:
    """Unpickling it leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def columns(*names: str, type_: str = "double") -> str:
    return json.dumps([{"name": name, "type": type_, "required": True} for name in names])


def mlflow_folder(folder: Path, flavours: dict, inputs: str | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    signature = {"inputs": inputs, "outputs": columns("prediction")} if inputs else None
    content = {"flavors": flavours, "signature": signature, "mlflow_version": "2.13.1"}
    (folder / "MLmodel").write_text(yaml.safe_dump(content))
    return folder


def spark_stage(folder: Path, name: str, class_: str, **params) -> None:
    path = folder / name / "metadata"
    path.mkdir(parents=True)
    content = {"class": class_, "paramMap": params, "defaultParamMap": {}}
    (path / "part-00000").write_text(json.dumps(content))


def pipeline_folder(folder: Path) -> Path:
    spark_stage(folder, ".", "org.apache.spark.ml.PipelineModel", stageUids=[])
    ml = "org.apache.spark.ml"
    stages = folder / "stages"
    spark_stage(
        stages, "0_index", f"{ml}.feature.StringIndexerModel", inputCol="carrier", outputCol="c"
    )
    spark_stage(
        stages,
        "1_assemble",
        f"{ml}.feature.VectorAssembler",
        inputCols=["c", "distance"],
        outputCol="features",
    )
    spark_stage(
        stages,
        "2_fit",
        f"{ml}.classification.LogisticRegressionModel",
        featuresCol="features",
        predictionCol="prediction",
        probabilityCol="probability",
    )
    return folder


def test_text_model_tells_its_inputs_and_its_version(tmp_path):
    path = tmp_path / "model.txt"
    path.write_text(TEXT)
    model = open_model(str(path), trust=None)
    assert model.runner is Runner.LIGHTGBM
    assert model.inputs == {"distance": "double", "hour": "double"}
    assert not model.runs_code
    assert model.describe()["flavour_version"] == "v4"


def test_truncated_text_model_is_broken(tmp_path):
    path = tmp_path / "model.txt"
    path.write_text(TEXT.partition("end of trees")[0])
    with pytest.raises(ModelBroken, match="not a whole LightGBM text model"):
        open_model(str(path), trust=None)


def test_model_of_several_classes_is_refused(tmp_path):
    path = tmp_path / "model.txt"
    text = TEXT.replace("num_tree_per_iteration=1", "num_tree_per_iteration=3")
    text = text.replace("num_class=1", "num_class=3")
    text = text.replace("tree_sizes=60", "tree_sizes=60 60 60")
    tree = "Tree=0\nnum_leaves=1\nleaf_value=0.5\n\n"
    path.write_text(text.replace(tree, "".join(tree.replace("0", str(n), 1) for n in range(3))))
    with pytest.raises(UsageError, match="3 outputs"):
        open_model(str(path), trust=None)


def test_mlflow_lightgbm_with_text_is_data(tmp_path):
    flavours = {
        "lightgbm": {"data": "model.lgb"},
        "python_function": {"loader_module": "mlflow.lightgbm"},
    }
    folder = mlflow_folder(tmp_path / "m", flavours, columns("hour", "distance"))
    (folder / "model.lgb").write_text(TEXT)
    model = open_model(str(folder), trust=None)
    assert model.runner is Runner.LIGHTGBM
    assert list(model.inputs) == ["distance", "hour"]


def test_features_without_names_take_the_signatures_by_position(tmp_path):
    flavours = {"lightgbm": {"data": "model.lgb"}}
    folder = mlflow_folder(tmp_path / "m", flavours, columns("first", "second"))
    text = TEXT.replace("feature_names=distance hour", "feature_names=Column_0 Column_1")
    (folder / "model.lgb").write_text(text)
    assert list(open_model(str(folder), trust=None).inputs) == ["first", "second"]


def test_pickled_model_needs_trust_and_is_not_unpickled(tmp_path):
    witness = tmp_path / "witness"
    flavours = {
        "lightgbm": {"data": "model.pkl", "model_class": "lightgbm.sklearn.LGBMClassifier"},
        "python_function": {"loader_module": "mlflow.lightgbm", "data": "model.pkl"},
    }
    folder = mlflow_folder(tmp_path / "m", flavours, columns("distance"))
    (folder / "model.pkl").write_bytes(pickle.dumps(Bomb(witness)))
    with pytest.raises(ModelNotTrusted) as caught:
        open_model(str(folder), trust=None)
    assert caught.value.exit_code == 2
    assert "trust: runs-code" in str(caught.value)
    trusted = open_model(str(folder), trust="runs-code")
    assert trusted.runner is Runner.PYFUNC
    assert trusted.describe()["runs_code"] is True
    assert not witness.exists()


def test_our_own_package_is_data_wherever_it_lies(tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    (package / "package.json").write_text("{}")
    assert open_model(str(package), trust=None).runner is Runner.PACKAGE
    flavours = {"python_function": {"loader_module": "lakescore.scoring.pyfunc", "data": "package"}}
    folder = mlflow_folder(tmp_path / "m", flavours)
    (folder / "package").mkdir()
    model = open_model(str(folder), trust=None)
    assert (model.runner, Path(model.path).name) == (Runner.PACKAGE, "package")


def test_mlmodel_that_points_outside_its_folder_is_broken(tmp_path):
    (tmp_path / "secret").write_text(TEXT)
    folder = mlflow_folder(tmp_path / "m", {"lightgbm": {"data": "../secret"}})
    with pytest.raises(ModelBroken, match="does not hold"):
        open_model(str(folder), trust=None)


def test_mlmodel_with_yaml_tags_is_refused_not_built(tmp_path):
    folder = tmp_path / "m"
    folder.mkdir()
    witness = tmp_path / "witness"
    (folder / "MLmodel").write_text(
        f"flavors: !!python/object/apply:pathlib.Path.touch ['{witness}']\n"
    )
    with pytest.raises(ModelBroken):
        open_model(str(folder), trust="runs-code")
    assert not witness.exists()


def test_pipeline_folder_tells_the_columns_that_no_stage_makes(tmp_path):
    model = open_model(str(pipeline_folder(tmp_path / "p")), trust=None)
    assert model.runner is Runner.SPARK
    assert list(model.inputs) == ["carrier", "distance"]
    model.check_inputs({"carrier": "string", "distance": "int"})


def test_mlflow_spark_flavour_is_a_pipeline(tmp_path):
    flavours = {"spark": {"model_data": "sparkml"}, "python_function": {"data": "sparkml"}}
    folder = mlflow_folder(tmp_path / "m", flavours)
    pipeline_folder(folder / "sparkml")
    model = open_model(f"file:{folder}", trust=None)
    assert (model.runner, Path(model.path).name) == (Runner.SPARK, "sparkml")


def test_model_without_signature_says_how_to_get_one(tmp_path):
    flavours = {"python_function": {"loader_module": "mlflow.sklearn"}, "sklearn": {}}
    model = open_model(str(mlflow_folder(tmp_path / "m", flavours)), trust="runs-code")
    assert model.flavour == "sklearn"
    with pytest.raises(UsageError, match="lakescore adopt"):
        model.check_inputs({"a": "double"})


def test_missing_path_names_its_closest_neighbour(tmp_path):
    (tmp_path / "churn.txt").write_text(TEXT)
    with pytest.raises(ModelNotFound, match=r"did you mean 'churn\.txt'"):
        open_model(str(tmp_path / "chrn.txt"), trust=None)


def test_a_file_that_is_no_model_lists_what_is(tmp_path):
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(UsageError, match="LightGBM text model"):
        open_model(str(path), trust="runs-code")


def test_malformed_registry_address_shows_both_forms():
    with pytest.raises(UsageError, match="models:/NAME@ALIAS or models:/NAME/VERSION"):
        from lakescore.registry.model_version import parse_model_uri

        parse_model_uri("models:/churn")
