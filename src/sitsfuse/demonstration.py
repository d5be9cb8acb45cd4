"""The whole way on a scene made up on the spot: simulate, prepare, fuse, evaluate, draw, report."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from .benchmarking import benchmark
from .drawing.comparison import draw_comparison
from .drawing.figures import require_matplotlib
from .evaluation import NDVI, POOLED, evaluate, write_table
from .fusion.fuse import fuse
from .preparation import make_config, prepare
from .readers import open_series
from .reporting import report as write_report
from .runtime.claims import Kind, claim, read_record
from .runtime.files import write_json
from .runtime.progress import Progress, renamed, silent
from .runtime.threads import default_workers
from .simulator import SimulationConfig, simulate
from .version import __version__
from .writers import write_geotiffs

SIZE, SEED, TARGETS, GUIDES = 300, 7, 5, 13
"""The scene; its clearest LR image lies between two guides with clouds."""
SOME = ("temporal", "difference", "starfm", "ddi")
"""Methods unless others are asked for: what needs no LR image, what needs no training, the best known, the default."""
REPORTED = 2
"""Dates in the report, at most."""
DRAWN = "ddi"
"""The method that the figure shows, with the weights of the guides."""
NAMES = {"ddi": "DDI"}
"""How methods are written in the figure."""
MARKER = "demo.json"
"""What tells that a folder holds a demo, and of what."""
ROLES = ("guide", "target", "reference")
SITE = "site.zarr"
COLUMNS = {
    "RMSE": (POOLED, "rmse"),
    "CE90": (POOLED, "ce90"),
    "CE99": (POOLED, "ce99"),
    "bias": (POOLED, "bias"),
    "NDVI RMSE": (NDVI, "rmse"),
    "NDVI CE90": (NDVI, "ce90"),
    "LR consistency": (POOLED, "lr_consistency"),
}
"""Columns of the printed table: band and metric."""


@dataclass(frozen=True)
class Demo:
    """What the demo made; ``str()`` tells it."""

    folder: Path
    methods: tuple[str, ...]
    table: pd.DataFrame
    """Tidy, as :func:`~sitsfuse.evaluation.evaluate` returns it, with the column ``method`` in front."""
    figure: Path
    page: Path

    @property
    def summary(self) -> pd.DataFrame:
        """Methods as rows; errors, mean over the dates, as columns."""
        whole = self.table[self.table["stratum"] == "all"]
        means = whole.groupby(["method", "band", "metric"])["value"].mean()
        rows = {m: {name: means.get((m, *key), np.nan) for name, key in COLUMNS.items()} for m in self.methods}
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis(index="method")

    def __str__(self) -> str:
        table = self.summary.reset_index().to_string(index=False, float_format=lambda v: f"{v:.4f}", na_rep="")
        images = "YYYYMMDD.tif, YYYYMMDD_uncertainty.tif, YYYYMMDD_mask.tif (0 = valid)"
        places = [
            (self.folder / "raw", "the simulated series as sensors deliver them, and reference/ (the truth)"),
            (self.folder / SITE, "the site: registered and harmonised; prepare.html in it shows how"),
            *((self.folder / method, images) for method in self.methods),
            *((path, "weights of the guides for one date") for path in (_weights_of(self.folder),) if path.is_dir()),
            (self.folder / "metrics.csv", "errors per method, date, band, stratum and metric"),
            (self.figure, "LR image, prediction, truth, error and weights of one date"),
            (self.page, f"the methods compared on {REPORTED} dates, with a viewer of the images: open it"),
        ]
        width = max(len(str(path)) for path, _ in places)
        dates = self.table["date"].nunique()
        return "\n".join(
            [
                f"Errors against the known truth where the LR image is clear, in reflectance, mean over {dates} dates:",
                "",
                table,
                "",
                *(f"{path!s:<{width}}  {what}" for path, what in places),
            ]
        )


def demo(
    out: str | Path = "demo-output",
    *,
    size: int = SIZE,
    seed: int = SEED,
    targets: int = TARGETS,
    guides: int = GUIDES,
    methods: Sequence[str] = SOME,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    overwrite: bool = False,
    report: Progress = silent,
) -> Demo:
    """Simulate two sensors' images, prepare a site, fuse it with some methods, evaluate, draw a figure, and report.

    Parameters
    ----------
    out
        Folder to write to. A second run over the same folder makes only what is missing.
    size, seed, targets, guides
        Of the simulated scene: side in HR pixels, seed, numbers of LR images and of guides.
    methods
        Names of methods.
    options
        Their parameters, by method.
    overwrite
        Whether to make everything anew.
    report
        Called as the work proceeds.

    Returns
    -------
    Demo
        Its text says how well the methods did and where things lie.

    Raises
    ------
    InputError
        If ``out`` holds something else, or an extra is missing.
    """
    require_matplotlib()
    out = Path(out)
    config = SimulationConfig(size=size, seed=seed, targets=targets, guides=guides)
    record = {"version": __version__, "simulation": dataclasses.asdict(config)}
    kind = Kind("`sitsfuse demo`", lambda path: read_record(path / MARKER), lambda path: None, shared=True)
    with claim(out, kind, record, overwrite) as resumed:
        if not resumed:
            write_json(out / MARKER, record)
        return _made(out, config, methods, options or {}, overwrite, report)


def _made(
    out: Path,
    config: SimulationConfig,
    methods: Sequence[str],
    options: Mapping[str, Mapping[str, Any]],
    overwrite: bool,
    report: Progress,
) -> Demo:
    """Simulate, prepare, fuse, evaluate, draw and report, as far as that is not done yet."""
    raw, site = out / "raw", out / SITE
    _simulate(config, raw, overwrite, report)
    _prepare(raw, site, overwrite, report)
    for method in methods:
        fuse(
            site,
            out / method,
            method=method,
            options=options.get(method),
            overwrite=overwrite,
            report=renamed(report, f"fuse {method}"),
        )
    reference, target = open_series(raw / "reference"), open_series(site / "target")
    images = [p for m in methods for p in _images(out / m)]
    table = _evaluate(out, methods, images, reference, target, report)
    figure = out / "demo.png"
    drawn = DRAWN if DRAWN in methods else methods[-1]
    if not _is_newer(figure, images):
        weights = None
        date = clearest(target)
        if drawn == DRAWN:
            weights = _weights(site, out, date, options.get(drawn), overwrite, report)
        report("draw", 0, 1)
        seen, image, truth = (_at(s, date) for s in (target, open_series(out / drawn), reference))
        title = f"{config.guides} guides of {config.pixel:g} m, every {config.guide_revisit} days · simulated farmland"
        draw_comparison(seen, image, truth, weights, path=figure, method=NAMES.get(drawn, drawn), title=title)
    report("draw", 1, 1)
    page = _report(site, out, methods, options, overwrite, images, report)
    return Demo(out, tuple(methods), table, figure, page)


def clearest(series: xr.Dataset) -> np.datetime64:
    """The date with the most valid pixels."""
    shares = series["valid"].mean(("y", "x")).values
    date: np.datetime64 = series["time"].values[int(np.argmax(shares))]
    return date


def _simulate(config: SimulationConfig, site: Path, overwrite: bool, report: Progress) -> None:
    """Write the site as GeoTIFFs, unless all its images are there."""
    start = np.datetime64(config.start, "D")
    expected = [
        site / role / f"{str(start + day).replace('-', '')}.tif"
        for role, days in zip(ROLES, (config.guide_days, config.target_days, config.target_days), strict=True)
        for day in days
    ]
    total = len(ROLES) + 1
    if overwrite or not all(path.is_file() for path in expected):
        report("simulate", 0, total)
        tree = simulate(config)
        for i, role in enumerate(ROLES):
            report("simulate", i + 1, total)
            write_geotiffs(tree[role].to_dataset(), site / role, overwrite=True)
    report("simulate", total, total)


def _prepare(raw: Path, site: Path, overwrite: bool, report: Progress) -> None:
    """Make the site of the simulated series, unless it is there and as new as they are."""
    if overwrite or not _is_newer(site / "prepare.html", raw.rglob("*.tif")):
        report("prepare", 0, 1)
        prepare(make_config({role: {"path": raw / role} for role in ROLES}, "demo"), site, overwrite=overwrite)
    report("prepare", 1, 1)


def _report(
    site: Path,
    out: Path,
    methods: Sequence[str],
    options: Mapping[str, Mapping[str, Any]],
    overwrite: bool,
    images: list[Path],
    report: Progress,
) -> Path:
    """The page of a small benchmark of the site: no guide of a predicted day, all methods on the same pixels."""
    results = out / "benchmark"
    page = results / "report.html"
    if overwrite or not _is_newer(page, images):
        report("report", 0, 1)
        chosen = {name: values for name, values in options.items() if name in methods}
        benchmark([site], results, methods=methods, options=chosen, max_dates=REPORTED, jobs=0, overwrite=overwrite)
        write_report(results)
    report("report", 1, 1)
    return page


def _evaluate(
    out: Path, methods: Sequence[str], images: list[Path], reference: xr.Dataset, target: xr.Dataset, report: Progress
) -> pd.DataFrame:
    """The tidy table of all methods: read where it is up to date, else made and written."""
    path, total = out / "metrics.csv", len(methods)
    if _is_newer(path, images):
        table = pd.read_csv(path, parse_dates=["date", "predicted"])
        if list(table["method"].unique()) == list(methods):
            report("evaluate", total, total)
            return table
    parts = []
    for i, method in enumerate(methods):
        report("evaluate", i, total)
        part = evaluate(open_series(out / method), reference, target, workers=default_workers())
        part.insert(0, "method", method)
        parts.append(part)
    table = pd.concat(parts, ignore_index=True)
    write_table(table, path)
    report("evaluate", total, total)
    return table


def _weights(
    site: Path, out: Path, date: np.datetime64, options: Mapping[str, Any] | None, overwrite: bool, report: Progress
) -> xr.DataArray:
    """(guide_time, band, y, x) weights of one date: for all dates they would fill the disk."""
    place = _weights_of(out)
    fuse(
        site,
        place,
        method=DRAWN,
        options=options,
        dates=[date],
        format="zarr",
        weights=True,
        overwrite=overwrite,
        report=renamed(report, "weights"),
    )
    return _at(open_series(place), date)["weight"]


def _weights_of(out: Path) -> Path:
    return out / f"{DRAWN}_weights.zarr"


def _at(series: xr.Dataset, date: np.datetime64) -> xr.Dataset:
    """The image of a date, in memory."""
    return series.sel(time=date).compute()


def _images(folder: Path) -> list[Path]:
    """The predicted images in a folder."""
    return sorted(p for p in folder.glob("*.tif") if p.stem.isdigit())


def _is_newer(product: Path, sources: Iterable[Path]) -> bool:
    """Whether a file is there and as new as all that it is made from."""
    return product.is_file() and product.stat().st_mtime_ns >= max(p.stat().st_mtime_ns for p in sources)
