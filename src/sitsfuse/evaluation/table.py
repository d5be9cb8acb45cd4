"""The table of an evaluation: its columns, its summary, and the file."""

from __future__ import annotations

import pandas as pd

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
