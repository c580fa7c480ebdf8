"""Each way to score a table into a new Delta table: `PEERS[name](job)` does it once.

The peers are scripts as their users write them, with the settings that `sweep` found best. All
score with the same trees: those of lakescore's champion.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.scoring.shapes import Bench, Shape, table_name
from lakescore.lake.tables import Lake

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from lakescore.scoring.package import ModelPackage


@dataclass
class Job:
    """One table to score into one folder, with a peer's options."""

    spark: SparkSession | None
    bench: Bench
    shape: Shape
    rows: int
    out: str
    options: dict[str, str] = field(default_factory=dict)

    @property
    def source(self) -> DataFrame:
        assert self.spark is not None
        return self.spark.read.format("delta").load(self.bench.path(self.shape, self.rows))

    @cached_property
    def package(self) -> ModelPackage:
        return self.bench.package(self.shape)

    @cached_property
    def model_text(self) -> str:
        """The trees, in a file."""
        folder = self.bench.root / f"scorer-{self.shape.name}"
        if not (folder / "model.txt").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            self.package.scorer.save(folder)
        return str(folder / "model.txt")

    @property
    def inputs(self) -> list[str]:
        """The columns in the order of the model's matrix."""
        return [feature.name for feature in self.package.preprocessor.features]

    @property
    def levels(self) -> dict[str, list[str]]:
        """Of each string column its values, in the order of their codes, from 1."""
        features = self.package.preprocessor.features
        return {one.name: list(one.levels) for one in features if hasattr(one, "levels")}

    def write(self, rows: DataFrame) -> None:
        rows.write.format("delta").save(self.out)


def lakescore(job: Job) -> None:
    """As a user runs it: contract, accounting, lineage and commit."""
    _score(job, "auto")


def lakescore_general(job: Job) -> None:
    """The same where Spark must read the rows, as joins and expressions need it."""
    _score(job, "general")


def _score(job: Job, road: str) -> None:
    from lakescore.workflows.score import score

    assert job.spark is not None
    workload = job.bench.workload(job.shape, job.rows, job.out)
    settings = job.bench.settings
    scoring = settings.scoring.model_copy(update={"road": road})
    run = score(job.spark, settings.model_copy(update={"scoring": scoring}), workload)
    assert run.counts["predicted"] == job.rows, run.counts
    print("phases", run.timings, flush=True)


def synapse(job: Job) -> None:
    """SynapseML's LightGBM model, by transform."""
    from pyspark.ml.feature import VectorAssembler
    from pyspark.ml.functions import vector_to_array
    from pyspark.sql import functions as F
    from synapse.ml.lightgbm import LightGBMClassificationModel

    _set(job, "spark.sql.files.maxPartitionBytes", job.options.get("bytes", "128m"))
    encoded = job.source
    for name, levels in job.levels.items():
        values = ", ".join(f"'{level}'" for level in levels)
        code = F.expr(f"double(array_position(array({values}), {name}))")
        encoded = encoded.withColumn(name, code)
    assembler = VectorAssembler(inputCols=job.inputs, outputCol="features", handleInvalid="keep")
    model = LightGBMClassificationModel.loadNativeModelFromFile(job.model_text)
    scored = model.transform(assembler.transform(encoded).select("id", "features"))
    job.write(scored.select("id", vector_to_array("probability")[1].alias("prediction")))


def spark_udf(job: Job) -> None:
    """MLflow's pyfunc model as a Spark UDF, one LightGBM thread a task."""
    _by_udf(job, _pyfunc_folder(job), batch="65536")


def net_udf(job: Job) -> None:
    """The same net in MLflow's own ONNX flavour as a Spark UDF, one thread a task."""
    _by_udf(job, _onnx_folder(job), batch="10000")


def _by_udf(job: Job, folder: str, *, batch: str) -> None:
    import mlflow.pyfunc

    assert job.spark is not None
    _set(job, "spark.sql.execution.arrow.maxRecordsPerBatch", job.options.get("batch", batch))
    predict = mlflow.pyfunc.spark_udf(job.spark, folder, result_type="double", env_manager="local")
    job.write(job.source.select("id", predict(*job.inputs).alias("prediction")))


