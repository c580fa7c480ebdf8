"""The training of one rank. Every backend runs this, on the same shards and with the same seed.

Each batch is shared out: a rank sums the gradients of its own rows, all ranks add up their sums,
and the mean over all rows of the batch is what the optimiser sees. So it is the same mean whatever
the number of ranks, a rank that has run out of rows adds nothing, and parameters stay equal on
all ranks without being sent.
"""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from lakescore.errors import TrainingFailed
from lakescore.matrix import Task
from lakescore.models.deep import checkpoint
from lakescore.models.deep.checkpoint import Progress
from lakescore.models.deep.net import TabularNet
from lakescore.models.deep.shards import LocalRows
from lakescore.models.deep.watch import Watch, done

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from lakescore.models.deep.job import Shards, TrainingJob
    from lakescore.models.deep.ranks import Ranks

WEIGHTS = "weights.pt"
_LOWER = "lower learning_rate; look at the label's largest values"
#: Of the learning rate, at the end of the last epoch: it falls there along a cosine.
_LAST_RATE = 0.05


def train_rank(job: TrainingJob, ranks: Ranks, watch: Watch) -> None:
    """Train as one of the ranks; number 0 writes the best weights into the job's folder.

    Raises TrainingFailed (a loss that is not finite, a deadline) and RankLost.
    """
    torch.set_num_threads(job.threads)
    _Training(job, ranks, watch).run()


