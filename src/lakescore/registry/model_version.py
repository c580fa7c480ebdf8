"""A version of a registered model, as lakescore speaks of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from lakescore.errors import UsageError

_URI = re.compile(r"models:/(?P<name>[^@/]+)(?:@(?P<alias>[^@/]+)|/(?P<version>\d+))")


@dataclass(frozen=True)
class ModelVersion:
    """One registered version; never changes, but for its tags and aliases."""

    name: str
    version: str
    run_id: str | None = None
    source: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def uri(self) -> str:
        return f"models:/{self.name}/{self.version}"

    def __str__(self) -> str:
        return f"{self.name} version {self.version}"


@dataclass(frozen=True)
class ModelReference:
    """What ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION`` asks for: one of the two is set."""

    name: str
    alias: str | None = None
    version: str | None = None


def is_model_uri(spec: str) -> bool:
    """Whether `spec` names a model of the registry (rather than a path)."""
    return spec.startswith("models:")


def parse_model_uri(spec: str) -> ModelReference:
    """Read a registry address. Raises UsageError that shows the two forms."""
    match = _URI.fullmatch(spec)
    if match is None:
        raise UsageError(
            f"'{spec}' does not name a registered model",
            hint="write models:/NAME@ALIAS or models:/NAME/VERSION",
        )
    return ModelReference(**match.groupdict())
