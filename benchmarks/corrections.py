"""How well `sitsfuse prepare` corrects, and whether it keeps its hands off, on simulated sites that tell the truth.

The first table: landscapes × ratios × gain of the LR sensor (offset 0.004 where it is not 1) × days between guides and
LR images × share of the clouds that masks miss. HR images are displaced by 0.3 HR pixels, LR ones by 0.2 LR pixels
(standard deviations), 30 % of clouds. Errors of displacements in pixels of the images themselves, the frame's own
displacement taken off; gain and offset against the truth, largest over the bands; `LR error` is the root mean square
difference of the LR images' radiometry to the truth, before and after. `right`: corrected where there is something to
correct, else not. `harm`: the error after exceeds that before by more than 2 %.

The second: pairs of HR images 20 days apart, one displaced by what the row says, in small and large images: how often
the displacement is found, how often within twice its stated error along both axes, and the median error.

    .venv/bin/python benchmarks/corrections.py --lands all
"""

import argparse
import itertools
import tempfile
from pathlib import Path

import numpy as np
from scipy.ndimage import shift as moved

import sitsfuse
from sitsfuse.core.series import geobox
from sitsfuse.core.site import make_site
from sitsfuse.preparation import make_config, prepare
from sitsfuse.registration.register import register_images
from sitsfuse.simulator.land.lands import LANDS
from sitsfuse.writers import write_site

OFFSET = 0.004


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=240)
    parser.add_argument("--lands", default="farmland,mountains", help="names, or all")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    corrections(args)
    displacements(args)


def corrections(args):
    names = ("land", "ratio", "gain", "days", "missed", "HR px", "LR px", "gain %", "offset", "LR error", "after")
    print("| " + " | ".join([*names, "decision", "right", "harm"]) + " |")
    print("|---|" + "---:|" * (len(names) + 2))
    lands = list(LANDS) if args.lands == "all" else args.lands.split(",")
    rows = []
    for land, ratio, days, missed in itertools.product(lands, (2.5, 5.0), (0, 5), (0.0, 1 / 3)):
        site = scene(land, ratio, days, missed, args)
        for gain in (1.0, 1.05, 1.2):
            row = corrected(site, gain, 0.0 if gain == 1 else OFFSET)
            rows.append(row)
            what = [land, f"×{ratio:g}", f"{gain:g}", f"{days}", f"{missed:.0%}"]
            figures = [f"{row[k]:.{n}f}" for k, n in FIGURES.items()]
            words = [row["decision"], *("yes" if row[k] else "no" for k in ("right", "harm"))]
            print("| " + " | ".join([*what, *figures, *words]) + " |", flush=True)
    share = np.mean([row["right"] for row in rows])
    print(f"\nRight in {share:.0%} of {len(rows)} cases, harm in {sum(row['harm'] for row in rows)}.\n")


FIGURES = {"hr": 3, "lr": 3, "gain": 2, "offset": 4, "before": 4, "after": 4}
"""Digits of the figures of a row."""


def scene(land, ratio, days, missed, args):
    """A simulated site whose LR sensor has no gain yet, its images of the guides' days or five days away."""
    options = {
        "landscape": land,
        "size": args.size,
        "ratio": ratio,
        "seed": args.seed,
        "gain": 0,
        "offset": 0,
        "guide_shift": 0.3,
        "target_shift": 0.2,
        "missed_clouds": missed,
        "lazy": False,
    }
    site = sitsfuse.simulate(guides=8, targets=12, **options)
    guide, target = site["guide"].to_dataset(), site["target"].to_dataset()
    if days == 0:
        # The same land under other guides, so that LR images fall on the days of these.
        target = sitsfuse.simulate(guides=21, guide_revisit=7, targets=6, target_revisit=20, **options)["target"]
        return guide, target.to_dataset()
    apart = np.abs(target.time.values[:, None] - guide.time.values).min(axis=1)
    return guide, target.isel(time=np.flatnonzero(apart <= np.timedelta64(days, "D")))


