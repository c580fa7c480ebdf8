"""The model that a scoring run uses: resolved once, at the run's start."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakescore.errors import LakescoreError, ModelNotFound
from lakescore.hashing import file_sha256, folder_hashes, json_sha256
from lakescore.matrix import Answers

if TYPE_CHECKING:
    from lakescore.config.settings import Settings
    from lakescore.config.workload import Context, Workload
    from lakescore.registry.foreign import OpenedModel
    from lakescore.scoring.package import ModelPackage


@dataclass(frozen=True)
class ScoringModel:
    """An opened model and, when it is lakescore's own, the package with its feature definitions.

    `version` is what the lineage of each row says: the registry's version, or the content hash
    of a model that is only a path.
    """

    version: str
    opened: OpenedModel
    package: ModelPackage | None

    @property
    def answers(self) -> Answers:
        """What the model gives for a row."""
        return self.package.answers if self.package else Answers()

    def contexts(self, workload: Workload) -> dict[str, Context]:
        """A trained model brings the joins that it was trained with."""
        return dict(self.package.contexts if self.package else workload.context)

    def describe(self) -> dict[str, Any]:
        return {**self.opened.describe(), "version": self.version}


@contextmanager
def scoring_model(
    settings: Settings, workload: Workload, version: str | None = None
) -> Iterator[ScoringModel]:
    """Open the workload's model for the time of the block; its files are gone afterwards.

    `version` names one of its registered versions instead of the champion.

    Raises ModelNotFound when a workload that trains has no champion yet, and what `open_model`
    raises.
    """
    from lakescore.registry.foreign import open_model
    from lakescore.registry.store import Registry

    registry = Registry(settings.registry)
    if version is not None:
        spec = f"models:/{registry.full_name(workload.name)}/{version}"
    else:
        spec = workload.model or _champion(registry, workload)
    with tempfile.TemporaryDirectory(prefix="lakescore-model-") as folder:
        opened = open_model(spec, trust=workload.trust, registry=registry, folder=Path(folder))
        yield ScoringModel(_version(opened), opened, _package(opened))


def require_model(settings: Settings, workload: Workload) -> None:
    """Raise ModelNotFound for a workload without a champion, before a session is started for it.

    The failure is recorded as that of the scoring run that it stands for.
    """
    from lakescore.registry.store import Registry
    from lakescore.workflows.run_result import recorded_run

    if workload.model is not None:
        return
    try:
        _champion(Registry(settings.registry), workload)
    except LakescoreError:
        with recorded_run("score", workload.name, settings):
            raise


def _champion(registry: Any, workload: Workload) -> str:
    name = registry.full_name(workload.name)
    champion = registry.champion(name)
    if champion is None:
        raise ModelNotFound(
            f"'{name}' has no champion yet",
            where=registry.where,
            hint=f"lakescore train {workload.name}, then lakescore promote {workload.name}; if the "
            f"gate refused it, lakescore report {workload.name} says why",
        )
    return str(champion.uri)


def _version(opened: OpenedModel) -> str:
    if opened.version is not None:
        return opened.version.version
    path = Path(opened.path)
    if path.is_file():
        return f"sha256:{file_sha256(path)[:16]}"
    if path.is_dir():
        return f"sha256:{json_sha256(folder_hashes(path))[:16]}"
    return opened.spec


def _package(opened: OpenedModel) -> ModelPackage | None:
    from lakescore.registry.foreign import Runner
    from lakescore.scoring.package import ModelPackage

    return ModelPackage.load(Path(opened.path)) if opened.runner is Runner.PACKAGE else None
