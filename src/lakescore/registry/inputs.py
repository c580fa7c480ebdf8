"""Whether a table's columns fit what a foreign model takes, judged by name and Spark type."""

from __future__ import annotations

from collections.abc import Mapping

from lakescore.errors import ColumnMissing, TypeMismatch, did_you_mean

#: The type of an input that the model's own description leaves open.
ANY = "any"
_WHOLE = ("tinyint", "smallint", "int", "bigint")
_FITS = {
    "double": {*_WHOLE, "float", "double", "boolean", "decimal"},
    "float": {"tinyint", "smallint", "float", "boolean"},
    "bigint": set(_WHOLE),
    "int": set(_WHOLE[:3]),
    "boolean": {"boolean"},
    "string": {"string"},
    "binary": {"binary"},
    "timestamp": {"timestamp", "timestamp_ntz", "date"},
}
#: What models commonly take.
COMMON = frozenset({*_FITS["double"], "string"})


def check_inputs(inputs: Mapping[str, str], columns: Mapping[str, str], *, where: str) -> None:
    """Compare a model's inputs with a table's columns (both name -> Spark type).

    Widening (a whole number for a double, a date for a timestamp) is allowed, narrowing is not.
    Raises ColumnMissing naming all that are missing, and TypeMismatch naming the first misfit.
    """
    missing = [name for name in inputs if name not in columns]
    if missing:
        raise ColumnMissing(
            f"the model takes columns that the source lacks: {', '.join(missing)}",
            where=where,
            hint=did_you_mean(missing[0], columns),
        )
    for name, wanted in inputs.items():
        found = columns[name]
        if wanted != ANY and found.partition("(")[0] not in _FITS.get(wanted, {wanted}):
            raise TypeMismatch(
                f"column '{name}' is {found}; the model takes {wanted}",
                where=where,
                hint="nothing is cast silently: cast it in a view or in the table",
            )
