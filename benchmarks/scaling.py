"""Time and memory against the size of the scene: one date of a simulated site with 13 guides of 4 bands, ratio 5.

Each size is simulated once to Zarr (kept in the work folder, not counted), then fused in a fresh process. `fit` is the
training, `Mpx/s` the HR pixels over the time from the end of the training to the last tile; `wall` is the whole of
`sitsfuse.fuse`, with reading, training, tiles and writing. Memory is the peak of the fusing process, from its start to
its end, interpreter and libraries included; `base` is what it had before fusing.

    .venv/bin/python benchmarks/scaling.py --sizes 600,1200 --work /tmp/scaling
"""

# Only the standard library here: a child process inherits its parent's peak of memory.
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WORK = Path(tempfile.gettempdir()) / "sitsfuse-scaling"
COLUMNS = ("size", "Mpx", "wall s", "fit s", "tiles s", "Mpx/s", "base MB", "peak MB")


def main():
    args = parse()
    if args.step == "simulate":
        return simulate(args)
    if args.step == "fuse":
        return fuse(args)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(
        f"{args.method}, {args.format}, tiles of {args.tile} px, {args.workers or cores} workers on {cores} cores, "
        f"{args.guides} guides, 4 bands, ratio 5\n"
    )
    print("| " + " | ".join(COLUMNS) + " |")
    print("|" + "---:|" * len(COLUMNS), flush=True)
    for size in (int(s) for s in args.sizes.split(",")):
        if not site_of(args, size).is_dir():
            say(f"simulating {size} × {size} px …")
            run("simulate", size)
        found = json.loads(run("fuse", size))
        cells = [
            f"{size}",
            f"{size**2 / 1e6:.2f}",
            f"{found['wall']:.1f}",
            f"{found['fit']:.1f}",
            f"{found['tiles']:.1f}",
            f"{size**2 / 1e6 / found['tiles']:.2f}",
            f"{found['base']:.0f}",
            f"{found['peak']:.0f}",
        ]
        print("| " + " | ".join(cells) + " |", flush=True)
    return None


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="600,1200,2400,5400", help="sides of the scenes, in HR pixels")
    parser.add_argument("--work", type=Path, default=WORK, help="where simulated sites are kept")
    parser.add_argument("--method", default="ddi")
    parser.add_argument("--guides", type=int, default=13)
    parser.add_argument("--tile", type=int, default=1024)
    parser.add_argument("--workers", type=int, default=None)
    parser.add_argument("--format", default="cog", choices=("cog", "zarr"))
    parser.add_argument("--step", choices=("simulate", "fuse"), help=argparse.SUPPRESS)
    return parser.parse_args()


def run(step, size):
    """Run one step in a process of its own; its standard output."""
    command = [sys.executable, __file__, *sys.argv[1:], "--step", step, "--sizes", str(size)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def site_of(args, size):
    return args.work / f"site-{size}-{args.guides}.zarr"


def simulate(args):
    import xarray as xr

    from sitsfuse.simulator import simulate as make
    from sitsfuse.writers import write_site

    size = int(args.sizes)
    # One chunk per date, whatever the size: no more than a date is in memory.
    site = make(size=size, guides=args.guides, targets=1, cloud_cover=0.2, lazy=True)
    pair = xr.DataTree.from_dict({name: site[name].to_dataset() for name in ("guide", "target")})
    pair.attrs.update(site.attrs)
    write_site(pair, site_of(args, size))


def fuse(args):
    import dataclasses
    import shutil

    from sitsfuse.fusion.fuse import fuse as run_fusion
    from sitsfuse.methods import find_method
    from sitsfuse.runtime import memory

    times = {}

    @dataclasses.dataclass(frozen=True)
    class Timed(find_method(args.method)):
        """The method, with a clock around its training."""

        def study(self, site):
            start = time.perf_counter()
            return TimedStudy(super().study(site), start)

    class TimedStudy:
        def __init__(self, study, start):
            self.study, self.start = study, start

        def fit(self, date):
            predictor = self.study.fit(date)
            times["fitted"] = time.perf_counter()
            times["fit"] = times["fitted"] - self.start
            return predictor

    def report(_stage, done, total):
        if done == total:
            times.setdefault("last", time.perf_counter())

    if args.method == "ddi":
        import torch  # noqa: F401  (its import is part of the base, not of the training)

    size = int(args.sizes)
    out = args.work / f"out-{size}"
    shutil.rmtree(out, ignore_errors=True)
    base = memory.peak()
    start = time.perf_counter()
    run_fusion(
        site_of(args, size),
        out,
        method=Timed(),
        format=args.format,
        tile=args.tile,
        workers=args.workers,
        report=report,
    )
    wall = time.perf_counter() - start
    shutil.rmtree(out)
    tiles = times["last"] - times["fitted"]
    print(json.dumps({"wall": wall, "fit": times["fit"], "tiles": tiles, "base": base, "peak": memory.peak()}))


def say(text):
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
