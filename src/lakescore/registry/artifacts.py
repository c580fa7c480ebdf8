"""A model version's files: where they go, how they come back, and whether they are all there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlparse

from lakescore.errors import ModelBroken
from lakescore.hashing import folder_hashes, json_sha256
from lakescore.registry.calls import MlflowCalls
from lakescore.registry.mlmodel import MLMODEL
from lakescore.registry.model_version import ModelVersion

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: MLflow adds this file to what it downloads.
_ADDED_BY_MLFLOW = {"registered_model_meta"}


def location(registry_uri: str, artifacts: str | None) -> str | None:
    """Where runs keep files: as set, else beside a local database, else the server's choice."""
    if artifacts is None and registry_uri.startswith("sqlite:///"):
        artifacts = str(Path(registry_uri.removeprefix("sqlite:///")).parent / "artifacts")
    if artifacts is None or "://" in artifacts or artifacts.startswith(("dbfs:", "mlflow-")):
        return artifacts
    return Path(artifacts).absolute().as_uri()


def content_sha256(folder: Path) -> str:
    """One hash over the names and contents of a model folder's files."""
    hashes = folder_hashes(folder)
    return json_sha256({name: sha for name, sha in hashes.items() if name not in _ADDED_BY_MLFLOW})


def download(client: MlflowClient, version: ModelVersion, folder: Path, calls: MlflowCalls) -> Path:
    """Fetch the model folder below `folder`; returns where its MLmodel is. Raises ModelBroken."""
    folder.mkdir(parents=True, exist_ok=True)
    if _is_gone(str(version.source)):
        raise ModelBroken(
            f"{version}: its files are gone",
            where=str(version.source),
            hint="was the folder moved or removed? registry.artifacts says where it was",
        )
    if calls.is_unity_catalog:
        return Path(_from_registry(version, folder, calls.uri))
    root = client.get_run(version.run_id).info.artifact_uri if version.run_id else None
    if root and version.source and version.source.startswith(f"{root}/"):
        inside = version.source[len(root) + 1 :]
        return Path(client.download_artifacts(version.run_id, inside, str(folder)))
    return Path(_from_uri(str(version.source), folder, calls.tracking_uri))


def check_content(folder: Path, version: ModelVersion, expected: str | None) -> None:
    """Raise ModelBroken unless the folder is complete and what was registered.

    A version that lakescore did not register has no hash; its MLmodel must be there at least.
    """
    if not (folder / MLMODEL).is_file():
        raise ModelBroken(f"{version}: its files lack {MLMODEL}", where=str(version.source))
    if expected is not None and content_sha256(folder) != expected:
        names = ", ".join(folder_hashes(folder))
        raise ModelBroken(
            f"{version}: its files are not those that were registered",
            where=str(version.source),
            hint=f"a partial download, or an altered store; there are: {names}",
        )


def _is_gone(source: str) -> bool:
    path = unquote(urlparse(source).path) if source.startswith("file:") else source
    return path.startswith("/") and not Path(path).exists()


def _from_uri(source: str, folder: Path, tracking_uri: str) -> str:
    from mlflow.artifacts import download_artifacts

    downloaded: str = download_artifacts(
        artifact_uri=source, dst_path=str(folder), tracking_uri=tracking_uri
    )
    return downloaded


def _from_registry(version: ModelVersion, folder: Path, registry_uri: str) -> str:
    """Unity Catalog gives files by the version's own address, with short-lived credentials."""
    from mlflow.store.artifact.unity_catalog_models_artifact_repo import (
        UnityCatalogModelsArtifactRepository,
    )

    repository = UnityCatalogModelsArtifactRepository(version.uri, registry_uri)
    downloaded: str = repository.download_artifacts("", str(folder))
    return downloaded
