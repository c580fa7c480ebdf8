"""What a saved MLlib pipeline takes, read from its own JSON without Spark."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lakescore.errors import ModelBroken, UsageError

_READS = ("inputCol", "inputCols", "featuresCol")
_WRITES = ("outputCol", "outputCols", "predictionCol", "probabilityCol", "rawPredictionCol")
#: Stages whose columns stand in a formula or a SQL text: what they read cannot be told.
_OPAQUE = ("SQLTransformer", "RFormulaModel")


def is_pipeline(folder: Path) -> bool:
    """Whether the folder has the layout of a saved pipeline."""
    return (folder / "metadata").is_dir() and (folder / "stages").is_dir()


def pipeline_inputs(folder: Path) -> tuple[str, ...] | None:
    """Columns that the stages read and no earlier stage writes; None when it cannot be told.

    Raises ModelBroken for unreadable metadata, UsageError for a pipeline that was never fitted.
    """
    pipeline = metadata_of(folder)
    if not str(pipeline.get("class", "")).endswith("PipelineModel"):
        raise UsageError(
            f"this is a saved {pipeline.get('class')}, not a fitted pipeline", where=str(folder)
        )
    needed: dict[str, None] = {}
    written: set[str] = set()
    for stage in map(metadata_of, stage_folders(folder)):
        if str(stage.get("class", "")).endswith(_OPAQUE):
            return None
        params = params_of(stage)
        needed |= dict.fromkeys(name for name in _columns(params, _READS) if name not in written)
        written |= set(_columns(params, _WRITES))
    return tuple(needed)


def stage_folders(folder: Path) -> list[Path]:
    """The folders of a saved pipeline's stages, in order."""
    return sorted((folder / "stages").iterdir(), key=lambda stage: int(stage.name.split("_")[0]))


def params_of(metadata: dict[str, Any]) -> dict[str, Any]:
    """A stage's parameters, defaults included."""
    return {**metadata.get("defaultParamMap", {}), **metadata.get("paramMap", {})}


def _columns(params: dict[str, Any], kinds: tuple[str, ...]) -> list[str]:
    found = [params[kind] for kind in kinds if kind in params]
    return [name for item in found for name in (item if isinstance(item, list) else [item])]


def metadata_of(folder: Path) -> dict[str, Any]:
    """What Spark wrote of a saved stage or pipeline. Raises ModelBroken."""
    parts = sorted((folder / "metadata").glob("part-*"))
    try:
        content = json.loads(parts[0].read_text(encoding="utf-8"))
    except (IndexError, OSError, ValueError) as error:
        raise ModelBroken("its metadata cannot be read", where=str(folder)) from error
    if not isinstance(content, dict):
        raise ModelBroken("its metadata is not what Spark writes", where=str(folder))
    return content
