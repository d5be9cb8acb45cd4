"""Time and memory of an evaluation: one date of 4 bands with all metrics and strata, read lazily.

The images are made up on the fly, block by block, as dask arrays in chunks of 1024 px: a prediction with its
uncertainty, a reference and an LR image at ratio 5, with a tenth of the pixels invalid. Each row is a process of its
own. `wall` and `CPU` are those of `sitsfuse.evaluate`, `input` the CPU time of making the arrays as often as they are
read, `ns` the CPU time without it per pixel and band. Memory is the peak of the process during the evaluation,
`over` what it is above the memory before. The second table tells where the time of one block of 1024 px goes.

    .venv/bin/python benchmarks/evaluation.py --sizes 1200,2400 --workers 2
"""

import argparse
import json
import os
import subprocess
import sys
import time

BANDS = ("blue", "green", "red", "nir")
RATIO = 5
CHUNK = 1024
HOLE = 32
"""Side of the holes in the masks, in pixels; every tenth is one."""


def main():
    args = parse()
    if args.step == "stages":
        return stages()
    if args.step:
        return measure(int(args.step), args.workers)
    print("| size | threads | wall s | CPU s | input s | ns | peak MB | over MB |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|", flush=True)
    for size in args.sizes.split(","):
        found = json.loads(run(args, size))
        ns = (found["cpu"] - found["input"]) / (int(size) ** 2 * len(BANDS)) * 1e9
        cells = [size, args.workers, *(f"{found[k]:.1f}" for k in ("wall", "cpu", "input")), f"{ns:.0f}"]
        cells += [f"{found['peak']:.0f}", f"{found['peak'] - found['base']:.0f}"]
        print("| " + " | ".join(str(c) for c in cells) + " |", flush=True)
    print("\n| stage of a block | ns per pixel and band |\n|---|---:|")
    for name, ns in json.loads(run(args, "stages")).items():
        print(f"| {name} | {ns:.1f} |")
    return None


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="1200,2400,5400", help="sides of the images, in HR pixels")
    parser.add_argument("--workers", type=int, default=2, help="threads")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    return parser.parse_args()


def run(args, step):
    """Run one step in a process of its own; its standard output."""
    command = [sys.executable, __file__, "--workers", str(args.workers), "--step", step]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def measure(size, workers):
    from sitsfuse import evaluate
    from sitsfuse.runtime.memory import peak, reset_peak

    evaluate(*images(2 * HOLE))  # loads what was compiled
    series = images(size)
    reset_peak()
    base, wall, cpu = peak(), time.perf_counter(), time.process_time()
    evaluate(*series, workers=workers)
    found = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "base": base, "peak": peak()}
    cpu = time.process_time()
    prediction, reference, target = series
    for image in (prediction, reference, reference, target):
        for name in image.data_vars:
            # Dropped as they come.
            image[name].data.map_blocks(lambda a: a[..., :1, :1], dtype=image[name].dtype).compute()
    print(json.dumps(found | {"input": time.process_time() - cpu}))


