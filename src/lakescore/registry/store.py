"""Registers model versions, finds them again, and moves the champion alias."""

from __future__ import annotations

import contextlib
import hashlib
import math
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakescore.config.settings import RegistrySettings
from lakescore.errors import ConfigError, ModelNotFound, UsageError, did_you_mean
from lakescore.hashing import canonical_json
from lakescore.registry import artifacts
from lakescore.registry.calls import TRANSFER_SECONDS, ExistsError, MissingError, MlflowCalls
from lakescore.registry.history import after_promotion, before, read_history, write_history
from lakescore.registry.mlmodel import PREDICTION, write_package_model
from lakescore.registry.model_version import ModelReference, ModelVersion, parse_model_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: Unity Catalog's limits are the narrowest: no `. , - = / :` in tag keys, 1,000 characters a value.
_KEY_REFUSED = re.compile(r"[.,\-=/: ]")
_MAX_TAG_VALUE = 1000
#: Of one call, as MLflow's servers take it.
_MAX_METRICS = 1_000
_MAX_PARAM_VALUE = 500
_CONTENT_TAG = "lakescore_content_sha256"
_LISTED = 100


class Registry:
    """The MLflow registry of one environment.

    Every method raises RegistryUnavailable when the registry gives no answer by the deadline of
    its settings (files: half an hour). Names are full names: `full_name` makes one of a
    workload's.
    """

    def __init__(self, settings: RegistrySettings) -> None:
        self.settings = settings
        self._calls = MlflowCalls(settings.uri, settings.timeout_seconds)

    @property
    def where(self) -> str:
        """The registry's address, without a password."""
        return self._calls.where

    def full_name(self, workload: str) -> str:
        """The registered model's name of a workload. Raises ConfigError where it cannot be one."""
        name = f"{self.settings.model_prefix}{workload}"
        if self._calls.is_unity_catalog and name.count(".") != 2:
            raise ConfigError(
                f"Unity Catalog needs a model name of three levels; this is '{name}'",
                where="registry.model_prefix",
                hint="set it to 'CATALOG.SCHEMA.'",
            )
        return name

    # --- registering ------------------------------------------------------------------------

    def register(
        self,
        package: Path,
        *,
        name: str,
        inputs: Mapping[str, str],
        tags: Mapping[str, str],
        metrics: Mapping[str, float],
        params: Mapping[str, Any],
        outputs: Sequence[str] = (PREDICTION,),
        curves: Mapping[str, Sequence[float]] | None = None,
        report_files: Sequence[Path] = (),
        run_name: str | None = None,
    ) -> ModelVersion:
        """Register a saved model package as the next version of `name`. No alias is moved.

        `inputs` maps feature -> Spark type (`ModelPackage.signature`), for MLflow's signature;
        `outputs` are what the model's numbers are called.
        `metrics` are named by split, as in ``test.average_precision``; `curves` have one value
        a step. The version becomes visible last, when all of its files are there.
        """
        with tempfile.TemporaryDirectory(prefix="lakescore-") as temporary:
            folder = Path(temporary)
            write_package_model(package, folder, inputs, outputs)
            return self.register_folder(
                folder,
                name=name,
                tags=tags,
                metrics=metrics,
                params=params,
                curves=curves,
                report_files=report_files,
                run_name=run_name,
            )

    def register_folder(
        self,
        folder: Path,
        *,
        name: str,
        tags: Mapping[str, str],
        metrics: Mapping[str, float],
        params: Mapping[str, Any],
        curves: Mapping[str, Sequence[float]] | None = None,
        report_files: Sequence[Path] = (),
        run_name: str | None = None,
    ) -> ModelVersion:
        """Register an MLflow model folder (with its MLmodel) as it is; see `register`."""
        content = artifacts.content_sha256(folder)
        all_tags = _tags({**tags, _CONTENT_TAG: content})
        run_id = self._start_run(run_name or name, all_tags)
        status = "FAILED"
        try:
            self._log(run_id, metrics, params, curves or {})
            source = self._upload(run_id, folder, report_files, tags)
            status = "FINISHED"
        finally:
            self._calls("ending the run", lambda c: c.set_terminated(run_id, status))
        return self._create_version(name, run_id, source, all_tags)

    def _start_run(self, run_name: str, tags: Mapping[str, str]) -> str:
        experiment = self._experiment()

        def start(client: MlflowClient) -> str:
            run = client.create_run(experiment, tags=dict(tags), run_name=run_name)
            return str(run.info.run_id)

        return self._calls("starting a run", start)

    def _experiment(self) -> str:
        name = self.settings.experiment
        found = self._calls("reading the experiment", lambda c: c.get_experiment_by_name(name))
        if found is None:
            location = artifacts.location(self.settings.uri, self.settings.artifacts)
            try:
                return str(
                    self._calls(
                        "creating the experiment",
                        lambda c: c.create_experiment(name, artifact_location=location),
                    )
                )
            except ExistsError:
                return self._experiment()
        if found.lifecycle_stage == "deleted":
            raise ConfigError(
                f"the experiment '{name}' was deleted",
                where=self.where,
                hint="restore it in MLflow, or name another under registry.experiment",
            )
        return str(found.experiment_id)

    def _log(
        self,
        run_id: str,
        metrics: Mapping[str, float],
        params: Mapping[str, Any],
        curves: Mapping[str, Sequence[float]],
    ) -> None:
        values = [(name, value, 0) for name, value in metrics.items()]
        for name, curve in curves.items():
            values += [(name, value, step) for step, value in enumerate(curve, start=1)]
        finite = [
            (name, float(value), step) for name, value, step in values if math.isfinite(value)
        ]

        def log(client: MlflowClient) -> None:
            from mlflow.entities import Metric, Param
            from mlflow.utils.time import get_current_time_millis

            now = get_current_time_millis()
            told = [Param(key, str(value)[:_MAX_PARAM_VALUE]) for key, value in params.items()]
            logged = [Metric(name, value, now, step) for name, value, step in finite]
            client.log_batch(run_id, metrics=logged[:_MAX_METRICS], params=told)
            for start in range(_MAX_METRICS, len(logged), _MAX_METRICS):
                client.log_batch(run_id, metrics=logged[start : start + _MAX_METRICS])

        self._calls("logging metrics", log)

    def _upload(
        self, run_id: str, folder: Path, report_files: Sequence[Path], tags: Mapping[str, str]
    ) -> str:
        def upload(client: MlflowClient) -> str:
            client.log_artifacts(run_id, str(folder), "model")
            for file in report_files:
                client.log_artifact(run_id, str(file), "report")
            client.log_text(run_id, canonical_json(tags), "lakescore_tags.json")
            return str(client.get_run(run_id).info.artifact_uri)

        root = self._calls("uploading the model", upload, seconds=TRANSFER_SECONDS)
        return f"runs:/{run_id}/model" if self._calls.is_unity_catalog else f"{root}/model"

    def _create_version(
        self, name: str, run_id: str, source: str, tags: Mapping[str, str]
    ) -> ModelVersion:
        with contextlib.suppress(ExistsError):
            self._calls("creating the model", lambda c: c.create_registered_model(name))

        def create(client: MlflowClient) -> Any:
            return client.create_model_version(name, source, run_id, tags=dict(tags))

        seconds = TRANSFER_SECONDS if self._calls.is_unity_catalog else None
        return _version(self._calls("creating the model version", create, seconds=seconds))

    def add_to_run(
        self, version: ModelVersion, metrics: Mapping[str, float], files: Sequence[Path]
    ) -> None:
        """Add metrics and report files to the MLflow run that made `version`."""
        run_id = version.run_id
        if run_id is None:
            return
        self._log(run_id, metrics, {}, {})

        def upload(client: MlflowClient) -> None:
            for file in files:
                client.log_artifact(run_id, str(file), "report")

        self._calls("uploading the report", upload, seconds=TRANSFER_SECONDS)

    # --- finding ----------------------------------------------------------------------------

    def resolve(self, uri: str) -> ModelVersion:
        """The version that ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION`` names now.

        Raises ModelNotFound, which lists what is there.
        """
        reference = parse_model_uri(uri)
        if reference.version is None:
            return self.get_alias(reference.name, str(reference.alias))
        return self.get_version(reference.name, reference.version)

    def get_version(self, name: str, version: str) -> ModelVersion:
        """One version by number. Raises ModelNotFound."""
        try:
            found = self._calls("reading a version", lambda c: c.get_model_version(name, version))
        except MissingError as error:
            raise self._not_found(ModelReference(name, version=version)) from error
        return _version(found)

    def get_alias(self, name: str, alias: str) -> ModelVersion:
        """The version that an alias names now. Raises ModelNotFound."""
        if (found := self.find_alias(name, alias)) is None:
            raise self._not_found(ModelReference(name, alias=alias))
        return found

    def find_alias(self, name: str, alias: str) -> ModelVersion | None:
        """The version that an alias names now, or None where there is none yet."""
        try:
            found = self._calls(
                "reading an alias", lambda c: c.get_model_version_by_alias(name, alias)
            )
        except MissingError:
            return None
        return _version(found)

    def versions(self, name: str) -> list[ModelVersion]:
        """The newest versions of a model (at most 100), newest first; none for an unknown name."""

        def search(client: MlflowClient) -> list[Any]:
            found = client.search_model_versions(f"name='{_escaped(name)}'", max_results=_LISTED)
            return list(found)

        found = sorted(self._calls("listing versions", search), key=lambda v: -int(v.version))
        return [_version(version) for version in found]

    def find_by_tag(self, name: str, key: str, value: str) -> ModelVersion | None:
        """The newest version that was registered with this tag, or None."""
        (stored_key, stored_value), *_ = _tags({key: value}).items()
        for version in self.versions(name):
            if self._calls.is_unity_catalog:  # its search leaves tags out
                version = self.get_version(name, version.version)  # noqa: PLW2901
            if version.tags.get(stored_key) == stored_value:
                return version
        return None

    def _not_found(self, reference: ModelReference) -> ModelNotFound:
        known = self.versions(reference.name)
        if not known and (names := self._names()) is not None and reference.name not in names:
            return ModelNotFound(
                f"no model '{reference.name}' in the registry",
                where=self.where,
                hint=did_you_mean(reference.name, names),
            )
        if reference.alias is not None:
            return ModelNotFound(
                f"model '{reference.name}' has no alias '{reference.alias}'",
                where=self.where,
                hint=did_you_mean(reference.alias, self._aliases(reference.name)),
            )
        return ModelNotFound(
            f"model '{reference.name}' has no version {reference.version}",
            where=self.where,
            hint=f"versions: {', '.join(version.version for version in known) or 'none'}",
        )

    def _names(self) -> list[str]:
        found = self._calls(
            "listing models", lambda c: list(c.search_registered_models(max_results=_LISTED))
        )
        return [model.name for model in found]

    def _aliases(self, name: str) -> list[str]:
        model = self._calls("reading the model", lambda c: c.get_registered_model(name))
        return sorted(model.aliases)

    # --- aliases ----------------------------------------------------------------------------

    def set_alias(self, version: ModelVersion, alias: str) -> None:
        """Make `alias` name this version, whatever it named before."""
        self._calls(
            "moving an alias",
            lambda c: c.set_registered_model_alias(version.name, alias, version.version),
        )

    def champion(self, name: str) -> ModelVersion | None:
        """The champion of a model, or None before the first promotion."""
        return self.find_alias(name, self.settings.champion_alias)

    def promote(self, version: ModelVersion) -> ModelVersion | None:
        """Make `version` champion, the alias last; returns the champion that it replaces."""
        outgoing = self.champion(version.name)
        if outgoing is not None and outgoing.version == version.version:
            return outgoing
        history = self.past_champions(version.name)
        self._write_history(
            version.name, after_promotion(history, outgoing.version if outgoing else None)
        )
        self.set_alias(version, self.settings.champion_alias)
        return outgoing

    def rollback(self, name: str) -> ModelVersion:
        """Make the champion before this one champion again; repeat to go further back.

        Versions deleted since are passed over. Raises UsageError when there is none left.
        """
        current = self.champion(name)
        target, history = before(self.past_champions(name), current.version if current else None)
        while target is not None:
            try:
                version = self.get_version(name, target)
            except ModelNotFound:
                target, history = before(history, target)
                continue
            self.set_alias(version, self.settings.champion_alias)
            self._write_history(name, history)
            return version
        raise UsageError(
            f"model '{name}' has no earlier champion to go back to",
            where=self.where,
            hint=f"champion now: {current.version if current else 'none'}",
        )

    def past_champions(self, name: str) -> tuple[str, ...]:
        """Versions that were champion before this one, oldest first (as many as the tag holds)."""
        try:
            model = self._calls("reading the model", lambda c: c.get_registered_model(name))
        except MissingError as error:
            raise self._not_found(ModelReference(name)) from error
        return read_history(model.tags.get(self._history_tag))

    @property
    def _history_tag(self) -> str:
        return f"lakescore_history_{_KEY_REFUSED.sub('_', self.settings.champion_alias)}"

    def _write_history(self, name: str, history: tuple[str, ...]) -> None:
        text = write_history(history)
        self._calls(
            "writing the history",
            lambda c: c.set_registered_model_tag(name, self._history_tag, text),
        )

    # --- files ------------------------------------------------------------------------------

    def download(self, version: ModelVersion, folder: Path) -> Path:
        """Fetch a version's model folder (with its MLmodel) into `folder`.

        Raises ModelBroken when a file is missing or is not what was registered.
        """
        local = self._calls(
            f"downloading {version}",
            lambda c: artifacts.download(c, version, folder, self._calls),
            seconds=TRANSFER_SECONDS,
        )
        artifacts.check_content(local, version, version.tags.get(_CONTENT_TAG))
        return local


def _version(found: Any) -> ModelVersion:
    return ModelVersion(
        name=found.name,
        version=str(found.version),
        run_id=found.run_id or None,
        source=found.source,
        tags=dict(found.tags or {}),
    )


def _tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Keys and values that every registry takes; a value too long is known by its hash."""
    fitted = {}
    for key, value in tags.items():
        text = str(value)
        if len(text) > _MAX_TAG_VALUE:
            text = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
        fitted[_KEY_REFUSED.sub("_", key)] = text
    return fitted


def _escaped(name: str) -> str:
    return name.replace("'", "\\'")
