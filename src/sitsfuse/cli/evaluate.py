"""The command evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError
from .reading import How, reads


@reads()
def evaluate(
    prediction: Annotated[Path, typer.Argument(help="Predicted series, such as the output of `sitsfuse fuse`.")],
    reference: Annotated[Path, typer.Argument(help="HR series to compare with, on the same grid.")],
    target: Annotated[
        Path | None, typer.Option(help="LR series: count only where it is clear, and check the consistency with it.")
    ] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Table to write: metrics.csv or .parquet.")] = None,
    max_days: Annotated[
        float, typer.Option(help="Longest gap between a reference and its prediction, in days.", min=0)
    ] = 1.0,
    how: How = How(),  # noqa: B008 (frozen)
) -> None:
    """Compare predictions with references, per band, for NDVI and for all bands.

    RMSE, MAE, bias, CE90, CE99, PSNR, UIQI, structure (of SSIM), gradient correlation, SAM; with --target also ERGAS,
    consistency with the LR image, and what of the frequencies is restored (FRR), made up (FRO) and lost (FRU); if the
    prediction has uncertainties, the shares of errors that their intervals cover, and how wide they are.

    Prints the means over the dates; -o keeps the tidy table of every date, also of pixels with low and high gradients.
    """
    from ..evaluation import check_table_path, summary, write_table
    from ..evaluation import evaluate as run
    from ..readers import open_roles, open_series
    from ..runtime.files import STATE
    from ..runtime.threads import default_workers

    if out is not None:
        check_table_path(out)
    paths = {"prediction": prediction, "reference": reference} | ({} if target is None else {"target": target})
    # Our own outputs are named our way, whatever the files that they were made from.
    foreign = {role: path for role, path in paths.items() if not (path / STATE).is_dir()}
    ours = {role: open_series(path) for role, path in paths.items() if role not in foreign}
    series = ours | open_roles(foreign, how.all, how.target)
    try:
        given = (series["prediction"], series["reference"], series.get("target"))
        table = run(*given, max_days=max_days, workers=default_workers())
    except InputError as error:
        if str(error.where) not in paths:
            raise
        # Python speaks of roles; the user knows paths.
        raise InputError(paths[str(error.where)], error.problem, error.mend) from error
    print(summary(table).T.to_string(float_format=lambda v: f"{v:.5f}", na_rep=""))
    dates, left_out = table["date"].nunique(), table.attrs.get("left_out", 0)
    note = f"; {left_out} reference{'s' * (left_out != 1)} without a prediction" if left_out else ""
    print(f"mean over {dates} date{'s' * (dates != 1)}{note}")
    if same := _same_day(prediction, {str(d)[:10] for d in table["predicted"]}):
        where = ", ".join(same[:3]) + (f" and {len(same) - 3} more" if len(same) > 3 else "")
        print(f"a guide of the predicted day was used on {where}: if it is the reference, nothing was predicted there")
    if out is not None:
        write_table(table, out)
        print(out)


def _same_day(prediction: Path, days: set[str]) -> list[str]:
    """Predicted days of which a guide was used, as far as the prediction tells."""
    from ..fusion.outputs.disk import read_records

    return [d for d, record in sorted(read_records(prediction).items()) if d in days and d in record.get("guides", [])]
