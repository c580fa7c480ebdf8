"""Hashes of configuration, by which a run knows that the same was done already."""

from __future__ import annotations

from collections.abc import Set

from lakescore.config.base import ConfigModel
from lakescore.hashing import json_sha256

#: The sections of a workload that decide what training gives, on given table versions.
TRAINING_SECTIONS = frozenset(
    {"name", "source", "context", "features", "label", "split", "candidates", "select_by", "seed"}
)

#: What decides whether a training starts, or is of scoring alone: not what comes out of it.
_NOT_HASHED = {"source": {"freshness", "unique_within"}}


def config_hash(model: ConfigModel, include: Set[str]) -> str:
    """The SHA-256 of the sections `include`, short forms and key order aside.

    Raises ValueError for a section that the model does not have.
    """
    unknown = include - type(model).model_fields.keys()
    if unknown:
        raise ValueError(f"no such section: {', '.join(sorted(unknown))}")
    return json_sha256(model.model_dump(mode="json", include=set(include), exclude=_NOT_HASHED))
