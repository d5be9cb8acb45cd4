"""Errors of every method on real and simulated series.

Real series lie in ../shared/data beside the checkout; without them only the simulated scenes run. Every site is fused
through `sitsfuse.fuse` into a temporary folder and compared with its references where the target is clear. A date
counts if at least 30 % of its pixels can be compared; figures are means over the dates. Where a prototype of the same
methods has been measured on a site, its figures stand below ours.

    .venv/bin/python benchmarks/accuracy.py --sites s2_portugal_1,l8_modis_ndvi
"""

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from sitsfuse.core.site import group
from sitsfuse.errors import InputError
from sitsfuse.evaluation import evaluate
from sitsfuse.fusion.fuse import fuse
from sitsfuse.methods import METHODS
from sitsfuse.readers import open_series, open_site
from sitsfuse.simulator import simulate

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
LEAST_SHARE = 0.3
"""Share of an image's pixels that a date must offer to count."""


@dataclass(frozen=True)
class Case:
    """A site to fuse."""

    name: str
    target: str = "target"
    dates: tuple[str, ...] | None = None


CASES = (
    Case("s2_portugal_1", "target_x5"),
    Case("s2_portugal_2", "target_x5"),
    Case("s2_portugal_3", "target_x5"),
    Case("s2_portugal_1", "target_x2.5"),
    Case("s2_l8_belgium"),
    Case("l8_modis_ndvi", dates=("2015-10-14",)),
)
SIMULATED = {"simulated ×5": {"seed": 1, "ratio": 5.0}, "simulated ×2.5": {"seed": 1, "ratio": 2.5}}

# RMSE, CE90, CE90 of NDVI
PROTOTYPE = {
    ("s2_portugal_1 target_x5", "difference"): (0.0071, 0.0110, 0.0435),
    ("s2_portugal_2 target_x5", "difference"): (0.0084, 0.0135, 0.0554),
    ("s2_portugal_3 target_x5", "difference"): (0.0073, 0.0117, 0.0218),
    ("s2_portugal_1 target_x2.5", "difference"): (0.0062, 0.0096, 0.0390),
    ("s2_portugal_1 target_x5", "ddi"): (0.0072, 0.0090, 0.0345),
    ("s2_portugal_2 target_x5", "ddi"): (0.0075, 0.0107, 0.0376),
    ("s2_portugal_3 target_x5", "ddi"): (0.0057, 0.0081, 0.0166),
    ("s2_portugal_1 target_x2.5", "ddi"): (0.0051, 0.0074, 0.0297),
}
"""A prototype of difference interpolation and of DDI (the mean of 4 networks), on the same masks."""


def main():
    args = parse()
    methods = args.methods.split(",")
    wanted = None if args.sites is None else args.sites.split(",")
    print("| site | method | RMSE | CE90 | NDVI CE90 | coverage | dates | s |")
    print("|---|---|---:|---:|---:|---:|---:|---:|", flush=True)
    for name, site, dates in sites(args, wanted):
        for method in methods:
            start = time.perf_counter()
            with tempfile.TemporaryDirectory() as folder:
                try:
                    fuse(site, Path(folder) / "out", method=method, dates=dates)
                except InputError as error:
                    # A method may not do for a site, such as CARN without a network for its bands.
                    print(f"{name}: {method} skipped: {error}", file=sys.stderr)
                    continue
                seconds = time.perf_counter() - start
                table = evaluate(
                    open_series(Path(folder) / "out"), group(site, "reference"), group(site, "target"), max_days=2
                )
            print(row(name, method, table, pixels(site), seconds), flush=True)
            if (name, method) in PROTOTYPE:
                rmse, ce90, ndvi = PROTOTYPE[name, method]
                print(f"| | *prototype* | *{rmse:.4f}* | *{ce90:.4f}* | *{ndvi:.4f}* | | | |", flush=True)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sites", help="names, e.g. s2_portugal_1,simulated; default: all")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the real series")
    parser.add_argument("--size", type=int, default=300, help="side of the simulated scenes, in HR pixels")
    return parser.parse_args()


def sites(args, wanted):
    """Name, site and dates of each case."""
    if not args.data.is_dir():
        print(f"{args.data} is not here: only simulated scenes", file=sys.stderr)
    for case in CASES if args.data.is_dir() else ():
        if wanted is not None and case.name not in wanted:
            continue
        if not (args.data / case.name).is_dir():
            print(f"{case.name}: skipped, {args.data / case.name} is not here", file=sys.stderr)
            continue
        site = open_site(args.data / case.name, case.target)
        yield f"{case.name} {case.target}", site, case.dates
    for name, options in SIMULATED.items():
        if wanted is None or "simulated" in wanted:
            yield name, simulate(size=args.size, **options), None


def pixels(site):
    sizes = group(site, "reference").sizes
    return sizes["y"] * sizes["x"]


def row(name, method, table, size, seconds):
    """A line of the table: means over the dates that offer enough pixels."""
    table = table[table["stratum"] == "all"]
    enough = table[(table["band"] == "all") & (table["metric"] == "rmse") & (table["n_valid"] >= LEAST_SHARE * size)]
    table = table[table["date"].isin(enough["date"])]

    def mean(band, metric):
        values = table[(table["band"] == band) & (table["metric"] == metric)]["value"]
        return f"{values.mean():.4f}" if len(values) else ""

    figures = f"{mean('all', 'rmse')} | {mean('all', 'ce90')} | {mean('ndvi', 'ce90')}"
    return f"| {name} | {method} | {figures} | {enough['coverage'].mean():.2f} | {len(enough)} | {seconds:.0f} |"


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(str(error))
