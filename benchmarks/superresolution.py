"""Super-resolution: how much CARN gains, how it goes with DDI, how fast it runs and in what memory.

Simulated scenes are those of seeds that no model has seen, with the models of the package. The real series lie in
../shared/data beside the checkout; for each a network is trained on its guides alone and kept in the folder given, so
that a second run only measures. Errors are those of whole series against references that no network saw, where the
target is clear; rates of frequencies those of dates without a cloud.

    .venv/bin/python benchmarks/superresolution.py --models /tmp/models --parts simulated,real,speed,tile
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import sitsfuse
from sitsfuse.core.site import group, pair_of
from sitsfuse.errors import InputError
from sitsfuse.metrics.frequency import rates
from sitsfuse.operators.updown import up, up_mask
from sitsfuse.runtime import memory
from sitsfuse.runtime.threads import bound
from sitsfuse.superresolution.card import shipped_model
from sitsfuse.superresolution.model import load_model

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
PORTUGAL = ("s2_portugal_1", "s2_portugal_2", "s2_portugal_3")
FACTORS = (2.5, 5.0)
BANDS = ["blue", "green", "red", "nir"]
SEEDS = (501, 502, 503)
LEAST_SHARE = 0.3
"""Share of an image's pixels that a date must offer to count."""
GUIDED = ("ddi", "carn+ddi")
COVER = 0.5
"""Mean cloud cover of the simulated scenes: so that there are gaps between guides."""
LONG = 40
"""Days without a valid guide that are a long gap."""


def main():
    args = parse()
    parts = args.parts.split(",")
    if "simulated" in parts:
        heading("simulated scenes, the package's models")
        for factor in FACTORS:
            sites = [
                sitsfuse.simulate(size=args.size, seed=s, ratio=factor, targets=args.dates, cloud_cover=COVER)
                for s in SEEDS
            ]
            clear = [sitsfuse.simulate(size=args.size, seed=s, ratio=factor, targets=1, cloud_cover=0.0) for s in SEEDS]
            compare(f"simulated ×{factor:g}", sites, str(shipped_model(BANDS, factor)), clear=clear)
    if "real" in parts and args.data.is_dir():
        heading("real series, networks trained on their guides")
        for factor in FACTORS:
            for name in PORTUGAL:
                site = sitsfuse.open_site(args.data / name, target=f"target_x{factor:g}")
                model = args.models / f"{name}-x{factor:g}"
                sitsfuse.train(site, model, steps=args.steps, features=40, device="cpu")
                compare(f"{name} ×{factor:g}", [site], str(model), str(shipped_model(BANDS, factor)))
    if "speed" in parts:
        speed()
    if "tile" in parts:
        tile()


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", default="simulated,real,speed")
    parser.add_argument("--models", type=Path, default=Path("benchmark-models"), help="networks trained here")
    parser.add_argument("--steps", type=int, default=600, help="of a training on a site's guides")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the real series")
    parser.add_argument("--size", type=int, default=300, help="side of the simulated scenes, in HR pixels")
    parser.add_argument("--dates", type=int, default=6, help="LR images of a simulated scene")
    return parser.parse_args()


def heading(title):
    print(f"\n{title}\n")
    print("| site | method | PSNR | gain over bicubic, dB | RMSE | FRR | FRO | dates |")
    print("|---|---|---:|---:|---:|---:|---:|---:|", flush=True)


def compare(name, sites, model, other=None, clear=()):
    """A line per method. Sites without clouds are for the rates of frequencies of CARN, where others have too many."""
    runs = {
        "bicubic": ("spatial", {}),
        "carn, no correction": ("carn", {"model": model, "iterations": 0}),
        "carn": ("carn", {"model": model}),
        **({} if other is None else {"carn, the package's": ("carn", {"model": other})}),
        "ddi": ("ddi", {}),
        "carn+ddi": ("carn+ddi", {"model": model}),
    }
    first = None
    for label, (method, options) in runs.items():
        errors, found = [], []
        gaps = np.zeros((3, 2))
        for site in sites:
            prediction = sitsfuse.fuse(site, method=method, options=options)
            one, frequencies = errors_of(site, prediction)
            errors += one
            found += frequencies
            if clear and method in GUIDED:
                gaps += by_gap(site, prediction)
        for site in clear if method not in GUIDED else ():
            found += errors_of(site, sitsfuse.fuse(site, method=method, options=options))[1]
        mse = np.mean([e for e, _ in errors])
        psnr = -10 * np.log10(mse)
        first = psnr if first is None else first
        frr, fro = np.mean(found, axis=0) if found else (np.nan, np.nan)
        rmse = np.mean([np.sqrt(e) for e, _ in errors])
        print(
            f"| {name} | {label} | {psnr:.2f} | {psnr - first:+.2f} | {rmse:.5f} | {frr:.1f} | {fro:.2f} "
            f"| {len(errors)} |",
            flush=True,
        )
        if gaps.any():
            shares = 100 * gaps[:, 1] / gaps[:, 1].sum()
            names = f"guides ≤ {LONG} d apart", f"> {LONG} d", "on one side only"
            told = zip(names, np.sqrt(gaps[:, 0] / gaps[:, 1]), shares, strict=True)
            text = ", ".join(f"{n}: {e:.5f} ({s:.0f} % of the pixels)" for n, e, s in told)
            print(f"| | *RMSE by gap* | {text} |", flush=True)


