"""What a LightGBM text model says of itself, read without LightGBM."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lakescore.errors import ModelBroken, UsageError

_FIRST_LINE = "tree"


@dataclass(frozen=True)
class LightGBMText:
    """The header of a text model: feature names in the model's own order."""

    features: tuple[str, ...]
    objective: str
    version: str


def is_lightgbm_text(path: Path) -> bool:
    """Whether the file begins as LightGBM's text format does (a pickle does not)."""
    with path.open("rb") as file:
        return file.read(8).split(b"\n")[0].strip() == _FIRST_LINE.encode()


def read_header(path: Path) -> LightGBMText:
    """Read the header. Raises ModelBroken when incomplete, UsageError for more than two classes."""
    header: dict[str, str] = {}
    complete = False
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            name, equals, value = line.rstrip("\n").partition("=")
            if equals:
                header.setdefault(name, value)
            complete = complete or line.startswith("end of trees")
    if not complete or "feature_names" not in header:
        raise ModelBroken(
            "the text model is incomplete: it ends before its trees do", where=str(path)
        )
    if header.get("num_class", "1") != "1":
        raise UsageError(
            f"the model has {header['num_class']} classes; lakescore scores one number a row",
            where=str(path),
        )
    return LightGBMText(
        features=tuple(header["feature_names"].split(" ")),
        objective=header.get("objective", ""),
        version=header.get("version", ""),
    )
