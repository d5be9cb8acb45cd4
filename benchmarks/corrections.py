"""How well `sitsfuse prepare` corrects, and whether it keeps its hands off, on simulated sites that tell the truth.

The first table: landscapes × ratios × gain of the LR sensor (offset 0.004 where it is not 1) × days between guides and
LR images × share of the clouds that masks miss. HR images are displaced by 0.3 HR pixels, LR ones by 0.2 LR pixels
(standard deviations), 30 % of clouds. Errors of displacements in pixels of the images themselves, the frame's own
displacement taken off; gain and offset against the truth, largest over the bands; `LR error` is the root mean square
difference of the LR images' radiometry to the truth, before and after. `right`: corrected where there is something to
correct, else not. `harm`: the error after exceeds that before by more than 2 %. `MTF`: what is recorded (median of the
bands), where 0.3 is known of the sensor and true.

The second: pairs of HR images 20 to 60 days apart, one displaced by what the row says, in small and large images of
four landscapes: how often the displacement is found, how often within twice its stated error along both axes, and the
median error.

The third: what MTF is found of an LR sensor of which 0.3 is known and another is true, with LR images of the guides'
days or between them and a third of the clouds missed.

    .venv/bin/python benchmarks/corrections.py --lands all --tables corrections
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
    parser.add_argument("--tables", default="corrections,displacements,psf")
    args = parser.parse_args()
    for table, show in {"corrections": corrections, "displacements": displacements, "psf": psf}.items():
        if table in args.tables.split(","):
            show(args)


def corrections(args):
    names = (
        "land",
        "ratio",
        "gain",
        "days",
        "missed",
        "HR px",
        "LR px",
        "gain %",
        "offset",
        "LR error",
        "after",
        "MTF",
    )
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


FIGURES = {"hr": 3, "lr": 3, "gain": 2, "offset": 4, "before": 4, "after": 4, "mtf": 2}
"""Digits of the figures of a row."""


def scene(land, ratio, days, missed, args, mtf=0.3):
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
        "target_mtf": mtf,
        "lazy": False,
    }
    site = sitsfuse.simulate(guides=8, targets=12, **options)
    guide, target = site["guide"].to_dataset(), site["target"].to_dataset()
    target.attrs["mtf"] = [0.3] * target.sizes["band"]
    if days == 0:
        # The same land under other guides, so that LR images fall on the days of these.
        seen = sitsfuse.simulate(guides=21, guide_revisit=7, targets=6, target_revisit=20, **options)["target"]
        return guide, seen.to_dataset().assign_attrs(mtf=target.attrs["mtf"])
    apart = np.abs(target.time.values[:, None] - guide.time.values).min(axis=1)
    return guide, target.isel(time=np.flatnonzero(apart <= np.timedelta64(days, "D")))


def corrected(site, gain, offset):
    """The figures of a row."""
    guide, truth = site
    values = truth.reflectance.values
    target = truth.assign(reflectance=truth.reflectance.copy(data=((values - offset) / gain).astype(np.float32)))
    with tempfile.TemporaryDirectory() as folder:
        done = made(guide, target, Path(folder))
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
        "mtf": float(np.median([row["mtf"] for row in done["psf"]["bands"]])),
        "decision": next(v["state"] for v in done["verdicts"] if v["of"] == "Harmonisation"),
        "right": changed == (gain != 1),
        "harm": after > 1.02 * before + 1e-6,
    }


def made(guide, target, folder):
    """What `prepare` says of a site."""
    write_site(make_site(guide, target, name="raw"), folder / "raw.zarr")
    content = {"guide": {"path": folder / "raw.zarr" / "guide"}, "target": {"path": folder / "raw.zarr" / "target"}}
    return prepare(make_config(content), folder / "site.zarr")


def displacement(done, role, series):
    """(image, 2) displacements that are left, in metres: what was taken out less the truth."""
    days = [str(t)[:10] for t in series.time.values]
    taken = {i["date"]: (i["shift_x"], i["shift_y"]) for i in done["images"] if i["role"] == role}
    true = np.stack([series.shift_x.values, series.shift_y.values], 1)
    return np.array([taken[d] for d in days if d in taken]) - true[[d in taken for d in days]]


def displacements(args):
    print("| size | displaced by px | found | within 2 errors | median error px | stated |")
    print("|---:|---:|---:|---:|---:|---:|")
    for size, seeds in ((64, range(6)), (600, range(1))):
        pairs = []
        for land, seed in itertools.product(("farmland", "mountains", "desert", "urban"), seeds):
            options = {"landscape": land, "size": size, "seed": seed, "cloud_cover": 0.15}
            site = sitsfuse.simulate(guides=4, targets=1, guide_shift=0, lazy=False, **options)
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


def psf(args):
    print("| land | ratio | days | true MTF | found, by band | decision | gained |")
    print("|---|---:|---:|---:|---|---|---:|")
    lands = list(LANDS) if args.lands == "all" else args.lands.split(",")
    for land, ratio, days, mtf in itertools.product(lands, (2.5, 5.0), (0, 5), (0.3, 0.1, 0.02)):
        guide, target = scene(land, ratio, days, 1 / 3, args, mtf)
        with tempfile.TemporaryDirectory() as folder:
            done = made(guide, target, Path(folder))
        verdict = next(v for v in done["verdicts"] if v["of"] == "PSF of the LR sensor")
        bands = ", ".join(f"{row['mtf']:.3f}" for row in done["psf"]["bands"])
        gained = f"{verdict['gained']:.0%}" if verdict["gained"] is not None else ""
        what = [land, f"×{ratio:g}", f"{days}", f"{mtf:g}", bands, verdict["state"], gained]
        print("| " + " | ".join(what) + " |", flush=True)


if __name__ == "__main__":
    main()
