"""lakescore: batch machine learning on a data lake.

A notebook calls the same workflow functions as the command line, with its own `spark`::

    import lakescore

    settings = lakescore.load_settings("local")
    workload = lakescore.load_workload("churn")
    result = lakescore.score(spark, settings, workload)

Everything is imported at its first use: `import lakescore` brings in neither pyspark nor mlflow.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lakescore.errors import LakescoreError as LakescoreError
    from lakescore.notebook import load_settings as load_settings
    from lakescore.notebook import load_workload as load_workload
    from lakescore.session import spark_session as spark_session
    from lakescore.workflows.adopt import adopt as adopt
    from lakescore.workflows.ingest import ingest as ingest
    from lakescore.workflows.plan import plan_scoring as plan_scoring
    from lakescore.workflows.promote import promote as promote
    from lakescore.workflows.restore import restore as restore
    from lakescore.workflows.rollback import rollback as rollback
    from lakescore.workflows.score import backfill as backfill
    from lakescore.workflows.score import score as score
    from lakescore.workflows.train import train as train

_WHERE = {
    "LakescoreError": "lakescore.errors",
    "load_settings": "lakescore.notebook",
    "load_workload": "lakescore.notebook",
    "spark_session": "lakescore.session",
    "adopt": "lakescore.workflows.adopt",
    "ingest": "lakescore.workflows.ingest",
    "plan_scoring": "lakescore.workflows.plan",
    "promote": "lakescore.workflows.promote",
    "restore": "lakescore.workflows.restore",
    "rollback": "lakescore.workflows.rollback",
    "backfill": "lakescore.workflows.score",
    "score": "lakescore.workflows.score",
    "train": "lakescore.workflows.train",
}

__all__ = [*_WHERE]  # noqa: PLE0604 - the names are the keys above


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'lakescore' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *_WHERE])
