"""A made-up folder of results of a benchmark, with numbers that can be told in advance."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from sitsfuse.benchmarking.configuration import Configuration, PlannedSite, PlannedTarget
from sitsfuse.benchmarking.protocols import STANDARD
from sitsfuse.benchmarking.results import Results, Unit
from sitsfuse.simulator import simulate

BANDS = ("blue", "green", "red", "nir")
METHODS = ("temporal", "spatial", "carn", "starfm", "ddi")
DATES = ("2019-04-20", "2019-05-10", "2019-05-30", "2019-06-14")
SITES = (("arm", "simulated ARM", "agricultural", "USA"), ("sudoe-4", "simulated SUDOE-4", "mountains", "France"))
STRATA = {"all": 1.0, "low": 0.7, "high": 1.5}
BAND_FACTORS = {"blue": 0.6, "green": 0.8, "red": 1.0, "nir": 2.5, "ndvi": 4.0, "all": 1.2}
ERRORS = {"rmse": 1.0, "mae": 0.7, "ce90": 1.6, "ce99": 3.0}
"""Each as a multiple of the RMSE."""
RADIOMETRY = {"temporal": 2.0, "spatial": 1.5, "carn": 1.3, "starfm": 1.2, "ddi": 1.0}
"""RMSE of each method over that of ddi; others lie between, by their place in the list."""
EDGES = {"temporal": 1.1, "spatial": 3.0, "carn": 1.6, "starfm": 1.2, "ddi": 1.0}
"""The same for 1 - structural and 1 - gradient correlation."""
SECONDS = {"temporal": 0.5, "spatial": 0.1, "carn": 20.0, "starfm": 4.0, "ddi": 8.0}
MEGAPIXELS = 0.25
UNSURE = {"ddi": 1.0, "starfm": 0.5, "temporal": 2.0}
"""Methods that give an uncertainty: their sigma over the true one."""
COVERAGE = (*range(10, 100, 10), 95, 99)
FORECAST = 1.4
"""Errors of every protocol but the standard one, over those of the standard."""
WEIGHTED = "ddi"
"""The method that keeps weights of the guides."""


def error_of(method: str, band: str, stratum: str, ratio: float, site: int, date: int, protocol: str) -> float:
    """RMSE of a prediction: a product of what is above, of the ratio and of the place of site and date."""
    size = 0.005 * BAND_FACTORS[band] * STRATA[stratum] * radiometry(method, ratio)
    return size * (ratio / 5) ** 0.5 * (1 + 0.2 * site) * (1 + 0.1 * (date % 3)) * _protocol(protocol)


def edges_of(method: str, stratum: str, ratio: float, site: int, date: int, protocol: str) -> float:
    """1 - structural of a prediction."""
    size = 0.02 * EDGES.get(method, 1.4) * (ratio / 5) / STRATA[stratum]
    return size * (1 + 0.2 * site) * (1 + 0.1 * (date % 3)) * _protocol(protocol)


def radiometry(method: str, ratio: float) -> float:
    """RMSE of a method over that of ddi: at small ratios carn comes close."""
    return 1.04 if method == "carn" and ratio < 4 else RADIOMETRY.get(method, 1.1 + len(method) / 20)


def _protocol(protocol: str) -> float:
    return 1.0 if protocol == STANDARD else FORECAST


def make_results(
    path: Path,
    *,
    sites: int = 2,
    ratios: Sequence[float] = (5.0, 2.5),
    methods: Sequence[str] = METHODS,
    dates: Sequence[str] = DATES,
    protocols: Sequence[str] = (STANDARD, "forecast"),
    shown: int = 2,
    size: int = 60,
    samples: bool = True,
    failed: bool = True,
) -> Results:
    """Write a folder of results: the configuration, the table, a failure and samples.

    Parameters
    ----------
    path
        The folder.
    sites
        How many; those beyond the second have names by number.
    shown
        Dates per site of which there are samples.
    size
        Side of the samples in HR pixels.
    failed
        Whether the first site's second date failed for carn at the first ratio, in the standard protocol.
    """
    results = Results(path)
    titles = [*SITES, *((f"site-{k}", f"simulated site {k}", "mixed", "nowhere") for k in range(2, sites))][:sites]
    targets = {f"target_x{ratio:g}": float(ratio) for ratio in ratios}
    seen = [dates[k] for k in np.unique(np.linspace(0, len(dates) - 1, shown).round().astype(int))]
    entries: dict[str, PlannedSite] = {}
    for k, (site, title, landscape, location) in enumerate(titles):
        guides = _write_samples(results, site, k, targets, methods, seen, size, samples)
        entries[site] = PlannedSite(
            path=f"/data/{site}",
            title=title,
            landscape=landscape,
            location=location,
            bands=tuple(BANDS),
            shape=(size, size),
            guides=tuple(guides),
            shown=tuple(seen) if samples else (),
            targets={
                t: PlannedTarget(ratio=ratio, dates=tuple(dates), lr_dates=tuple(dates)) for t, ratio in targets.items()
            },
        )
    results.configure(
        Configuration(
            max_days=1.0,
            tile=512,
            sites=entries,
            methods={m: {"steps": 100} if m == WEIGHTED else {} for m in methods},
            protocols=tuple(protocols),
            version="0.1.0",
            made="2026-11-23T05:00:00",
        )
    )
    lost = Unit(titles[0][0], next(iter(targets)), dates[1], STANDARD, "carn") if failed else None
    if lost:
        results.write_failure(lost, "model 'carn': has no band nir: train it with that band", "Traceback …")
    parts = []
    for k, date, (target, ratio), protocol, method in itertools.product(
        range(sites), range(len(dates)), targets.items(), protocols, methods
    ):
        unit = Unit(titles[k][0], target, dates[date], protocol, method)
        if unit != lost:
            parts.append(_rows(unit, titles[k][2], ratio, k, date))
    keys, values = ([row for part in parts for row in part[i]] for i in (0, 1))
    head = pd.DataFrame(keys, columns=["site", "landscape", "target", "ratio", "protocol", "method", "date", "length"])
    table = head.loc[head.index.repeat(head.pop("length"))].reset_index(drop=True)
    rest = pd.DataFrame(values, columns=["band", "stratum", "metric", "value"])
    table["predicted"], table["days"] = table["date"], 0
    table = pd.concat([table, rest], axis=1)
    table["n_valid"], table["n_reference"] = 9000, 10000
    table["coverage"], table["same_day"] = 0.9, table["date"] != dates[0]
    table["nearest_guide"] = pd.factorize(table["date"])[0] % 4 * 5.0 + 5
    table["seconds"] = table["method"].map(SECONDS).fillna(2.0)
    table["cpu_seconds"] = 1.5 * table["seconds"]
    table["megapixels"], table["seconds_evaluation"] = MEGAPIXELS, 0.5
    table["peak_rss"] = 500.0 + table["method"].str.len() * 50
    table.to_parquet(path / "metrics.parquet", index=False)
    return results


def _rows(unit: Unit, landscape: str, ratio: float, site: int, date: int) -> tuple[list[tuple[Any, ...]], list[Any]]:
    """The head of a prediction's rows with their number, and the rows: band, stratum, metric, value."""
    method, protocol = unit.method, unit.protocol
    rows: list[tuple[str, str, str, float]] = []
    for stratum, band in itertools.product(STRATA, (*BANDS, "ndvi", "all")):
        e = error_of(method, band, stratum, ratio, site, date, protocol)
        edge = edges_of(method, stratum, ratio, site, date, protocol)
        rows += [(band, stratum, metric, factor * e) for metric, factor in ERRORS.items()]
        rows += [(band, stratum, "bias", 0.1 * e), (band, stratum, "psnr", float(-20 * np.log10(e)))]
        rows += [(band, stratum, "structural", 1 - edge), (band, stratum, "gradient_correlation", 1 - 1.2 * edge)]
        rows.append((band, stratum, "uiqi", 1 - 1.5 * edge))
    for stratum in STRATA:
        e = error_of(method, "all", stratum, ratio, site, date, protocol)
        rows += [("all", stratum, "sam", 400 * e), ("all", stratum, "ergas", 300 * e)]
    for band in (*BANDS, "all"):
        e = error_of(method, band, "all", ratio, site, date, protocol)
        rows.append((band, "all", "lr_consistency", 0.3 * e))
        if band != "all":
            edge = EDGES.get(method, 1.4)
            rows += [(band, "all", "frr", 90 / edge), (band, "all", "fro", 2.0), (band, "all", "fru", 4.0)]
        if method in UNSURE:
            rows += [(band, "all", f"coverage{n}", n / 100 * min(UNSURE[method], 1)) for n in COVERAGE]
            rows.append((band, "all", "sharpness", 3.2898 * e * UNSURE[method]))
    return [(unit.site, landscape, unit.target, ratio, protocol, method, unit.date, len(rows))], rows