def corrected(site, gain, offset):
    """The figures of a row."""
    guide, truth = site
    values = truth.reflectance.values
    target = truth.assign(reflectance=truth.reflectance.copy(data=((values - offset) / gain).astype(np.float32)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "raw.zarr"
        write_site(make_site(guide, target, name="raw"), path)
        config = make_config({"guide": {"path": path / "guide"}, "target": {"path": path / "target"}}, "benchmark")
        done = prepare(config, Path(folder) / "site.zarr")
    errors = {}
    zero = np.median(displacement(done, "guide", guide), axis=0)
    for role, series, pixel in (("guide", guide, 5.0), ("target", truth, abs(geobox(truth).affine.a))):
        off = displacement(done, role, series) - zero
        errors[role] = float(np.median(np.abs(off))) / pixel
    lines = done["harmonization"]["bands"]
    found = np.array([[row["gain"], row["offset"]] for row in lines])
    clear = np.moveaxis(target.reflectance.values, 1, 0)[:, truth.valid.values]
    right = gain * clear + offset
    before, after = (
        float(np.sqrt(np.mean(np.square(g[:, None] * clear + o[:, None] - right))))
        for g, o in ((np.ones(len(found)), np.zeros(len(found))), found.T)
    )
    changed = bool((found != (1, 0)).any())
    return {
        "hr": errors["guide"],
        "lr": errors["target"],
        "gain": 100 * float(np.abs(found[:, 0] / gain - 1).max()),
        "offset": float(np.abs(found[:, 1] - offset).max()),
        "before": before,
        "after": after,
        "decision": done["verdicts"][-1]["state"],
        "right": changed == (gain != 1),
        "harm": after > 1.02 * before + 1e-6,
    }


def displacement(done, role, series):
    """(image, 2) displacements that are left, in metres: what was taken out less the truth."""
    days = [str(t)[:10] for t in series.time.values]
    taken = {i["date"]: (i["shift_x"], i["shift_y"]) for i in done["images"] if i["role"] == role}
    true = np.stack([series.shift_x.values, series.shift_y.values], 1)
    return np.array([taken[d] for d in days if d in taken]) - true[[d in taken for d in days]]


def displacements(args):
    print("| size | displaced by px | found | within 2 errors | median error px | stated |")
    print("|---:|---:|---:|---:|---:|---:|")
    for size, seeds in ((64, range(12)), (600, range(2))):
        pairs = []
        for seed in seeds:
            site = sitsfuse.simulate(size=size, seed=seed, guides=4, targets=1, guide_shift=0, cloud_cover=0.15)
            pairs.append(site["guide"].to_dataset())
        for by in (0.0, 0.1, 0.5, 2.0, 8.0):
            print("| " + " | ".join([f"{size}", f"{by:g}", *found(pairs, by)]) + " |", flush=True)


def found(pairs, by):
    """The cells of a row."""
    off, stated = [], []
    count = 0
    for guide in pairs:
        values, valid = guide.reflectance.values[:, 2:], guide.valid.values
        for k in range(1, len(values)):
            count += 1
            image = np.stack([moved(band, (by, -by), order=5, mode="mirror") for band in values[k]])
            clear = moved(valid[k].astype(np.float32), (by, -by), order=1) > 0.99
            result = register_images(values[0], valid[0], image, clear, geobox(guide))[1]
            if result.quality != "failed":
                off.append((result.shift_row - by, result.shift_col + by))
                stated.append(result.error)
    error, stated = np.abs(np.array(off)), np.array(stated)
    within = np.mean((error <= 2 * stated[:, None]).all(axis=1))
    return [f"{len(off)} of {count}", f"{within:.0%}", f"{np.median(error):.3f}", f"{np.median(stated):.3f}"]


if __name__ == "__main__":
    main()
