"""The net: embeddings and standardised numbers through residual layers.

The shape is the ResNet of Gorishniy et al., "Revisiting Deep Learning Models for Tabular Data"
(NeurIPS 2021), with layer normalisation in place of batch normalisation: a row's output then does
not depend on the rows beside it, nor a rank's on the other ranks. Embedding sizes are those of
fastai's `emb_sz_rule`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

from lakescore.matrix import Task

if TYPE_CHECKING:
    from lakescore.models.deep.job import TrainingJob

_WIDEST_EMBEDDING = 600


def embedding_size(levels: int) -> int:
    """Of a column with so many levels, the unknown one included."""
    return min(_WIDEST_EMBEDDING, round(1.6 * math.pow(levels, 0.56)))


class ResidualLayer(nn.Module):
    """x + f(x), where f widens to twice the width and back."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.change = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 2 * width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(2 * width, width),
            nn.Dropout(dropout),
        )

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return rows + self.change(rows)


class TabularNet(nn.Module):
    """From the encoded matrix, shape (rows, columns) of doubles, to float32s.

    One a row, shape (rows,): the log-odds of class 1, or the label in its standard deviations from
    its mean. Of several classes the logit of each, shape (rows, classes); with quantiles the
    prediction and each of them, shape (rows, 1 + quantiles). A number that is missing counts as the
    mean, with a column of its own that says so.
    """

    numeric: torch.Tensor
    categorical: torch.Tensor
    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, job: TrainingJob) -> None:
        super().__init__()
        schema, parameters = job.schema, job.parameters
        categorical = schema.categorical_indexes
        numeric = [i for i in range(len(schema.columns)) if i not in set(categorical)]
        self.register_buffer("numeric", torch.tensor(numeric, dtype=torch.int64))
        self.register_buffer("categorical", torch.tensor(categorical, dtype=torch.int64))
        means = [standard.mean for standard in job.standards]
        scales = [standard.scale for standard in job.standards]
        self.register_buffer("mean", torch.tensor(means, dtype=torch.float64))
        self.register_buffer("scale", torch.tensor(scales, dtype=torch.float64))
        levels = [schema.columns[i].levels + 1 for i in categorical]
        self.embeddings = nn.ModuleList(nn.Embedding(n, embedding_size(n)) for n in levels)
        inputs = 2 * len(numeric) + sum(map(embedding_size, levels))
        width, dropout = int(parameters["width"]), float(parameters["dropout"])
        self.first = nn.Linear(inputs, width)
        self.layers = nn.Sequential(
            *(ResidualLayer(width, dropout) for _ in range(int(parameters["layers"])))
        )
        outputs = job.classes or 1 + len(job.quantiles)
        self.last = nn.Sequential(nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, outputs))

    def forward(self, matrix: torch.Tensor) -> torch.Tensor:
        said = self.last(self.layers(self.first(self._inputs(matrix))))
        return said.squeeze(1) if said.shape[1] == 1 else said

    def _inputs(self, matrix: torch.Tensor) -> torch.Tensor:
        parts = []
        if len(self.numeric):
            values = matrix.index_select(1, self.numeric)
            missing = torch.isnan(values)
            standard = (torch.where(missing, self.mean, values) - self.mean) / self.scale
            parts += [standard.float(), missing.float()]
        if len(self.embeddings):
            codes = matrix.index_select(1, self.categorical).long()
            parts += [
                embedding(codes.select(1, index)) for index, embedding in enumerate(self.embeddings)
            ]
        return torch.cat(parts, dim=1)


class Predictor(nn.Module):
    """What is scored: the matrix in, the predictions as doubles out, shaped as a scorer's."""

    def __init__(self, net: TabularNet, job: TrainingJob) -> None:
        super().__init__()
        self.net = net
        self.task = job.task
        self.has_quantiles = bool(job.quantiles)
        self.mean, self.scale = job.label.mean, job.label.scale

    def forward(self, matrix: torch.Tensor) -> torch.Tensor:
        said = self.net(matrix).double()
        if self.task is Task.BINARY:
            return torch.sigmoid(said)
        if self.task is Task.MULTICLASS:
            return torch.softmax(said, dim=1)
        if self.has_quantiles:
            # In order: they are learned one by one, and may cross (Chernozhukov et al., 2010).
            said = torch.cat([said[:, :1], torch.sort(said[:, 1:], dim=1).values], dim=1)
        return said * self.scale + self.mean
