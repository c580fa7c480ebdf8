"""Scorers as folders of data: `scorer.json` says what is in one, and the SHA-256 of each file.

Nothing in such a folder is code and nothing is a pickle.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from lakescore.errors import LakescoreError, ModelBroken, did_you_mean
from lakescore.models.base import Scorer
from lakescore.sealed import open_sealed, seal

FORMAT = 1
HEADER = "scorer.json"

#: Kind -> where its class is; imported when one is loaded.
_SCORERS = {
    "forest": "lakescore.models.mllib.forest_scorer:ForestScorer",
    "kmeans": "lakescore.models.mllib.kmeans_scorer:KMeansScorer",
    "lightgbm": "lakescore.models.lightgbm.scorer:LightGBMScorer",
    "linear": "lakescore.models.mllib.linear_scorer:LinearScorer",
    "onnx": "lakescore.models.deep.scorer:OnnxScorer",
    "prior": "lakescore.models.prior:PriorScorer",
}


def save_scorer(scorer: Scorer, folder: Path) -> None:
    """Write a scorer into `folder` (made if need be, must be empty)."""
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty")
    scorer.save(folder)
    seal(
        folder,
        HEADER,
        {"format": FORMAT, "kind": scorer.kind, "columns": list(scorer.columns)},
    )


def load_scorer(folder: Path) -> Scorer:
    """Read what `save_scorer` wrote. Raises ModelBroken when truncated, altered or newer."""
    header = open_sealed(folder, HEADER, newest=FORMAT, what="saved scorer")
    try:
        kind, columns = header["kind"], header["columns"]
        scorer = _scorer_type(kind, folder).load(folder)
    except LakescoreError:
        raise
    except (ValueError, KeyError, TypeError, IndexError, EOFError, OSError) as error:
        raise ModelBroken(f"its files do not fit: {error}", where=str(folder)) from error
    if list(scorer.columns) != columns:
        raise ModelBroken("its columns are not those of its description", where=str(folder))
    return scorer


def _scorer_type(kind: str, folder: Path) -> type[Scorer]:
    if kind not in _SCORERS:
        raise ModelBroken(
            f"no scorer is called '{kind}'", where=str(folder), hint=did_you_mean(kind, _SCORERS)
        )
    module, _, name = _SCORERS[kind].partition(":")
    found: type[Scorer] = getattr(import_module(module), name)
    return found