def errors_of(site, prediction):
    """Mean squared error and number of pixels per date, and the rates of the dates without a cloud."""
    reference, target = group(site, "reference"), group(site, "target")
    errors, found = [], []
    pair = pair_of(site)
    for k, date in enumerate(target["time"].values):
        near = np.abs(reference["time"].values - date)
        if near.min() > np.timedelta64(2, "D"):
            continue
        truth, image = reference.isel(time=int(near.argmin())).load(), prediction.isel(time=k)
        seen = target["valid"].values[k]
        ok = truth["valid"].values & image["valid"].values & up_mask(seen, pair)
        if ok.mean() < LEAST_SHARE:
            continue
        t, p = truth["reflectance"].values, image["reflectance"].values
        errors.append((float(np.square(p - t, dtype=np.float64)[:, ok].mean()), int(ok.sum())))
        rows, cols = np.flatnonzero(ok.any(axis=1)), np.flatnonzero(ok.any(axis=0))
        box = slice(rows[0], rows[-1] + 1), slice(cols[0], cols[-1] + 1)
        if ok[box].all():
            smooth = up(target["reflectance"].values[k], seen, pair)[0]
            each = [rates(t[b][box], p[b][box], smooth[b][box]) for b in range(len(t))]
            found.append((np.mean([r.frr for r in each]), np.mean([r.fro for r in each])))
    return errors, found


def by_gap(site, prediction):
    """Sums of squared errors and counts: pixels in short gaps between guides, in long ones, with guides on one side."""
    reference, guide, target = (group(site, n) for n in ("reference", "guide", "target"))
    valid, sums = guide["valid"].values, np.zeros((3, 2))
    for k, date in enumerate(target["time"].values):
        offset = ((guide["time"].values - date) / np.timedelta64(1, "D"))[:, None, None]
        after = np.where(valid & (offset >= 0), offset, np.inf).min(axis=0)
        before = np.where(valid & (offset < 0), -offset, np.inf).min(axis=0)
        gap = before + after
        image = prediction.isel(time=k)
        ok = image["valid"].values & up_mask(target["valid"].values[k], pair_of(site)) & valid.any(axis=0)
        error = np.square(image["reflectance"].values - reference["reflectance"].values[k], dtype=np.float64).mean(0)
        for i, where in enumerate((gap <= LONG, (gap > LONG) & (gap < np.inf), gap == np.inf)):
            sums[i] += error[ok & where].sum(), (ok & where).sum()
    return sums


def speed():
    """Inference alone, one thread."""
    bound()
    print("\ninference on one thread, LR images of 128 px and 4 bands, Mpx of HR a second\n")
    print("| model | torch | onnxruntime | onnxruntime over torch |")
    print("|---|---:|---:|---:|", flush=True)
    for factor in FACTORS:
        folder = shipped_model(BANDS, factor)
        image = np.random.default_rng(0).normal(size=(4, 128, 128)).astype(np.float32)
        took = {}
        for runtime in ("torch", "onnx"):
            model = load_model(folder, runtime, "cpu")
            model.run(image)
            # The best of several turns: what else runs on the machine only slows down.
            took[runtime] = min(timed(model.run, image) for _ in range(5))
        size = (128 * factor) ** 2 / 1e6
        a, b = size / took["torch"], size / took["onnx"]
        print(f"| {folder.name} | {a:.2f} | {b:.2f} | {b / a:.2f} |", flush=True)


def timed(function, *args):
    start = time.perf_counter()
    function(*args)
    return time.perf_counter() - start


def tile():
    """A whole Sentinel-2 tile, streamed from disk to disk: time, and peak memory against that of a quarter of it."""
    print("\na tile streamed from GeoTIFF to GeoTIFF, 4 bands, two workers\n")
    print("| LR size | factor | HR Mpx | wall s | HR Mpx/s | peak MB |")
    print("|---:|---:|---:|---:|---:|---:|", flush=True)
    for side, factor in ((1098, 5.0), (2196, 5.0)):
        with tempfile.TemporaryDirectory() as folder:
            write_lr(Path(folder) / "lr", side)
            start = time.perf_counter()
            site = sitsfuse.open_target(Path(folder) / "lr", factor)
            sitsfuse.fuse(site, Path(folder) / "out", method="carn", int16=True)
            took = time.perf_counter() - start
            size = (side * factor) ** 2 / 1e6
            speed, peak = size / took, memory.peak()
            print(f"| {side} | {factor:g} | {size:.0f} | {took:.0f} | {speed:.2f} | {peak:.0f} |", flush=True)


def write_lr(folder, side):
    """An LR image: a simulated one, repeated."""
    import rasterio
    from rasterio.transform import from_origin

    folder.mkdir()
    piece = group(sitsfuse.simulate(size=1000, ratio=5.0, guides=2, targets=1, cloud_cover=0.0), "target")
    values = np.rint(piece["reflectance"].values[0] * 1e4).astype(np.int16)
    n = -(-side // values.shape[1])
    values = np.tile(values, (1, n, n))[:, :side, :side]
    profile = {"driver": "GTiff", "count": 4, "width": side, "height": side, "dtype": "int16", "nodata": -32768}
    place = {"crs": "EPSG:32631", "transform": from_origin(500000, 4900000, 25, 25), "tiled": True}
    with rasterio.open(folder / "20190501.tif", "w", **profile, **place) as file:
        file.write(values)
        file.descriptions, file.scales = BANDS, (1e-4,) * 4


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(str(error))
