"""CPU of a series by stage: 12 dates of a simulated site with 13 guides of 4 bands, deflated GeoTIFFs in, COGs out.

One worker, one thread per library; the site is simulated once (kept in the work folder, not counted). `open` is all
that comes before the first stage (imports, headers, the checks of the guides), `study and fit` what a method learns,
`read` the windows of the tiles, `predict` the tiles, `write` shards and GeoTIFFs. In seconds of CPU, of all dates and
per Mpx and date.

    .venv/bin/python benchmarks/series.py --methods difference,robot
"""

# Only the standard library here: a child process inherits its parent's peak of memory.
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WORK = Path(tempfile.gettempdir()) / "sitsfuse-series"
STAGES = ("open", "study and fit", "read", "predict", "write")
ONE = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")


def main():
    args = parse()
    if args.step:
        return {"simulate": simulate, "fuse": fuse}[args.step](args)
    if not (args.work / "target").is_dir():
        run("simulate")
    print(f"{args.dates} dates of {args.size}² × 4, {args.guides} guides, seconds of CPU\n")
    print("| method | " + " | ".join(STAGES) + " | all | per Mpx and date | peak MB |")
    print("|---|" + "---:|" * (len(STAGES) + 3), flush=True)
    for method in args.methods.split(","):
        found = json.loads(run("fuse", method))
        total = sum(found[s] for s in STAGES)
        cells = [f"{found[s]:.1f}" for s in STAGES]
        each = total / args.dates / (args.size**2 / 1e6)
        print(f"| {method} | " + " | ".join(cells) + f" | {total:.1f} | {each:.2f} | {found['peak']:.0f} |", flush=True)
    return None


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", default="difference,robot")
    parser.add_argument("--size", type=int, default=1200, help="side of the scene, in HR pixels")
    parser.add_argument("--dates", type=int, default=12)
    parser.add_argument("--guides", type=int, default=13)
    parser.add_argument("--work", type=Path, default=WORK, help="where the simulated site is kept")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    return parser.parse_args()


def run(step, methods=None):
    command = [sys.executable, *sys.argv, "--step", step, *(["--methods", methods] if methods else [])]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | ONE).stdout


def simulate(args):
    """Write the guides and targets of a site as providers do: integers, tiled, deflated."""
    import numpy as np
    import rasterio

    from sitsfuse.core.series import geobox
    from sitsfuse.simulator import simulate as make

    site = make(size=args.size, guides=args.guides, targets=args.dates, seed=7, lazy=True)
    for role in ("guide", "target"):
        series = site[role].to_dataset()
        box, bands = geobox(series), [str(b) for b in series["band"].values]
        (args.work / role).mkdir(parents=True, exist_ok=True)
        for time_, image in series.groupby("time"):
            known = image.squeeze("time").load(scheduler="synchronous")
            values = np.where(known["valid"], np.rint(known["reflectance"].values * 1e4), -32768).astype(np.int16)
            name = str(time_)[:10].replace("-", "")
            with rasterio.open(
                args.work / role / f"{name}.tif", "w", driver="GTiff", count=len(bands), height=box.shape[0],
                width=box.shape[1], dtype="int16", nodata=-32768, crs=box.crs.to_wkt(), transform=box.affine,
                tiled=True, blockxsize=512, blockysize=512, compress="deflate", predictor=2,
            ) as out:  # fmt: skip
                out.write(values)
                out.descriptions, out.scales = bands, [1e-4] * len(bands)


def fuse(args):
    from sitsfuse.core import loading
    from sitsfuse.fusion import run as loop
    from sitsfuse.fusion.fuse import fuse as run_fusion
    from sitsfuse.fusion.outputs.cog import CogOutput
    from sitsfuse.methods import find_method
    from sitsfuse.runtime import memory

    spent = dict.fromkeys(STAGES, 0.0)

    def clocked(stage, function):
        def timed(*given, **named):
            start, inner = time.process_time(), sum(spent.values())
            try:
                return function(*given, **named)
            finally:
                # What stages within this one have taken is theirs.
                spent[stage] += time.process_time() - start - (sum(spent.values()) - inner)

        return timed

    method = find_method(args.methods)
    method.study = clocked("study and fit", method.study)
    loop.fit_date = clocked("study and fit", loop.fit_date)
    loop.read = clocked("read", loading.read)  # type: ignore[attr-defined]
    loop.run_block = clocked("predict", loop.run_block)
    CogOutput.write = clocked("write", CogOutput.write)
    CogOutput.finish = clocked("write", CogOutput.finish)
    out = args.work / "out"
    shutil.rmtree(out, ignore_errors=True)
    start = time.process_time()
    run_fusion(args.work, out, method=method(), workers=1)
    spent["open"] = time.process_time() - start - sum(spent.values())
    print(json.dumps(spent | {"peak": memory.peak()}))


if __name__ == "__main__":
    main()
