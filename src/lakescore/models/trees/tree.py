"""One decision tree, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class Missing(IntEnum):
    """Which values of a split's column go its default way; LightGBM's missing types."""

    NONE = 0  #: none: NaN counts as 0
    ZERO = 1  #: NaN, and what is at most 1e-35 from 0
    NAN = 2  #: NaN


@dataclass(frozen=True, eq=False)
class Tree:
    """Splits and leaves. Split 0 is the root; a child c >= 0 is a split, c < 0 is leaf ~c.

    A split comes before its children. A row goes left where its value is at most the `threshold`,
    the value's whole part is among `members` (split -> whole numbers from 0) of a split by codes,
    or where it is `missing` and `default_left`. NaN is no member.

    `feature`, `threshold`, `missing`, `default_left`, `left` and `right` have shape (splits,),
    `values` (leaves, width): what a leaf adds to each output, or, of width 1, to one of them.
    """

    feature: npt.NDArray[np.int32]
    threshold: npt.NDArray[np.float64]
    missing: npt.NDArray[np.uint8]
    default_left: npt.NDArray[np.bool_]
    left: npt.NDArray[np.int32]
    right: npt.NDArray[np.int32]
    values: npt.NDArray[np.float64]
    members: Mapping[int, npt.NDArray[np.int64]] = field(default_factory=dict)
