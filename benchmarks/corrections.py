"""How well `sitsfuse prepare` finds displacements and radiometry, on simulated sites that tell the truth.

HR images are displaced by up to some 3 HR pixels, LR ones by half an LR pixel and with them the HR date that all are
registered to; 30 % clouds, another gain, offset and PSF per sensor, changes of the land between the dates. Errors of
displacements along both axes, in pixels of the images themselves; gain and offset against the mean of those of all
dates, from guides up to 6 days away (`pooled`), and from HR images of the same days (`same day`). Rows named
`still` have no displacement at all.

    .venv/bin/python benchmarks/corrections.py --seeds 0,1
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

import sitsfuse
from sitsfuse.operators.series import degrade
from sitsfuse.preparation import make_config, prepare
from sitsfuse.radiometry.harmonize import pool, take_samples
from sitsfuse.writers import write_site


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=600)
    parser.add_argument("--seeds", default="0,1")
    args = parser.parse_args()
    names = ("scene", "HR px", "90 %", "failed", "LR px", "90 %", "failed", "gain %", "offset", "same day %", "offset")
    print("| " + " | ".join(names) + " |")
    print("|---|" + "---:|" * (len(names) - 1))
    for ratio in (2.5, 5.0):
        for still in (False, True):
            for seed in (int(s) for s in args.seeds.split(",")):
                cells = run(args.size, ratio, still, seed)
                print("| " + " | ".join([f"{'still ' * still}×{ratio:g}, seed {seed}", *cells]) + " |", flush=True)


def run(size, ratio, still, seed):
    """The cells of a row."""
    moved = {"guide_shift": 0.0, "target_shift": 0.0} if still else {"guide_shift": 1.2, "target_shift": 0.4}
    site = sitsfuse.simulate(
        size=size, ratio=ratio, seed=seed, guides=8, targets=10, gain=0.04, offset=0.006, target_mtf=0.25, **moved
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "raw.zarr"
        write_site(site, path)
        config = make_config({"guide": {"path": path / "guide"}, "target": {"path": path / "target"}}, "benchmark")
        done = prepare(config, Path(folder) / "site.zarr")
    truth = {
        role: dict(
            zip((str(t)[:10] for t in s.time.values), zip(s.shift_x.values, s.shift_y.values, strict=True), strict=True)
        )
        for role in ("guide", "target")
        for s in [site[role].to_dataset()]
    }
    zero = truth["guide"][done["registration"]["reference"]]
    cells = []
    for role, pixel in (("guide", 5.0), ("target", 5.0 * ratio)):
        images = [i for i in done["images"] if i["role"] == role and i["quality"] != "reference"]
        errors = [
            np.abs([i[f"shift_{a}"] - truth[role][i["date"]][k] + zero[k] for k, a in enumerate("xy")]) / pixel
            for i in images
            if i["quality"] != "failed"
        ]
        failed = sum(i["quality"] == "failed" for i in images)
        cells += [f"{np.median(errors):.3f}", f"{np.quantile(errors, 0.9):.3f}", f"{failed} of {len(images)}"]
    target = site["target"].to_dataset()
    gain, offset = target.gain.mean("time").values, target.offset.mean("time").values
    found = [(r["gain"], r["offset"]) for r in done["harmonization"]["bands"]]
    cells += judged(found, gain, offset)
    return cells + judged(same_day(site), gain, offset)


def judged(found, gain, offset):
    """Largest error of the gains in %, and of the offsets."""
    off = [(g * a - 1, o + g * b) for (g, o), a, b in zip(found, gain, offset, strict=True)]
    return [f"{100 * max(abs(g) for g, _ in off):.2f}", f"{max(abs(o) for _, o in off):.4f}"]


def same_day(site):
    """Lines from HR images of the targets' own days, displaced as the targets are not."""
    target, truth = site["target"].to_dataset(), site["reference"].to_dataset()
    low = degrade(truth, target.odc.geobox, mtf=target.attrs["mtf"])
    samples = [
        take_samples(
            t, target.reflectance.values[i], target.valid.values[i], low.reflectance.values[i], low.valid.values[i]
        )
        for i, t in enumerate(target.time.values)
    ]
    fitted = pool(samples, [str(b) for b in target.band.values])
    return [(line.gain, line.offset) for line in fitted.lines.values()]


if __name__ == "__main__":
    main()
