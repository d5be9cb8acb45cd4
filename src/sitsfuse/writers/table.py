"""Tables on disk: CSV or Parquet."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pandas as pd

from ..errors import InputError


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
        raise InputError(path.parent, "is not a folder", "create it first")