def images(size):
    """A prediction with uncertainty, a reference and a target; lazy."""
    import dask.array as da
    import numpy as np
    from affine import Affine
    from odc.geo.geobox import GeoBox

    from sitsfuse.core.series import make_series

    def values(noise, smooth):
        def block(block_info):
            (_, _), (_, _), (y0, y1), (x0, x1) = block_info[None]["array-location"]
            y, x = np.arange(y0, y1, dtype=np.float32)[:, None], np.arange(x0, x1, dtype=np.float32)
            wave = np.sin(y / 7 / smooth) * np.sin(x / 11 / smooth) * np.float32(0.05) + np.float32(0.2)
            rng = np.random.default_rng((y0, x0))
            rough = rng.standard_normal((len(BANDS), y1 - y0, x1 - x0), np.float32)
            return (wave + rough * np.float32(noise))[None]

        return block

    def masks(block_info):
        (_, _), (y0, y1), (x0, x1) = block_info[None]["array-location"]
        y, x = np.arange(y0, y1)[:, None] // HOLE, np.arange(x0, x1) // HOLE
        return ((3 * y + 7 * x) % 10 != 0)[None]

    def series(n, pixel, noise):
        chunks = ((1,), (len(BANDS),), *da.core.normalize_chunks(CHUNK, (n, n)))
        box = GeoBox((n, n), Affine(pixel, 0, 600_000, 0, -pixel, 4_900_000), "EPSG:32631")
        image = da.map_blocks(values(noise, 10 / pixel), chunks=chunks, dtype=np.float32, meta=np.empty(0, np.float32))
        valid = da.map_blocks(masks, chunks=(chunks[0], *chunks[2:]), dtype=bool, meta=np.empty(0, bool))
        return make_series(image, valid, ["2021-05-01"], list(BANDS), box)

    prediction = series(size, 10.0, 0.01)
    prediction["uncertainty"] = prediction["reflectance"] * 0 + np.float32(0.01)
    return prediction, series(size, 10.0, 0.02), series(-(-size // RATIO), 10.0 * RATIO, 0.0)


def stages():
    """What each part of the work on a block costs, in ns of CPU time per pixel and band."""
    import numpy as np

    from sitsfuse import metrics
    from sitsfuse.core.series import geobox
    from sitsfuse.evaluation.strata import stratify
    from sitsfuse.metrics import _kernels as kernels
    from sitsfuse.metrics.frequency import SIDE, amplitudes
    from sitsfuse.metrics.measure import _filled
    from sitsfuse.metrics.strata import gradient
    from sitsfuse.metrics.sums import BOUNDS
    from sitsfuse.operators.series import degrade

    prediction, reference, target = (s.isel(time=0).compute() for s in images(CHUNK))
    p, r, sigma = prediction["reflectance"].values, reference["reflectance"].values, prediction["uncertainty"].values
    ok = prediction["valid"].values
    strata = stratify(reference)
    masks = metrics.Masks.of(ok, np.ones_like(ok))
    a, b, s = (_filled(image[0], ok, 0.2) for image in (p, r, sigma))
    size = a[ok]
    found, filled = np.empty((4, a.size + 1)), np.zeros(4, np.int64)
    quantiles = metrics.Quantiles()
    quantiles.add(np.zeros(metrics.EXACT + 1))
    part = np.stack([p, r, p])[..., :SIDE, :SIDE]
    lazy = prediction.expand_dims("time").chunk(y=CHUNK, x=CHUNK)
    n, area = len(BANDS), CHUNK**2
    work = {
        "gradient for the strata": (lambda: gradient(r, ok), area * n),
        "masks of windows": (lambda: metrics.Masks.of(ok, ok), area * n),
        "errors": (lambda: kernels.errors(a, b, masks.pixel, strata, np.zeros((3, 5)), found, filled * 0), area),
        "quantiles": (lambda: quantiles.add(size), area),
        "gradients": (lambda: kernels.gradients(a, b, masks.cross, strata, np.zeros((3, 6))), area),
        "UIQI": (lambda: kernels.uiqi(a, b, masks.square, strata, 0.2, np.zeros((3, 2))), area),
        "structure": (
            lambda: kernels.structural(a, b, masks.disc, strata, 0.2, 1e-5, kernels.gaussian(), np.zeros((3, 2))),
            area,
        ),
        "uncertainty": (
            lambda: kernels.coverages(a, b, s, masks.pixel, strata, BOUNDS, np.zeros((3, len(BOUNDS) + 2))),
            area,
        ),
        "NDVI": (lambda: metrics.ndvi(p[2], p[3], ok), area * n / 2),
        "spectral angle": (lambda: metrics.spectral_angles(p, r, masks, strata), area * n),
        "spectra": (lambda: amplitudes(part), part.size / 3),
        "degradation": (lambda: degrade(lazy, geobox(target)).compute(scheduler="synchronous"), area * n),
    }
    print(json.dumps({name: cost(f) / pixels * 1e9 for name, (f, pixels) in work.items()}))


def cost(function):
    """CPU time of a call, the least of three."""
    times = []
    for _ in range(3):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
