"""Time and memory of the window methods: one date of a simulated scene, ratio 5, against slow versions of the formulas.

From a base (1000 × 1000 px, 4 bands, the method's own window, 1 thread) one thing at a time is changed: the size, the
number of bands, the window, the number of threads. Each row is a process of its own, which predicts the date twice with
two guides around it, in tiles of 512 px, in memory; the faster time counts. `Mpx/s` is the rate of the whole prediction
(pairs, window, uncertainty, reading and halo), `ns` the processor's time per pixel of the image, band, and pixel of the
window, `peak MB` the process's peak of memory and `over MB` what it is above the memory with the scene loaded, the
predicted image included. `slow` is the speed over that of the plain version of the formula that the tests compare with,
in the same run, on a scene of 60 × 60 px with the same window.

    .venv/bin/python benchmarks/windows.py --methods starfm,estarfm --sizes 500,1000
"""

# Only the standard library here: a child process inherits its parent's peak of memory.
import argparse
import importlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

WINDOWS = {"starfm": 51, "estarfm": 51, "fitfc": 41, "fsdaf": 13, "vipstf": 65, "robot": 0}
"""The methods and their windows at ratio 5; 0: none that can be set."""
COLUMNS = ("method", "size", "bands", "window", "threads", "Mpx/s", "ns", "peak MB", "over MB", "slow")
ROOT = Path(__file__).resolve().parent.parent
SMALL = 60


def main():
    args = parse()
    if args.step:
        return measure(json.loads(args.step))
    print("| " + " | ".join(COLUMNS) + " |\n|" + "---|" + "---:|" * (len(COLUMNS) - 1), flush=True)
    for method in args.methods.split(","):
        for case in cases(args, method):
            command = [sys.executable, __file__, "--step", json.dumps(case)]
            out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            found = json.loads(out.splitlines()[-1])
            cells = [method, case["size"], case["bands"], case["window"] or "", case["threads"]]
            rate = case["size"] ** 2 / 1e6 / found["wall"]
            work = case["size"] ** 2 * case["bands"] * case["window"] ** 2
            ns = f"{found['cpu'] / work * 1e9:.2f}" if work else ""
            slow = f"{found['slow']:.0f}×" if "slow" in found else ""
            cells += [f"{rate:.3f}", ns, f"{found['peak']:.0f}", f"{found['peak'] - found['base']:.0f}", slow]
            print("| " + " | ".join(str(c) for c in cells) + " |", flush=True)
    return None


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", default=",".join(WINDOWS))
    parser.add_argument("--sizes", default="500,1000,2000")
    parser.add_argument("--bands", default="1,4,12")
    parser.add_argument("--windows", default="21,51,101")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    return parser.parse_args()


def cases(args, method):
    """The base and what departs from it in one thing."""
    keys = {"sizes": "size", "bands": "bands", "windows": "window", "threads": "threads"}
    lists = {name: [int(v) for v in getattr(args, name).split(",")] for name in keys}
    own = WINDOWS[method]
    base = {"method": method, "size": 1000, "bands": 4, "window": own, "threads": 1}
    if 1000 not in lists["sizes"]:
        base["size"] = lists["sizes"][0]
    yield {**base, "slow": True}
    for name, key in keys.items():
        for value in lists[name]:
            if value != base[key] and (key != "window" or own):
                yield {**base, key: value, "slow": False}


def measure(case):
    """Predict one date; times in seconds, memory in MB."""
    from sitsfuse.fusion.fuse import fuse
    from sitsfuse.runtime import memory

    site = scene(case["size"], case["bands"])
    date = [str(site["target"]["time"].values[0])[:10]]
    options = {"window": case["window"]} if case["window"] else {}

    def once(tree):
        wall, cpu = time.perf_counter(), time.process_time()
        fuse(tree, method=case["method"], options=options, dates=date, tile=512, workers=case["threads"])
        return time.perf_counter() - wall, time.process_time() - cpu

    small = scene(SMALL, case["bands"])
    once(small)  # compiles, or reads what was compiled before
    memory.reset_peak()
    base = memory.peak()
    wall, cpu = min(once(site), once(site))
    found = {"wall": wall, "cpu": cpu, "base": base, "peak": memory.peak()}
    if case["slow"] and case["window"]:
        quick = once(small)[0]
        start = time.perf_counter()
        plain(case["method"], small, date[0], case["window"])
        found["slow"] = (time.perf_counter() - start) / quick
    print(json.dumps(found))


def scene(size, bands):
    """A cloudless simulated site of two guides and one target between them."""
    import numpy as np

    from sitsfuse.core.series import geobox, make_series
    from sitsfuse.core.site import group, make_site
    from sitsfuse.simulator import simulate

    tree = simulate(size=size, guides=2, targets=1, cloud_cover=0.0, seed=3)
    parts = {}
    for name in ("guide", "target"):
        series = group(tree, name)
        values = series["reflectance"].values
        index = np.arange(bands) % 4 if bands > 1 else [3]
        rng = np.random.default_rng(0)
        stack = values[:, index] + rng.normal(0, 1e-3, (len(values), bands, *values.shape[2:])).astype(np.float32)
        labels = [str(series["band"].values[i]) if k < 4 else f"band{k}" for k, i in enumerate(index)]
        parts[name] = make_series(
            stack, series["valid"].values, series["time"].values, labels, geobox(series), {"mtf": 0.3}
        )
    return make_site(**parts, name="windows")


def plain(method, tree, date, window):
    """Run the tests' slow version of a method."""
    import numpy as np

    from sitsfuse.methods import make_method

    sys.path.insert(0, str(ROOT))
    tests = importlib.import_module(f"tests.methods.test_{method}")
    time = np.datetime64(date, "ns")
    if method == "starfm":
        tests.slow(tree, date, {**tests.DEFAULTS, "window": window, "classes": 16.0})
    elif method == "estarfm":
        tests.slow(tree, date, window, 4.0, 0.05)
    elif method == "fitfc":
        tests.slow(tree, date, 1, 0.002, window, 20)
    elif method == "fsdaf":
        tests.slow(tree, make_method(method, {"window": window}), time)
    elif method == "vipstf":
        tests.slow(tree, time, 30, window, 10.0)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
