"""How honest the uncertainties are: share of the errors within their 50, 90 and 99 % intervals, and the width paid.

Intervals are those of a normal distribution, ``|e| <= z σ`` with z = 0.67, 1.64 and 2.58; `width` is that of the 90 %
interval, 2 · 1.64 σ, `CE90` the 90th percentile of the absolute errors: no constant width below twice that would hold
90 %. Bands pooled, mean over the dates; `clear` pixels have a clear target pixel, `filled` ones have none, and a date
counts where it has at least 1 % of them. The simulated scenes differ in ratio, clouds and noise; real series lie in
../shared/data beside the checkout.

    .venv/bin/python benchmarks/uncertainty.py --methods ddi,difference --sites simulated --seeds 0,1,2
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from scipy import stats

from sitsfuse.core.site import group, pair_of
from sitsfuse.errors import InputError
from sitsfuse.fusion.fuse import fuse
from sitsfuse.methods import METHODS
from sitsfuse.operators.updown import up_mask
from sitsfuse.readers import open_site
from sitsfuse.simulator import simulate

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
LEVELS = (0.50, 0.90, 0.99)
REAL = (
    ("s2_portugal_1", "target_x5"),
    ("s2_portugal_2", "target_x5"),
    ("s2_portugal_3", "target_x5"),
    ("s2_portugal_1", "target_x2.5"),
    ("s2_l8_belgium", "target"),
)
SENSORS = (
    {},
    {"cloud_cover": 0.6},
    {"guide_noise": 0.005, "target_noise": 0.005},
    {"cloud_cover": 0.1, "guide_noise": 0.001, "target_noise": 0.001},
)
"""What the simulated scenes take turns in."""
LEAST_SHARE = 0.01
"""Share of an image's pixels of a kind that a date must offer to count."""


def main():
    args = parse()
    heads = ["site", "method"]
    for kind in ("clear", "filled"):
        heads += [f"{kind} 50", "90", "99", "width", "CE90", "dates"]
    print("| " + " | ".join(heads) + " |")
    print("|---|---|" + "---:|" * (len(heads) - 2), flush=True)
    for name, site in sites(args):
        dates = [str(t)[:10] for t in chosen(site, args.dates)]
        for method in args.methods.split(","):
            try:
                found = fuse(site, method=method, dates=dates, workers=1)
            except InputError as error:
                # A method may not do for a site, such as CARN without a network for its bands.
                print(f"{name}: {method} skipped: {error}", file=sys.stderr)
                continue
            print(f"| {name} | {method} | " + " | ".join(judged(found, site)) + " |", flush=True)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sites", help="names, e.g. s2_portugal_1,simulated; default: all")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the real series")
    parser.add_argument("--seeds", default="0,1,2,3,4,5", help="of the simulated scenes")
    parser.add_argument("--size", type=int, default=240, help="side of the simulated scenes, in HR pixels")
    parser.add_argument("--dates", type=int, default=4, help="most dates of a site, evenly spread")
    return parser.parse_args()


def sites(args):
    """Name and site of each case."""
    wanted = None if args.sites is None else args.sites.split(",")
    if wanted is None or "simulated" in wanted:
        for seed in (int(s) for s in args.seeds.split(",")):
            for ratio in (5.0, 2.5):
                sensor = SENSORS[(seed + (ratio < 5)) % len(SENSORS)]
                about = ", ".join(f"{k.replace('_', ' ')} {v:g}" for k, v in sensor.items() if k != "target_noise")
                yield (
                    f"×{ratio:g}, seed {seed}, {about or 'default'}",
                    simulate(size=args.size, seed=seed, ratio=ratio, **sensor),
                )
    for name, target in REAL:
        if (wanted is None or name in wanted) and (args.data / name).is_dir():
            yield f"{name} {target}", open_site(args.data / name, target)


def partners(site):
    """Dates of the references, and of the target images within a day of them."""
    target = group(site, "target")["time"].values
    for time in group(site, "reference")["time"].values:
        away = np.abs((target - time) / np.timedelta64(1, "D"))
        if away.min() <= 1.5:
            yield time, target[np.argmin(away)]


def chosen(site, most):
    """Evenly spread target dates that have a reference; those without a clear pixel do not count."""
    target = group(site, "target")
    times = [t for _, t in partners(site) if target["valid"].sel(time=t).values.mean() >= LEAST_SHARE]
    return [times[i] for i in np.unique(np.rint(np.linspace(0, len(times) - 1, most)).astype(int))]


def judged(found, site):
    """The cells of a row: for clear and filled pixels, the means over the dates."""
    reference, target = group(site, "reference"), group(site, "target")
    rows = {True: [], False: []}
    for real, time in partners(site):
        if time not in found["time"].values:
            continue
        image, truth = found.sel(time=time), reference.sel(time=real)
        ok = image["valid"].values & truth["valid"].values
        clear = up_mask(target["valid"].sel(time=time).values, pair_of(site))
        error = np.abs(image["reflectance"].values - truth["reflectance"].values)
        told = image["uncertainty"].values
        for kind, rest in rows.items():
            here = ok & (clear == kind)
            if here.mean() >= LEAST_SHARE:
                rest.append(figures(error[:, here], told[:, here]))
    cells = []
    for rest in rows.values():
        mean = np.mean(rest, axis=0) if rest else np.full(5, np.nan)
        cells += [f"{100 * v:.1f}" for v in mean[:3]] + [f"{v:.4f}" for v in mean[3:]] + [str(len(rest))]
    return cells


def figures(error, told):
    """Coverage at each of `LEVELS`, width of the 90 % interval, and 90th percentile of the errors."""
    z = stats.norm.ppf((1 + np.array(LEVELS)) / 2)
    return [*((error <= k * told).mean() for k in z), 2 * z[1] * told.mean(), np.quantile(error, 0.9)]


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(str(error))