def _write_samples(
    results: Results,
    site: str,
    number: int,
    targets: dict[str, float],
    methods: Sequence[str],
    shown: Sequence[str],
    size: int,
    wanted: bool,
) -> list[str]:
    """Samples of a site; returns the dates of its guides."""
    days = np.array(list(shown), "datetime64[D]")
    start = days[0] - np.timedelta64(50, "D")
    guides = int((days[-1] - start).astype(int) // 20) + 3
    names = [str(d) for d in start + 20 * np.arange(guides)]
    if not wanted:
        return names
    rng = np.random.default_rng(number)
    for place, (target, ratio) in enumerate(targets.items()):
        scene = simulate(size=size, ratio=ratio, seed=number, start=str(start), guides=guides, targets=len(days))
        # The land at the days that are wanted matters less than that they are those.
        truth, lr = (
            scene[g].to_dataset().assign_coords(time=days.astype("datetime64[ns]")) for g in ("reference", "target")
        )
        guide = scene["guide"].to_dataset()
        results.write_sample(lr, site, target, "target")
        if not place:
            results.write_sample(guide, site, "guide")
            stratum = xr.Variable(("time", "y", "x"), _strata(truth["reflectance"].values.mean(axis=1)))
            results.write_sample(truth.assign(stratum=stratum), site, "reference")
        for date, method in itertools.product(range(len(days)), methods):
            image = truth.isel(time=date)
            sigma = np.float32(0.004 * radiometry(method, ratio))
            noise = rng.normal(0, sigma, image["reflectance"].shape).astype(np.float32)
            image = image.assign(
                reflectance=image["reflectance"] + noise,
                uncertainty=xr.full_like(image["reflectance"], sigma),
                filled=xr.zeros_like(image["valid"]),
            )
            if method == WEIGHTED:
                image = image.assign(weight=_weights(guide, days[date]), guide_time=guide["time"].values)
            results.write_sample(image, *Unit(site, target, shown[date], STANDARD, method).place.parts)
    return names


def _weights(guide: xr.Dataset, day: np.datetime64) -> xr.Variable:
    """The closer a guide, the more it weighs."""
    apart = np.abs((guide["time"].values.astype("datetime64[D]") - day).astype(int))
    weight = np.exp(-apart / 15.0)[:, None, None, None] * guide["valid"].values[:, None]
    weight = np.broadcast_to(weight, guide["reflectance"].shape)
    total = weight.sum(axis=0)
    return xr.Variable(("guide_time", "band", "y", "x"), (weight / np.where(total > 0, total, 1)).astype(np.float32))


def _strata(images: np.ndarray) -> np.ndarray:
    """1 below the median of the gradient, 3 above its 75th percentile, 2 between."""
    gradient = np.stack([np.hypot(*np.gradient(image)) for image in images])
    low, high = np.percentile(gradient, (50, 75), axis=(1, 2))[:, :, None, None]
    return (1 + (gradient >= low) + (gradient >= high)).astype(np.uint8)
