"""The table of an evaluation: its columns, its summary, and the file."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pandas as pd

from ..errors import InputError

COLUMNS = (
    *("date", "predicted", "days", "band", "stratum", "metric", "value"),
    *("n_valid", "n_reference", "coverage"),
)
"""Columns of the table."""


def summary(table: pd.DataFrame, stratum: str = "all") -> pd.DataFrame:
    """Mean over the dates of every metric.

    Parameters
    ----------
    table
        What :func:`~sitsfuse.evaluation.evaluate` returns.
    stratum
        Of which stratum: ``all``, ``low`` or ``high``.

    Returns
    -------
    pandas.DataFrame
        Bands as rows, metrics as columns, both in the table's order; NaN where a metric has no value.
    """
    table = table[table["stratum"] == stratum]
    wide = table.pivot_table(index="band", columns="metric", values="value", aggfunc="mean", dropna=False)
    wide = wide.reindex(index=table["band"].unique(), columns=table["metric"].unique())
    return wide.rename_axis(index="band", columns=None)


def write_table(table: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write a table as CSV or Parquet, by the suffix of ``path``; the file appears whole or not at all.

    Raises
    ------
    InputError
        If the suffix is neither ``.csv`` nor ``.parquet`` or the folder does not exist.
    """
    path = Path(path)
    check_table_path(path)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".table-") as folder:
        draft = Path(folder) / path.name
        if path.suffix == ".csv":
            table.to_csv(draft, index=False)
        else:
            table.to_parquet(draft, index=False)
        draft.replace(path)


def check_table_path(path: Path) -> None:
    """Raise :class:`InputError` if :func:`write_table` cannot write there."""
    if path.suffix not in (".csv", ".parquet"):
        raise InputError(path, "is neither .csv nor .parquet", "choose one of these suffixes")
    if not path.parent.is_dir():
        raise InputError(path.parent, "is no folder", "create it first")
