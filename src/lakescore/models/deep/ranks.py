"""The one thing that a backend gives a training: a sum over its ranks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


class RankLost(Exception):
    """Another rank did not come to the sum; why is for that one to say."""


class Ranks(ABC):
    """The processes of one training, of which this is number `rank` of `size`.

    `on_host` numbers those of this machine, which share its GPUs.
    """

    rank: int = 0
    size: int = 1
    on_host: int = 0

    def sum(self, values: torch.Tensor) -> None:
        """Put the sum over all ranks in the place of a flat tensor. Raises RankLost."""
        if self.size == 1:
            return
        try:
            self._sum(values)
        except Exception as error:
            raise RankLost(str(error)) from error

    @abstractmethod
    def _sum(self, values: torch.Tensor) -> None:
        """The sum of two ranks or more, in place."""


class OneRank(Ranks):
    """A training in one process."""

    def _sum(self, values: torch.Tensor) -> None:
        raise NotImplementedError
