"""From the trained net to its ONNX graph, held to give what the net gives."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from lakescore.errors import ParityFailed
from lakescore.models.deep.loop import WEIGHTS
from lakescore.models.deep.net import Predictor, TabularNet
from lakescore.models.deep.scorer import OnnxScorer

if TYPE_CHECKING:
    import numpy.typing as npt

    from lakescore.models.deep.job import TrainingJob

#: How far graph and net may be apart, as a share of the larger of 1 and the prediction.
TOLERANCE = 1e-5
_OPSET = 18


def trained(job: TrainingJob) -> Predictor:
    """The net with the best weights that rank 0 left."""
    net = TabularNet(job)
    weights = torch.load(Path(job.folder) / WEIGHTS, weights_only=True, map_location="cpu")
    net.load_state_dict(weights)
    predictor = Predictor(net, job)
    predictor.eval()
    return predictor


def exported(predictor: Predictor, job: TrainingJob) -> OnnxScorer:
    """The scorer of a net, for batches of any size."""
    example = torch.zeros(2, len(job.columns), dtype=torch.float64)
    path = Path(job.folder) / "model.onnx"
    quiet = logging.getLogger("torch.onnx")
    level = quiet.level
    quiet.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                predictor,
                (example,),
                str(path),
                dynamo=True,
                input_names=["matrix"],
                output_names=["prediction"],
                dynamic_shapes={"matrix": {0: torch.export.Dim("rows")}},
                opset_version=_OPSET,
                external_data=False,
                verbose=False,
            )
    finally:
        quiet.setLevel(level)
    return OnnxScorer(job.schema.names, path.read_bytes(), job.classes, job.quantiles)


def check_parity(
    predictor: Predictor, scorer: OnnxScorer, matrix: npt.NDArray[np.float64]
) -> float:
    """The largest difference between net and graph on these rows. Raises ParityFailed."""
    with torch.no_grad():
        said = predictor(torch.from_numpy(matrix)).numpy()
    apart = np.abs(scorer.predict_with_quantiles(matrix) - said) / np.maximum(1.0, np.abs(said))
    worst = float(apart.max(initial=0.0))
    if not worst <= TOLERANCE:
        raise ParityFailed(
            f"the exported net differs from the trained one by {worst:.2g}, {TOLERANCE:g} allowed"
        )
    return worst
