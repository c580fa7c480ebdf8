"""Bootstrap weights that depend on nothing but a row's key, the replicate and the seed.

A multinomial bootstrap needs to know all rows; independent Poisson(1) weights need only the row
at hand, and agree with it for large samples: Hanley & MacGibbon, "Creating non-parametric
bootstrap samples using Poisson frequencies", Computer Methods and Programs in Biomedicine 83,
2006; Chamandy et al., "Estimating uncertainty for massive data streams", Google, 2012.
"""

from __future__ import annotations

from functools import lru_cache
from math import exp, factorial
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

# SplitMix64 (Steele, Lea & Flood, "Fast splittable pseudorandom number generators", 2014).
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_LANES = 4
_LANE_BITS = 16


def poisson_weights(
    keys: npt.NDArray[np.uint64], *, first: int, replicates: int, seed: int
) -> npt.NDArray[np.uint8]:
    """Weights of shape (replicates, len(keys)) for the replicates `first`, `first` + 1, ...

    keys: hashes of row keys. Rows with one key get one weight: a cluster bootstrap. The weights
    are Poisson(1) to a 16-bit uniform: mean and variance are 1 within 1e-4.
    """
    table = _inverse_distribution()
    states = _mixed(keys ^ _mixed(np.array([seed], dtype=np.int64).view(np.uint64)))
    weights = np.empty((replicates, len(keys)), dtype=np.uint8)
    for replicate in range(replicates):
        block, lane = divmod(first + replicate, _LANES)
        if lane == 0 or replicate == 0:
            # One 64-bit hash serves four replicates.
            bits = _mixed(states + np.array([block], dtype=np.uint64) * _GOLDEN)
        uniform = (bits >> np.uint64(lane * _LANE_BITS)).astype(np.uint16)
        weights[replicate] = table[uniform]
    return weights


def _mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    first = (values ^ (values >> np.uint64(30))) * _FIRST
    second = (first ^ (first >> np.uint64(27))) * _SECOND
    mixed: npt.NDArray[np.uint64] = second ^ (second >> np.uint64(31))
    return mixed


@lru_cache(maxsize=1)
def _inverse_distribution() -> npt.NDArray[np.uint8]:
    """The Poisson(1) quantile at the middle of each of 65,536 equal steps."""
    probabilities = [exp(-1) / factorial(count) for count in range(12)]
    uniform = (np.arange(2**_LANE_BITS) + 0.5) / 2**_LANE_BITS
    table: npt.NDArray[np.uint8] = np.searchsorted(np.cumsum(probabilities), uniform).astype("u1")
    return table
