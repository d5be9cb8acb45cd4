"""Time and memory of preparing a site from products of full size: Venµs and Sentinel-2 as Theia delivers them.

The products are generated once: simulated farmland, repeated by mirroring, seen through both sensors' grids with a
displacement per date; 12 Venµs bands of 5400 × 5400 px, 4 Sentinel-2 bands of 10 980 × 10 980 px. The site gets four
bands and Sentinel-2 at 25 m. `wall` is the whole of `sitsfuse.prepare` in a fresh process, `per image` the writing of
an image (reading, resampling, harmonising, compressing); `read` is the time that rasterio alone takes to read the
files of one such image whole, one after the other. Memory is the peak of the process, interpreter and libraries
included.

    .venv/bin/python benchmarks/prepare.py --size 2700 --work /tmp/prepare
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WORK = Path(tempfile.gettempdir()) / "sitsfuse-prepare"
HR_DAYS = ("2019-04-03", "2019-04-15", "2019-05-01", "2019-05-13", "2019-05-24", "2019-06-10")
LR_DAYS = ("2019-04-15", "2019-05-01", "2019-05-13", "2019-05-24")
BASE = 1350
"""Side of the simulated scene, in HR pixels; mirrored, it repeats after twice that."""


def main():
    args = parse()
    if args.step == "generate":
        return generate(args)
    if args.step == "prepare":
        return prepare(args)
    if not (args.work / "done").is_file():
        print(f"generating products in {args.work} …", file=sys.stderr, flush=True)
        run("generate")
    found = json.loads(run("prepare"))
    print("| size | images | wall s | per HR image s | read s | per LR image s | read s | peak MB |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|")
    cells = [
        f"{args.size}",
        f"{found['images']}",
        *(f"{found[k]:.1f}" for k in ("wall", "hr", "hr_read", "lr", "lr_read")),
    ]
    print("| " + " | ".join([*cells, f"{found['peak']:.0f}"]) + " |")
    print(found["summary"])
    return None


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=5400, help="side of the Venµs images, in pixels")
    parser.add_argument("--tile", type=int, default=10980, help="side of the Sentinel-2 images, in pixels")
    parser.add_argument("--work", type=Path, default=WORK, help="where the products are kept")
    parser.add_argument("--step", choices=("generate", "prepare"), help=argparse.SUPPRESS)
    return parser.parse_args()


def run(step):
    """Run one step in a process of its own; its standard output."""
    command = [sys.executable, __file__, *sys.argv[1:], "--step", step]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def generate(args):
    import numpy as np

    sys.path.insert(0, str(Path(__file__).parents[1]))
    from scipy.ndimage import shift

    import sitsfuse
    from tests.helpers.make_muscate import make_muscate

    scene = sitsfuse.simulate(size=BASE, guides=len(HR_DAYS), targets=1, cloud_cover=0.2, guide_shift=0, lazy=True)
    rng = np.random.default_rng(0)
    order = {"B2": 0, "B3": 1, "B4": 2, "B8": 3} | {
        "B1": 0,
        "B5": 2,
        "B6": 2,
        "B7": 2,
        "B9": 3,
        "B10": 3,
        "B11": 3,
        "B12": 3,
    }
    venus = order | {"B3": 0, "B4": 1, "B2": 0, "B8": 2}
    origin = (600000.0, 4900020.0)
    corner = (origin[0] + 30005.0, origin[1] - 30005.0)
    lag = round((corner[0] - origin[0]) / 5)

    for role, days in (("venus", HR_DAYS), ("sentinel2", LR_DAYS)):
        for day in days:
            k = HR_DAYS.index(day)
            seen = scene["guide"].isel(time=k).load()
            image, clear = seen["reflectance"].values, seen["valid"].values
            moved = rng.uniform(-2, 2, 2)
            print(role, day, "displaced by", moved * 5, "m", file=sys.stderr)

            def mirrored(plane):
                return np.pad(plane, [(0, BASE), (0, BASE)], "symmetric")

            lags = (0, 0) if role == "venus" else (lag, lag)
            # Mirrored first: what is mirrored after it was displaced is displaced both ways.
            wide = [shift(np.roll(mirrored(b), lags, (0, 1)), moved, order=3, mode="grid-wrap") for b in image]
            cloud = np.roll(mirrored(np.where(clear, 0, 3).astype(np.uint8)), lags, (0, 1))
            if role == "sentinel2":
                wide = [1.03 * b.reshape(BASE, 2, BASE, 2).mean((1, 3)) + 0.004 for b in wide]
                cloud = cloud[::2, ::2]
            planes = [np.rint(b * 10000).astype(np.int16) for b in wide]

            def rows(plane, part, width):
                index = np.arange(part.start, part.stop) % plane.shape[0]
                return np.take(plane[index], np.arange(width) % plane.shape[1], axis=1)

            def values(name, part, width, planes=planes, table=venus if role == "venus" else order):
                return rows(planes[table[name]], part, width)

            def masks(name, part, width, cloud=cloud):
                if name != "CLM":
                    return np.zeros((part.stop - part.start, width), np.uint8)
                return rows(cloud, part, width)

            side = args.size if role == "venus" else args.tile
            make_muscate(
                args.work / role,
                values,
                masks,
                platform="VENUS" if role == "venus" else "SENTINEL2A",
                time=f"{day}T10:56:00.000Z",
                shape=(side, side),
                origin=corner if role == "venus" else origin,
                bands=None if role == "venus" else ("B2", "B3", "B4", "B8"),
                kinds=("FRE",),
                compress="deflate",
                zlevel=1,
            )
    (args.work / "done").touch()


def prepare(args):
    import numpy as np
    import rasterio

    from sitsfuse.preparation import make_config
    from sitsfuse.preparation import prepare as run_prepare
    from sitsfuse.runtime import memory

    config = make_config(
        {
            "guide": {"path": args.work / "venus"},
            "target": {"path": args.work / "sentinel2", "degrade": 25},
        },
        "benchmark",
    )
    start = time.monotonic()
    done = run_prepare(config, args.work / "site.zarr", overwrite=True)
    found = {"wall": time.monotonic() - start, "images": len(done["images"]), "summary": done["summary"]}
    found["peak"] = memory.peak()
    for name, role in (("hr", "guide"), ("lr", "target")):
        found[name] = float(np.mean([i["seconds"] for i in done["images"] if i["role"] == role]))
    for name, role, bands in (
        ("hr", "venus", ("B3", "B4", "B7", "B10", "B11")),
        ("lr", "sentinel2", ("B2", "B3", "B4", "B8")),
    ):
        product = min((args.work / role).iterdir())
        start = time.monotonic()
        for band in bands:
            with rasterio.open(next(product.glob(f"*_FRE_{band}.tif"))) as source:
                source.read()
        found[f"{name}_read"] = time.monotonic() - start
    print(json.dumps(found))


if __name__ == "__main__":
    main()