def _onnx_folder(job: Job) -> str:
    import mlflow.onnx
    import onnx

    folder = job.bench.root / f"onnx-{job.shape.name}"
    if not folder.exists():
        threads = {"inter_op_num_threads": 1, "intra_op_num_threads": 1}
        graph = onnx.load_model_from_string(job.package.scorer.model)
        mlflow.onnx.save_model(
            graph,
            str(folder),
            onnx_execution_providers=["CPUExecutionProvider"],
            onnx_session_options=threads,
        )
    return str(folder)


def _pyfunc_folder(job: Job) -> str:
    import lightgbm as lgb
    import mlflow.lightgbm
    import mlflow.pyfunc

    folder = job.bench.root / f"pyfunc-{job.shape.name}"
    if folder.exists():
        return str(folder)
    text = Path(job.model_text).read_text(encoding="utf-8")
    if job.levels:
        model = _Encoding(text, job.levels, job.inputs)
        mlflow.pyfunc.save_model(str(folder), python_model=model)
    else:
        booster = lgb.Booster(params={"num_threads": 1}, model_str=text)
        mlflow.lightgbm.save_model(booster, str(folder))
    return str(folder)


try:
    from mlflow.pyfunc import PythonModel
except ImportError:  # the worker without Spark
    PythonModel = object


class _Encoding(PythonModel):
    """Trees over string columns, encoded with pandas."""

    def __init__(self, text: str, levels: dict[str, list[str]], inputs: list[str]) -> None:
        self.text, self.levels, self.inputs = text, levels, inputs
        self.booster = None

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        import lightgbm as lgb
        import pandas as pd

        if self.booster is None:
            self.booster = lgb.Booster(params={"num_threads": 1}, model_str=self.text)
        frame = model_input.set_axis(self.inputs, axis=1)  # a UDF's columns have numbers for names
        for name, levels in self.levels.items():
            codes = pd.Categorical(frame[name], categories=levels).codes
            frame[name] = codes.astype("float64") + 1
        return self.booster.predict(frame[self.inputs].to_numpy(), num_threads=1)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "booster": None}


def by_hand_general(job: Job) -> None:
    """A script with mapInArrow and lakescore's own scorer: Spark reads the rows."""
    _in_arrow(job, _Scores(job))


def lleaves_in_arrow(job: Job) -> None:
    """The same script with lleaves, the fastest public library that gives LightGBM's doubles."""
    _in_arrow(job, _ByLleaves(job))


def _in_arrow(job: Job, score: _Scores) -> None:
    assert job.spark is not None
    _set(job, "spark.sql.execution.arrow.maxRecordsPerBatch", job.options.get("batch", "65536"))

    def score_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield score.with_key(batch)

    scored = job.source.select("id", *job.inputs)
    job.write(scored.mapInArrow(score_batches, "id bigint, prediction double"))


