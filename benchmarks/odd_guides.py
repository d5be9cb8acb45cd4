"""DDI on odd series of guides, against difference interpolation: it must never be more than 2 % worse.

Simulated farmland without missed clouds, the LR series in place as `prepare` leaves it, changed in one way at a time.
Errors are RMSE against the truth where the target is clear, all dates together; the choices are those of the date in
the middle. The bad guide has its contrast raised by 2.5; it is tried with and without the screening that leaves it out.

    .venv/bin/python benchmarks/odd_guides.py --networks never
"""

import argparse
import json
import time

import numpy as np

from sitsfuse.core.series import make_series
from sitsfuse.core.site import group, make_site
from sitsfuse.fusion.fuse import fuse
from sitsfuse.simulator import simulate

ALLOWED = 1.02
"""Error over that of difference interpolation, at most."""
SIZE, RATIO = 160, 5.0


def main():
    args = parse()
    wanted = args.cases.split(",") if args.cases else list(CASES)
    print("| series | ddi | difference | ratio | head | c | λ | CPU s per date |")
    print("|---|---:|---:|---:|---|---:|---|---:|")
    worse = []
    for name in wanted:
        ratios = []
        for seed in range(args.seeds):
            site, keep = CASES[name](seed)
            line, ratio = measured(site, keep, args.networks)
            ratios.append(ratio)
            print(f"| {name}, seed {seed} | {line} |", flush=True)
        worse += [name] if np.exp(np.mean(np.log(ratios))) > ALLOWED else []
    if worse:
        raise SystemExit(f"more than 2 % worse than difference interpolation: {', '.join(worse)}")


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", help=f"some of: {', '.join(CASES)}; default: all")
    parser.add_argument("--networks", default="auto", help="auto, never or always")
    parser.add_argument("--seeds", type=int, default=2, help="scenes per case")
    return parser.parse_args()


def scene(seed, **changes):
    """A simulated site of one target series."""
    common = {"size": SIZE, "ratio": RATIO, "guides": 8, "targets": 8, "missed_clouds": 0, "target_shift": 0.01}
    return simulate(seed=seed, **(common | changes))


def changed(site, **groups):
    """The site with functions applied to the reflectance and validity of some groups."""
    made = {}
    for name in ("guide", "target", "reference"):
        series = group(site, name).load()
        values, valid = series["reflectance"].values.copy(), series["valid"].values.copy()
        if name in groups:
            groups[name](values, valid)
        bands = [str(b) for b in series["band"].values]
        made[name] = make_series(values, valid, series["time"].values, bands, series.odc.geobox, series.attrs)
    return make_site(*made.values())


def with_bands(site, pick):
    """The site with bands made of its own."""
    made = []
    for name in ("guide", "target", "reference"):
        series = group(site, name).load()
        values = np.stack([pick[b](series["reflectance"].values) for b in pick], axis=1).astype(np.float32)
        attrs = {**series.attrs, "mtf": [0.3] * len(pick)} if "mtf" in series.attrs else series.attrs
        made.append(
            make_series(values, series["valid"].values, series["time"].values, list(pick), series.odc.geobox, attrs)
        )
    return make_site(*made)


def bad(seed):
    """One guide in the middle has a contrast 2.5 times too large."""

    def spoil(values, valid):
        image = values[4]
        image[...] = np.clip(image.mean(axis=(-2, -1), keepdims=True) * 1.3 + 2.5 * (image - image.mean()), 0.001, 1)

    return changed(scene(seed), guide=spoil)


def half(seed):
    """One guide in the middle is cloudy on one half, and says so."""

    def cover(values, valid):
        valid[4, :, : SIZE // 2] = False

    return changed(scene(seed), guide=cover)


def few(seed):
    """The first guide, one in the middle and the last."""
    site = scene(seed)
    return make_site(group(site, "guide").isel(time=[0, 4, 7]), group(site, "target"), group(site, "reference"))


def mixed(values, seed):
    """A band that is a mean of all bands, with weights drawn at random."""
    rng = np.random.default_rng([seed, 7])
    weights = rng.dirichlet(np.ones(values.shape[1]))
    return np.einsum("b,tbyx->tyx", weights, values)


CASES = {
    "usual": lambda seed: (scene(seed), False),
    "a bad guide": lambda seed: (bad(seed), False),
    "a bad guide, kept": lambda seed: (bad(seed), True),
    "a half cloudy guide": lambda seed: (half(seed), False),
    "3 guides": lambda seed: (few(seed), False),
    "40 guides": lambda seed: (scene(seed, guides=40, guide_revisit=4), False),
    "1 band": lambda seed: (with_bands(scene(seed), {"nir": lambda v: v[:, -1]}), False),
    "12 bands": lambda seed: (
        with_bands(scene(seed), {f"b{i}": lambda v, i=i: mixed(v, i) for i in range(12)}),
        False,
    ),
    "250 LR pixels": lambda seed: (scene(seed, size=80), False),
    "30 LR pixels": lambda seed: (scene(seed, size=30), False),
}


def measured(site, keep, networks):
    """A line of the table, and the error over that of difference interpolation."""
    dates = [str(t)[:10] for t in group(site, "target")["time"].values[1:-1:2]]
    start = time.process_time()
    made = fuse(site, options={"networks": networks}, dates=dates, workers=1, keep_all_guides=keep)
    seconds = (time.process_time() - start) / len(dates)
    plain = fuse(site, method="difference", dates=dates, workers=1, keep_all_guides=keep)
    errors = [rmse(image, site) for image in (made, plain)]
    told = json.loads(made.attrs["provenance"])["dates"][dates[len(dates) // 2]]["choices"]
    chosen = [str(told.get(name, "")) for name in ("head", "caution", "penalty")]
    figures = [f"{e:.5f}" for e in errors] + [f"{errors[0] / errors[1]:.3f}"]
    return " | ".join([*figures, *chosen, f"{seconds:.2f}"]), errors[0] / errors[1]


def rmse(made, site):
    """Root mean square error where the prediction is valid and its target is clear."""
    real = group(site, "reference").sel(time=made["time"])["reflectance"].values
    good = made["valid"].values & ~made["filled"].values
    return float(np.sqrt(np.mean((made["reflectance"].values - real).swapaxes(0, 1)[:, good] ** 2)))


if __name__ == "__main__":
    main()
