"""Fusion of real series as they are and as `sitsfuse prepare` makes them, from guides and LR images alone.

Real series lie in ../shared/data beside the checkout. Of series of one sensor (the LR images are degraded HR ones: gain
1, offset 0, MTF 0.3) it tells what was decided, and the errors of fusion, raw and prepared; of series of two sensors
the errors raw, registered only, harmonised only, both, and prepared, that is both and the PSF. Errors are against the
references as they are, which `prepare` is not given (with `--placed` those that it places as it does the guides), at
the pixels that all variants predict and where the LR image is clear; means over the dates that offer at least 30 % of
the image. RMSE over all bands, and in brackets the CE90 of the normalised difference of the last two (of a single band:
of itself).

    .venv/bin/python benchmarks/prepared.py --sites s2_l8_belgium --methods difference
"""

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sitsfuse.core.grid import GridPair
from sitsfuse.core.series import geobox
from sitsfuse.core.site import make_site
from sitsfuse.fusion.fuse import fuse
from sitsfuse.operators.updown import up_mask
from sitsfuse.preparation import make_config, prepare
from sitsfuse.readers import open_series, open_site
from sitsfuse.writers import write_site

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
LEAST_SHARE = 0.3
"""Share of an image's pixels that a date must offer to count."""
DAY = np.timedelta64(1, "D")
VARIANTS: dict[str, dict[str, object]] = {
    "registered": {"target.fit_mtf": False, "harmonization.mode": "none"},
    "harmonised": {"target.fit_mtf": False, "registration.model": "none"},
    "both": {"target.fit_mtf": False},
    "prepared": {},
}
"""What `prepare` is told, beside the paths."""


@dataclass(frozen=True)
class Case:
    """A series."""

    name: str
    target: str = "target"
    two_sensors: bool = True
    date: str | None = None
    """The date to predict, if not those of the LR images."""
    hidden: int | None = None
    """Guide that is left out and serves as the reference."""


CASES = (
    *(Case(f"s2_portugal_{k}", "target_x5", False) for k in (1, 2, 3)),
    Case("s2_romania_hills", "target_x5", False),
    Case("hls_missouri_nir", "target_x5", False),
    Case("s2_l8_belgium"),
    Case("hls_viirs_saltonsea"),
    Case("l8_modis_ndvi", date="2015-10-14"),
    Case("l7_modis_boreas", hidden=1),
)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sites", help="names; default: all")
    parser.add_argument("--methods", default="difference,estarfm,ddi")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the real series")
    parser.add_argument("--placed", action="store_true", help="place the references as the HR series is placed")
    parser.add_argument("--variants", default="", help="of two sensors; default: all")
    args = parser.parse_args()
    wanted = args.sites.split(",") if args.sites else [c.name for c in CASES]
    for case in CASES:
        if case.name in wanted:
            show(case, args)


def show(case, args):
    """The tables of a series."""
    site = raw(case, args.data)
    names = ["prepared"]
    if case.two_sensors:
        names = args.variants.split(",") if args.variants else list(VARIANTS)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "raw.zarr"
        write_site(make_site(site["guide"], site["target"], reference=site["reference"], name=case.name), path)
        sites, said = {"raw": open_site(path)}, {}
        for name in names:
            start = time.process_time()
            content = {"guide": {"path": path / "guide"}, "target": {"path": path / "target"}}
            if args.placed:
                content["reference"] = {"path": path / "reference"}
            for place, value in VARIANTS[name].items():
                table, field = place.split(".")
                content.setdefault(table, {})[field] = value
            said[name] = prepare(make_config(content), Path(folder) / f"{name}.zarr")
            said[name]["seconds"] = time.process_time() - start
            sites[name] = open_site(Path(folder) / f"{name}.zarr")
        print(f"\n### {case.name} {case.target}\n", flush=True)
        decided(said["prepared" if "prepared" in said else names[-1]])
        print("\n| method | " + " | ".join([*sites, "dates"]) + " |\n|---|" + "---:|" * (len(sites) + 1))
        for method in args.methods.split(","):
            found, dates = errors(case, site, sites, method, args.placed)
            cells = [f"{rmse:.5f} ({ce90:.4f})" for rmse, ce90 in found]
            print("| " + " | ".join([method, *cells, f"{dates}"]) + " |", flush=True)


def raw(case, data):
    """Guides, LR images and references as they are."""
    folder = data / case.name
    guide, target = (open_series(folder / name).load() for name in ("guide", case.target))
    if case.hidden is None:
        return {"guide": guide, "target": target, "reference": open_series(folder / "reference").load()}
    rest = [i for i in range(guide.sizes["time"]) if i != case.hidden]
    return {"guide": guide.isel(time=rest), "target": target, "reference": guide.isel(time=[case.hidden])}


def decided(record):
    """What `prepare` says, and the lines that it applies."""
    for verdict in record["verdicts"]:
        print(f"- {verdict['text']}")
    bands = record["harmonization"]["bands"]
    if bands:
        gain = max(abs(b["gain"] - 1) for b in bands)
        print(f"- largest |gain - 1| {gain:.4f}, |offset| {max(abs(b['offset']) for b in bands):.4f}")
    print(f"- {record['seconds']:.1f} s of CPU")


def errors(case, site, sites, method, placed):
    """(RMSE, CE90) of each variant, and the number of dates."""
    reference, target = site["reference"], site["target"]
    pair = GridPair(geobox(reference), geobox(target))
    truths = {}
    for i, when in enumerate(reference.time.values):
        k = int(np.abs(target.time.values - when).argmin())
        values, mask = reference.reflectance.values[i], reference.valid.values[i]
        mask = mask & np.isfinite(values).all(axis=0)
        if case.date is None:
            mask &= up_mask(target.valid.values[k], pair)
        near = case.date is not None or abs(target.time.values[k] - when) <= 2 * DAY
        if near and mask.mean() >= LEAST_SHARE:
            truths[case.date or str(target.time.values[k])[:10]] = i, mask

    def on_grid(series):
        return series.reflectance.reindex(y=reference.y, x=reference.x, method="nearest", tolerance=1e-3)

    made, wanted = [], []
    for one in sites.values():
        made.append(on_grid(fuse(one, method=method, dates=list(truths))).load())
        own = one["reference"].to_dataset() if placed else reference
        wanted.append(on_grid(own.where(own.valid)).load())
    figures = []
    for day, (i, mask) in truths.items():
        images = [out.sel(time=day).values.reshape(wanted[0][i].shape) for out in made]
        compared = [series.sel(time=reference.time[i]).values for series in wanted]
        both = mask & np.logical_and.reduce([np.isfinite(a).all(axis=0) for a in (*images, *compared)])
        if both.mean() >= LEAST_SHARE:
            figures.append([score(a[:, both], b[:, both]) for a, b in zip(images, compared, strict=True)])
    return np.mean(figures, axis=0), len(figures)


def score(image, truth):
    """RMSE of all bands, CE90 of the normalised difference."""
    a, b = (v if len(v) == 1 else (v[-1] - v[-2]) / (v[-1] + v[-2] + 1e-6) for v in (image, truth))
    return float(np.sqrt(np.mean(np.square(image - truth)))), float(np.quantile(np.abs(a - b), 0.9))


if __name__ == "__main__":
    main()