def by_hand_direct(job: Job) -> None:
    """A script whose tasks read the table's files with pyarrow; Spark writes what they give."""
    from lakescore.lake.tables import local_files

    assert job.spark is not None
    _set(job, "spark.sql.execution.arrow.maxRecordsPerBatch", job.options.get("batch", "65536"))
    files, score, columns = local_files(job.source) or [], _Scores(job), ["id", *job.inputs]

    def score_file(numbers: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in numbers:
            for number in batch.column(0).to_pylist():
                with pq.ParquetFile(files[number], memory_map=True) as file:
                    for rows in file.iter_batches(65_536, columns=columns, use_threads=False):
                        yield score.with_key(rows)

    numbers = job.spark.range(0, len(files), 1, len(files))
    job.write(numbers.mapInArrow(score_file, "id bigint, prediction double"))


def no_spark(job: Job) -> None:
    """The limit: a process a core reads files, scores, and writes plain Parquet."""
    from deltalake import DeltaTable

    files = DeltaTable(job.bench.path(job.shape, job.rows)).file_uris()
    Path(job.out).mkdir(parents=True)
    score, columns = _Scores(job), ["id", *job.inputs]
    work = [
        (score, columns, file, f"{job.out}/{place}.parquet") for place, file in enumerate(files)
    ]
    with ProcessPoolExecutor(job.bench.cores, mp_context=get_context("fork")) as pool:
        list(pool.map(_score_file, work))


def _score_file(work: tuple[_Scores, list[str], str, str]) -> None:
    score, columns, file, out = work
    schema = pa.schema({"id": pa.int64(), "prediction": pa.float64()})
    with pq.ParquetFile(file, memory_map=True) as rows, pq.ParquetWriter(out, schema) as writer:
        for batch in rows.iter_batches(65_536, columns=columns, use_threads=False):
            writer.write_batch(score.with_key(batch))


class _Scores:
    """The key and the scores of a batch, by the package's own scorer."""

    def __init__(self, job: Job) -> None:
        self.scorer, self.inputs = job.package.scorer, job.inputs
        self.levels = {name: pa.array(values) for name, values in job.levels.items()}

    def with_key(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        matrix = np.empty((batch.num_rows, len(self.inputs)), order=self._order)
        for place, name in enumerate(self.inputs):
            column = batch.column(name)
            if name in self.levels:
                column = pc.index_in(column, value_set=self.levels[name])
                matrix[:, place] = column.fill_null(-1).to_numpy(zero_copy_only=False) + 1.0
            else:
                matrix[:, place] = column.to_numpy(zero_copy_only=False)
        scores = pa.array(self._predict(matrix))
        return pa.RecordBatch.from_arrays([batch.column("id"), scores], ["id", "prediction"])

    _order: Literal["C", "F"] = "F"
    _ready: ClassVar[Any] = None

    def _predict(self, matrix: Any) -> Any:
        """By a scorer that is made ready once a process."""
        if _Scores._ready is None:
            _Scores._ready = self.scorer
        return _Scores._ready.predict(matrix)


class _ByLleaves(_Scores):
    """By lleaves, compiled once a process from its own cache file."""

    _order: Literal["C", "F"] = "C"

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.text = job.model_text

    def _predict(self, matrix: Any) -> Any:
        if _Scores._ready is None:
            _Scores._ready = _by_lleaves(self.text)
        return _Scores._ready.predict(matrix, n_jobs=1)


def _by_lleaves(text: str) -> Any:
    import lleaves

    model = lleaves.Model(text)
    model.compile(cache=f"{text}.o", fblocksize=1)
    return model


def compile_trees(job: Job) -> None:
    """For this host, before anything is timed: what lleaves takes tens of seconds for."""
    _by_lleaves(job.model_text)


def mllib(job: Job) -> None:
    """Spark MLlib's own model, by transform. Of the same kind and size, not the same numbers."""
    from pyspark.ml import PipelineModel
    from pyspark.ml.functions import vector_to_array

    model = PipelineModel.load(_pipeline_folder(job))
    scored = model.transform(job.source)
    job.write(scored.select("id", vector_to_array("probability")[1].alias("prediction")))


def _pipeline_folder(job: Job) -> str:
    from pyspark.ml import Pipeline
    from pyspark.ml.classification import LogisticRegression, RandomForestClassifier
    from pyspark.ml.feature import VectorAssembler

    assert job.spark is not None
    folder = job.bench.root / f"pipeline-{job.shape.name}"
    if not folder.exists():
        from benchmarks.scoring.shapes import TRAINING_ROWS

        path = Lake(job.bench.settings.lake).table(table_name(job.shape, TRAINING_ROWS)).path
        rows = job.spark.read.format("delta").load(path).selectExpr("*", "double(label) as y")
        assembler = VectorAssembler(inputCols=job.shape.number_columns, outputCol="features")
        learner = (
            LogisticRegression(labelCol="y")
            if job.shape.candidate == "logistic_regression"
            else RandomForestClassifier(labelCol="y", numTrees=50, maxDepth=8, seed=1)
        )
        Pipeline(stages=[assembler, learner]).fit(rows).save(str(folder))
    return str(folder)


def _set(job: Job, name: str, value: str) -> None:
    assert job.spark is not None
    job.spark.conf.set(name, value)


PEERS: dict[str, Callable[[Job], None]] = {
    "lakescore": lakescore,
    "lakescore, general road": lakescore_general,
    "by hand, general": by_hand_general,
    "by hand, direct": by_hand_direct,
    "by hand, lleaves": lleaves_in_arrow,
    "mlflow spark_udf": spark_udf,
    "SynapseML transform": synapse,
    "MLlib transform": mllib,
    "mlflow spark_udf, net": net_udf,
    "no Spark": no_spark,
}