class _Training:
    def __init__(self, job: TrainingJob, ranks: Ranks, watch: Watch) -> None:
        self.job, self.ranks, self.watch = job, ranks, watch
        self.device = _device(ranks)
        torch.manual_seed(job.seed)
        self.net = TabularNet(job).to(self.device)
        self.gradients = _flat_gradients(self.net, self.device)
        self.optimiser = torch.optim.AdamW(
            self.net.parameters(),
            lr=float(job.parameters["learning_rate"]),
            weight_decay=float(job.parameters["weight_decay"]),
        )
        self.train, self.validation = map(self._own, (job.train, job.validation))
        self.held_out: float | None = None
        self.started = time.time()

    def run(self) -> None:
        job = self.job
        progress = checkpoint.load(job, self.net, self.optimiser)
        resumed_after = progress.epochs
        while not self._is_over(progress):
            began = time.perf_counter()
            loss = self._epoch(progress.epochs)
            seconds = time.perf_counter() - began
            held_out = self._validate()
            if job.validation.rows and not math.isfinite(held_out):
                raise TrainingFailed(
                    f"the validation loss is not finite after epoch {progress.epochs + 1}",
                    hint=_LOWER,
                )
            self.held_out = held_out if job.validation.rows else None
            self._add(progress, loss, held_out, job.train.rows / seconds)
            if self.ranks.rank == 0:
                checkpoint.save(job, progress, self.net, self.optimiser)
        self._finish(progress, resumed_after)

    def _own(self, shards: Shards) -> LocalRows:
        share = shards.share(self.ranks.rank, self.ranks.size)
        return LocalRows(shards, share, self.job.schema, self.watch.step)

    def _is_over(self, progress: Progress) -> bool:
        parameters = self.job.parameters
        waited = progress.epochs - progress.best_epoch
        patience = int(parameters["patience"])
        stopped = bool(patience) and self.job.validation.rows > 0 and waited >= patience
        return progress.epochs >= int(parameters["epochs"]) or stopped

    def _epoch(self, epoch: int) -> float:
        """Train once on all rows; the mean loss a row."""
        job = self.job
        torch.manual_seed(_seed(job.seed, epoch, self.ranks.rank))
        self.net.train()
        total = rows = 0.0
        for step, batch in enumerate(self._batches(epoch)):
            self._set_rate(epoch + step / job.steps)
            self.gradients.zero_()
            own = 0.0 if batch is None else self._add_gradients(batch)
            summed, count = self._mean_gradients(own, 0 if batch is None else len(batch))
            if not math.isfinite(summed):
                raise self._not_finite(own, epoch, step)
            self.optimiser.step()
            self.watch.step(epoch + (step + 1) / job.steps, self.held_out)
            total, rows = total + summed, rows + count
        return total / rows

    def _batches(self, epoch: int) -> Iterator[npt.NDArray[np.float64] | None]:
        """As many as the rank with the most rows has; None once this one has no more."""
        seed = _seed(self.job.seed, epoch, self.ranks.rank)
        own = self.train.shuffled(self.job.rank_rows, seed)
        for _ in range(self.job.steps):
            yield next(own, None)

    def _add_gradients(self, batch: npt.NDArray[np.float64]) -> float:
        """Sum the gradients of the batch's rows; their summed loss."""
        loss = self._loss(batch)
        loss.backward()
        return float(loss.detach())

    def _loss(self, batch: npt.NDArray[np.float64]) -> torch.Tensor:
        """Summed over the rows: log loss, or squared error in standard deviations."""
        rows = torch.from_numpy(batch).to(self.device, non_blocking=True)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            said = self.net(rows[:, :-1]).float()
        label = rows[:, -1]
        if self.job.task is Task.BINARY:
            return functional.binary_cross_entropy_with_logits(said, label.float(), reduction="sum")
        if self.job.task is Task.MULTICLASS:
            return functional.cross_entropy(said, label.long(), reduction="sum")
        standard = (label - self.job.label.mean) / self.job.label.scale
        return self._number_loss(said, standard.float())

    def _number_loss(self, said: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Squared error of the prediction, and the pinball loss of each quantile.

        Koenker & Bassett, "Regression quantiles", Econometrica 46 (1978).
        """
        if not self.job.quantiles:
            return functional.mse_loss(said, label, reduction="sum")
        loss = functional.mse_loss(said[:, 0], label, reduction="sum")
        for place, level in enumerate(self.job.quantiles, start=1):
            short = label - said[:, place]
            loss = loss + torch.maximum(level * short, (level - 1) * short).sum()
        return loss

    def _mean_gradients(self, loss: float, rows: int) -> tuple[float, float]:
        """Over all rows of all ranks; the summed loss and the number of these rows."""
        self.gradients[-2], self.gradients[-1] = loss, rows
        self.ranks.sum(self.gradients)
        summed, count = self.gradients[-2:].tolist()
        self.gradients[:-2] /= count
        return summed, count

    def _set_rate(self, epochs: float) -> None:
        done_share = min(1.0, epochs / int(self.job.parameters["epochs"]))
        falling = (1 + math.cos(math.pi * done_share)) / 2
        rate = float(self.job.parameters["learning_rate"])
        for group in self.optimiser.param_groups:
            group["lr"] = rate * (_LAST_RATE + (1 - _LAST_RATE) * falling)

    def _not_finite(self, own: float, epoch: int, step: int) -> TrainingFailed:
        batch = f"epoch {epoch + 1}, batch {step + 1} of {self.job.steps}"
        whose = "" if not math.isfinite(own) else ", by rows of another rank"
        return TrainingFailed(
            f"the loss is not finite in {batch}{whose}",
            hint=_LOWER,
        )

    def _validate(self) -> float:
        """The mean loss a row on the held-out rows of all ranks; NaN without any."""
        self.net.eval()
        own = torch.zeros(2, dtype=torch.float64, device=self.device)
        with torch.no_grad():
            for batch in self.validation.in_order(self.job.rank_rows):
                own += torch.tensor([float(self._loss(batch)), len(batch)], device=self.device)
                self.watch.step()
        self.ranks.sum(own)
        self.watch.step()
        loss, rows = own.tolist()
        return loss / rows if rows else math.nan

    def _add(self, progress: Progress, loss: float, held_out: float, rate: float) -> None:
        progress.epochs += 1
        epoch = {"train_loss": loss, "validation_loss": held_out, "rows_per_second": rate}
        progress.history.append(epoch)
        measured = held_out if self.job.validation.rows else -progress.epochs
        if measured < progress.best_loss:
            progress.best_epoch, progress.best_loss = progress.epochs, measured
            progress.best = {k: v.clone().cpu() for k, v in self.net.state_dict().items()}

    def _finish(self, progress: Progress, resumed_after: int) -> None:
        if self.ranks.rank == 0:
            torch.save(progress.best, Path(self.job.folder) / WEIGHTS)
        told = {
            "epochs": progress.epochs,
            "resumed_after": resumed_after,
            "best_epoch": progress.best_epoch,
            "history": progress.history,
            "parameters": _digest(self.net),
            "first_step": self.started,
            "device": str(self.device),
            "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
        done(self.job, self.ranks.rank, told)


def _device(ranks: Ranks) -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", ranks.on_host % torch.cuda.device_count())


def _flat_gradients(net: torch.nn.Module, device: torch.device) -> torch.Tensor:
    """One tensor that holds every gradient, with room for a loss and a number of rows behind."""
    parameters = list(net.parameters())
    flat = torch.zeros(sum(p.numel() for p in parameters) + 2, device=device)
    at = 0
    for parameter in parameters:
        parameter.grad = flat[at : at + parameter.numel()].view_as(parameter)
        at += parameter.numel()
    return flat


def _seed(seed: int, epoch: int, rank: int) -> int:
    """Of the rows' order and of dropout: another one for each epoch and rank."""
    digest = sha256(f"{seed} {epoch} {rank}".encode()).digest()
    return int.from_bytes(digest[:7], "big")


def _digest(net: torch.nn.Module) -> str:
    """By which ranks show that they ended with the same parameters."""
    found = sha256()
    for name, value in net.state_dict().items():
        found.update(name.encode())
        found.update(value.cpu().numpy().tobytes())
    return found.hexdigest()
