"""What it costs to reach each public name: CPU time, peak memory, and the heavy libraries that come along.

    python benchmarks/imports.py [--runs 5]

CPU seconds are the least of several runs, each in a process of its own; memory is the largest. The libraries alone are
the first row: what is above that is ours.
"""

import argparse
import json
import subprocess
import sys

import sitsfuse

LIBRARIES = "import xarray, pandas, dask.array, zarr, rasterio, odc.geo.xr"
HEAVY = ("scipy.stats", "scipy.optimize", "numba", "torch", "matplotlib", "distributed", "eodag", "typer")
MEASURE = """
import json, resource, sys, time
start = time.process_time()
{code}
used = time.process_time() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([used, peak, len(sys.modules), [m for m in {heavy} if m in sys.modules]]), file=sys.stderr)
"""


def measured(code: str, runs: int) -> tuple[float, float, int, list[str]]:
    """(CPU seconds, peak MB, modules, heavy libraries) of running some code in new processes."""
    found = []
    for _ in range(runs):
        script = MEASURE.format(code=code, heavy=HEAVY)
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        found.append(json.loads(done.stderr.splitlines()[-1]))
    return min(f[0] for f in found), max(f[1] for f in found), found[0][2], found[0][3]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    helped = "sys.argv = ['sitsfuse', '--help']\nfrom sitsfuse.cli import main\ntry: main()\nexcept SystemExit: pass"
    rows = {
        "the libraries alone": LIBRARIES,
        "sitsfuse": "import sitsfuse",
        "sitsfuse --help": helped,
        **{f"sitsfuse.{name}": f"import sitsfuse; sitsfuse.{name}" for name in sitsfuse.__all__},
    }
    print(f"{'':24}{'CPU s':>7}{'peak MB':>9}{'modules':>9}  heavy")
    for name, code in rows.items():
        cpu, peak, modules, heavy = measured(code, runs)
        print(f"{name:24}{cpu:7.2f}{peak:9.0f}{modules:9d}  {', '.join(heavy)}", flush=True)


if __name__ == "__main__":
    main()
